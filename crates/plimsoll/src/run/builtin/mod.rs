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

use kube::Client;
use plimsoll_clock::Clock;

/// What people can do about it.
pub(crate) const CHOICES: &str = "to let Plimsoll obey HorizontalPodAutoscalers, start \
     kube-controller-manager with --controllers=*,-horizontal-pod-autoscaler-controller; where that \
     cannot be done, write PodAutoscalers (`plimsoll convert` makes them), which only Plimsoll obeys; \
     --take-over skips this check";

/// Finds out, by what can be seen and else by trying.
pub(super) async fn find_out(client: &Client, clock: Clock, namespace: &str, all: bool) -> Verdict {
    let verdict = see(client, all).await.judge(clock.now());
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

/// Removes what trying it out may have left behind when it was interrupted.
pub(super) async fn tidy(client: &Client, namespace: &str) {
    if let Err(error) = probe::clear(client, namespace).await {
        tracing::debug!(%error, "the autoscaler that was made to find out is left behind");
    }
}
