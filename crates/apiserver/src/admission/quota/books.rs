//! The accounts of all namespaces that have quotas, kept up to date from the store's events.

use super::account::{Account, ByQuota, Exceeded, Item};
use super::rule::{Rule, Stored};
use super::usage;
use crate::admission::follow::Followed;
use crate::server::ApiServer;
use crate::store::{Change, Entry, Event, ListQuery, Store, Watch};
use parking_lot::Mutex;
use plimsoll_api::kind::{Kind, Kinds};
use plimsoll_api::resources::Amounts;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;

/// Quotas, and what is used of them.
#[derive(Debug)]
pub(crate) struct Books {
    quotas: Followed<Stored>,
    open: Mutex<Open>,
    /// Told when a write made more resources count.
    grown: Notify,
}

#[derive(Debug, Default)]
struct Open {
    /// The counted resources by storage name.
    tracked: BTreeMap<Arc<str>, Tracker>,
    accounts: BTreeMap<Arc<str>, Account>,
    /// Namespaces whose usage moved since it was last shown.
    moved: BTreeSet<Arc<str>>,
    /// What was served when the counted resources were last looked up.
    kinds: Option<Arc<Kinds>>,
}

#[derive(Debug)]
struct Tracker {
    kind: Arc<Kind>,
    watch: Watch,
}

impl Books {
    /// Books over what the store holds.
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            quotas: Followed::new(store, "resourcequotas", Stored::parse),
            open: Mutex::default(),
            grown: Notify::new(),
        }
    }

    /// The quotas of a namespace.
    pub(super) fn quotas(&self, namespace: &str) -> Vec<Arc<Stored>> {
        self.quotas.in_namespace(namespace)
    }

    /// Namespaces that have quotas.
    pub(super) fn namespaces(&self) -> Vec<Arc<str>> {
        self.quotas.namespaces()
    }

    /// Promises a write what it needs.
    pub(super) fn promise(
        &self,
        server: &ApiServer,
        namespace: &str,
        (item, usage): (Item, ByQuota),
    ) -> Result<u64, Exceeded> {
        let mut open = self.open.lock();
        let before = open.tracked.len();
        let account = open.account(server, namespace, &self.quotas(namespace));
        let number = account.map_or(Ok(0), |account| account.promise(item, usage));
        if open.tracked.len() != before {
            self.grown.notify_one();
        }
        number
    }

    /// Waits until a write made more resources count: a kind that a quota names has come to be
    /// served.
    pub(super) async fn grown(&self) {
        self.grown.notified().await;
    }

    /// Ends a promise.
    pub(super) fn release(&self, namespace: &str, number: u64) {
        if let Some(account) = self.open.lock().accounts.get_mut(namespace) {
            account.release(number);
        }
    }

    /// What stored objects use of a namespace's quotas.
    pub(super) fn used(&self, server: &ApiServer, namespace: &str) -> Vec<(Arc<Stored>, Amounts)> {
        let quotas = self.quotas(namespace);
        let mut open = self.open.lock();
        let Some(account) = open.account(server, namespace, &quotas) else {
            return Vec::new();
        };
        let used = |quota: Arc<Stored>| {
            let used = account.used(&quota.rule.name);
            (quota, used)
        };
        quotas.into_iter().map(used).collect()
    }

    /// Namespaces whose usage moved since the last call.
    pub(super) fn moved(&self) -> BTreeSet<Arc<str>> {
        let mut open = self.open.lock();
        open.catch_up();
        std::mem::take(&mut open.moved)
    }

    /// Storage names of the counted resources.
    pub(super) fn tracked(&self) -> Vec<Arc<str>> {
        self.open.lock().tracked.keys().cloned().collect()
    }
}

impl Open {
    /// The account of a namespace, up to date; `None` without quotas.
    fn account(
        &mut self,
        server: &ApiServer,
        namespace: &str,
        quotas: &[Arc<Stored>],
    ) -> Option<&mut Account> {
        let rules: Vec<Arc<Rule>> = quotas.iter().map(|q| Arc::clone(&q.rule)).collect();
        if rules.is_empty() {
            self.accounts.remove(namespace);
            if self.accounts.is_empty() {
                self.tracked.clear();
            }
            return None;
        }
        self.catch_up();
        let known = self.accounts.get(namespace);
        let is_current = known.is_some_and(|account| account.rules == rules);
        // What a name counts can only change with the rules or with what is served.
        let kinds = server.kinds();
        let same_kinds = self
            .kinds
            .as_ref()
            .is_some_and(|old| Arc::ptr_eq(old, &kinds));
        let tracks_more = !(is_current && same_kinds) && self.track(server, &rules);
        self.kinds = Some(kinds);
        if tracks_more || !is_current {
            self.rebuild(server.store(), namespace, rules);
            // What happened while the account was being built.
            self.catch_up();
        }
        self.accounts.get_mut(namespace)
    }

    /// Follows every resource that the rules count; whether one was not followed before.
    fn track(&mut self, server: &ApiServer, rules: &[Arc<Rule>]) -> bool {
        let mut is_new = false;
        for name in rules.iter().flat_map(|rule| rule.hard.keys()) {
            let (group, plural) = usage::counted_by(name);
            let Some(kind) = server.stored_kind(group, plural) else {
                continue;
            };
            if self.tracked.contains_key(&kind.storage) {
                continue;
            }
            let store = server.store();
            let Ok(watch) = store.watch(&kind.storage, store.revision()) else {
                continue;
            };
            is_new = true;
            self.tracked
                .insert(Arc::clone(&kind.storage), Tracker { kind, watch });
        }
        if is_new {
            // Accounts that were built without it count too little of it.
            for account in self.accounts.values_mut() {
                account.rules.clear();
            }
        }
        is_new
    }

    fn rebuild(&mut self, store: &Store, namespace: &str, rules: Vec<Arc<Rule>>) {
        let mut account = Account::new(rules);
        for (storage, tracker) in &self.tracked {
            let query = ListQuery {
                resource: Arc::clone(storage),
                namespace: Some(namespace.into()),
                ..ListQuery::default()
            };
            let page = store.list(&query).map(|page| page.entries);
            for entry in page.unwrap_or_default() {
                let usage = usage_of(&tracker.kind, &account.rules, &entry);
                account.record((Arc::clone(storage), Arc::clone(&entry.key.name)), usage);
            }
        }
        if let Some(old) = self.accounts.remove(namespace) {
            account.keep_promises(old);
        }
        self.accounts.insert(namespace.into(), account);
        self.moved.insert(namespace.into());
    }

    /// Takes in what happened since the last look.
    fn catch_up(&mut self) {
        let Self {
            tracked,
            accounts,
            moved,
            kinds: _,
        } = self;
        let mut lost = false;
        for (storage, tracker) in tracked.iter_mut() {
            loop {
                match tracker.watch.try_next() {
                    Ok(None) => break,
                    Ok(Some(event)) => apply(accounts, moved, (storage, &tracker.kind), &event),
                    Err(_) => {
                        lost = true;
                        break;
                    }
                }
            }
        }
        if lost {
            // History moved past the last look: every account is built anew when it is needed.
            tracked.clear();
            for account in accounts.values_mut() {
                account.rules.clear();
            }
        }
    }
}

fn apply(
    accounts: &mut BTreeMap<Arc<str>, Account>,
    moved: &mut BTreeSet<Arc<str>>,
    (storage, kind): (&Arc<str>, &Kind),
    event: &Event,
) {
    let key = &event.entry.key;
    let Some(account) = accounts.get_mut(&key.namespace) else {
        return;
    };
    let usage = match event.change {
        Change::Put => usage_of(kind, &account.rules, &event.entry),
        Change::Delete => None,
    };
    if account.record((Arc::clone(storage), Arc::clone(&key.name)), usage) {
        moved.insert(Arc::clone(&key.namespace));
    }
}

fn usage_of(kind: &Kind, rules: &[Arc<Rule>], entry: &Entry) -> Option<ByQuota> {
    let object = serde_json::from_slice::<Value>(&entry.json).ok()?;
    Some(by_quota(kind, rules, &object))
}

/// What the object uses of each quota that bounds any of it.
pub(super) fn by_quota(kind: &Kind, rules: &[Arc<Rule>], object: &Value) -> ByQuota {
    let usage = usage::of(kind, object);
    rules
        .iter()
        .map(|rule| (rule, rule.bounded(&usage)))
        .filter(|(rule, bounded)| !bounded.is_empty() && rule.covers(kind, object))
        .map(|(rule, bounded)| (rule.name.clone(), bounded))
        .collect()
}
