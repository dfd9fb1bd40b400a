//! Which containers run where: read by logs, exec, attach and by usage sampling.

use super::Node;
use super::state::{PodState, Run};
use super::view::Pod;
use crate::runtime::Runtime;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// (namespace, pod name), as usage samples name pods.
pub(crate) type PodName = (Arc<str>, Arc<str>);

/// What a container does, as far as others must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Not yet, or not again yet.
    Waiting(&'static str),
    /// Running since then, as this container ID.
    Running(Arc<str>, Timestamp),
    /// Ended.
    Ended,
}

/// One container.
#[derive(Debug, Clone)]
pub(crate) struct ContainerEntry {
    pub(crate) name: Arc<str>,
    pub(crate) attempt: u32,
    pub(crate) shown: Shown,
    pub(crate) has_previous: bool,
}

/// One pod.
#[derive(Debug, Clone)]
pub(crate) struct PodEntry {
    pub(crate) uid: Arc<str>,
    pub(crate) node: Arc<Node>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) containers: Vec<ContainerEntry>,
    pub(crate) logs: PathBuf,
}

#[derive(Debug, Default)]
struct Inner {
    pods: BTreeMap<PodName, PodEntry>,
    gone: Vec<PodName>,
}

/// All pods of this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Inner>>);

impl Board {
    /// Notes a pod's containers.
    pub(crate) fn show(&self, name: &PodName, pod: &Pod, state: &PodState, entry: PodEntry) {
        let containers = pod.containers().zip(&state.containers);
        let containers = containers.map(|((_, c), s)| ContainerEntry {
            name: c.name.as_str().into(),
            attempt: s.restarts,
            shown: match &s.run {
                Run::Waiting { reason, .. } => Shown::Waiting(reason),
                Run::Running(live) => Shown::Running(live.id.as_str().into(), live.since),
                Run::Ended(_) => Shown::Ended,
            },
            has_previous: s.last.is_some(),
        });
        let entry = PodEntry {
            containers: containers.collect(),
            ..entry
        };
        self.0.lock().pods.insert(name.clone(), entry);
    }

    /// Forgets a pod, unless a newer one of the same name has taken its place.
    pub(crate) fn forget(&self, name: &PodName, uid: &str) {
        let mut inner = self.0.lock();
        if inner.pods.get(name).is_some_and(|entry| &*entry.uid == uid) {
            inner.pods.remove(name);
            inner.gone.push(name.clone());
        }
    }

    /// One pod.
    pub(crate) fn get(&self, namespace: &str, pod: &str) -> Option<PodEntry> {
        self.0
            .lock()
            .pods
            .get(&(namespace.into(), pod.into()))
            .cloned()
    }

    /// The pods of a node.
    pub(crate) fn of_node(&self, node: &str) -> Vec<(PodName, PodEntry)> {
        let inner = self.0.lock();
        let pods = inner
            .pods
            .iter()
            .filter(|(_, entry)| entry.node.name == node);
        pods.map(|(name, entry)| (name.clone(), entry.clone()))
            .collect()
    }

    /// Calls with every running container: pod, container, container ID, start.
    pub(crate) fn running(&self, mut each: impl FnMut(&PodName, &Arc<str>, &Arc<str>, Timestamp)) {
        let inner = self.0.lock();
        for (name, entry) in &inner.pods {
            for container in &entry.containers {
                if let Shown::Running(id, since) = &container.shown {
                    each(name, &container.name, id, *since);
                }
            }
        }
    }

    /// Pods forgotten since the last call.
    pub(crate) fn take_gone(&self) -> Vec<PodName> {
        std::mem::take(&mut self.0.lock().gone)
    }
}
