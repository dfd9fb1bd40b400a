//! Reads the table of roles and bindings that every cluster starts with.

use plimsoll_api::rbac::Rule;
use serde_json::{Value, json};

/// The table; its head explains its form.
const TABLE: &str = include_str!("policy.txt");

/// The label by which ClusterRoles offer their rules to `admin`, `edit` or `view`.
const AGGREGATE_TO: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// A role or binding: its namespace (empty for the whole cluster), its plural, and itself without
/// kind, uid and dates.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seed {
    pub(super) namespace: String,
    pub(super) plural: &'static str,
    pub(super) object: Value,
}

/// Everything in the table, in its order, aggregated ClusterRoles with their rules.
pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    for line in TABLE
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        if let Some(text) = line.strip_prefix("  ") {
            if let Some(seed) = seeds.iter_mut().rev().find(|s| s.plural.ends_with("roles")) {
                add_rule(&mut seed.object, &rule(text));
            }
            continue;
        }
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "role" => seeds.push(role(rest)),
            "aggregate" => seeds.push(aggregated(rest)),
            "controller" => {
                let name = format!("system:controller:{rest}");
                // The binding first, so that the rules that follow find the role last.
                seeds.push(binding(&format!("{name} {name} : ServiceAccount={rest}")));
                seeds.push(role(&name));
            }
            _ => seeds.push(binding(rest)),
        }
    }
    fill_aggregated(&mut seeds);
    seeds
}

fn named(place: &str) -> (String, Value) {
    // Names hold slashes nowhere but between namespace and name.
    let (namespace, name) = place.split_once('/').unwrap_or(("", place));
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    });
    if !namespace.is_empty() {
        plimsoll_api::meta::as_object(&mut metadata).insert("namespace".into(), namespace.into());
    }
    (namespace.to_owned(), metadata)
}

fn role(text: &str) -> Seed {
    let (place, label) = text.split_once(" < ").unwrap_or((text, ""));
    let (namespace, mut metadata) = named(place);
    if !label.is_empty() {
        let labels = plimsoll_api::meta::object_mut(&mut metadata, &["labels"]);
        labels.insert(format!("{AGGREGATE_TO}{label}"), "true".into());
    }
    let plural = if namespace.is_empty() {
        "clusterroles"
    } else {
        "roles"
    };
    Seed {
        namespace,
        plural,
        object: json!({"metadata": metadata, "rules": []}),
    }
}

fn aggregated(text: &str) -> Seed {
    let mut seed = role(text);
    let name = plimsoll_api::meta::name(&seed.object);
    let label = format!("{AGGREGATE_TO}{name}");
    let rule = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    plimsoll_api::meta::as_object(&mut seed.object).insert("aggregationRule".into(), rule);
    seed
}

fn binding(text: &str) -> Seed {
    let (head, subjects) = text.split_once(" :").unwrap_or((text, ""));
    let (place, role) = head.split_once(' ').unwrap_or((head, head));
    let (namespace, metadata) = named(place);
    let (plural, role_kind) = if namespace.is_empty() {
        ("clusterrolebindings", "ClusterRole")
    } else {
        ("rolebindings", "Role")
    };
    let subjects = subjects.split_whitespace().filter_map(|subject| {
        let (kind, name) = subject.split_once('=')?;
        Some(if kind == "ServiceAccount" {
            let home = if namespace.is_empty() {
                "kube-system"
            } else {
                &namespace
            };
            json!({"kind": kind, "name": name, "namespace": home})
        } else {
            json!({"kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": name})
        })
    });
    let subjects: Vec<Value> = subjects.collect();
    let mut object = json!({
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
    });
    if !subjects.is_empty() {
        plimsoll_api::meta::as_object(&mut object).insert("subjects".into(), subjects.into());
    }
    Seed {
        namespace,
        plural,
        object,
    }
}

fn rule(text: &str) -> Rule {
    if text == "EVENTS" {
        return rule("create patch update @ core events.k8s.io : events");
    }
    let (head, rest) = text.split_once(" : ").unwrap_or((text, ""));
    let Some((verbs, groups)) = head.split_once(" @ ") else {
        return Rule {
            verbs: words(head),
            urls: words(rest),
            ..Rule::default()
        };
    };
    let (resources, names) = rest.split_once(" = ").unwrap_or((rest, ""));
    Rule {
        verbs: words(verbs),
        groups: words(groups),
        resources: words(resources),
        names: words(names),
        urls: Vec::new(),
    }
}

fn words(text: &str) -> Vec<String> {
    let expand = |word| match word {
        "READ" => "get list watch",
        "WRITE" => "create delete deletecollection patch update",
        "ALL" => "create delete deletecollection get list patch update watch",
        other => other,
    };
    let words = text.split_whitespace().flat_map(|w| expand(w).split(' '));
    words
        .map(|word| if word == "core" { "" } else { word }.to_owned())
        .collect()
}

fn add_rule(role: &mut Value, added: &Rule) {
    if let Some(rules) = role.get_mut("rules").and_then(Value::as_array_mut) {
        rules.push(added.to_value());
    }
}

/// Gives the aggregated roles their rules, as the controller would: `view` first, because `edit`
/// takes it over, and `admin` both.
fn fill_aggregated(seeds: &mut [Seed]) {
    for name in ["view", "edit", "admin"] {
        let cluster_roles = seeds.iter().filter(|s| s.plural == "clusterroles");
        let objects: Vec<&Value> = cluster_roles.map(|s| &s.object).collect();
        let Some(role) = objects.iter().find(|o| plimsoll_api::meta::name(o) == name) else {
            continue;
        };
        let rules = super::aggregate::rules(role, &objects);
        let found = seeds
            .iter_mut()
            .find(|s| s.plural == "clusterroles" && plimsoll_api::meta::name(&s.object) == name);
        if let Some(seed) = found {
            plimsoll_api::meta::as_object(&mut seed.object).insert("rules".into(), rules.into());
        }
    }
}
