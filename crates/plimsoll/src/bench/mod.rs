//! `plimsoll bench`: measurements that print a table and write JSON.

mod hpa;

use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Decisions of the horizontal autoscaler: how many a second, at what cost
    Hpa(hpa::HpaArgs),
}

/// Measures.
pub(crate) async fn run(bench: Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Hpa(args) => hpa::run(args).await,
    }
}
