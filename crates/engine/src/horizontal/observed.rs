//! Everything a decision depends on: nothing else is read while deciding.

use super::memory::Memory;
use super::pod::Facts;
use super::spec::Spec;
use super::status::Status;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// One pass's inputs.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The one clock reading of the pass.
    pub now: Timestamp,
    /// The controller's flags and gates.
    pub settings: Settings,
    /// Namespace of the autoscaler; named in errors.
    pub namespace: Arc<str>,
    /// What is asked for.
    pub spec: Arc<Spec>,
    /// The status as last stored.
    pub status: Status,
    /// The target's scale, or why it could not be read.
    pub scale: Result<Scale, String>,
    /// The pods that the scale's selector selects.
    pub pods: Vec<Arc<Facts>>,
    /// Other autoscalers (`namespace/name`) that select one of these pods.
    pub rivals: Vec<String>,
    /// One reading per metric of the spec, or why there is none. A missing entry counts as failed.
    pub readings: Vec<Result<Reading, String>>,
    /// What earlier passes remembered; `None` before the first.
    pub memory: Option<Memory>,
}

/// Flags and gates of the controller.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// `--horizontal-pod-autoscaler-tolerance`.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`.
    pub downscale_stabilization: SignedDuration,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization: SignedDuration,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
    pub readiness_delay: SignedDuration,
    /// Age from which a resource sample counts as absent, or three of its windows if that is longer;
    /// `None` believes samples of any age.
    ///
    /// Departs: upstream believes samples of any age.
    pub staleness: Option<SignedDuration>,
    /// The same for values of the custom and external metrics APIs.
    pub outside_staleness: Option<SignedDuration>,
    /// Gate `HPAScaleToZero`.
    pub scale_to_zero: bool,
    /// Gate `HPAConfigurableTolerance`.
    pub configurable_tolerance: bool,
    /// Gate `PodLevelResources`.
    pub pod_level_resources: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tolerance: 0.1,
            downscale_stabilization: SignedDuration::from_mins(5),
            cpu_initialization: SignedDuration::from_mins(5),
            readiness_delay: SignedDuration::from_secs(30),
            staleness: None,
            outside_staleness: None,
            scale_to_zero: false,
            configurable_tolerance: true,
            pod_level_resources: true,
        }
    }
}

/// The target's `Scale`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`: what was asked for last.
    pub spec_replicas: i32,
    /// `status.replicas`: what exists.
    pub status_replicas: i32,
    /// `status.selector`.
    pub selector: Selection,
}

/// The state of a scale's selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The scale names no selector.
    Missing,
    /// The selector's text does not parse, and why.
    Invalid(String),
    /// The selector as text.
    Valid(Arc<str>),
}

/// What was read for one metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A value per pod (and perhaps of names that are no pods).
    PerPod(Vec<Sample>),
    /// One value, in thousandths.
    Single(i64),
    /// Several series, summed; thousandths.
    Series(Vec<i64>),
}

/// One pod's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The pod's name.
    pub pod: Arc<str>,
    /// Thousandths; each container's usage is rounded up before summing.
    pub value: i64,
    /// End of the measured window.
    pub timestamp: Timestamp,
    /// Length of the window.
    pub window: SignedDuration,
}

/// The age from which something measured over `window` is too old under `limit`.
pub fn oldest(limit: SignedDuration, window: SignedDuration) -> SignedDuration {
    // A window is about the pause between two measurements, of which two may be missed.
    limit.max(window.saturating_mul(3))
}

impl Sample {
    /// Its age, and the limit it is beyond; `None` while it counts.
    pub(super) fn staleness(
        &self,
        limit: Option<SignedDuration>,
        now: Timestamp,
    ) -> Option<(SignedDuration, SignedDuration)> {
        let limit = oldest(limit?, self.window);
        let age = now.duration_since(self.timestamp);
        (age > limit).then_some((age, limit))
    }
}
