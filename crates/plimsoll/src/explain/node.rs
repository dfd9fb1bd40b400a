//! `explain node/NAME` and `explain nodegroup/NAME`: why a node stays or goes, why a group grew or
//! did not.

use super::live::Asked;
use super::subject::Subject;
use super::{ExplainArgs, Format, print};
use crate::nodes::{
    EXPLANATIONS, Given, NodeReport, Picture, group_lines, judge, node_lines, overview,
};
use crate::output::say;
use crate::reach::Cluster;
use anyhow::bail;
use plimsoll_clock::Clock;
use serde_json::Value;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// A node, or all.
    Node(Option<String>),
    /// A node group, or all.
    Group(Option<String>),
}

/// The node or group that a target names, if it is one.
pub(super) fn about(target: &str) -> Option<About> {
    let (kind, name) = match target.split_once('/') {
        Some((kind, name)) => (kind, Some(name.to_owned())),
        None => (target, None),
    };
    match kind {
        "node" | "nodes" | "no" => Some(About::Node(name)),
        "nodegroup" | "nodegroups" | "ng" => Some(About::Group(name)),
        _ => None,
    }
}

/// Explains it, or follows what is decided about it.
pub(super) async fn run(about: About, args: &ExplainArgs) -> anyhow::Result<()> {
    if let About::Node(Some(name)) | About::Group(Some(name)) = &about
        && (name.is_empty() || name.contains('/'))
    {
        bail!("{name:?} is no name of a node or node group");
    }
    if !args.offline.offline.is_empty() {
        bail!("nodes are explained as of now: leave out --offline");
    }
    let cluster = args.reach.cluster().await?;
    if args.watch || args.last.is_some() {
        let subject = match about {
            About::Node(name) => Subject::node(name),
            About::Group(name) => Subject::group(name),
        };
        let asked = Asked {
            cluster,
            subject,
            every_namespace: false,
            format: args.output,
        };
        return match (&args.last, args.watch) {
            (last, true) => asked.watch(last.as_deref()).await,
            (last, false) => asked.log(last.as_deref().unwrap_or_default()).await,
        };
    }
    match about {
        About::Node(Some(name)) => node(&cluster, &name, args.output).await,
        About::Node(None) => nodes(&cluster, args.output).await,
        About::Group(name) => group(&cluster, name.as_deref(), args.output).await,
    }
}

async fn node(cluster: &Cluster, name: &str, format: Option<Format>) -> anyhow::Result<()> {
    let picture = Picture::read(cluster, Clock::system().now()).await?;
    let report = judge(&picture, &mut Given::new(&picture, &[]), name);
    let Some(report) = report else {
        bail!("there is no node {name:?}");
    };
    print(&report, format, || node_lines(&report))
}

/// One line a node; as a record, everything about each.
async fn nodes(cluster: &Cluster, format: Option<Format>) -> anyhow::Result<()> {
    let picture = Picture::read(cluster, Clock::system().now()).await?;
    let mut given = None;
    if format.is_some() {
        let names = picture.nodes.keys();
        let reports = names.filter_map(|name| judged(&picture, &mut given, name));
        let reports: Vec<NodeReport> = reports.collect();
        return print(&reports, format, Vec::new);
    }
    let rows = picture.nodes.keys();
    let rows = rows
        .map(|name| row(&picture, &mut given, name))
        .collect::<Vec<_>>();
    let lines = overview(rows, ["NAME", "GROUP", "WHY"]);
    if lines.is_empty() {
        say("there is no node");
    }
    lines.iter().for_each(say);
    Ok(())
}

/// A node by itself, as if no other went. What that takes is made when it is first needed.
fn judged(picture: &Picture, given: &mut Option<Given>, name: &str) -> Option<NodeReport> {
    let given = given.get_or_insert_with(|| Given::new(picture, &[]));
    given.forgetting(|given| judge(picture, given, name))
}

/// What the node autoscaler says; only of nodes it does not know, what is in the way.
fn row(picture: &Picture, given: &mut Option<Given>, name: &str) -> [String; 3] {
    let group = picture.nodes.get(name).and_then(|node| node.group.as_ref());
    let group = group.map_or_else(|| "-".to_owned(), ToString::to_string);
    let why = match picture.said_of(name) {
        Some(said) => said.to_owned(),
        None => judged(picture, given, name).map_or_else(String::new, |report| {
            let first = report.obstacles.into_iter().next();
            first.map_or(report.summary, |first| first.reason)
        }),
    };
    [name.to_owned(), group, why]
}

async fn group(
    cluster: &Cluster,
    name: Option<&str>,
    format: Option<Format>,
) -> anyhow::Result<()> {
    let path = format!("{EXPLANATIONS}/nodegroups");
    let Some(list) = cluster.get(&path).await? else {
        bail!(
            "{} tells nothing about node groups: Plimsoll's node autoscaler does not run there",
            cluster.server
        );
    };
    let items = list.get("items").and_then(Value::as_array);
    let items: Vec<&Value> = items.into_iter().flatten().collect();
    let named = |item: &&&Value| item.pointer("/metadata/name").and_then(Value::as_str) == name;
    let Some(name) = name else {
        return print(&list, format, || {
            let rows: Vec<[String; 3]> = items.iter().map(|item| group_row(item)).collect();
            let lines = overview(rows, ["NAME", "SIZE", "WHY"]);
            if lines.is_empty() {
                return vec!["no node group is autoscaled here".to_owned()];
            }
            lines
        });
    };
    let Some(found) = items.iter().find(named) else {
        let known: Vec<&str> = items
            .iter()
            .filter_map(|item| item.pointer("/metadata/name")?.as_str())
            .collect();
        if known.is_empty() {
            bail!("there is no node group {name:?}: none is autoscaled here");
        }
        bail!(
            "there is no node group {name:?}; there are {}",
            known.join(", ")
        );
    };
    print(found, format, || group_lines(found))
}

fn group_row(told: &Value) -> [String; 3] {
    let text = |pointer: &str| told.pointer(pointer).and_then(Value::as_str);
    let size = |name: &str| {
        let found = told.pointer(&format!("/group/{name}"));
        found.and_then(Value::as_u64).unwrap_or_default()
    };
    let why = text("/summary").unwrap_or_default();
    let why = why.split_once("; ").map_or(why, |(_, why)| why);
    [
        text("/metadata/name").unwrap_or_default().to_owned(),
        format!("{} ({}-{})", size("target"), size("min"), size("max")),
        why.to_owned(),
    ]
}

/// Which groups would help a pod that waits, in lines; empty where nobody tells.
pub(super) async fn of_pod(cluster: &Cluster, name: &str) -> anyhow::Result<Option<Value>> {
    let namespace = &cluster.namespace;
    let path = format!("{EXPLANATIONS}/namespaces/{namespace}/pods/{name}");
    cluster.get(&path).await
}

/// What node groups mean to a pod, in lines.
pub(super) fn pod_lines(told: &Value) -> Vec<String> {
    let text = |of: &Value, name: &str| {
        let found = of.get(name).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let mut lines = vec![format!("  new nodes: {}", text(told, "summary"))];
    let groups = told.get("groups").and_then(Value::as_array);
    for group in groups.into_iter().flatten() {
        let (name, reason) = (text(group, "group"), text(group, "reason"));
        lines.push(format!("  node group {name}: {reason}"));
        let lift = text(group, "lift");
        if !lift.is_empty() {
            lines.push(format!("        {lift}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{About, about, group_row, pod_lines};
    use serde_json::json;

    #[test]
    fn nodes_and_groups_have_short_names() {
        let web = Some("web".to_owned());
        assert_eq!(about("node/web"), Some(About::Node(web.clone())));
        assert_eq!(about("ng/web"), Some(About::Group(web)));
        assert_eq!(about("nodegroups"), Some(About::Group(None)));
        assert_eq!(about("hpa/web"), None);
        assert_eq!(about("web"), None);
    }

    #[test]
    fn a_group_is_one_line() {
        let told = json!({"metadata": {"name": "ng1"}, "summary": "2 of 1 to 4 nodes; not needed",
            "group": {"min": 1, "max": 4, "target": 2}});
        assert_eq!(group_row(&told), ["ng1", "2 (1-4)", "not needed"]);
    }

    #[test]
    fn a_pod_hears_about_every_group() {
        let told = json!({"summary": "none of 2 node groups helps it", "groups": [
            {"group": "ng1", "reason": "Insufficient cpu", "lift": "it asks for 2"},
            {"group": "ng2", "reason": "max node group size reached", "lift": ""}]});
        assert_eq!(
            pod_lines(&told),
            [
                "  new nodes: none of 2 node groups helps it",
                "  node group ng1: Insufficient cpu",
                "        it asks for 2",
                "  node group ng2: max node group size reached",
            ]
        );
    }
}
