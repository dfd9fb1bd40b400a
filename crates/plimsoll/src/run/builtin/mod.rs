//! Whether another controller obeys HorizontalPodAutoscalers: the one of kube-controller-manager,
//! which managed Kubernetes does not let one switch off, or that of a `plimsoll up`.
//!
//! Departs: two controllers would undo each other's work, so nothing is done to HorizontalPodAutoscalers
//! before this is known. What can be seen is judged first; if that is not enough, an autoscaler
//! without a target is put into our own namespace: a controller that runs says within seconds that
//! it cannot scale it.

mod evidence;
mod probe;
mod seen;

pub(crate) use evidence::Verdict;
pub(crate) use seen::see;

use kube::{Client, Error};
use plimsoll_clock::Clock;
use std::sync::Arc;
use std::time::Duration;

/// Tidying up may take no longer.
const TIDY_PATIENCE: Duration = Duration::from_secs(2);

/// What people can do about it.
pub(crate) const CHOICES: &str = "to let Plimsoll obey HorizontalPodAutoscalers, start \
     kube-controller-manager with --controllers=*,-horizontal-pod-autoscaler-controller; where that \
     cannot be done, write PodAutoscalers (`plimsoll convert` makes them), which only Plimsoll obeys; \
     --take-over skips this check";

/// Finds out, by what can be seen in `scope` (everywhere, if empty) and else by trying in our own
/// namespace.
pub(super) async fn find_out(
    client: &Client,
    clock: Clock,
    namespace: &str,
    scope: &[Arc<str>],
) -> Verdict {
    let verdict = see(client, scope).await.judge(clock.now());
    if !matches!(verdict, Verdict::Unknown(_)) {
        return verdict;
    }
    match probe::obeyed(client, namespace).await {
        Ok(true) => Verdict::Active(
            "a controller answered to an autoscaler that was made to find out".to_owned(),
        ),
        Ok(false) => Verdict::Absent(
            "no controller answered to an autoscaler that was made to find out".to_owned(),
        ),
        Err(error) => Verdict::Unknown(format!("cannot try it out: {error}")),
    }
}

/// Removes what trying it out may have left behind when it was interrupted. Takes two seconds at
/// most: the process is ending.
pub(super) async fn tidy(client: &Client, namespace: &str) {
    let clearing = tokio::time::timeout(TIDY_PATIENCE, probe::clear(client, namespace));
    let error = match clearing.await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(late) => Error::Service(late.into()),
    };
    tracing::debug!(%error, "the autoscaler that was made to find out is left behind");
}

#[cfg(test)]
mod tests {
    use super::tidy;
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use std::convert::Infallible;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn tidying_does_not_wait_for_a_server_that_does_not_answer() {
        let silent = tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let client = Client::new(silent, "default");
        let tidying = tidy(&client, "plimsoll-system");
        let ended = tokio::time::timeout(Duration::from_secs(3), tidying).await;
        assert!(ended.is_ok());
    }
}
