//! `CapacityQuota`s: how much the nodes with certain labels may come to (reference §14).
//!
//! What they say is a [`Quota`] beside those that the flags make, so that growth, replacement,
//! explanations and what-ifs heed all alike. A quota that cannot be understood is not in force; its
//! status says so. A change is looked at at once.

mod status;
mod view;

use super::conditions::says;
use super::work::Work;
use crate::runtime::Cache;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, Error};
use plimsoll_engine::cluster::Quota;
use serde_json::json;
use std::time::Duration;

pub(super) use view::QuotaView;

/// How often it is asked, and how long after each time, whether a kind that is not served has only
/// just been defined.
const ASKED: (u32, Duration) = (10, Duration::from_millis(100));

/// Waits until it is known which quotas there are. Where the kind is not served there are none; they
/// come when it is.
pub(super) async fn known(client: &Client, cache: &Cache<QuotaView>) {
    let api: Api<view::QuotaWire> = Api::all(client.clone());
    let (times, pause) = ASKED;
    for _ in 0..times {
        let answer = api.list(&ListParams::default().limit(1)).await;
        if !matches!(&answer, Err(Error::Api(status)) if status.code == 404) {
            if let Err(error) = answer {
                tracing::warn!(%error, "CapacityQuotas cannot be read yet");
            }
            return cache.ready().await;
        }
        tokio::time::sleep(pause).await;
    }
    tracing::warn!(
        "no CapacityQuota is in force: their definition, \
         capacityquotas.autoscaling.x-k8s.io, is not there"
    );
}

impl Work {
    /// Takes over what quotas say now, after those of the flags.
    pub(super) fn take_quotas(&mut self) {
        if !std::mem::take(&mut self.world.quotas_changed) {
            return;
        }
        let mut quotas = self.own_quotas.clone();
        let objects = self.own.quotas.iter().flat_map(|cache| cache.list(None));
        let live = objects.filter(|view| !view.meta.is_deleting());
        quotas.extend(live.filter_map(|view| view.rule.clone().ok()));
        self.options.growth.quotas = quotas;
    }

    /// Tells what each quota comes to: explanations, and its status where that is not so yet.
    pub(super) async fn tell_quotas(&self, now: Timestamp) {
        let Some(cache) = self.own.quotas.clone() else {
            return;
        };
        let nodes = self.world.listed();
        let mut explained = Vec::new();
        for view in cache.list(None) {
            if view.meta.is_deleting() {
                continue;
            }
            let rule: Result<&Quota, &String> = view.rule.as_ref();
            let used = rule.map(|quota| {
                let used = quota.used(&nodes, &self.world.snapshot);
                explained.push((quota.clone(), used.clone()));
                used
            });
            let wanted = status::wanted(&view, used, now);
            if self.options.observe_only || says(&view.status, &wanted) {
                continue;
            }
            let patch = json!({ "status": wanted });
            let key = &view.meta.key;
            let writer = &self.context.writer;
            let written = writer.patch_subresource(&cache, key, "status", &patch);
            if let Err(error) = written.await {
                tracing::warn!(%error, quota = %key.name, "the status of a quota is not written");
            }
        }
        self.signals.explanations.quotas(explained);
    }
}
