//! `CapacityQuota`s: how much the nodes with certain labels may come to (reference §14).
//!
//! What they say is a [`Quota`] beside those that the flags make, so that growth, replacement,
//! explanations and what-ifs heed all alike. A quota that cannot be understood is not in force; its
//! status says so. A change is looked at at once.

mod status;
mod view;

use super::conditions::says;
use super::readable::{Readable, readable};
use super::work::Work;
use crate::runtime::Cache;
use jiff::Timestamp;
use kube::Client;
use plimsoll_engine::cluster::Quota;
use serde_json::json;
use std::time::Duration;

pub(super) use view::QuotaView;

/// Waits until it is known which quotas there are, for `patience` at most; returns whether it is.
/// Where the kind is not served there are none; they come when it is.
pub(super) async fn known(client: &Client, cache: &Cache<QuotaView>, patience: Duration) -> bool {
    match readable::<view::QuotaWire>(client, patience).await {
        Readable::Undefined => true,
        Readable::No => cache.is_ready(),
        Readable::Yes => tokio::time::timeout(patience, cache.ready()).await.is_ok(),
    }
}

impl Work {
    /// Takes over what quotas say now, after those of the flags.
    pub(super) fn take_quotas(&mut self) {
        if self.awaits_quotas {
            if self.own.quotas.as_ref().is_some_and(Cache::is_ready) {
                tracing::info!("CapacityQuotas can be read now");
                self.awaits_quotas = false;
                self.world.quotas_changed = true;
            } else {
                let why = "No node is added: it is not known which CapacityQuotas there are. The \
                    right to get, list and watch capacityquotas.autoscaling.x-k8s.io may be missing";
                self.told.trouble("CapacityQuotasUnknown", why.to_owned());
            }
        }
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
