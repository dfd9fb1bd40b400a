//! Writing a pod's status: only when it has changed, one write at a time, the newest only.

use super::Node;
use super::cluster::ClusterError;
use super::operate::Site;
use super::state::{PodState, later};
use super::status::{passed, seen_conditions, stamp, status};
use super::view::{Pod, SeenCondition};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A pod that is up within this time is never shown as being created: one write less.
const FIRST_REPORT: SignedDuration = SignedDuration::from_millis(100);

type Write = BoxFuture<'static, (Value, Result<Value, ClusterError>)>;

/// Addresses merge by address: one from an earlier run of this program must be taken out by name.
fn forget_address(patch: &mut Value, old: &str) {
    let new = patch.pointer("/status/podIP").and_then(Value::as_str);
    if old.is_empty() || new == Some(old) || new.is_none() {
        return;
    }
    if let Some(list) = patch
        .pointer_mut("/status/podIPs")
        .and_then(Value::as_array_mut)
    {
        list.push(json!({"$patch": "delete", "ip": old}));
    }
}

/// Conditions merge by type: one that holds no more must be taken out by name.
fn forget_conditions(patch: &mut Value, before: &[SeenCondition]) {
    let gone = patch.get("status").map(|status| passed(status, before));
    let list = patch.pointer_mut("/status/conditions");
    if let (Some(gone), Some(list)) = (gone, list.and_then(Value::as_array_mut)) {
        list.extend(
            gone.iter()
                .map(|kind| json!({"$patch": "delete", "type": kind})),
        );
    }
}

/// What was written and what is being written.
pub(crate) struct Report {
    /// Whether something may have changed since the last look.
    pub(crate) dirty: bool,
    /// Whether nothing is to be written at all (the pod ended before this program started).
    pub(crate) silent: bool,
    /// As text: a tree of it would take ten times the room, for every pod.
    written: Option<Box<str>>,
    conditions: Vec<SeenCondition>,
    writing: Option<Write>,
    creating_until: Timestamp,
    retry_at: Option<Timestamp>,
}

impl Report {
    pub(crate) fn new(pod: &Pod, now: Timestamp) -> Self {
        let creating_until = now.checked_add(FIRST_REPORT).unwrap_or(Timestamp::MAX);
        Self {
            dirty: true,
            silent: false,
            written: None,
            conditions: pod.status.conditions.clone(),
            writing: None,
            creating_until,
            retry_at: None,
        }
    }

    /// Whether the API has the present status.
    pub(crate) fn is_clean(&self, pod: &Pod, state: &PodState, node: &Node) -> bool {
        self.silent
            || (self.writing.is_none()
                && self.has_written(&status(pod, state, node.address, &self.conditions)))
    }

    fn has_written(&self, status: &Value) -> bool {
        let Some(written) = &self.written else {
            return false;
        };
        let now = status.to_string();
        **written == *now
    }

    /// Starts a write where one is due; returns when the next one may be.
    pub(crate) fn start_if_due(
        &mut self,
        site: &Site,
        state: &PodState,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if !self.dirty || self.silent || self.writing.is_some() {
            return None;
        }
        let mut new = status(&site.pod, state, site.node.address, &self.conditions);
        if self.has_written(&new) {
            self.dirty = false;
            return None;
        }
        let creating = self.written.is_none() && new.get("phase").is_some_and(|p| p == "Pending");
        let not_before = self.retry_at.or(creating.then_some(self.creating_until));
        if let Some(at) = not_before.filter(|at| now < *at) {
            return Some(at);
        }
        self.retry_at = None;
        self.dirty = false;
        stamp(&mut new, now);
        let mut patch = json!({"metadata": {"uid": site.pod.metadata.uid}, "status": new});
        forget_address(&mut patch, &site.pod.status.pod_ip);
        forget_conditions(&mut patch, &self.conditions);
        let address = format!("{}/status", site.pod.path());
        let cluster = site.shared.cluster.clone();
        self.writing =
            Some(async move { (new, cluster.strategic(&address, &patch).await) }.boxed());
        None
    }

    /// Waits for the write in flight. Returns whether the pod turned out to be gone.
    pub(crate) async fn written(&mut self, now: Timestamp) -> bool {
        let Some(writing) = self.writing.as_mut() else {
            return std::future::pending().await;
        };
        let (new, result) = writing.await;
        self.writing = None;
        match result {
            Ok(_) => {
                self.conditions = seen_conditions(&new);
                self.written = Some(new.to_string().into());
                false
            }
            // 409: the uid differs, so this pod is gone and another has its name.
            Err(error) if matches!(error.code(), Some(404 | 409)) => true,
            Err(error) => {
                tracing::warn!(error = ?error, "pod status not written");
                self.dirty = true;
                self.retry_at = Some(later(now, 1));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_an_earlier_run_is_taken_out_by_name() {
        let fresh = json!({"status": {"podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}]}});
        let mut patch = fresh.clone();
        forget_address(&mut patch, "10.0.0.2");
        assert_eq!(patch, fresh);
        forget_address(&mut patch, "10.0.0.9");
        assert_eq!(
            patch["status"]["podIPs"][1],
            json!({"$patch": "delete", "ip": "10.0.0.9"})
        );
    }

    #[test]
    fn a_condition_that_holds_no_more_is_taken_out_by_name() {
        let mut patch = json!({"status": {"conditions": [{"type": "Ready"}]}});
        let before = ["Ready", "PodResizePending"].map(|kind| SeenCondition {
            kind: kind.to_owned(),
            ..SeenCondition::default()
        });
        forget_conditions(&mut patch, &before);
        let want = json!([{"type": "Ready"}, {"$patch": "delete", "type": "PodResizePending"}]);
        assert_eq!(patch["status"]["conditions"], want);
    }
}
