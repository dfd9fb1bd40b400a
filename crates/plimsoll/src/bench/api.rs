//! `plimsoll bench api`: what the API server does in a second, how long its answers take, and how
//! both change with ten times the objects. Everything goes over HTTPS, as clients do it.

mod client;
mod measure;
mod server;
mod watch;

use crate::output::say;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use measure::{Bodies, Row};
use serde::Serialize;
use serde_json::json;
use server::{Keeps, Target};
use std::path::PathBuf;

/// What to measure, and on which server.
#[derive(Debug, Clone, Args)]
pub(crate) struct ApiArgs {
    /// Measure the server at URL instead of one started for it
    #[arg(
        long,
        value_name = "URL",
        requires = "token",
        conflicts_with = "kubeconfig"
    )]
    server: Option<String>,
    /// Bearer token for --server
    #[arg(long, value_name = "TOKEN", requires = "server")]
    token: Option<String>,
    /// Do not check the certificate of --server
    #[arg(long, requires = "server")]
    insecure: bool,
    /// Measure the server of FILE's current context instead of one started for it
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Only the server that keeps its objects so [default: one after the other]
    #[arg(long, value_enum, conflicts_with_all = ["server", "kubeconfig"])]
    store: Option<Keeps>,
    /// Fewer requests: done in about ten seconds
    #[arg(long)]
    quick: bool,
    /// Write the results to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// ConfigMaps made by one client, and by many.
    config_maps: (usize, usize),
    /// Pods stored when lists and memory are measured, ascending; the last is ten times the first.
    pods: [usize; 3],
    /// Reads of one object.
    gets: usize,
    /// Times a list is read.
    lists: usize,
    /// Numbers of watchers.
    watchers: &'static [usize],
    /// Writes a second while watchers are measured.
    rate: u32,
    /// Seconds of that.
    seconds: u32,
}

impl Plan {
    const FULL: Self = Self {
        config_maps: (3_000, 20_000),
        pods: [1_000, 5_000, 10_000],
        gets: 5_000,
        lists: 7,
        watchers: &[10, 100, 1_000],
        rate: 1_000,
        seconds: 4,
    };
    const QUICK: Self = Self {
        config_maps: (300, 2_000),
        pods: [200, 1_000, 2_000],
        gets: 500,
        lists: 3,
        watchers: &[10, 100],
        rate: 500,
        seconds: 1,
    };
}

/// Clients of the measurements with many.
const CLIENTS: usize = 16;
/// Objects a DELETECOLLECTION removes in a full run.
const COLLECTION: usize = 5_000;

/// Everything one server showed.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    rows: Vec<Row>,
    /// Resident memory of this process before any object, MiB.
    rss_empty_mebibytes: Option<f64>,
    /// The same with all pods stored.
    rss_full_mebibytes: Option<f64>,
    /// What ten times the pods do to the time of each operation.
    growth: Vec<(String, f64)>,
}

impl Report {
    /// Shows a row and keeps it.
    fn add(&mut self, row: Row) {
        say(&row);
        self.rows.push(row);
    }
}

/// Measures one server after the other and prints a table.
pub(crate) async fn run(args: ApiArgs) -> Result<()> {
    let plan = if args.quick { Plan::QUICK } else { Plan::FULL };
    measure::allow_many_files();
    let mut reports = Vec::new();
    if args.server.is_some() || args.kubeconfig.is_some() {
        let target = Target::remote(&args).await?;
        reports.push(("remote", Box::pin(measure(&target, plan)).await?));
    } else {
        let both = [Keeps::Ephemeral, Keeps::Durable];
        for keeps in both
            .into_iter()
            .filter(|k| args.store.is_none_or(|only| only == *k))
        {
            let target = Target::own(keeps).await?;
            let report = Box::pin(measure(&target, plan)).await;
            target.stop().await;
            reports.push((keeps.word(), report?));
        }
    }
    if let Some(file) = &args.json {
        let reports: serde_json::Map<String, serde_json::Value> = reports
            .iter()
            .map(|(store, report)| ((*store).to_owned(), json!(report)))
            .collect();
        let results = json!({ "benchmark": "api", "quick": args.quick, "stores": reports });
        std::fs::write(file, serde_json::to_vec_pretty(&results)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

async fn measure(target: &Target, plan: Plan) -> Result<Report> {
    let mut report = Report {
        rss_empty_mebibytes: target.rss()?,
        ..Report::default()
    };
    say(format!(
        "{}, this machine's load included:",
        target.describe()
    ));
    say(measure::HEAD);
    measure::namespace(target).await?;
    let outcome = all(target, plan, &mut report).await;
    measure::clean(target).await?;
    outcome?;
    if let (Some(empty), Some(full)) = (report.rss_empty_mebibytes, report.rss_full_mebibytes) {
        let pods = plan.pods.last().copied().unwrap_or_default();
        say(format!(
            "memory of this process, clients included: {empty:.0} MiB before, {full:.0} MiB with {pods} pods"
        ));
    }
    for (what, times) in &report.growth {
        say(format!("ten times the pods: {what} takes {times:.2}x"));
    }
    say("");
    Ok(report)
}

async fn all(target: &Target, plan: Plan, report: &mut Report) -> Result<()> {
    // Pods come first, so that memory is not that of what was there before.
    pods(target, plan, report).await?;
    report.rss_full_mebibytes = target.rss()?;
    measure::clear(target, Bodies::Pods).await?;
    let (one, many) = plan.config_maps;
    let made = [(0..one, 1), (one..one + many, CLIENTS)];
    for (indexes, clients) in made {
        report.add(measure::creates(target, Bodies::ConfigMaps, indexes, clients).await?);
    }
    for clients in [1, CLIENTS] {
        let stored = (Bodies::ConfigMaps, one + many);
        report.add(measure::gets(target, stored, plan.gets, clients).await?);
    }
    measure::clear(target, Bodies::ConfigMaps).await?;
    let collection = COLLECTION.min(many);
    measure::creates(target, Bodies::ConfigMaps, 0..collection, CLIENTS).await?;
    let cleared = measure::clear(target, Bodies::ConfigMaps).await?;
    let count = cleared.count;
    ensure!(count >= collection, "{count} of {collection} deleted");
    report.add(cleared);
    for &watchers in [1].iter().chain(plan.watchers) {
        report.add(watch::fan_out(target, (watchers, plan.rate, plan.seconds)).await?);
    }
    measure::clear(target, Bodies::ConfigMaps).await.map(drop)
}

async fn pods(target: &Target, plan: Plan, report: &mut Report) -> Result<()> {
    let mut stored = 0;
    let mut steps: Vec<[Row; 3]> = Vec::new();
    for pods in plan.pods {
        let created = measure::creates(target, Bodies::Pods, stored..pods, CLIENTS).await?;
        stored = pods;
        let listed = measure::lists(target, pods, plan.lists).await?;
        let got = measure::gets(target, (Bodies::Pods, pods), plan.gets, 1).await?;
        for row in [&created, &listed, &got] {
            report.add(row.clone());
        }
        steps.push([created, listed, got]);
    }
    report.growth = growth(&steps);
    Ok(())
}

/// How much longer each operation takes with the most pods than with the fewest; a list's time
/// should grow with its length, the others not at all.
fn growth(steps: &[[Row; 3]]) -> Vec<(String, f64)> {
    let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
        return Vec::new();
    };
    let names = ["creating a pod", "listing all", "getting one"];
    let pairs = first.iter().zip(last).zip(names);
    pairs
        .filter_map(|((few, many), name)| Some((name.to_owned(), many.p50? / few.p50?)))
        .collect()
}
