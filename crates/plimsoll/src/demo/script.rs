//! The load, step by step.

use super::timeline::Moment;
use std::time::Duration;

/// One step of the load.
#[derive(Debug)]
pub(crate) struct Step {
    /// What a reader is told.
    pub(crate) say: &'static str,
    /// Requests a second.
    pub(crate) rate: f64,
    /// The step lasts at least this long.
    pub(crate) at_least: Duration,
    /// And until this holds, if anything.
    pub(crate) until: Option<fn(&Moment) -> bool>,
}

/// A request costs about 17 ms of CPU, so at a target of 100m a pod, 6 requests a second are one
/// pod's share.
pub(crate) const STEPS: &[Step] = &[
    Step {
        say: "light load: 2 requests/s",
        rate: 2.0,
        at_least: Duration::from_secs(5),
        until: Some(|m| m.utilization.is_some()),
    },
    Step {
        say: "the load steps up: 15 requests/s",
        rate: 15.0,
        at_least: Duration::from_secs(22),
        until: None,
    },
    Step {
        say: "and up again: 40 requests/s",
        rate: 40.0,
        at_least: Duration::from_secs(28),
        until: None,
    },
    Step {
        say: "the load is gone: 2 requests/s",
        rate: 2.0,
        at_least: Duration::from_secs(8),
        until: Some(|m| m.ready == 1 && m.desired == 1),
    },
];
