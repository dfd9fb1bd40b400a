//! Other servers' groups among ours.

use super::registration::{Origin, Registration, is_built_in, priorities};
use super::remote::Discovered;
use crate::server::ApiServer;
use plimsoll_api::discovery::version_rank;
use plimsoll_api::meta;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The form of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `APIGroupDiscoveryList`.
    Aggregated,
    /// `APIGroupList`.
    Older,
}

/// Adds other servers' groups to `/apis` (either form). `body` stays as it is if there are none.
pub(crate) fn extend_groups(server: &ApiServer, body: &mut Value) {
    let externals = server.0.aggregation.externals();
    if externals.is_empty() {
        return;
    }
    let (form, list) = match meta::text(body, &["kind"]) {
        "APIGroupDiscoveryList" => (Form::Aggregated, "items"),
        "APIGroupList" => (Form::Older, "groups"),
        _ => return,
    };
    let custom = custom_groups(server);
    let mut merged = Merged {
        form,
        groups: BTreeMap::new(),
    };
    for (place, item) in meta::list(body, &[list]).iter().enumerate() {
        merged.take(place, item, &custom);
    }
    let discovered = server.0.aggregation.discovered.read();
    for external in &externals {
        merged.add(external, discovered.get(&external.name).map(AsRef::as_ref));
    }
    meta::as_object(body).insert(list.into(), merged.finish().into());
}

/// Adds other servers' versions to `/apis/GROUP`; `own` is the document of ours, if we serve it.
pub(crate) fn extend_group(server: &ApiServer, group: &str, own: Option<Value>) -> Option<Value> {
    let externals = server.0.aggregation.externals();
    if externals.iter().all(|e| e.group != group) {
        return own;
    }
    let mut list = json!({"kind": "APIGroupList", "groups": own.as_slice()});
    extend_groups(server, &mut list);
    let groups = meta::list(&list, &["groups"]).iter();
    let mut body = groups
        .filter(|item| meta::text(item, &["name"]) == group)
        .cloned();
    let mut body = body.next()?;
    let map = meta::as_object(&mut body);
    map.insert("kind".into(), "APIGroup".into());
    map.insert("apiVersion".into(), "v1".into());
    Some(body)
}

/// Groups that custom resources are in: local ones have another priority.
fn custom_groups(server: &ApiServer) -> Vec<String> {
    let kinds = server.kinds();
    let groups = kinds.iter().map(|k| k.group.to_string());
    groups.filter(|g| !is_built_in(g)).collect()
}

/// One group while documents are merged.
#[derive(Debug)]
struct Group {
    /// Where it was among our own.
    place: usize,
    priority: i64,
    /// By version: priority and entry.
    versions: BTreeMap<String, (i64, Value)>,
    /// Its own fields, apart from the versions.
    head: Value,
    /// Whether another server takes part in it.
    mixed: bool,
}

#[derive(Debug)]
struct Merged {
    form: Form,
    groups: BTreeMap<String, Group>,
}

impl Merged {
    /// Takes one of our own groups in.
    fn take(&mut self, place: usize, item: &Value, custom: &[String]) {
        let name = match self.form {
            Form::Aggregated => meta::name(item),
            Form::Older => meta::text(item, &["name"]),
        };
        let origin = if is_built_in(name) {
            Origin::BuiltIn
        } else if custom.iter().any(|group| group == name) {
            Origin::Custom
        } else {
            Origin::Local
        };
        let versions = meta::list(item, &["versions"]).iter().map(|entry| {
            let version = meta::text(entry, &["version"]).to_owned();
            let (_, priority) = priorities(name, &version, origin);
            (version, (priority, entry.clone()))
        });
        let group = Group {
            place,
            priority: priorities(name, "", origin).0,
            versions: versions.collect(),
            head: item.clone(),
            mixed: false,
        };
        self.groups.insert(name.to_owned(), group);
    }

    /// Adds a version that another server answers for, in place of ours if there is one.
    fn add(&mut self, external: &Registration, discovered: Option<&Discovered>) {
        let name = &external.group;
        if is_built_in(name) {
            return;
        }
        let version = external.version.as_str();
        let entry = match self.form {
            Form::Aggregated => {
                let fresh = external.available && discovered.is_some();
                let resources = discovered.map_or_else(|| json!([]), |d| d.resources.clone());
                json!({
                    "version": version, "resources": resources,
                    "freshness": if fresh { "Current" } else { "Stale" },
                })
            }
            Form::Older => json!({"groupVersion": format!("{name}/{version}"), "version": version}),
        };
        let head = match self.form {
            Form::Aggregated => json!({"metadata": {"name": name}}),
            Form::Older => json!({"name": name}),
        };
        let group = self.groups.entry(name.clone()).or_insert_with(|| Group {
            place: usize::MAX,
            priority: external.group_priority,
            versions: BTreeMap::new(),
            head,
            mixed: true,
        });
        group.mixed = true;
        group.priority = group.priority.max(external.group_priority);
        let value = (external.version_priority, entry);
        group.versions.insert(version.to_owned(), value);
    }

    /// The groups in the order of their priorities.
    fn finish(self) -> Vec<Value> {
        let mut groups: Vec<(String, Group)> = self.groups.into_iter().collect();
        groups.sort_by_key(|(_, group)| (Reverse(group.priority), group.place));
        let form = self.form;
        let items = groups.into_iter().map(|(_, group)| group.item(form));
        items.collect()
    }
}

impl Group {
    fn item(self, form: Form) -> Value {
        let mut item = self.head;
        if !self.mixed {
            return item;
        }
        let mut versions: Vec<(String, (i64, Value))> = self.versions.into_iter().collect();
        versions.sort_by_key(|(version, (priority, _))| {
            (Reverse(*priority), Reverse(version_rank(version)))
        });
        let versions: Vec<Value> = versions.into_iter().map(|(_, (_, entry))| entry).collect();
        let map = meta::as_object(&mut item);
        if form == Form::Older
            && let Some(preferred) = versions.first()
        {
            map.insert("preferredVersion".into(), preferred.clone());
        }
        map.insert("versions".into(), versions.into());
        item
    }
}

/// Adds other servers' documents to the index of `/openapi/v3`, in place of ours.
pub(crate) fn extend_index(server: &ApiServer, body: &mut Value) {
    let externals = server.0.aggregation.externals();
    if externals.is_empty() {
        return;
    }
    let discovered: Vec<(Arc<Registration>, Option<Arc<Discovered>>)> = {
        let known = server.0.aggregation.discovered.read();
        let of = |external: Arc<Registration>| {
            let discovered = known.get(&external.name).cloned();
            (external, discovered)
        };
        externals.into_iter().map(of).collect()
    };
    let paths = meta::object_mut(body, &["paths"]);
    for (external, discovered) in discovered {
        if is_built_in(&external.group) {
            continue;
        }
        let path = format!("apis/{}/{}", external.group, external.version);
        match discovered.and_then(|d| d.openapi.clone()) {
            Some(url) => drop(paths.insert(path, json!({"serverRelativeURL": url}))),
            None => drop(paths.shift_remove(&path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::registration::Registered;
    use super::*;

    fn external(group: &str, version: &str, priorities: (i64, i64)) -> Arc<Registration> {
        let object = json!({
            "metadata": {"name": format!("{version}.{group}")},
            "spec": {
                "group": group, "version": version, "service": {"namespace": "n", "name": "s"},
                "groupPriorityMinimum": priorities.0, "versionPriority": priorities.1,
            },
            "status": {"conditions": [{"type": "Available", "status": "True"}]},
        });
        Registered::parse(&object).external().unwrap()
    }

    fn names(items: &[Value]) -> Vec<&str> {
        items
            .iter()
            .map(|item| meta::text(item, &["name"]))
            .collect()
    }

    #[test]
    fn priorities_order_groups_and_versions() {
        let mut merged = Merged {
            form: Form::Older,
            groups: BTreeMap::new(),
        };
        let custom = vec!["mid.example.com".to_owned()];
        for (place, name) in ["apps", "mid.example.com", "metrics.k8s.io"]
            .iter()
            .enumerate()
        {
            let item = json!({"name": name, "versions": [{"version": "v1"}]});
            merged.take(place, &item, &custom);
        }
        merged.add(&external("high.example.com", "v1", (2_000, 1)), None);
        merged.add(&external("low.example.com", "v1", (50, 1)), None);
        merged.add(&external("mid.example.com", "v2", (10, 200)), None);
        merged.add(&external("apps", "v1", (10, 200)), None);
        let items = merged.finish();
        let order = [
            "apps",
            "high.example.com",
            "mid.example.com",
            "metrics.k8s.io",
            "low.example.com",
        ];
        assert_eq!(names(&items), order);
        assert_eq!(items[2]["preferredVersion"]["version"], "v2");
        assert_eq!(items[2]["versions"][1]["version"], "v1");
    }

    #[test]
    fn a_server_that_does_not_answer_is_stale() {
        let mut merged = Merged {
            form: Form::Aggregated,
            groups: BTreeMap::new(),
        };
        merged.add(&external("a.b", "v1", (1, 1)), None);
        let known = Discovered {
            resources: json!([1]),
            openapi: None,
        };
        merged.add(&external("a.c", "v1", (1, 1)), Some(&known));
        let items = merged.finish();
        let version = |item: &Value| item["versions"][0].clone();
        assert_eq!(version(&items[0])["freshness"], "Stale");
        assert_eq!(version(&items[1])["freshness"], "Current");
        assert_eq!(version(&items[1])["resources"], json!([1]));
    }
}
