//! Writes conditions of requests, tells events about them, and deletes those of long ago.

use super::status::patch;
use super::view::RequestWire;
use super::{More, RequestCaches, Verdict};
use crate::nodes::work::Work;
use crate::runtime::{Deletion, ObjectKey, Reference, chain};
use jiff::Timestamp;
use plimsoll_api::provisioning_request::{API_VERSION, KIND};
use std::time::Duration;

/// Most requests that are deleted in one look.
const DELETIONS: usize = 20;

impl Work {
    /// Writes what is news to requests. Conditions come first, then events about them.
    pub(in crate::nodes) async fn tell_requests(&mut self, now: Timestamp) {
        let Some(own) = self.own.requests.clone() else {
            return;
        };
        if self.options.observe_only {
            return;
        }
        let mut failed = false;
        for (key, verdict) in std::mem::take(&mut self.provisioning.verdicts) {
            failed |= !self.tell_request(&own, &key, &verdict, now).await;
        }
        let forgotten = std::mem::take(&mut self.provisioning.forgotten);
        for (key, uid) in forgotten.into_iter().take(DELETIONS) {
            let writer = &self.context.writer;
            let deletion = Deletion::of(&uid);
            if let Err(error) = writer.delete::<RequestWire>(&key, &deletion).await {
                tracing::warn!(error = %chain(&error), request = %key, "an old request stays");
            }
        }
        match self.provisioning.more.take() {
            // What cannot be written is not tried without a pause.
            Some(More::Now) if !failed => self.look_within(Duration::ZERO),
            Some(_) => self.look_within(self.options.pace.calm),
            None => {}
        }
    }

    /// Returns whether it is written.
    async fn tell_request(
        &self,
        own: &RequestCaches,
        key: &ObjectKey,
        verdict: &Verdict,
        now: Timestamp,
    ) -> bool {
        let Some(view) = own.requests.get(key) else {
            return true;
        };
        let news = verdict.news(&view);
        if news.is_empty() {
            return true;
        }
        let patch = patch(&view, verdict, now);
        let writer = &self.context.writer;
        let written = writer.patch_subresource(&own.requests, key, "status", &patch);
        if let Err(error) = written.await {
            let error = chain(&error);
            tracing::warn!(%error, request = %key, "the status of a request is not written");
            return false;
        }
        for said in news {
            let (reason, message) = (said.reason, &said.message);
            tracing::info!("ProvisioningRequest {key}: {reason}: {message}");
            let about = Reference::to(API_VERSION, KIND, &view.meta);
            self.told.say(&about, said.severity(), reason, message);
        }
        true
    }
}
