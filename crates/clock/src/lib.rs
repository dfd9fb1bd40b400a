//! The one clock of the program.
//!
//! [`Clock`] is wall time derived from tokio's timer: pausing the runtime pauses timestamps,
//! requeues, leases and metrics windows together, so days of simulated time pass in seconds.
//! This is the only file that may read the system's time.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let clock = plimsoll_clock::Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
//! tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
//! assert_eq!(clock.now().to_string(), "2026-01-01T01:00:00Z");
//! # }
//! ```

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Wall time that follows the runtime's timer, so pausing one pauses both.
///
/// Cheap to copy; every copy shows the same time. Must be created inside a tokio runtime (or with
/// its timer available), because its origin is a reading of that timer.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: Timestamp,
    origin: Instant,
}

impl Clock {
    /// A clock that shows the system's wall time now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's time"
    )]
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// A clock that shows `epoch` now, for simulations and tests.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self {
            epoch,
            origin: Instant::now(),
        }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        let elapsed =
            SignedDuration::try_from(self.origin.elapsed()).unwrap_or(SignedDuration::MAX);
        self.epoch.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}
