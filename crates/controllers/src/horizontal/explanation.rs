//! Why each autoscaler did what it did last: `explain.plimsoll.dev/v1alpha1`.

use super::key::{ScalerKey, ScalerKind};
use crate::runtime::ObjectKey;
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::RwLock;
use plimsoll_api::local::{LocalGroup, LocalRequest, LocalResource};
use plimsoll_api::status::ApiError;
use plimsoll_engine::horizontal::{Decision, Observed, Reading, render};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const GROUP: &str = "explain.plimsoll.dev";
const VERSION: &str = "v1alpha1";
const PLURAL: &str = "horizontalpodautoscalers";
/// Changes remembered per autoscaler.
const REMEMBERED: usize = 32;

/// The last decision of every autoscaler and its recent changes. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Explanations(Arc<RwLock<BTreeMap<ScalerKey, Told>>>);

#[derive(Debug)]
struct Told {
    last: Arc<Record>,
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Record {
    observed: Observed,
    decision: Decision,
}

#[derive(Debug)]
struct Change {
    time: Timestamp,
    from: i32,
    to: i32,
    reason: String,
}

impl Explanations {
    /// Remembers a decision.
    pub(super) fn tell(&self, scaler: &ScalerKey, observed: Observed, decision: Decision) {
        let change = decision.write.map(|to| Change {
            time: observed.now,
            from: decision.status.current_replicas,
            to,
            reason: decision.reason.clone(),
        });
        let last = Arc::new(Record { observed, decision });
        let mut told = self.0.write();
        let entry = told.entry(scaler.clone());
        let entry = entry
            .and_modify(|told| told.last = Arc::clone(&last))
            .or_insert_with(|| Told {
                last,
                changes: VecDeque::new(),
            });
        if let Some(change) = change {
            if entry.changes.len() >= REMEMBERED {
                entry.changes.pop_front();
            }
            entry.changes.push_back(change);
        }
    }

    /// Forgets an autoscaler that is gone.
    pub(super) fn forget(&self, scaler: &ScalerKey) {
        self.0.write().remove(scaler);
    }

    fn get(&self, key: &ScalerKey) -> Option<Value> {
        Some(self.0.read().get(key)?.explanation(&key.object))
    }

    fn list(&self, namespace: Option<&str>) -> Vec<Value> {
        let told = self.0.read();
        told.iter()
            .filter(|(key, _)| key.kind == ScalerKind::Horizontal)
            .filter(|(key, _)| namespace.is_none_or(|wanted| *key.object.namespace == *wanted))
            .map(|(key, told)| told.explanation(&key.object))
            .collect()
    }
}

impl Told {
    fn explanation(&self, key: &ObjectKey) -> Value {
        let Record { observed, decision } = &*self.last;
        let changes: Vec<Value> = self
            .changes
            .iter()
            .map(|c| json!({ "time": c.time, "from": c.from, "to": c.to, "reason": c.reason }))
            .collect();
        let mut told = describe((&key.namespace, &key.name), observed, decision);
        if let Some(map) = told.as_object_mut() {
            map.insert("changes".into(), json!(changes));
        }
        told
    }
}

/// One decision of the autoscaler (namespace, name) in the form of the API.
pub fn describe(
    (namespace, name): (&str, &str),
    observed: &Observed,
    decision: &Decision,
) -> Value {
    json!({
        "kind": "Explanation",
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "metadata": { "name": name, "namespace": namespace },
        "time": observed.now,
        "decision": {
            "replicas": decision.replicas,
            "write": decision.write,
            "reason": decision.reason,
            "error": decision.error,
            "conditions": decision.status.conditions,
        },
        "sentences": render(&decision.trace),
        "steps": decision.trace,
        "inputs": inputs(observed),
    })
}

fn inputs(observed: &Observed) -> Value {
    let scale = match &observed.scale {
        Ok(scale) => json!({
            "specReplicas": scale.spec_replicas,
            "statusReplicas": scale.status_replicas,
            "selector": match &scale.selector {
                plimsoll_engine::horizontal::Selection::Valid(text) => json!(text),
                plimsoll_engine::horizontal::Selection::Missing => Value::Null,
                plimsoll_engine::horizontal::Selection::Invalid(why) => json!({ "error": why }),
            },
        }),
        Err(error) => json!({ "error": error }),
    };
    let readings: Vec<Value> = observed.readings.iter().map(reading).collect();
    let pods: Vec<&Arc<str>> = observed.pods.iter().map(|pod| &pod.name).collect();
    json!({ "scale": scale, "pods": pods, "readings": readings, "memory": observed.memory })
}

fn reading(reading: &Result<Reading, String>) -> Value {
    match reading {
        Ok(Reading::PerPod(samples)) => {
            let samples = samples.iter().map(|sample| {
                json!({ "pod": sample.pod, "milli": sample.value, "timestamp": sample.timestamp })
            });
            json!({ "pods": samples.collect::<Vec<_>>() })
        }
        Ok(Reading::Single(milli)) => json!({ "milli": milli }),
        Ok(Reading::Series(series)) => json!({ "series": series }),
        Err(error) => json!({ "error": error }),
    }
}

#[async_trait]
impl LocalGroup for Explanations {
    fn group(&self) -> &'static str {
        GROUP
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    fn resources(&self) -> Vec<LocalResource> {
        vec![LocalResource {
            plural: PLURAL,
            singular: "",
            kind: "Explanation",
            namespaced: true,
            verbs: &["get", "list"],
            columns: Vec::new(),
            cells: |_, _| Vec::new(),
        }]
    }

    async fn read(&self, request: LocalRequest) -> Result<Value, ApiError> {
        if request.resource != PLURAL {
            return Err(ApiError::no_such_resource());
        }
        let namespace = request.namespace.as_deref();
        let Some(name) = &request.name else {
            let items = self.list(namespace);
            let api_version = format!("{GROUP}/{VERSION}");
            return Ok(json!({
                "kind": "ExplanationList", "apiVersion": api_version, "metadata": {},
                "items": items,
            }));
        };
        let key = ScalerKey::horizontal(ObjectKey::new(namespace.unwrap_or_default(), name));
        self.get(&key)
            .ok_or_else(|| ApiError::not_found(GROUP, PLURAL, name))
    }
}
