//! Nodes and groups as people read them.

use super::judge::{NodeReport, Obstacle, Shares};
use super::money;
use serde_json::Value;

/// Steps of a group's last growth that are printed.
const STEPS: usize = 12;
/// Changes of a group's size that are printed.
const CHANGES: usize = 5;

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl DoubleEndedIterator<Item = &'a Value> {
    let found = object.pointer(pointer).and_then(Value::as_array);
    found.into_iter().flatten()
}

fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

/// A sentence with what would lift it below, if anything would.
fn sentence(lines: &mut Vec<String>, said: &str, lift: &str) {
    lines.push(format!("  {said}"));
    if !lift.is_empty() {
        lines.push(format!("        {lift}"));
    }
}

/// Why a node stays or goes, and what becomes of its pods.
pub(crate) fn node_lines(report: &NodeReport) -> Vec<String> {
    let group = match &report.group {
        Some(group) => format!(" of group {group}"),
        None => String::new(),
    };
    let ready = if report.ready { "" } else { ", not ready" };
    let head = format!("node/{}{group}{ready}: {}", report.node, report.summary);
    let mut lines = vec![head];
    if let Some(told) = &report.autoscaler {
        let said = format!(
            "the node autoscaler at {}: {}",
            seconds(text(told, "/time")),
            text(told, "/summary")
        );
        sentence(&mut lines, &said, "");
        let cooldown = text(told, "/cooldown");
        if !cooldown.is_empty() {
            sentence(
                &mut lines,
                &format!("nothing is removed now: {cooldown}"),
                "",
            );
        }
    }
    lines.extend(requests(report));
    for Obstacle { reason, lift } in &report.obstacles {
        sentence(&mut lines, reason, lift);
    }
    lines.extend(pod_lines(report));
    if let Some(price) = report.price_per_hour {
        lines.push(format!("without it: {} less", money::both(price)));
    }
    if !report.unread.is_empty() {
        let unread = report.unread.join(", ");
        lines.push(format!("  could not read {unread}: not considered"));
    }
    lines
}

fn requests(report: &NodeReport) -> Option<String> {
    let used = report.utilization?;
    let shares = |used: &Shares| {
        format!(
            "{:.1} % of its cpu and {:.1} % of its memory",
            used.cpu * 100.0,
            used.memory * 100.0
        )
    };
    let without = report.without_daemon_sets.filter(|other| *other != used);
    let without = without.map_or_else(String::new, |other| {
        format!(", without DaemonSets {}", shares(&other))
    });
    Some(format!(
        "  its pods request {}{without}; it may go up to {:.0} %",
        shares(&used),
        report.threshold * 100.0
    ))
}

/// One line a pod, in columns.
pub(super) fn pod_lines(report: &NodeReport) -> Vec<String> {
    let fate = |pod: &super::judge::PodReport| match (&pod.to, pod.fate) {
        (Some(node), "moves") => format!("moves to {node}"),
        (None, "moves") => "fits nowhere".to_owned(),
        (_, other) => other.to_owned(),
    };
    let rows: Vec<[String; 3]> = report
        .pods
        .iter()
        .map(|pod| [pod.pod.clone(), fate(pod), pod.rule.clone()])
        .collect();
    if rows.is_empty() {
        return vec!["  no pod runs on it".to_owned()];
    }
    let mut lines = vec!["pods:".to_owned()];
    lines.extend(columns(&rows).into_iter().map(|line| format!("  {line}")));
    lines
}

/// Rows in columns, each as wide as its widest cell.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// What is told of a node group.
pub(crate) fn group_lines(told: &Value) -> Vec<String> {
    let name = text(told, "/metadata/name");
    let time = seconds(text(told, "/time"));
    let mut lines = vec![format!(
        "nodegroup/{name}, as of {time}: {}",
        text(told, "/summary")
    )];
    let lift = text(told, "/lift");
    if !lift.is_empty() {
        lines.push(format!("        {lift}"));
    }
    let said = list(told, "/sentences").filter_map(Value::as_str);
    lines.extend(said.map(|sentence| format!("  {sentence}")));
    lines.extend(growth_lines(told));
    let changes: Vec<String> = list(told, "/changes")
        .rev()
        .take(CHANGES)
        .map(change)
        .collect();
    if !changes.is_empty() {
        lines.push("recent changes:".into());
        lines.extend(changes);
    }
    lines
}

/// The newest look at pods that waited, and the one that ordered nodes, if that was another.
fn growth_lines(told: &Value) -> Vec<String> {
    let find = |name: &str| told.get(name).filter(|growth| !growth.is_null());
    let Some(growth) = find("lastGrowth") else {
        return vec!["  no pod has waited for a node yet".to_owned()];
    };
    let (pods, time) = pods_and_time(growth);
    let mut lines = vec![format!("when {pods} last waited for a node, at {time}:")];
    lines.extend(look_lines(growth));
    let order = find("lastOrder").filter(|order| order.get("time") != growth.get("time"));
    if let Some(order) = order {
        let (pods, time) = pods_and_time(order);
        lines.push(format!(
            "when nodes were last ordered, for {pods}, at {time}:"
        ));
        lines.extend(look_lines(order));
    }
    lines
}

fn pods_and_time(growth: &Value) -> (String, String) {
    let pods = growth.get("pods").and_then(Value::as_u64).unwrap_or(0);
    let plural = if pods == 1 { "" } else { "s" };
    (
        format!("{pods} pod{plural}"),
        seconds(text(growth, "/time")),
    )
}

/// What a look came to for a group, and its steps.
fn look_lines(growth: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    sentence(&mut lines, text(growth, "/summary"), text(growth, "/lift"));
    if let Some(option) = growth.get("option").filter(|option| !option.is_null()) {
        let count = |name: &str| option.get(name).and_then(Value::as_u64).unwrap_or(0);
        let note = text(option, "/note");
        let note = if note.is_empty() {
            String::new()
        } else {
            format!(" ({note})")
        };
        let (nodes, pods) = (count("nodes"), count("pods"));
        lines.push(format!(
            "  {nodes} new nodes of it would take {pods} pods{note}"
        ));
    }
    let steps = list(growth, "/trace").filter_map(Value::as_str).take(STEPS);
    lines.extend(steps.map(|step| format!("  - {step}")));
    lines
}

fn change(change: &Value) -> String {
    let number = |pointer: &str| {
        let found = change.pointer(pointer).and_then(Value::as_u64);
        found.unwrap_or_default()
    };
    let error = text(change, "/error");
    let error = if error.is_empty() {
        String::new()
    } else {
        format!(", failed: {error}")
    };
    format!(
        "  {}  {} -> {}  {}{error}",
        seconds(text(change, "/time")),
        number("/from"),
        number("/to"),
        text(change, "/reason")
    )
}

/// One line for each: name, what is thought of it, why.
pub(crate) fn overview(rows: Vec<[String; 3]>, heads: [&str; 3]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let head = heads.map(str::to_owned);
    let all: Vec<[String; 3]> = std::iter::once(head).chain(rows).collect();
    columns(&all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::judge::PodReport;
    use serde_json::json;

    fn report() -> NodeReport {
        NodeReport {
            node: "ng1-b".into(),
            group: Some("ng1".into()),
            ready: true,
            summary: "one thing keeps it".into(),
            utilization: Some(Shares {
                cpu: 0.607,
                memory: 0.12,
                decisive: 0.607,
            }),
            without_daemon_sets: Some(Shares {
                cpu: 0.5,
                memory: 0.1,
                decisive: 0.5,
            }),
            threshold: 0.5,
            price_per_hour: Some(0.0464),
            obstacles: vec![Obstacle {
                reason: "pod default/db has data on the node".into(),
                lift: "annotate it".into(),
            }],
            pods: vec![
                PodReport {
                    pod: "default/web".into(),
                    fate: "moves",
                    rule: "nothing keeps it".into(),
                    reason: None,
                    lift: String::new(),
                    to: Some("ng1-a".into()),
                },
                PodReport {
                    pod: "default/db".into(),
                    fate: "stays",
                    rule: "has data on the node".into(),
                    reason: Some("LocalStorageRequested"),
                    lift: "annotate it".into(),
                    to: None,
                },
            ],
            autoscaler: Some(
                json!({"time": "2026-01-01T12:00:00.5Z", "summary": "it stays",
                "cooldown": "a node was added 2m ago"}),
            ),
            unread: vec!["persistentvolumes".into()],
        }
    }

    #[test]
    fn a_node_reads_as_what_keeps_it_and_its_pods() {
        assert_eq!(
            node_lines(&report()),
            [
                "node/ng1-b of group ng1: one thing keeps it",
                "  the node autoscaler at 2026-01-01T12:00:00Z: it stays",
                "  nothing is removed now: a node was added 2m ago",
                "  its pods request 60.7 % of its cpu and 12.0 % of its memory, without DaemonSets \
                 50.0 % of its cpu and 10.0 % of its memory; it may go up to 50 %",
                "  pod default/db has data on the node",
                "        annotate it",
                "pods:",
                "  default/web  moves to ng1-a  nothing keeps it",
                "  default/db   stays           has data on the node",
                "without it: 0.0464 $/h, 33.87 $/month less",
                "  could not read persistentvolumes: not considered",
            ]
        );
    }

    #[test]
    fn a_group_reads_as_sizes_growth_and_changes() {
        let told = json!({
            "metadata": {"name": "ng1"}, "time": "2026-01-01T12:00:00Z",
            "summary": "4 of 1 to 4 nodes; not considered: max node group size reached",
            "lift": "a larger maximum of the group",
            "sentences": ["healthy: 4 ready"],
            "lastGrowth": {"time": "2026-01-01T11:00:00Z", "pods": 3, "summary": "grown",
                "lift": "", "option": {"nodes": 2, "pods": 3, "note": "waste 41.41 %"},
                "trace": ["3 pods wait"]},
            "lastOrder": {"time": "2026-01-01T10:59:00Z", "pods": 1, "summary": "outvoted",
                "lift": "", "option": null, "trace": ["1 pod waits"]},
            "changes": [{"time": "2026-01-01T11:00:00Z", "from": 2, "to": 4, "reason": "3 pods",
                "error": "no machines"}],
        });
        assert_eq!(
            group_lines(&told),
            [
                "nodegroup/ng1, as of 2026-01-01T12:00:00Z: 4 of 1 to 4 nodes; not considered: max \
                 node group size reached",
                "        a larger maximum of the group",
                "  healthy: 4 ready",
                "when 3 pods last waited for a node, at 2026-01-01T11:00:00Z:",
                "  grown",
                "  2 new nodes of it would take 3 pods (waste 41.41 %)",
                "  - 3 pods wait",
                "when nodes were last ordered, for 1 pod, at 2026-01-01T10:59:00Z:",
                "  outvoted",
                "  - 1 pod waits",
                "recent changes:",
                "  2026-01-01T11:00:00Z  2 -> 4  3 pods, failed: no machines",
            ]
        );
    }
}
