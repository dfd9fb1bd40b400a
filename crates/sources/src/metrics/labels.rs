//! Labels of pods and nodes, kept current by watches that ask for metadata only.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// Pause after a failed watch.
const PAUSE: Duration = Duration::from_secs(1);

/// (namespace, name); the namespace is empty for nodes.
pub(super) type Name = (Arc<str>, Arc<str>);
/// Label keys and values.
pub(super) type Labels = BTreeMap<String, String>;

/// The labels of every object of one kind.
#[derive(Debug, Clone, Default)]
pub(super) struct LabelTable(Arc<RwLock<BTreeMap<Name, Arc<Labels>>>>);

impl LabelTable {
    /// The labels of one object; `None` if there is no such object.
    pub(super) fn get(&self, name: &Name) -> Option<Arc<Labels>> {
        self.0.read().get(name).map(Arc::clone)
    }

    /// Every object of a namespace, or all, in order.
    pub(super) fn list(&self, namespace: Option<&str>) -> Vec<(Name, Arc<Labels>)> {
        let table = self.0.read();
        let start: Name = (namespace.unwrap_or_default().into(), "".into());
        table
            .range(start..)
            .take_while(|((found, _), _)| namespace.is_none_or(|wanted| **found == *wanted))
            .map(|(name, labels)| (name.clone(), Arc::clone(labels)))
            .collect()
    }

    pub(super) fn put(&self, name: Name, labels: Labels) {
        self.0.write().insert(name, Arc::new(labels));
    }

    /// Follows the pods of the cluster, for ever.
    pub(super) async fn follow_pods(self, client: Client) {
        self.follow::<Pod>(Api::all(client)).await;
    }

    /// Follows the nodes of the cluster, for ever.
    pub(super) async fn follow_nodes(self, client: Client) {
        self.follow::<Node>(Api::all(client)).await;
    }

    async fn follow<K>(self, api: Api<PartialObjectMeta<K>>)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut events = pin!(watcher(api, watcher::Config::default()));
        let mut listed = BTreeSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    let name = name_of(object.meta());
                    listed.insert(name.clone());
                    self.put(name, object.metadata.labels.unwrap_or_default());
                }
                Ok(Event::InitDone) => {
                    let listed = std::mem::take(&mut listed);
                    self.0.write().retain(|name, _| listed.contains(name));
                }
                Ok(Event::Apply(object)) => {
                    let name = name_of(object.meta());
                    self.put(name, object.metadata.labels.unwrap_or_default());
                }
                Ok(Event::Delete(object)) => {
                    self.0.write().remove(&name_of(object.meta()));
                }
                Err(error) => {
                    tracing::debug!(kind = %K::kind(&()), %error, "metadata watch failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn name_of(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Name {
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    (
        namespace.into(),
        meta.name.as_deref().unwrap_or_default().into(),
    )
}
