//! The node autoscaler of a scenario, on simulated machines.

use crate::error::SimError;
use crate::groups::{Incident, Trouble};
use crate::ledger::{Ledger, name_of};
use crate::machines::Ground;
use crate::scenario::Scenario;
use plimsoll_api::nodegroup::{InstanceState, NodeProvider};
use plimsoll_api::{capacity_buffer, capacity_quota, provisioning_request};
use plimsoll_cluster::{ControlPlane, definitions};
use plimsoll_controllers::nodes::{Metrics, NodeAutoscaler, Options, Signals};
use plimsoll_controllers::supervisor::Context;
use plimsoll_sources::nodes::simulated::{Behaviour, Faults, Simulated};
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// Keeps the machines' randomness apart from other uses of the scenario's seed.
const SEED: u64 = 0x6d61_6368;

/// Who resizes the groups, and what befalls them.
struct Crew {
    context: Context,
    machines: Arc<Simulated>,
    options: Options,
    signals: Signals,
    ledger: Ledger,
}

/// Starts groups and autoscaler, if the scenario has groups. Returns what the autoscaler counts.
pub(crate) async fn start(
    scenario: &Scenario,
    plane: &mut ControlPlane,
    ground: Ground,
    ledger: &Ledger,
) -> Result<Metrics, SimError> {
    let settings = &scenario.node_groups;
    let metrics = Metrics::default();
    if settings.groups.is_empty() {
        return Ok(metrics);
    }
    let mut kinds = Vec::new();
    if settings.autoscaler.buffers.is_some() {
        kinds.push(capacity_buffer::definition());
    }
    if settings.autoscaler.capacity_quotas {
        kinds.push(capacity_quota::definition());
    }
    if settings.autoscaler.provisioning.is_some() {
        kinds.push(provisioning_request::definition());
    }
    for definition in kinds {
        let defined = definitions::define_one(plane.client(), definition).await;
        defined.map_err(SimError::Define)?;
    }
    let behaviour = Behaviour {
        seed: settings.behaviour.seed ^ scenario.seed ^ SEED,
        ..settings.behaviour.clone()
    };
    let groups = settings.groups.iter().cloned();
    let machines = Arc::new(Simulated::new(groups, Arc::new(ground), behaviour));
    machines.start(&[]).await.map_err(SimError::Machines)?;
    ledger.machines(&machines.truth());
    plane.keep(follow(Arc::clone(&machines), ledger.clone()));
    let crew = Crew {
        context: plane.context.clone(),
        machines,
        options: settings.autoscaler.clone(),
        signals: Signals {
            explanations: plane.explanations.nodes.clone(),
            metrics: metrics.clone(),
        },
        ledger: ledger.clone(),
    };
    let mut incidents = settings.incidents.clone();
    incidents.sort_by_key(|incident| incident.after);
    plane.keep(crew.work(incidents));
    Ok(metrics)
}

/// Keeps the ledger informed.
async fn follow(machines: Arc<Simulated>, ledger: Ledger) {
    let Some(mut changes) = machines.changes() else {
        return;
    };
    while changes.changed().await.is_ok() {
        ledger.machines(&machines.truth());
    }
}

impl Crew {
    async fn work(self, incidents: Vec<Incident>) {
        let origin = Instant::now();
        let mut autoscaler = self.begin();
        for Incident { after, what } in incidents {
            sleep_until(origin + after).await;
            let group = match &what {
                Trouble::Short(group, _) | Trouble::Interrupted(group) => group.as_str(),
                Trouble::Recovered | Trouble::Crashed => "",
            };
            self.ledger.trouble(group, what.to_string());
            if what == Trouble::Crashed {
                drop(autoscaler);
                autoscaler = self.begin();
            } else {
                self.happen(&what);
            }
        }
        // It goes on until the scenario ends.
        std::future::pending::<()>().await;
        drop(autoscaler);
    }

    fn begin(&self) -> NodeAutoscaler {
        let provider: Arc<dyn NodeProvider> = Arc::<Simulated>::clone(&self.machines);
        let options = self.options.clone();
        NodeAutoscaler::start(&self.context, provider, options, self.signals.clone())
    }

    fn happen(&self, what: &Trouble) {
        match what {
            Trouble::Short(group, shortage) => {
                self.machines
                    .disturb(|faults| faults.run_short(group, *shortage));
            }
            Trouble::Recovered => self.machines.disturb(Faults::clear),
            Trouble::Interrupted(group) => self.interrupt(group),
            Trouble::Crashed => {}
        }
    }

    fn interrupt(&self, group: &str) {
        let groups = self.machines.truth();
        let group = groups.iter().find(|known| *known.id == *group);
        let oldest = group.and_then(|group| {
            let running = group.instances.iter();
            let running = running.filter(|one| one.state == Some(InstanceState::Running));
            let oldest = self.ledger.oldest(running.map(|one| &one.id))?;
            Some((group, name_of(oldest)))
        });
        let Some((group, node)) = oldest else {
            tracing::info!("no machine is there to be taken away");
            return;
        };
        if let Err(error) = self.machines.interrupt(&group.id, node) {
            tracing::warn!(node, %error, "the machine was not taken away");
        }
    }
}
