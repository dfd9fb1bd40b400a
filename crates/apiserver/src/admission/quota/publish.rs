//! Shows in each quota's status what is used.

use super::rule::Stored;
use crate::resource::own::Own;
use crate::resource::patch::Part;
use crate::server::{ApiServer, key};
use crate::store::{Event, StoreError, Watch};
use futures::future::select_all;
use plimsoll_api::meta;
use plimsoll_api::resources::Amounts;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The shortest time between two looks, so that a burst of writes costs one status.
const PERIOD: Duration = Duration::from_millis(20);

impl ApiServer {
    /// Keeps the status of every ResourceQuota up to date. Runs until dropped; without quotas it
    /// only waits for one.
    pub async fn tend_quotas(&self) {
        loop {
            let mut watches = self.quota_watches();
            if watches.is_empty() {
                return;
            }
            let tracked = self.0.admission.quotas.tracked();
            self.show(self.0.admission.quotas.namespaces().into_iter().collect())
                .await;
            // Showing may have begun to track more.
            if self.0.admission.quotas.tracked() != tracked {
                continue;
            }
            if !self.follow_quotas(&mut watches, &tracked).await {
                return;
            }
        }
    }

    /// Shows what moves until the set of tracked resources changes or history is lost; whether
    /// there is anything left to follow.
    async fn follow_quotas(&self, watches: &mut [Watch], tracked: &[Arc<str>]) -> bool {
        let books = &self.0.admission.quotas;
        loop {
            let events = watches.iter_mut().map(|watch| Box::pin(watch.next()));
            let event = tokio::select! {
                biased;
                (event, ..) = select_all(events) => event,
                () = books.grown() => return true,
            };
            let mut namespaces = BTreeSet::new();
            match event {
                Ok(event) => note(&event, &mut namespaces),
                Err(StoreError::TooSlow) => return true,
                Err(_) => return false,
            }
            for watch in watches.iter_mut() {
                if drain(watch, &mut namespaces).is_err() {
                    return true;
                }
            }
            namespaces.extend(books.moved());
            self.show(namespaces).await;
            if books.tracked() != tracked {
                return true;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Watches of the quotas (first) and of everything they count.
    fn quota_watches(&self) -> Vec<Watch> {
        let store = self.store();
        let from = store.revision();
        let tracked = self.0.admission.quotas.tracked();
        let counted = tracked.iter().map(AsRef::as_ref);
        let names = std::iter::once("resourcequotas").chain(counted);
        names
            .filter_map(|name| store.watch(name, from).ok())
            .collect()
    }

    async fn show(&self, namespaces: BTreeSet<Arc<str>>) {
        for namespace in namespaces {
            for (quota, used) in self.0.admission.quotas.used(self, &namespace) {
                self.show_one(&namespace, &quota, &used).await;
            }
        }
    }

    async fn show_one(&self, namespace: &str, quota: &Stored, used: &Amounts) {
        let used: Amounts = quota
            .rule
            .hard
            .keys()
            .map(|name| (name.clone(), used.get(name).copied().unwrap_or_default()))
            .collect();
        let right = quota.has_status && quota.shown_hard == quota.rule.hard;
        if right && quota.shown_used == used {
            return;
        }
        let Some(kind) = self.stored_kind("", "resourcequotas") else {
            return;
        };
        let own = Own::status(&kind).untracked();
        let writer = own.writer(self);
        let texts: Map<String, Value> = used
            .iter()
            .map(|(name, amount)| (name.clone(), amount.to_string().into()))
            .collect();
        let step = |old: &Value| {
            let mut new = old.clone();
            let status = meta::object_mut(&mut new, &["status"]);
            status.insert("hard".into(), quota.rule.written.clone());
            status.insert("used".into(), texts.clone().into());
            Ok(new)
        };
        let place = key(&kind, namespace, &quota.rule.name);
        if let Err(error) = writer.update(&place, Part::Status, &step).await
            && error.code != 404
        {
            tracing::warn!(%error, namespace, "the status of a quota could not be written");
        }
    }
}

/// Takes every event that is there.
fn drain(watch: &mut Watch, namespaces: &mut BTreeSet<Arc<str>>) -> Result<(), StoreError> {
    while let Some(event) = watch.try_next()? {
        note(&event, namespaces);
    }
    Ok(())
}

/// A changed quota is shown anew; of other objects the books know whether they moved anything.
fn note(event: &Event, namespaces: &mut BTreeSet<Arc<str>>) {
    let key = &event.entry.key;
    if &*key.resource == "resourcequotas" {
        namespaces.insert(Arc::clone(&key.namespace));
    }
}
