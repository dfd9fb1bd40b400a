//! One request to one kubelet.

use super::ledger::Ledger;
use super::text::Reader;
use http::Request;
use http::header::{ACCEPT, HeaderValue};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use std::time::Duration;

/// More than any node has to say, in bytes.
const MOST_BYTES: usize = 64 << 20;
/// The form of the text that is asked for.
const TEXT: &str = "text/plain;version=0.0.4,text/plain;q=0.5,*/*;q=0.1";

/// Why a node was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    /// There was no answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The kubelet, or the API server on the way to it, refused.
    #[error("the answer is {0}")]
    Refused(http::StatusCode),
    /// The answer has no end.
    #[error("the answer is longer than {MOST_BYTES} bytes")]
    TooLong,
    /// The URL is none.
    #[error("the node's address is not usable")]
    Url(#[source] http::Error),
    /// The connection failed.
    #[error("{}", innermost(.0))]
    Connection(#[source] kube::Error),
}

/// Errors of connections wrap each other; the last one says what happened.
fn innermost(error: &kube::Error) -> String {
    let mut current: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current.to_string()
}

/// Reads a node into its ledger; how many lines were malformed. After an error the ledger's round
/// is unfinished.
///
/// # Errors
/// [`RoundError`].
pub(super) async fn read(
    client: &Client,
    url: &str,
    ledger: &mut Ledger,
    patience: Duration,
) -> Result<usize, RoundError> {
    ledger.begin();
    let request = Request::get(url)
        .header(ACCEPT, HeaderValue::from_static(TEXT))
        .body(Body::empty())
        .map_err(RoundError::Url)?;
    let reading = async {
        let response = client.send(request).await;
        let (head, mut body) = response.map_err(RoundError::Connection)?.into_parts();
        if !head.status.is_success() {
            return Err(RoundError::Refused(head.status));
        }
        let (mut reader, mut length) = (Reader::default(), 0_usize);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(RoundError::Connection)?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            length = length.saturating_add(piece.len());
            if length > MOST_BYTES {
                return Err(RoundError::TooLong);
            }
            reader.push(&piece, ledger);
        }
        reader.finish(ledger);
        Ok(reader.malformed)
    };
    tokio::time::timeout(patience, reading)
        .await
        .unwrap_or(Err(RoundError::Timeout(patience)))
}
