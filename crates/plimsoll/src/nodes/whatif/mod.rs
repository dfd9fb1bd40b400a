//! `plimsoll whatif`: what would happen; nothing is changed.

mod add;
mod like;
mod remove;

use crate::explain::{Format, print};
use crate::reach::Reach;
use clap::{Args, Subcommand};

/// A change to think through.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum WhatIf {
    /// Without one or several nodes: who would move where, who is in the way, what it saves
    Remove(RemoveArgs),
    /// With more pods: which nodes would take them, which groups would grow, what it costs
    Add(AddArgs),
}

/// Which nodes.
#[derive(Debug, Clone, Args)]
pub(crate) struct RemoveArgs {
    /// The nodes, removed one after another
    #[arg(value_name = "node/NAME", required = true)]
    nodes: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Which pods.
#[derive(Debug, Clone, Args)]
pub(crate) struct AddArgs {
    /// What to add
    #[arg(value_name = "pods", value_parser = ["pods", "pod", "replicas"])]
    what: String,
    /// How many
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// What they are like: deploy/NAME, sts/NAME, rs/NAME, job/NAME or pod/NAME
    #[arg(long, value_name = "KIND/NAME")]
    like: String,
    #[command(flatten)]
    common: Common,
}

/// How to print, and where to look.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Print the whole record instead of sentences
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    #[command(flatten)]
    reach: Reach,
}

/// Thinks it through and prints what comes out.
pub(crate) async fn run(what: WhatIf) -> anyhow::Result<()> {
    match what {
        WhatIf::Remove(args) => remove::run(&args).await,
        WhatIf::Add(args) => add::run(&args).await,
    }
}
