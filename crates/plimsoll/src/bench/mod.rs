//! `plimsoll bench`: measurements that print a table and write JSON.

mod api;
mod hpa;
mod memory;
mod nodes;
mod scheduler;

use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// The API server: writes, reads, lists, watches, memory
    Api(api::ApiArgs),
    /// Decisions of the horizontal autoscaler: how many a second, at what cost
    Hpa(hpa::HpaArgs),
    /// Nodes for pods that wait, and nodes that are not needed: exact numbers, and how long it takes
    Nodes(nodes::NodesArgs),
    /// Placement of pods: how many a second, and how that grows with the cluster
    Scheduler(scheduler::SchedulerArgs),
}

/// Measures.
pub(crate) async fn run(bench: Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Api(args) => api::run(args).await,
        Bench::Hpa(args) => hpa::run(args).await,
        Bench::Nodes(args) => nodes::run(args).await,
        Bench::Scheduler(args) => scheduler::run(args).await,
    }
}
