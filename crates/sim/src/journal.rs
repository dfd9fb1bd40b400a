//! Notes every change of a replica count with the reasoning of the autoscaler that made it.

use crate::report::Decision;
use http::Request;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use plimsoll_controllers::pods::DeploymentView;
use plimsoll_controllers::runtime::{Cache, Change, ObjectKey};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Far less than two decisions are apart, and enough for the one at hand to be explained.
pub(crate) const MOMENT: Duration = Duration::from_millis(1);
/// A decision this close to a change of the count made it.
const CLOSE: SignedDuration = SignedDuration::from_millis(500);

/// What has been noted. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    replicas: BTreeMap<ObjectKey, i32>,
    range: Option<(i32, i32)>,
    decisions: Vec<Decision>,
}

struct Moved {
    time: Timestamp,
    deployment: ObjectKey,
    from: i32,
    to: i32,
}

impl Journal {
    /// Starts noting. The returned future must be run for it.
    pub(crate) fn start(
        deployments: &Cache<DeploymentView>,
        client: Client,
        clock: Clock,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let journal = Self::default();
        let (sender, moves) = mpsc::unbounded_channel();
        let own = journal.clone();
        deployments.on_change(move |change| {
            if let Some(moved) = own.count(change, clock.now()) {
                // Nobody listens any more once the run has ended.
                drop(sender.send(moved));
            }
        });
        let explaining = journal.clone().explain(moves, client);
        (journal, explaining)
    }

    /// The decisions so far, and the fewest and most replicas.
    pub(crate) fn take(&self) -> (Vec<Decision>, (i32, i32)) {
        let mut notes = self.0.lock();
        let total = notes.total();
        let decisions = std::mem::take(&mut notes.decisions);
        (decisions, notes.range.unwrap_or((total, total)))
    }

    /// Replicas asked for by the deployments of a namespace.
    pub(crate) fn replicas(&self, namespace: &str) -> i32 {
        let notes = self.0.lock();
        let inside = notes
            .replicas
            .iter()
            .filter(|(key, _)| *key.namespace == *namespace);
        inside.map(|(_, replicas)| replicas).sum()
    }

    fn count(&self, change: &Change<DeploymentView>, time: Timestamp) -> Option<Moved> {
        let mut notes = self.0.lock();
        let before = notes.total();
        let Some(new) = &change.new else {
            notes.replicas.remove(&change.key);
            return None;
        };
        let to = new.replicas;
        let from = notes.replicas.insert(change.key.clone(), to);
        let from = from.filter(|from| *from != to)?;
        let after = notes.total();
        let (min, max) = notes.range.unwrap_or((before, before));
        notes.range = Some((min.min(before).min(after), max.max(before).max(after)));
        let deployment = change.key.clone();
        Some(Moved {
            time,
            deployment,
            from,
            to,
        })
    }

    async fn explain(self, mut moves: mpsc::UnboundedReceiver<Moved>, client: Client) {
        while let Some(moved) = moves.recv().await {
            tokio::time::sleep(MOMENT).await;
            let decision = decided(&client, &moved).await.unwrap_or_else(|| Decision {
                by: "api".to_owned(),
                ..blank(&moved)
            });
            self.0.lock().decisions.push(decision);
        }
    }
}

impl Notes {
    fn total(&self) -> i32 {
        self.replicas.values().sum()
    }
}

fn blank(moved: &Moved) -> Decision {
    Decision {
        time: moved.time,
        deployment: moved.deployment.to_string(),
        current: moved.from,
        desired: moved.to,
        utilization: None,
        by: String::new(),
        reason: String::new(),
        steps: Vec::new(),
    }
}

/// The decision behind a change, if an autoscaler made it.
async fn decided(client: &Client, moved: &Moved) -> Option<Decision> {
    let Moved {
        time,
        deployment,
        to,
        ..
    } = moved;
    let namespace = &deployment.namespace;
    let group = format!("/apis/autoscaling/v2/namespaces/{namespace}");
    let hpas = get(client, &format!("{group}/horizontalpodautoscalers")).await?;
    let names = hpas.get("items")?.as_array()?.iter().filter_map(|hpa| {
        let target = hpa.pointer("/spec/scaleTargetRef")?;
        let is_ours = target.get("kind")? == "Deployment"
            && *target.get("name")?.as_str()? == *deployment.name;
        hpa.pointer("/metadata/name")?.as_str().filter(|_| is_ours)
    });
    for name in names {
        let group = format!("/apis/explain.plimsoll.dev/v1alpha1/namespaces/{namespace}");
        let path = format!("{group}/horizontalpodautoscalers/{name}");
        let Some(explanation) = get(client, &path).await else {
            continue;
        };
        let at: Option<Timestamp> = explanation
            .get("time")
            .and_then(Value::as_str)
            .and_then(|at| at.parse().ok());
        let is_close = at.is_some_and(|at| time.duration_since(at).abs() < CLOSE);
        let wrote = explanation
            .pointer("/decision/write")
            .and_then(Value::as_i64);
        if is_close && wrote == Some(i64::from(*to)) {
            return Some(told(moved, name, &explanation));
        }
    }
    None
}

/// Reads an explanation; none where it cannot be had.
pub(crate) async fn get(client: &Client, path: &str) -> Option<Value> {
    let request = Request::get(path).body(Vec::new()).ok()?;
    match client.request(request).await {
        Ok(answer) => Some(answer),
        Err(error) => {
            tracing::warn!(path, %error, "not read");
            None
        }
    }
}

fn told(moved: &Moved, hpa: &str, explanation: &Value) -> Decision {
    let texts = |of: &Value| of.as_str().map(str::to_owned);
    let array = |name: &str| {
        explanation
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let measured = array("steps").find(|step| {
        step.get("step").is_some_and(|kind| kind == "measured")
            && step.get("unit").is_some_and(|unit| unit == "percent")
    });
    Decision {
        utilization: measured.and_then(|step| step.get("value")?.as_i64()),
        by: format!("hpa/{hpa}"),
        reason: explanation
            .pointer("/decision/reason")
            .and_then(texts)
            .unwrap_or_default(),
        steps: array("sentences").filter_map(texts).collect(),
        ..blank(moved)
    }
}
