//! Whether a node takes a pod on.

use super::demand;
use super::events::Severity;
use super::evicting;
use super::ledger::Shortage;
use super::resize::Resize;
use super::state::{FailedAt, PodFailure};
use super::worker::Worker;

impl Worker {
    /// Takes the pod on if the node has room for it; else the pod fails at once.
    pub(super) fn admit(&mut self) {
        if self.state.over {
            return;
        }
        if let Some(why) = evicting::refusal(&self.site.node, self.pod()) {
            return self.reject("Evicted", &why);
        }
        let left = Resize::left(self.pod());
        let wanted = match &left {
            Some(resize) => demand::of_allocated(self.pod(), &resize.allocated),
            None => demand::of_pod(self.pod()),
        };
        let uid = &self.pod().metadata.uid;
        let admitted = self.site.node.ledger.lock().admit(uid, wanted);
        let Err(shortage) = admitted else {
            return self.take_up_resize(left);
        };
        let message = shortage.to_string();
        let reason = match shortage {
            Shortage {
                resource: "cpu", ..
            } => "OutOfcpu",
            Shortage {
                resource: "memory", ..
            } => "OutOfmemory",
            Shortage { .. } => "OutOfpods",
        };
        self.reject(reason, &message);
    }

    fn reject(&mut self, reason: &'static str, message: &str) {
        self.event(None, Severity::Warning, (reason, message.to_owned()));
        self.state.failed = Some(PodFailure {
            reason,
            message: format!("Pod was rejected: {message}"),
            at: FailedAt::Admission,
        });
    }
}
