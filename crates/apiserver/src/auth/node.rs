//! The node authorizer: what a node agent with an identity of its own may do. It has the rules of
//! ClusterRole `system:node`, but reads only the Secrets, ConfigMaps and volumes that pods on its
//! node refer to, and asks for tokens of their accounts only.

use super::{Attributes, Decision, Identity};
use crate::resource::present::parse;
use crate::store::{Key, ListQuery, Store};
use plimsoll_api::meta;
use plimsoll_api::rbac::Rule;
use serde_json::Value;

const LEASES: &str = "kube-node-lease";

/// The keys under which a pod's specification names a Secret.
const SECRETS: &[&str] = &[
    "imagePullSecrets",
    "nodePublishSecretRef",
    "secret",
    "secretKeyRef",
    "secretRef",
];
const CONFIG_MAPS: &[&str] = &["configMap", "configMapKeyRef", "configMapRef"];
const CLAIMS: &[&str] = &["persistentVolumeClaim"];

/// The node whose identity this is.
pub(super) fn node_of(who: &Identity) -> Option<&str> {
    let name = who.user.strip_prefix("system:node:")?;
    who.is_in("system:nodes").then_some(name)
}

/// Whether the node may do this; `rules` are those of `system:node`.
pub(super) fn decide(
    store: &Store,
    node: &str,
    rules: Option<&[Rule]>,
    asked: &Attributes<'_>,
) -> Decision {
    let pods = Pods { store, node };
    let reads = matches!(asked.verb, "get" | "list" | "watch") && asked.subresource.is_empty();
    let refers = |keys| pods.any(asked.namespace, |pod| names(spec(pod), keys, asked.name));
    let related = match (asked.group, asked.resource) {
        ("", "secrets") => reads && refers(SECRETS),
        ("", "configmaps") => reads && refers(CONFIG_MAPS),
        ("", "persistentvolumeclaims") => {
            let status = asked.subresource == "status" && asked.verb != "create";
            (status || asked.verb == "get") && refers(CLAIMS)
        }
        ("", "persistentvolumes") => asked.verb == "get" && pods.use_volume(asked.name),
        ("", "serviceaccounts") => {
            let account =
                |pod: &Value| meta::text(spec(pod), &["serviceAccountName"]) == asked.name;
            asked.verb == "create"
                && asked.subresource == "token"
                && pods.any(asked.namespace, account)
        }
        ("coordination.k8s.io", "leases") => {
            let own = asked.name == node || (asked.verb == "create" && asked.name.is_empty());
            asked.namespace == LEASES && own
        }
        ("storage.k8s.io", "csinodes") => {
            asked.name == node || (asked.verb == "create" && asked.name.is_empty())
        }
        // NodeRestriction looks at what is written.
        _ => true,
    };
    if !related {
        let reason = format!("no relationship found between node {node:?} and this object");
        return Decision {
            allowed: false,
            reason,
        };
    }
    let allowed = rules.unwrap_or_default().iter().any(|r| r.allows(asked));
    Decision {
        allowed,
        reason: String::new(),
    }
}

fn spec(pod: &Value) -> &Value {
    pod.get("spec").unwrap_or(&Value::Null)
}

/// The pods on a node.
struct Pods<'a> {
    store: &'a Store,
    node: &'a str,
}

impl Pods<'_> {
    /// Whether any of them, in a namespace if it is not empty, is like this.
    fn any(&self, namespace: &str, like: impl Fn(&Value) -> bool) -> bool {
        let query = ListQuery {
            resource: "pods".into(),
            namespace: Some(namespace.into()).filter(|n: &std::sync::Arc<str>| !n.is_empty()),
            ..ListQuery::default()
        };
        let page = self.store.list(&query);
        let pods = page.iter().flat_map(|page| &page.entries);
        pods.filter(|entry| entry.index.fields.iter().any(|f| &**f == self.node))
            .filter_map(|entry| parse(&entry.json).ok())
            .any(|pod| meta::text(spec(&pod), &["nodeName"]) == self.node && like(&pod))
    }

    /// Whether one of them uses a claim that is bound to this volume.
    fn use_volume(&self, name: &str) -> bool {
        let object = |resource: &str, namespace: &str, name: &str| {
            let key = Key {
                resource: resource.into(),
                namespace: namespace.into(),
                name: name.into(),
            };
            parse(&self.store.get(&key)?.json).ok()
        };
        let Some(volume) = object("persistentvolumes", "", name) else {
            return false;
        };
        let claim = |field: &str| meta::text(&volume, &["spec", "claimRef", field]);
        let (namespace, claim) = (claim("namespace"), claim("name"));
        !claim.is_empty() && self.any(namespace, |pod| names(spec(pod), CLAIMS, claim))
    }
}

/// Whether something under one of `keys` has this name.
fn names(value: &Value, keys: &[&str], name: &str) -> bool {
    let is_named = |value: &Value| {
        ["name", "secretName", "claimName"]
            .iter()
            .any(|field| meta::text(value, &[field]) == name)
    };
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| {
            let items = value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice);
            (keys.contains(&key.as_str()) && items.iter().any(is_named)) || names(value, keys, name)
        }),
        Value::Array(items) => items.iter().any(|item| names(item, keys, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::volume(SECRETS, "a", true)]
    #[case::pull(SECRETS, "b", true)]
    #[case::environment(SECRETS, "c", true)]
    #[case::projected(SECRETS, "d", true)]
    #[case::other_kind(SECRETS, "e", false)]
    #[case::config_map(CONFIG_MAPS, "e", true)]
    #[case::claim(CLAIMS, "f", true)]
    #[case::container(SECRETS, "main", false)]
    #[case::nothing(SECRETS, "z", false)]
    fn a_pod_names_what_it_needs(#[case] keys: &[&str], #[case] name: &str, #[case] found: bool) {
        let spec = json!({
            "imagePullSecrets": [{"name": "b"}],
            "containers": [{"name": "main", "env": [
                {"name": "K", "valueFrom": {"secretKeyRef": {"name": "c", "key": "k"}}},
            ]}],
            "volumes": [
                {"name": "v", "secret": {"secretName": "a"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "d"}}]}},
                {"name": "m", "configMap": {"name": "e"}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "f"}},
            ],
        });
        assert_eq!(names(&spec, keys, name), found);
    }
}
