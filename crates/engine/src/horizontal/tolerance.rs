//! The band around the target in which nothing moves.

use super::observed::Settings;
use super::spec::Spec;
use serde::{Deserialize, Serialize};

/// How far a ratio may be from 1, per direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Allowed below 1.
    pub down: f64,
    /// Allowed above 1.
    pub up: f64,
}

impl Band {
    /// The band in force: the flag's, or the autoscaler's own per direction.
    pub(super) fn of(spec: &Spec, settings: &Settings) -> Self {
        let behavior = spec
            .behavior
            .as_ref()
            .filter(|_| settings.configurable_tolerance);
        let own = |tolerance: Option<f64>| tolerance.unwrap_or(settings.tolerance);
        Self {
            down: own(behavior.and_then(|b| b.scale_down.tolerance)),
            up: own(behavior.and_then(|b| b.scale_up.tolerance)),
        }
    }

    /// Whether `ratio` is inside, ends included; never for not-a-number.
    pub fn contains(&self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}
