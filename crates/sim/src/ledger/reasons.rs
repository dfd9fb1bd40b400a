//! Why the autoscaler did what was noted, asked of itself.

use super::Book;
use crate::journal::{self, MOMENT};
use crate::node_report::{NodeChange, NodeEvent};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedReceiver;

/// A change of a group's size this close to an order made it.
const CLOSE: SignedDuration = SignedDuration::from_secs(5);

/// Looks up the reasons of entries, a moment after they were made.
pub(super) async fn explain(
    book: Arc<Mutex<Book>>,
    mut asked: UnboundedReceiver<usize>,
    client: Client,
) {
    while let Some(entry) = asked.recv().await {
        tokio::time::sleep(MOMENT).await;
        let Some(change) = book.lock().changes.get(entry).cloned() else {
            continue;
        };
        let steps = reasons(&client, &change).await;
        if let Some(noted) = book.lock().changes.get_mut(entry) {
            noted.steps = steps;
        }
    }
}

/// Why the autoscaler did it, in its own words; nothing if it does not say.
async fn reasons(client: &Client, change: &NodeChange) -> Vec<String> {
    const ROOT: &str = "/apis/explain.plimsoll.dev/v1alpha1";
    let path = match &change.node {
        Some(node) => format!("{ROOT}/nodes/{node}"),
        None => format!("{ROOT}/nodegroups/{}", change.group),
    };
    let Some(explanation) = journal::get(client, &path).await else {
        return Vec::new();
    };
    let reasons = match change.event {
        NodeEvent::Ordered { from, to } => order(&explanation, change.time, (from, to)),
        NodeEvent::Failed
        | NodeEvent::Joined { .. }
        | NodeEvent::Leaving
        | NodeEvent::Spared
        | NodeEvent::Removed
        | NodeEvent::Trouble => removal(&explanation),
    };
    reasons.unwrap_or_default()
}

/// The reason of a change of a group's size, and the steps that led to it.
fn order(group: &Value, time: Timestamp, (from, to): (usize, usize)) -> Option<Vec<String>> {
    let made = |change: &&Value| {
        let at = change.get("time").and_then(Value::as_str);
        let at: Option<Timestamp> = at.and_then(|at| at.parse().ok());
        change.get("from") == Some(&from.into())
            && change.get("to") == Some(&to.into())
            && at.is_some_and(|at| time.duration_since(at).abs() < CLOSE)
    };
    let change = group.get("changes")?.as_array()?.iter().rfind(made)?;
    let trace = change.get("trace").and_then(Value::as_array);
    let steps = change.get("reason").into_iter();
    let steps = steps.chain(trace.into_iter().flatten());
    Some(
        steps
            .filter_map(|step| Some(step.as_str()?.to_owned()))
            .collect(),
    )
}

/// Why a node goes, and where its pods fit.
fn removal(node: &Value) -> Option<Vec<String>> {
    let mut steps = vec![node.get("summary")?.as_str()?.to_owned()];
    let moves = node.pointer("/removal/moves").and_then(Value::as_array);
    for moved in moves.into_iter().flatten() {
        let (pod, to) = (moved.get("pod")?.as_str()?, moved.get("node")?.as_str()?);
        steps.push(format!("pod {pod} fits on {to}"));
    }
    Some(steps)
}
