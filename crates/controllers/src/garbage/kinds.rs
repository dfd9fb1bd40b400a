//! The kinds whose objects are collected: those served at the start, and custom ones as their
//! definitions come and go.

use crate::runtime::ServedKind;
use futures::StreamExt;
use kube::core::DynamicObject;
use kube::core::discovery::ApiResource;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::Value;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// Pause after a failed watch.
const PAUSE: Duration = Duration::from_secs(1);

/// Kinds by position; a position stays what it is, so that nodes can refer to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Kinds(Arc<Mutex<Vec<Arc<ServedKind>>>>);

impl Kinds {
    pub(super) fn get(&self, position: usize) -> Option<Arc<ServedKind>> {
        self.0.lock().get(position).map(Arc::clone)
    }

    /// The kind of this group and name; of several versions the one seen last.
    pub(super) fn find(&self, group: &str, kind: &str) -> Option<Arc<ServedKind>> {
        let kinds = self.0.lock();
        let mut found = kinds.iter().rev();
        found
            .find(|k| k.group == group && k.kind == kind)
            .map(Arc::clone)
    }

    /// The position of a kind, added if it is new.
    pub(super) fn place(&self, kind: ServedKind) -> usize {
        let mut kinds = self.0.lock();
        if let Some(position) = kinds.iter().position(|known| **known == kind) {
            return position;
        }
        kinds.push(Arc::new(kind));
        kinds.len() - 1
    }
}

/// Calls `see` with the kind of every definition that is established, now and whenever one
/// changes. Runs for ever.
pub(super) async fn follow_definitions(client: Client, mut see: impl FnMut(ServedKind)) {
    let resource = ApiResource {
        group: "apiextensions.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "apiextensions.k8s.io/v1".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        plural: "customresourcedefinitions".to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut events = pin!(watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::InitApply(definition) | Event::Apply(definition)) => {
                if let Some(kind) = established(&definition.data) {
                    see(kind);
                }
            }
            Ok(Event::Init | Event::InitDone | Event::Delete(_)) => {}
            Err(error) => {
                tracing::debug!(%error, "watch of definitions failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The kind that an established definition serves, in the version it stores if that is served.
fn established(definition: &Value) -> Option<ServedKind> {
    let conditions = definition.pointer("/status/conditions")?.as_array()?;
    let is_established = conditions.iter().any(|c| {
        c.get("type") == Some(&"Established".into()) && c.get("status") == Some(&"True".into())
    });
    if !is_established {
        return None;
    }
    let text = |path: &str| Some(definition.pointer(path)?.as_str()?.to_owned());
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let has = |version: &Value, flag: &str| version.get(flag) == Some(&Value::Bool(true));
    let mut served = versions.iter().filter(|v| has(v, "served"));
    let first = served.clone().next()?;
    let version = served.find(|v| has(v, "storage")).unwrap_or(first);
    let verbs = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    Some(ServedKind {
        group: text("/spec/group")?,
        plural: text("/status/acceptedNames/plural")?,
        version: version.get("name")?.as_str()?.to_owned(),
        kind: text("/status/acceptedNames/kind")?,
        namespaced: text("/spec/scope")? == "Namespaced",
        verbs: verbs.iter().map(ToString::to_string).collect(),
    })
}
