//! What there is whether this process leads or not.

use plimsoll_api::exposition::{Exposition, Kind, Page};
use plimsoll_controllers::horizontal::{Explanations, Metrics, Signals};
use plimsoll_sources::metrics::Pipeline;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Measurements, explanations and counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    /// Where measurements go.
    pub(super) pipeline: Pipeline,
    /// Why each autoscaler did what it did.
    pub(super) explanations: Explanations,
    /// What the autoscalers count.
    pub(super) metrics: Metrics,
    /// Whether this process leads.
    pub(super) leading: Arc<AtomicBool>,
}

impl Parts {
    /// What the horizontal autoscaler works with.
    pub(super) fn signals(&self) -> Signals {
        Signals {
            usage: self.pipeline.usage.clone(),
            rounds: self.pipeline.subscribe(),
            explanations: self.explanations.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Everything that has series to show.
    pub(super) fn expositions(&self, lease: &str) -> Vec<Arc<dyn Exposition>> {
        let leadership = Leadership {
            lease: lease.to_owned(),
            leading: Arc::clone(&self.leading),
        };
        vec![Arc::new(self.metrics.clone()), Arc::new(leadership)]
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
