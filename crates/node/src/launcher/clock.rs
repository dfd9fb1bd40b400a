//! Waiting and time in the helper, which has no tokio runtime and never runs simulated.

use std::time::Duration;

/// Waits a little while, for the kernel to finish something that has no event to wait for.
#[expect(
    clippy::disallowed_methods,
    reason = "the helper has no runtime whose timer could wait"
)]
pub(crate) fn wait_millis(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// A reading of the monotonic clock, for the governor's windows.
#[expect(
    clippy::disallowed_methods,
    reason = "the helper has no runtime whose clock could tell"
)]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
