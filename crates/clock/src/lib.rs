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
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::time::Instant;

/// How far the system's wall time and the timer may part before the clock follows the former.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// Wall time that follows the runtime's timer, so pausing one pauses both.
///
/// Cheap to copy; every copy shows the same time. Must be created inside a tokio runtime (or with
/// its timer available), because its origin is a reading of that timer.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: Timestamp,
    origin: Instant,
    system: Option<&'static System>,
}

/// What all copies of a clock of the system share.
#[derive(Debug)]
struct System {
    wall: fn() -> Timestamp,
    origin: std::time::Instant,
    /// By how much wall time has been put forward since the origin, in nanoseconds.
    stepped: AtomicI64,
}

impl Clock {
    /// A clock that shows the system's wall time. After a suspend, or when somebody sets the time,
    /// it follows; the time of a paused runtime stays its own.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's time"
    )]
    pub fn system() -> Self {
        Self::following(Timestamp::now)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's time"
    )]
    fn following(wall: fn() -> Timestamp) -> Self {
        let system = System {
            wall,
            origin: std::time::Instant::now(),
            stepped: AtomicI64::new(0),
        };
        Self {
            // A few bytes for each clock of the system, of which a process makes one or two.
            system: Some(Box::leak(Box::new(system))),
            ..Self::starting_at(wall())
        }
    }

    /// A clock that shows `epoch` now, for simulations and tests.
    pub fn starting_at(epoch: Timestamp) -> Self {
        Self {
            epoch,
            origin: Instant::now(),
            system: None,
        }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        let elapsed =
            SignedDuration::try_from(self.origin.elapsed()).unwrap_or(SignedDuration::MAX);
        let now = self.epoch.checked_add(elapsed).unwrap_or(Timestamp::MAX);
        self.system
            .map_or(now, |system| system.follow(now, elapsed))
    }
}

impl System {
    /// Wall time, where the timer alone (`elapsed` since the origin) leads to `timed`.
    fn follow(&self, timed: Timestamp, elapsed: SignedDuration) -> Timestamp {
        let stepped = SignedDuration::from_nanos(self.stepped.load(Ordering::Relaxed));
        let shown = timed.checked_add(stepped).unwrap_or(timed);
        let wall = (self.wall)();
        if wall.duration_since(shown).abs() <= TOLERANCE || self.is_virtual(elapsed) {
            return shown;
        }
        let step = wall.duration_since(timed);
        let step = i64::try_from(step.as_nanos()).unwrap_or_default();
        self.stepped.store(step, Ordering::Relaxed);
        wall
    }

    /// Whether the runtime's timer is not the machine's, as when it is paused.
    fn is_virtual(&self, elapsed: SignedDuration) -> bool {
        let real = SignedDuration::try_from(self.origin.elapsed()).unwrap_or(SignedDuration::MAX);
        elapsed.saturating_sub(real).abs() > TOLERANCE / 2
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use jiff::{SignedDuration, Timestamp};
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        static WALL: Cell<i64> = const { Cell::new(0) };
    }

    fn wall() -> Timestamp {
        Timestamp::from_second(WALL.get()).unwrap()
    }

    #[tokio::test]
    async fn every_copy_follows_a_step_of_the_wall_clock() {
        let clock = Clock::following(wall);
        let copy = clock;
        let is_at = |clock: Clock, seconds| {
            let off = clock
                .now()
                .duration_since(Timestamp::from_second(seconds).unwrap());
            assert!(off.abs() < SignedDuration::from_secs(2), "{off}");
        };
        is_at(clock, 0);
        for step in [8 * 3600, 60] {
            WALL.set(step);
            is_at(clock, step);
            is_at(copy, step);
        }
    }

    #[tokio::test]
    async fn a_small_difference_is_let_be() {
        WALL.set(0);
        let clock = Clock::following(wall);
        WALL.set(1);
        assert!(clock.now() < Timestamp::from_second(1).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn virtual_time_does_not_follow() {
        WALL.set(0);
        let clock = Clock::following(wall);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now(), Timestamp::from_second(3600).unwrap());
    }
}
