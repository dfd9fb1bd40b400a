//! The controller's flags.

use jiff::SignedDuration;
use plimsoll_api::gates::{Feature, FeatureGates};
use plimsoll_engine::horizontal::Settings;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Flags of the horizontal autoscaler, with upstream's names and defaults where it has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `--horizontal-pod-autoscaler-sync-period`: how long an autoscaler goes unevaluated at most,
    /// how long answers of the custom and external metrics APIs are used, and how long what
    /// discovery said is believed.
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
    /// How long one request may take: a metric that takes longer has failed in this pass, and so
    /// has a write.
    pub request_timeout: Duration,
    /// Tolerance, periods, staleness and gates of the decision itself.
    pub settings: Settings,
    /// Decide and explain, but write nothing.
    pub observe_only: bool,
    /// Which autoscalers are obeyed.
    pub scope: Scope,
    /// Whether another controller obeys the `HorizontalPodAutoscalers`.
    pub elsewhere: Elsewhere,
    /// Where recommendations and scale events survive a restart; `None` forgets them, as upstream
    /// does.
    pub memory: Option<MemoryPlace>,
}

/// Whether another controller obeys the `HorizontalPodAutoscalers`. They are left alone then, and
/// only `PodAutoscalers` are obeyed. May change at any time; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere(Arc<AtomicBool>);

impl Elsewhere {
    /// Says so.
    pub fn set(&self, elsewhere: bool) {
        self.0.store(elsewhere, Ordering::Relaxed);
    }

    /// Whether it is so.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for Elsewhere {
    fn eq(&self, other: &Self) -> bool {
        self.is_set() == other.is_set()
    }
}

/// Which autoscalers are obeyed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Only those in these namespaces; empty for all. The watches are restricted accordingly.
    pub namespaces: Vec<Arc<str>>,
    /// Only those with these labels, as a selector in text form; empty for all.
    pub selector: String,
}

/// The ConfigMaps that hold what autoscalers remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlace {
    /// Their namespace, which must exist.
    pub namespace: Arc<str>,
    /// What their names begin with; a number follows.
    pub name: Arc<str>,
}

impl MemoryPlace {
    /// The usual names in a namespace: `plimsoll-horizontal-memory-00` and so on.
    pub fn in_namespace(namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: "plimsoll-horizontal-memory".into(),
        }
    }
}

/// Age from which a resource sample counts as absent: the default of
/// [`Settings::staleness`](plimsoll_engine::horizontal::Settings).
pub const STALENESS: SignedDuration = SignedDuration::from_secs(60);
/// The same for values of the custom and external metrics APIs, some of whose servers measure
/// every few minutes.
pub const OUTSIDE_STALENESS: SignedDuration = SignedDuration::from_mins(5);

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            concurrent_syncs: 5,
            shortest_interval: Duration::from_millis(900),
            status_interval: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            settings: Settings {
                staleness: Some(STALENESS),
                outside_staleness: Some(OUTSIDE_STALENESS),
                ..Settings::default()
            },
            observe_only: false,
            scope: Scope::default(),
            elsewhere: Elsewhere::default(),
            memory: None,
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
