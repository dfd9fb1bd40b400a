//! Scenarios in virtual time: the real API server, controllers, autoscalers and node agents, with
//! simulated pods under a synthetic load, on a clock that leaps from event to event.
//!
//! Nothing here is a model of the autoscalers: these are the autoscalers. Only pods and machines are
//! simulated, in a closed loop: the load is spread over the ready pods, their CPU is what that
//! costs, and the decisions that follow change the number of pods; pods that fit nowhere, and nodes
//! that are not needed, change the number of machines. The same scenario and seed give the same
//! report, byte for byte.
//!
//! ```text
//! load ──> pods ──usage──> horizontal autoscaler ──replicas──> pods ──no room──> node autoscaler
//!                                                               └── scheduler <──nodes── machines
//! ```
//!
//! ```
//! use plimsoll_sim::{Load, Nodes, Scenario, Target, run};
//! use serde_json::json;
//! use std::time::Duration;
//!
//! let labels = json!({"app": "web"});
//! let deployment = json!({
//!     "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
//!     "spec": {
//!         "selector": {"matchLabels": labels},
//!         "template": {
//!             "metadata": {"labels": labels},
//!             "spec": {"containers": [{
//!                 "name": "app", "image": "web",
//!                 "resources": {"requests": {"cpu": "200m"}, "limits": {"cpu": "500m"}},
//!             }]},
//!         },
//!     },
//! });
//! let autoscaler = json!({
//!     "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
//!     "metadata": {"name": "web"},
//!     "spec": {
//!         "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
//!         "minReplicas": 1, "maxReplicas": 10, "targetCPUUtilizationPercentage": 50,
//!     },
//! });
//! let scenario = Scenario {
//!     length: Duration::from_secs(600),
//!     nodes: Nodes { count: 2, ..Nodes::default() },
//!     manifests: vec![deployment, autoscaler],
//!     // 20 requests a second, each 20 ms of a core: 400 millicores, so 4 pods at half of 200m.
//!     load: Load::constant(20.0),
//!     cost_per_request_milli_seconds: 20.0,
//!     target: Target { namespace: "default".into(), selector: "app=web".into() },
//!     ..Scenario::default()
//! };
//! let report = run(&scenario)?;
//! assert_eq!(report.timeline.last().map(|sample| sample.replicas), Some(4));
//! # Ok::<(), plimsoll_sim::SimError>(())
//! ```

mod autoscaling;
mod bill;
mod day;
mod error;
mod groups;
mod journal;
mod ledger;
mod load;
mod machines;
mod node_report;
mod objects;
mod report;
mod run;
mod scenario;
mod server;
mod share;
mod traffic;
mod waiting;

pub use day::{BOOT, BOOT_SPREAD, day_on_two_groups};
pub use error::SimError;
pub use groups::{Incident, NodeGroups, Trouble};
pub use load::{Diurnal, Load, Noise, Shape};
pub use node_report::{NodeChange, NodeEvent, NodeReport, NodeSummary};
pub use report::{Decision, Report, Sample, Summary};
pub use run::run;
pub use scenario::{Nodes, Scenario, Target};
pub use waiting::Wait;
