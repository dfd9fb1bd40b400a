//! Whether a pod has been ready for long enough.

use super::PodView;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Whether the pod has been ready for `min_ready` seconds, or how long until then:
/// [`Duration::MAX`] if it is not even ready.
pub(crate) fn availability(pod: &PodView, min_ready: i32, now: Timestamp) -> Result<(), Duration> {
    let Some(since) = pod.ready_since().filter(|_| pod.is_ready()) else {
        return if pod.is_ready() && min_ready == 0 {
            Ok(())
        } else {
            Err(Duration::MAX)
        };
    };
    let at = since
        .saturating_add(SignedDuration::from_secs(min_ready.into()))
        .unwrap_or(since);
    match Duration::try_from(at.duration_since(now)) {
        Ok(left) if min_ready > 0 && !left.is_zero() => Err(left),
        _ => Ok(()),
    }
}
