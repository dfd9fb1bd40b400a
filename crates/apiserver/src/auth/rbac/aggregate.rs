//! ClusterRoles made of others: `admin`, `edit` and `view` take over the rules of every ClusterRole
//! that carries their label.

use crate::resource::own::Own;
use crate::resource::patch::Part;
use crate::resource::present::parse;
use crate::server::ApiServer;
use crate::store::{Change, Entry, Key, ListQuery};
use plimsoll_api::meta;
use plimsoll_api::selector::LabelSelector;
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

const CLUSTER_ROLES: &str = super::RESOURCES[0];

/// What a ClusterRole's `aggregationRule` selects; empty without one. Selectors that cannot be read
/// select nothing.
fn selectors(role: &Value) -> Vec<LabelSelector> {
    meta::list(role, &["aggregationRule", "clusterRoleSelectors"])
        .iter()
        .filter_map(|selector| LabelSelector::from_object(selector).ok())
        .collect()
}

/// The rules of the selected roles, each once: selector by selector, by name.
pub(super) fn rules(role: &Value, all: &[&Value]) -> Vec<Value> {
    let mut others: Vec<&Value> = all.to_vec();
    others.retain(|other| meta::name(other) != meta::name(role));
    others.sort_by_key(|other| meta::name(other));
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors(role) {
        for other in others.iter().filter(|o| selector.matches_object(o)) {
            for rule in meta::list(other, &["rules"]) {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}

/// The aggregated ClusterRoles, and what they select.
type Aggregated = BTreeMap<Arc<str>, Vec<LabelSelector>>;

impl ApiServer {
    /// Keeps the rules of aggregated ClusterRoles those of the ClusterRoles they select. Runs until
    /// dropped.
    pub async fn aggregate_roles(&self) {
        let query = ListQuery {
            resource: CLUSTER_ROLES.into(),
            ..ListQuery::default()
        };
        // A watcher that fell behind begins again.
        while let Ok((page, mut watch)) = self.store().list_and_watch(&query) {
            let mut aggregated = Aggregated::new();
            for entry in &page.entries {
                note(&mut aggregated, entry);
            }
            let names: Vec<Arc<str>> = aggregated.keys().map(Arc::clone).collect();
            for name in names {
                self.renew(&aggregated, &name).await;
            }
            while let Ok(event) = watch.next().await {
                let entry = &event.entry;
                match event.change {
                    Change::Put => note(&mut aggregated, entry),
                    Change::Delete => drop(aggregated.remove(&entry.key.name)),
                }
                let touched = |entry: &Entry, selectors: &[LabelSelector]| {
                    selectors.iter().any(|s| selects(s, entry))
                };
                let stale: Vec<Arc<str>> = aggregated
                    .iter()
                    .filter(|(name, selectors)| {
                        **name == entry.key.name
                            || touched(entry, selectors)
                            || event
                                .previous
                                .as_deref()
                                .is_some_and(|e| touched(e, selectors))
                    })
                    .map(|(name, _)| Arc::clone(name))
                    .collect();
                for name in stale {
                    self.renew(&aggregated, &name).await;
                }
            }
        }
    }

    /// Writes the rules of one aggregated ClusterRole, if they are not right already.
    async fn renew(&self, aggregated: &Aggregated, name: &Arc<str>) {
        let Some(kind) = self.stored_kind("rbac.authorization.k8s.io", "clusterroles") else {
            return;
        };
        let own = Own::new(&kind);
        let writer = own.writer(self);
        let key = Key {
            resource: CLUSTER_ROLES.into(),
            namespace: "".into(),
            name: Arc::clone(name),
        };
        let step = |old: &Value| {
            let mut role = old.clone();
            let selected = self.selected(aggregated, name)?;
            let rules = rules(old, &selected.iter().collect::<Vec<_>>());
            meta::as_object(&mut role).insert("rules".into(), rules.into());
            Ok(role)
        };
        match writer.update(&key, Part::Main, &step).await {
            Err(error) if error.code != 404 => {
                tracing::warn!(%error, role = %name, "rules could not be aggregated");
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// The ClusterRoles that `name` selects.
    fn selected(&self, aggregated: &Aggregated, name: &str) -> Result<Vec<Value>, ApiError> {
        let query = ListQuery {
            resource: CLUSTER_ROLES.into(),
            ..ListQuery::default()
        };
        let page = self.store().list(&query).map_err(ApiError::internal)?;
        let selectors = aggregated.get(name).map(Vec::as_slice).unwrap_or_default();
        let selected = page
            .entries
            .iter()
            .filter(|entry| selectors.iter().any(|s| selects(s, entry)));
        selected.map(|entry| parse(&entry.json)).collect()
    }
}

fn note(aggregated: &mut Aggregated, entry: &Entry) {
    let has_rule = mentions(&entry.json, b"\"aggregationRule\"");
    let selectors = if has_rule {
        parse(&entry.json)
            .map(|role| selectors(&role))
            .unwrap_or_default()
    } else {
        Vec::new()
    };
    if selectors.is_empty() {
        aggregated.remove(&entry.key.name);
    } else {
        aggregated.insert(Arc::clone(&entry.key.name), selectors);
    }
}

/// Whether `text` occurs: most roles have no aggregation rule and need not be parsed.
fn mentions(json: &[u8], text: &[u8]) -> bool {
    json.windows(text.len()).any(|window| window == text)
}

fn selects(selector: &LabelSelector, entry: &Entry) -> bool {
    let labels = &entry.index.labels;
    selector.matches(|key| {
        let found = labels
            .binary_search_by(|(label, _)| (**label).cmp(key))
            .ok()?;
        labels.get(found).map(|(_, value)| &**value)
    })
}
