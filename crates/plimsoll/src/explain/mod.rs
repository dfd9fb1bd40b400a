//! `plimsoll explain`: why an autoscaler did what it did, or would do, why a pod is where it is, and
//! why a node stays.

mod live;
mod node;
mod offline;
mod pod;
mod subject;
mod text;

use crate::output::say;
use crate::reach::{Reach, Target};
use anyhow::bail;
use clap::{Args, ValueEnum};
use live::Asked;
use serde::Serialize;
use subject::Subject;

pub(crate) use pod::{list, lists};

/// What to explain, and where to ask.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArgs {
    /// The autoscaler, as hpa/NAME or podautoscaler/NAME; all of a kind, as hpa; a pod, as pod/NAME;
    /// a node or node group, as node/NAME or nodegroup/NAME
    #[arg(value_name = "hpa/NAME", required_unless_present = "offline")]
    target: Option<String>,
    #[command(flatten)]
    offline: offline::OfflineArgs,
    /// Print each new decision as it is made, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// Print the decisions of this long, e.g. 1h, or since a time; equal ones are counted
    #[arg(long, value_name = "DURATION")]
    last: Option<String>,
    /// In every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Print the whole record instead of sentences
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    #[command(flatten)]
    reach: Reach,
}

/// A machine-readable form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Prints a record: in lines for people, or in a machine-readable form.
pub(crate) fn print(
    record: &impl Serialize,
    format: Option<Format>,
    lines: impl FnOnce() -> Vec<String>,
) -> anyhow::Result<()> {
    match format {
        None => lines().iter().for_each(say),
        Some(Format::Json) => say(serde_json::to_string_pretty(record)?),
        Some(Format::Yaml) => say(serde_saphyr::to_string(record)?.trim_end()),
    }
    Ok(())
}

/// Prints explanations or decisions.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<()> {
    if let Some(name) = args.target.as_deref().and_then(pod::named) {
        if args.watch || args.last.is_some() || !args.offline.offline.is_empty() {
            bail!("a pod is explained as of now: leave out --watch, --last and --offline");
        }
        return pod::run(&args.reach.cluster().await?, name, args.output).await;
    }
    if let Some(about) = args.target.as_deref().and_then(node::about) {
        return node::run(about, &args).await;
    }
    let target = args.target.as_deref().map(Target::parse).transpose()?;
    if !args.offline.offline.is_empty() {
        let name = target.as_ref().and_then(|target| target.name.as_deref());
        let asked = (args.reach.namespace.as_deref(), name);
        return offline::run(&args.offline, asked, args.output);
    }
    let Some(target) = target else {
        bail!("say which autoscaler as hpa/NAME");
    };
    if args.all_namespaces && target.name.is_some() {
        bail!("an autoscaler has one namespace: leave out its name, or --all-namespaces");
    }
    let cluster = args.reach.cluster().await?;
    let asked = Asked {
        subject: Subject::scaler(&target, &cluster.namespace),
        cluster,
        every_namespace: args.all_namespaces,
        format: args.output,
    };
    match (&args.last, args.watch) {
        (last, true) => asked.watch(last.as_deref()).await,
        (Some(last), false) => asked.log(last).await,
        (None, false) => asked.explain().await,
    }
}
