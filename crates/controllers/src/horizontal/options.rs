//! The controller's flags.

use plimsoll_api::gates::{Feature, FeatureGates};
use plimsoll_engine::horizontal::Settings;
use std::time::Duration;

/// Flags of the horizontal autoscaler, with upstream's names and defaults where it has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// `--horizontal-pod-autoscaler-sync-period`: how long an autoscaler goes unevaluated at most.
    pub sync_period: Duration,
    /// `--concurrent-horizontal-pod-autoscaler-syncs`: how many are worked on at once.
    pub concurrent_syncs: usize,
    /// The shortest time between two evaluations that samples or pods cause.
    ///
    /// Departs: upstream looks every sync period only. Hence the limit max(2n, 4) of an autoscaler
    /// without `behavior`, which is per evaluation, allows more growth per time here.
    pub shortest_interval: Duration,
    /// The shortest time between two status writes in which only measured numbers differ.
    ///
    /// Departs: upstream writes them every sync period; here samples come every second.
    pub status_interval: Duration,
    /// Tolerance, periods and gates of the decision itself.
    pub settings: Settings,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            concurrent_syncs: 5,
            shortest_interval: Duration::from_millis(900),
            status_interval: Duration::from_secs(2),
            settings: Settings::default(),
        }
    }
}

impl Options {
    /// The same with the features of the decision turned on or off.
    #[must_use]
    pub fn gated(mut self, gates: FeatureGates) -> Self {
        self.settings = gated(self.settings, gates);
        self
    }
}

/// A decision's settings with its features turned on or off.
#[must_use]
pub fn gated(settings: Settings, gates: FeatureGates) -> Settings {
    Settings {
        scale_to_zero: gates.is_on(Feature::HpaScaleToZero),
        configurable_tolerance: gates.is_on(Feature::HpaConfigurableTolerance),
        pod_level_resources: gates.is_on(Feature::PodLevelResources),
        ..settings
    }
}
