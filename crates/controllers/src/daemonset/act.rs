//! Carries a plan out.

use super::body::{pin, pod};
use super::plan::{Because, Step};
use super::view::DaemonSetView;
use super::{DaemonSetError, DaemonSets, reference};
use crate::pods::{PodControl, PodView};
use crate::runtime::WriteError;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most pods created, and most deleted, in one reconcile.
const BURST: usize = 250;

/// What acting needs.
pub(super) struct Work<'a> {
    pub(super) controller: &'a DaemonSets,
    pub(super) set: &'a DaemonSetView,
    /// Hash of the newest template.
    pub(super) hash: &'a str,
    /// The pods by name.
    pub(super) pods: &'a BTreeMap<Arc<str>, Arc<PodView>>,
}

impl Work<'_> {
    /// Does the steps; answers when to look again because of a pause.
    pub(super) async fn carry_out(
        &self,
        steps: Vec<Step>,
        now: Timestamp,
    ) -> Result<Option<Duration>, DaemonSetError> {
        let mut wait: Option<Duration> = None;
        let (mut nodes, mut victims) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Create(node) => nodes.push(node),
                Step::Delete {
                    node,
                    pod: name,
                    because,
                } => {
                    let Some(pod) = self.pods.get(&name) else {
                        continue;
                    };
                    match self.may_go(pod, &node, because, now) {
                        Ok(()) => victims.push(Arc::clone(pod)),
                        Err(left) => wait = Some(wait.map_or(left, |known| known.min(left))),
                    }
                }
            }
        }
        if nodes.len() > BURST || victims.len() > BURST {
            wait = Some(Duration::ZERO);
        }
        nodes.truncate(BURST);
        victims.truncate(BURST);
        let created = self.create(&nodes).await;
        let deleted = self.control().delete(&victims).await;
        created.and(deleted)?;
        Ok(wait)
    }

    /// Whether a pod is deleted now; one that failed waits for its node's pause.
    fn may_go(
        &self,
        pod: &PodView,
        node: &Arc<str>,
        because: Because,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let (about, recorder) = (reference(self.set), &self.controller.recorder);
        let key = &pod.meta.key;
        match because {
            Because::Failed => {
                let place = (Arc::clone(&self.set.meta.uid), Arc::clone(node));
                self.controller.backoff.lock().failed(&place, now)?;
                let message =
                    format!("Found failed daemon pod {key} on node {node}, will try to kill it");
                recorder.warning(&about, "FailedDaemonPod", message);
            }
            Because::Succeeded => {
                let message = format!(
                    "Found succeeded daemon pod {key} on node {node}, will try to delete it"
                );
                recorder.normal(&about, "SucceededDaemonPod", message);
            }
            Because::Surplus | Because::Misplaced | Because::Outdated => {}
        }
        Ok(())
    }

    async fn create(&self, nodes: &[Arc<str>]) -> Result<(), WriteError> {
        if nodes.is_empty() {
            return Ok(());
        }
        let body = pod(self.set, self.hash);
        let bodies: Vec<Value> = nodes.iter().map(|node| pin(body.clone(), node)).collect();
        let namespace = self.set.meta.namespace();
        self.control().create(namespace, &bodies).await
    }

    fn control(&self) -> PodControl<'_> {
        PodControl {
            context: &self.controller.context,
            recorder: &self.controller.recorder,
            owner: reference(self.set),
            doomed: &self.controller.doomed,
        }
    }
}
