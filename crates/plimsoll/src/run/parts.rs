//! What there is whether this process leads or not.

use parking_lot::Mutex;
use plimsoll_api::exposition::{Exposition, Kind, Page};
use plimsoll_clock::Clock;
use plimsoll_controllers::explain::ExplainApi;
use plimsoll_controllers::horizontal::{Metrics, Signals};
use plimsoll_controllers::nodes;
use plimsoll_sources::metrics::Pipeline;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Measurements, explanations and counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    /// Where measurements go.
    pub(super) pipeline: Pipeline,
    /// Why each autoscaler did what it did, and why each node stays or goes.
    pub(super) explanations: ExplainApi,
    /// What the autoscalers count.
    pub(super) metrics: Metrics,
    /// Whether node autoscaling looks at its nodes.
    pub(super) pulse: NodePulse,
    /// Whether this process leads.
    pub(super) leading: Arc<AtomicBool>,
    /// Everything that has series to show.
    pub(super) expositions: Expositions,
}

/// The pulse of node autoscaling, once it has begun. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct NodePulse(Arc<Mutex<Option<(nodes::Pulse, Clock)>>>);

impl NodePulse {
    /// Node autoscaling has begun.
    pub(super) fn set(&self, pulse: nodes::Pulse, clock: Clock) {
        *self.0.lock() = Some((pulse, clock));
    }

    /// What is wrong, if anything is.
    pub(super) fn check(&self) -> Result<(), nodes::Stuck> {
        match &*self.0.lock() {
            Some((pulse, clock)) => pulse.check(clock.now()),
            None => Ok(()),
        }
    }
}

/// Everything that has series to show. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Expositions(Arc<Mutex<Vec<Arc<dyn Exposition>>>>);

impl Expositions {
    /// Adds a part.
    pub(super) fn add(&self, part: Arc<dyn Exposition>) {
        self.0.lock().push(part);
    }

    /// The page.
    pub(super) fn page(&self) -> String {
        let mut page = Page::default();
        let parts = self.0.lock().clone();
        for part in parts {
            part.expose(&mut page);
        }
        page.into_text()
    }
}

impl Parts {
    /// What the horizontal autoscaler works with.
    pub(super) fn signals(&self) -> Signals {
        Signals {
            usage: self.pipeline.usage.clone(),
            rounds: self.pipeline.subscribe(),
            explanations: self.explanations.scalers.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Shows what there is from the start.
    pub(super) fn expose(&self, lease: &str) {
        self.expositions.add(Arc::new(self.metrics.clone()));
        self.expositions.add(Arc::new(Leadership {
            lease: lease.to_owned(),
            leading: Arc::clone(&self.leading),
        }));
    }
}

/// Parity: the gauge that client-go's election has.
#[derive(Debug)]
struct Leadership {
    lease: String,
    leading: Arc<AtomicBool>,
}

impl Exposition for Leadership {
    fn expose(&self, page: &mut Page) {
        let name = "leader_election_master_status";
        let help = "1 while this process holds the lease, 0 while it stands by.";
        page.family(name, Kind::Gauge, help);
        let leads = u8::from(self.leading.load(Ordering::Relaxed));
        page.sample(name, &[("name", &self.lease)], leads);
    }
}
