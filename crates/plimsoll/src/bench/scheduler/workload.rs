//! Clusters and pods to measure placement with.

use clap::ValueEnum;
use plimsoll_engine::placement::{
    LabelSelector, NodeFacts, PodAffinity, PodFacts, PodSpec, PodTerm, Requirement, Resources,
    Snapshot, SpreadConstraint, WeightedPodTerm, WhenUnsatisfiable,
};
use serde::Serialize;
use std::sync::Arc;

const ZONE: &str = "topology.kubernetes.io/zone";
const HOSTNAME: &str = "kubernetes.io/hostname";
const GIB: i64 = 1 << 30;
/// Pods of one app.
const REPLICAS: usize = 100;

/// What the pods ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Workload {
    /// Requests alone
    Plain,
    /// Replicas of Deployments, spread by default
    Deployments,
    /// A label of its own for every pod, as in StatefulSets
    Distinct,
    /// A node each, near another app's zone
    Affinity,
    /// Even over zones and, if possible, over nodes
    Spread,
    /// Room has to be made for every pod
    Preemption,
}

impl Workload {
    pub(super) const ALL: [Self; 6] = [
        Self::Plain,
        Self::Deployments,
        Self::Distinct,
        Self::Affinity,
        Self::Spread,
        Self::Preemption,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Deployments => "deployments",
            Self::Distinct => "distinct",
            Self::Affinity => "affinity",
            Self::Spread => "spread",
            Self::Preemption => "preemption",
        }
    }

    /// Nodes of 16 CPUs and 64 GiB in three zones, full if room is to be made.
    pub(super) fn cluster(self, nodes: usize) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for number in 0..nodes {
            let name = format!("node-{number}");
            let zone = format!("zone-{}", number % 3);
            let labels = [(HOSTNAME, name.clone()), (ZONE, zone)];
            snapshot.set_node(NodeFacts {
                labels: labels.map(|(key, value)| (key.to_owned(), value)).into(),
                allocatable: Resources::of(16_000, 64 * GIB),
                max_pods: 110,
                name,
                ..NodeFacts::default()
            });
        }
        if self == Self::Preemption {
            fill(&mut snapshot, nodes);
        }
        snapshot
    }

    /// The pods, app by app.
    pub(super) fn pods(self, count: usize) -> impl Iterator<Item = PodFacts> {
        let mut app = usize::MAX;
        let mut shared = Arc::new(PodSpec::default());
        (0..count).map(move |number| {
            if number / REPLICAS != app {
                app = number / REPLICAS;
                shared = Arc::new(self.spec(app));
            }
            let name = format!("app-{app}-{number}");
            if self == Self::Distinct {
                let mut own = PodSpec::clone(&shared);
                let label = "statefulset.kubernetes.io/pod-name";
                own.labels.insert(label.to_owned(), name.clone());
                return PodFacts::new("bench", &name, own);
            }
            PodFacts::new("bench", &name, Arc::clone(&shared))
        })
    }

    fn spec(self, app: usize) -> PodSpec {
        let step = i64::try_from(app % 7).unwrap_or(0);
        let mut spec = PodSpec {
            labels: [("app".to_owned(), format!("app-{app}"))].into(),
            requests: Resources::of(250 + 50 * step, GIB / 2 + step * (64 << 20)),
            ..PodSpec::default()
        };
        match self {
            Self::Plain => {}
            Self::Deployments | Self::Distinct => spec.default_spread = Some(of_app(app)),
            Self::Affinity => {
                spec.pod_anti_affinity.required = vec![term(app, HOSTNAME)];
                spec.pod_affinity = PodAffinity {
                    required: Vec::new(),
                    preferred: vec![WeightedPodTerm {
                        weight: 10,
                        term: term(app.saturating_sub(1), ZONE),
                    }],
                };
            }
            Self::Spread => {
                spec.spread = vec![
                    constraint(app, ZONE, WhenUnsatisfiable::DoNotSchedule),
                    constraint(app, HOSTNAME, WhenUnsatisfiable::ScheduleAnyway),
                ];
            }
            Self::Preemption => {
                spec.priority = 1000;
                spec.requests.cpu_milli = 3000;
            }
        }
        spec
    }
}

/// Fills every node with eight less important pods.
fn fill(snapshot: &mut Snapshot, nodes: usize) {
    for number in 0..8 {
        let spec = Arc::new(PodSpec {
            requests: Resources::of(2000, 4 * GIB),
            priority: number,
            ..PodSpec::default()
        });
        for node in 0..nodes {
            let name = format!("low-{node}-{number}");
            let pod = PodFacts::new("bench", &name, Arc::clone(&spec));
            snapshot.place(&format!("node-{node}"), pod);
        }
    }
}

fn of_app(app: usize) -> LabelSelector {
    LabelSelector {
        requirements: vec![Requirement::equals("app", &format!("app-{app}"))],
    }
}

fn term(app: usize, topology_key: &str) -> PodTerm {
    PodTerm {
        selector: Some(of_app(app)),
        topology_key: topology_key.to_owned(),
        ..PodTerm::default()
    }
}

fn constraint(app: usize, key: &str, when: WhenUnsatisfiable) -> SpreadConstraint {
    SpreadConstraint {
        topology_key: key.to_owned(),
        selector: Some(of_app(app)),
        when_unsatisfiable: when,
        ..SpreadConstraint::default()
    }
}
