//! Deletes finished Jobs when their time to live is over, together with their pods.

use crate::job::{JobView, JobWire};
use crate::runtime::{Action, Change, Deletion, ObjectKey, Queue, Reconcile, WriteError, run};
use crate::supervisor::Context;
use jiff::{SignedDuration, Timestamp};
use kube::api::PropagationPolicy;
use std::sync::Arc;
use std::time::Duration;

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let add = queue.clone();
    let jobs = &context.caches.jobs.all;
    jobs.on_change(move |change: &Change<JobView>| {
        if change.new.as_ref().is_some_and(|job| expiry(job).is_some()) {
            add.add(change.key.clone());
        }
    });
    jobs.ready().await;
    match run(Arc::new(Expired { context }), queue).await {}
}

/// When a finished Job is to be deleted, if ever.
fn expiry(job: &JobView) -> Option<Timestamp> {
    let ttl = job.spec.ttl_seconds.filter(|_| !job.meta.is_deleting())?;
    let ended = job.status.end()?.last_transition_time?;
    ended.checked_add(SignedDuration::from_secs(ttl)).ok()
}

struct Expired {
    context: Context,
}

impl Reconcile for Expired {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "ttl-after-finished"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let Some(job) = self.context.caches.jobs.all.get(key) else {
            return Ok(Action::Wait);
        };
        let Some(expiry) = expiry(&job) else {
            return Ok(Action::Wait);
        };
        let left = expiry.duration_since(self.context.clock.now());
        if let Ok(left) = Duration::try_from(left)
            && !left.is_zero()
        {
            return Ok(Action::Requeue(left));
        }
        // A time to live that was prolonged a moment ago must count: nobody may have changed the
        // Job since it was read.
        let deletion = Deletion {
            propagation: Some(PropagationPolicy::Foreground),
            revision: Some(job.meta.revision),
            ..Deletion::of(&job.meta.uid)
        };
        match self.context.writer.delete::<JobWire>(key, &deletion).await {
            Err(error) if error.is_conflict() => Ok(Action::Requeue(Duration::from_millis(100))),
            outcome => outcome.map(|()| Action::Wait),
        }
    }
}
