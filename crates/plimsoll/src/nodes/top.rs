//! `plimsoll top nodes`: requests, usage, price and age of each node, and why it is kept.

mod text;

use super::judge::{Given, NodeReport, judge};
use super::money;
use super::picture::Picture;
use crate::explain::{Format, print};
use crate::output::{complain, say};
use crate::reach::{Cluster, Reach};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use plimsoll_api::selector::LabelSelector;
use plimsoll_clock::Clock;
use plimsoll_engine::cluster::{ClusterNode, Readiness, Residents};
use plimsoll_engine::placement::Resources;
use plimsoll_quantity::Quantity;
use serde::Serialize;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;
use text::{Style, lines};

/// Measurements of nodes, where somebody serves them.
const USAGE: &str = "/apis/metrics.k8s.io/v1beta1/nodes";

/// Between two pictures of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);
/// Begins a terminal's screen anew.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What to look at.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Top {
    /// Nodes: requests, usage, price, and why each is kept
    #[command(visible_aliases = ["node", "no"])]
    Nodes(NodesArgs),
}

/// Which nodes, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodesArgs {
    /// Only nodes with these labels
    #[arg(short = 'l', long, value_name = "KEY=VALUE,…", default_value = "")]
    selector: String,
    /// What the largest of comes first
    #[arg(long, value_enum, default_value_t = Order::Name)]
    sort_by: Order,
    /// Leave out the first and the last line
    #[arg(long)]
    no_headers: bool,
    /// Print the whole record instead of a table
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Print it anew every two seconds, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    reach: Reach,
}

/// An order of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    /// By name
    Name,
    /// By requested share of CPU
    Cpu,
    /// By requested share of memory
    Memory,
    /// By price
    Price,
    /// By number of pods
    Pods,
    /// By age
    Age,
    /// By group, then name
    Group,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    group: Option<String>,
    instance_type: Option<String>,
    ready: bool,
    /// Requests, thousandths of a CPU.
    cpu_requested_milli: i64,
    cpu_allocatable_milli: i64,
    memory_requested_bytes: i64,
    memory_allocatable_bytes: i64,
    /// Measured, where it is.
    cpu_used_milli: Option<i64>,
    memory_used_bytes: Option<i64>,
    pods: usize,
    price_per_hour: Option<f64>,
    created: Option<Timestamp>,
    /// Why it is kept, or that it could go.
    why: String,
}

/// All of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    nodes: Vec<Row>,
    /// Dollars an hour, of the nodes whose price is known.
    price_per_hour: Option<f64>,
    pending_pods: usize,
}

pub(crate) async fn run(what: Top) -> anyhow::Result<()> {
    let Top::Nodes(args) = what;
    let selector = LabelSelector::parse(&args.selector)
        .map_err(|error| anyhow::anyhow!("--selector: {}", error.message))?;
    let cluster = args.reach.cluster().await?;
    if !args.watch {
        return show(&args, &selector, &cluster).await;
    }
    tokio::select! {
        biased;
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        ended = repeat(&args, &selector, &cluster) => ended,
    }
}

/// Shows it again and again; a server that does not answer once is asked again.
async fn repeat(
    args: &NodesArgs,
    selector: &LabelSelector,
    cluster: &Cluster,
) -> anyhow::Result<()> {
    show(args, selector, cluster).await?;
    loop {
        tokio::time::sleep(PAUSE).await;
        if std::io::stdout().is_terminal() {
            say(CLEAR);
        }
        if let Err(error) = show(args, selector, cluster).await {
            complain(format!("{error:#}"));
        }
    }
}

async fn show(args: &NodesArgs, selector: &LabelSelector, cluster: &Cluster) -> anyhow::Result<()> {
    let picture = Picture::read(cluster, Clock::system().now()).await?;
    let used = usage(cluster).await;
    let mut table = table(&picture, &used);
    table.nodes.retain(|row| {
        let view = picture.view(&row.name);
        view.is_some_and(|view| selector.matches(|key| view.meta.label(key)))
    });
    let prices = table.nodes.iter().filter_map(|row| row.price_per_hour);
    table.price_per_hour = prices.reduce(|sum, price| sum + price);
    sort(&mut table.nodes, args.sort_by);
    let style = Style {
        heads: !args.no_headers,
        bars: std::io::stdout().is_terminal(),
    };
    print(&table, args.output, || lines(&table, picture.now, style))
}

/// What is measured of each node: thousandths of a CPU, bytes.
async fn usage(cluster: &Cluster) -> BTreeMap<String, (i64, i64)> {
    // Nobody has to serve measurements.
    let Ok(Some(list)) = cluster.get(USAGE).await else {
        return BTreeMap::new();
    };
    let items = list.get("items").and_then(Value::as_array);
    let read = |item: &Value| {
        let text = |pointer: &str| item.pointer(pointer)?.as_str();
        let amount = |pointer: &str| text(pointer)?.parse::<Quantity>().ok();
        let name = text("/metadata/name")?.to_owned();
        let cpu = amount("/usage/cpu")?.milli();
        Some((name, (cpu, amount("/usage/memory")?.value())))
    };
    items.into_iter().flatten().filter_map(read).collect()
}

fn table(picture: &Picture, used: &BTreeMap<String, (i64, i64)>) -> Table {
    let mut alone = None;
    let nodes = picture.nodes.iter().map(|(name, node)| {
        let why = match picture.said_of(name) {
            Some(said) => said.strip_prefix("it stays: ").unwrap_or(said).to_owned(),
            None => judged(picture, &mut alone, name),
        };
        row(picture, node, (why, used.get(&**name).copied()))
    });
    let nodes = nodes.collect();
    let waiting = picture.lists.pods.iter();
    let waiting = waiting.filter(|pod| pod.node.is_none() && !pod.phase.is_terminal());
    Table {
        nodes,
        price_per_hour: None,
        pending_pods: waiting.count(),
    }
}

fn row(picture: &Picture, node: &ClusterNode, (why, used): (String, Option<(i64, i64)>)) -> Row {
    let view = picture.view(&node.name);
    let mut requested = Resources::default();
    let mut pods = 0;
    let residents = picture.pods.on(&node.name).into_iter();
    for pod in residents.flat_map(Residents::pods) {
        requested.add(&pod.pod.spec.requests);
        pods += 1;
    }
    let instance_type = view.and_then(money::instance_type);
    Row {
        name: node.name.to_string(),
        group: node.group.as_ref().map(ToString::to_string),
        instance_type: instance_type.map(str::to_owned),
        ready: node.readiness == Readiness::Ready,
        cpu_requested_milli: requested.cpu_milli,
        cpu_allocatable_milli: node.allocatable.cpu_milli,
        memory_requested_bytes: requested.memory_bytes,
        memory_allocatable_bytes: node.allocatable.memory_bytes,
        cpu_used_milli: used.map(|(cpu, _)| cpu),
        memory_used_bytes: used.map(|(_, memory)| memory),
        pods,
        price_per_hour: node.price_per_hour,
        created: node.created,
        why,
    }
}

/// What is in the way of a node's removal, where no autoscaler says so: each node by itself, as if
/// no other went. What that takes is made when it is first needed.
fn judged(picture: &Picture, alone: &mut Option<Given>, name: &str) -> String {
    let alone = alone.get_or_insert_with(|| Given::new(picture, &[]));
    let report = alone.forgetting(|given| judge(picture, given, name));
    report.as_ref().map(why).unwrap_or_default()
}

/// The first thing in the way.
fn why(report: &NodeReport) -> String {
    match report.obstacles.as_slice() {
        [] => report.summary.clone(),
        [one] => one.reason.clone(),
        [first, rest @ ..] => format!("{} (and {} more)", first.reason, rest.len()),
    }
}

fn sort(rows: &mut [Row], order: Order) {
    let rank = |part: i64, whole: i64| part.saturating_mul(10_000) / whole.max(1);
    match order {
        Order::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        Order::Group => rows.sort_by(|a, b| (&a.group, &a.name).cmp(&(&b.group, &b.name))),
        Order::Cpu => rows
            .sort_by_key(|row| Reverse(rank(row.cpu_requested_milli, row.cpu_allocatable_milli))),
        Order::Memory => rows.sort_by_key(|row| {
            Reverse(rank(
                row.memory_requested_bytes,
                row.memory_allocatable_bytes,
            ))
        }),
        Order::Pods => rows.sort_by_key(|row| Reverse(row.pods)),
        Order::Age => rows.sort_by_key(|row| row.created),
        Order::Price => rows.sort_by(|a, b| {
            let price = |row: &Row| row.price_per_hour.unwrap_or(-1.0);
            price(b).total_cmp(&price(a))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::judge::tests::{node, picture, pod};
    use serde_json::json;

    pub(super) fn sample() -> (Table, Timestamp) {
        let nodes = vec![node("a", &json!({})), node("b", &json!({}))];
        let bare = json!({"metadata": {"ownerReferences": null}});
        let pods = vec![
            pod("web", "a", "1500m", &json!({})),
            pod("db", "b", "100m", &bare),
        ];
        let picture = picture(nodes, pods);
        let used = [("a".to_owned(), (500, 1 << 30))].into();
        (table(&picture, &used), picture.now)
    }

    #[test]
    fn the_dearest_and_the_fullest_come_first() {
        let (mut table, _) = sample();
        table.nodes[1].price_per_hour = Some(0.1);
        sort(&mut table.nodes, Order::Price);
        assert_eq!(table.nodes[0].name, "b");
        sort(&mut table.nodes, Order::Cpu);
        assert_eq!(table.nodes[0].name, "a");
    }

    #[test]
    fn what_the_autoscaler_says_of_a_node_is_not_judged_anew() {
        let nodes = vec![node("a", &json!({})), node("b", &json!({}))];
        let bare = json!({"metadata": {"ownerReferences": null}});
        let pods = Vec::from(["a", "b"].map(|on| pod(on, on, "100m", &bare)));
        let told = json!({"metadata": {"name": "a"}, "summary": "it stays: a pod is bare"});
        let picture = picture(nodes, pods).with_told(vec![told], Vec::new());
        let rows = table(&picture, &BTreeMap::new()).nodes;
        assert_eq!(rows[0].why, "a pod is bare");
        assert!(rows[1].why.starts_with("pod default/b "), "{}", rows[1].why);
    }
}
