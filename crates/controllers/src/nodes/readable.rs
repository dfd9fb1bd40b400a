//! Whether a kind that flags ask for can be read. Where it cannot, that is told once: nothing would
//! happen about its objects, and nobody would know why.

use kube::api::ListParams;
use kube::{Api, Client, Error, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;
use tokio::time::timeout;

/// How often it is asked, and how long after each time, whether a kind that is not served has only
/// just been defined.
const ASKED: (u32, Duration) = (10, Duration::from_millis(100));

/// Whether a kind can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readable {
    /// It can.
    Yes,
    /// It is not defined: there are no objects.
    Undefined,
    /// The right to read it is missing, or the server is not to be reached.
    No,
}

/// Finds out whether a kind can be read, and tells when it cannot. The answer is there within
/// `patience`.
pub(super) async fn readable<K>(client: &Client, patience: Duration) -> Readable
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let answer = timeout(patience, asked(&api)).await;
    let (kind, name) = (
        K::kind(&()),
        format!("{}.{}", K::plural(&()), K::group(&())),
    );
    match answer {
        Ok(Ok(())) => Readable::Yes,
        Ok(Err(Error::Api(status))) if status.code == 404 => {
            tracing::warn!(
                "no {kind} is in force: their definition, {name}, is not there; apply those that \
                 plimsoll install prints"
            );
            Readable::Undefined
        }
        Ok(Err(Error::Api(status))) if matches!(status.code, 401 | 403) => {
            tracing::warn!(
                "no {kind} can be read: the right to get, list and watch {name} is missing: {}",
                status.message
            );
            Readable::No
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "no {kind} can be read yet");
            Readable::No
        }
        Err(_) => {
            tracing::warn!("no {kind} can be read yet: the server does not answer");
            Readable::No
        }
    }
}

/// The same beside other work, for kinds that nobody waits for.
pub(super) fn warn_of<K>(client: &Client, patience: Duration)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let client = client.clone();
    drop(tokio::spawn(async move {
        readable::<K>(&client, patience).await;
    }));
}

async fn asked<K>(api: &Api<K>) -> Result<(), Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let (times, pause) = ASKED;
    let mut left = times;
    loop {
        let answer = api.list(&ListParams::default().limit(1)).await;
        left -= 1;
        let absent = matches!(&answer, Err(Error::Api(status)) if status.code == 404);
        if !absent || left == 0 {
            return answer.map(drop);
        }
        tokio::time::sleep(pause).await;
    }
}
