//! What can be chosen, once: the flags of `plimsoll install` set these values, and the same table is
//! the chart's `values.yaml`.

use serde_json::{Map, Value, json};

/// One value: where, what if nobody says anything, and what for.
pub(super) struct Entry {
    path: &'static str,
    default: Value,
    comment: &'static str,
}

fn entry(path: &'static str, default: Value, comment: &'static str) -> Entry {
    Entry {
        path,
        default,
        comment,
    }
}

/// Every value in the order of `values.yaml`.
pub(super) fn table() -> Vec<Entry> {
    let mut table = image();
    table.extend(behaviour());
    table.extend(nodes());
    table.extend(placement());
    table
}

fn image() -> Vec<Entry> {
    vec![
        entry(
            "image.repository",
            json!("plimsoll"),
            "The container image, without its tag.",
        ),
        entry(
            "image.tag",
            json!(env!("CARGO_PKG_VERSION")),
            "Its tag; best the version of this chart.",
        ),
        entry(
            "image.pullPolicy",
            json!("IfNotPresent"),
            "When it is pulled.",
        ),
        entry(
            "imagePullSecrets",
            json!([]),
            "Secrets to pull it with, e.g. [{name: registry}].",
        ),
        entry(
            "createNamespace",
            json!(false),
            "Whether the chart makes the release's namespace, with its security labels. Leave it to\n\
             `helm install --create-namespace` unless you only render templates.",
        ),
        entry(
            "replicas",
            json!(2),
            "Processes; one acts, the others take over within a second of its end.",
        ),
    ]
}

fn behaviour() -> Vec<Entry> {
    vec![
        entry(
            "scope.namespaces",
            json!([]),
            "Take care of autoscalers in these namespaces only. Then no right beyond them is asked\n\
             for, and nothing is registered for the whole cluster. Empty: all namespaces.",
        ),
        entry(
            "scope.selector",
            json!(""),
            "Take care of autoscalers with these labels only.",
        ),
        entry(
            "dryRun",
            json!(false),
            "Decide and explain, but write nothing.",
        ),
        entry(
            "takeOver",
            json!(false),
            "Obey HorizontalPodAutoscalers even where another controller seems to do so.",
        ),
        entry(
            "apis",
            json!(["explain", "metrics"]),
            "APIs to serve for the cluster: explain, metrics (metrics.k8s.io; leave it out where a\n\
             metrics-server runs), custom and external (custom.metrics.k8s.io and\n\
             external.metrics.k8s.io; leave them out where an adapter runs).",
        ),
        entry(
            "kubelet.throughApiserver",
            json!(false),
            "Measure through the API server, where kubelets cannot be reached from pods. Takes the\n\
             right to get nodes/proxy, which is as good as root on the nodes.",
        ),
        entry(
            "logging.format",
            json!("json"),
            "How log lines look: json or text.",
        ),
        entry(
            "logging.verbosity",
            json!(0),
            "How much is logged, from 0 to 10.",
        ),
        entry(
            "extraArgs",
            json!([]),
            "Further flags of `plimsoll run`, e.g. [--metric-resolution=5s].",
        ),
    ]
}

fn nodes() -> Vec<Entry> {
    vec![
        entry(
            "nodeAutoscaling.enabled",
            json!(false),
            "Autoscale nodes, too: gives the rights for it. Name the groups in nodeAutoscaling.args.",
        ),
        entry(
            "nodeAutoscaling.args",
            json!([]),
            "Its flags, those of cluster-autoscaler, e.g. [--cloud-provider=aws,\n\
             \"--node-group-auto-discovery=asg:tag=k8s.io/cluster-autoscaler/enabled\"].",
        ),
        entry(
            "nodeAutoscaling.namespace",
            json!("kube-system"),
            "Where its ConfigMaps are: status, memory, priorities. Its rights to them are there, too.",
        ),
        entry(
            "nodeAutoscaling.clusterApi",
            json!(false),
            "Gives the rights for node groups that are Cluster API objects of this cluster.",
        ),
    ]
}

fn placement() -> Vec<Entry> {
    vec![
        entry(
            "resources",
            json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}),
            "What the container asks for and may use at most.",
        ),
        entry(
            "nodeSelector",
            json!({"kubernetes.io/os": "linux"}),
            "Labels of the nodes to run on.",
        ),
        entry("tolerations", json!([]), "Taints that do not matter."),
        entry(
            "affinity",
            json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                "weight": 100,
                "podAffinityTerm": {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "plimsoll"}},
                },
            }]}}),
            "Where the processes are put; by default on different nodes if possible.",
        ),
        entry(
            "priorityClassName",
            json!(""),
            "E.g. system-cluster-critical, where quotas allow it.",
        ),
        entry("podAnnotations", json!({}), "Annotations of the pods."),
        entry(
            "serviceAccount.annotations",
            json!({}),
            "Annotations of the service account.",
        ),
        entry(
            "podDisruptionBudget.enabled",
            json!(true),
            "Whether drains leave one process running.",
        ),
        entry(
            "networkPolicy.enabled",
            json!(false),
            "Whether a NetworkPolicy limits who may connect.",
        ),
    ]
}

/// All values, as one tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Values(Value);

impl Default for Values {
    fn default() -> Self {
        let mut values = Self(Value::Object(Map::new()));
        for Entry { path, default, .. } in table() {
            values.set(path, default);
        }
        values
    }
}

impl Values {
    /// The value at a path such as `image.tag`; null if there is none.
    pub(super) fn at(&self, path: &str) -> &Value {
        let pointer = format!("/{}", path.replace('.', "/"));
        self.0.pointer(&pointer).unwrap_or(&Value::Null)
    }

    /// Sets the value at a path.
    pub(super) fn set(&mut self, path: &str, value: Value) {
        let mut place = &mut self.0;
        for name in path.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Some(map) = place.as_object_mut() else {
                return;
            };
            place = map.entry(name).or_insert(Value::Null);
        }
        *place = value;
    }

    /// Lays a user's tree over these values, as Helm does: maps are merged, everything else is
    /// replaced. Fails on a name that means nothing.
    pub(super) fn overlay(&mut self, own: &Value) -> Result<(), String> {
        if own.is_null() {
            // A file of comments.
            return Ok(());
        }
        overlay(&mut self.0, own, "")
    }
}

/// Maps whose keys are the user's own.
const FREE: [&str; 5] = [
    "nodeSelector",
    "podAnnotations",
    "serviceAccount.annotations",
    "resources",
    "affinity",
];

fn overlay(values: &mut Value, own: &Value, path: &str) -> Result<(), String> {
    let (Value::Object(known), Value::Object(own)) = (&mut *values, own) else {
        let (is, wanted) = (kind(own), kind(values));
        if is != wanted {
            return Err(format!("{path} is a {is}, not a {wanted}"));
        }
        values.clone_from(own);
        return Ok(());
    };
    for (name, value) in own {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match known.get_mut(name) {
            Some(place) if FREE.contains(&path.as_str()) => place.clone_from(value),
            Some(place) => overlay(place, value, &path)?,
            None => return Err(format!("there is no value {path:?}")),
        }
    }
    Ok(())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "truth value",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    }
}

/// `values.yaml`, with the comments.
pub(super) fn to_yaml(print: impl Fn(&Value) -> String) -> String {
    let mut lines =
        vec!["# Values of the chart of Plimsoll. Generated; see docs/run.md.".to_owned()];
    let mut open = "";
    for entry in table() {
        let (parent, name) = entry.path.split_once('.').unwrap_or(("", entry.path));
        let indent = if parent.is_empty() { "" } else { "  " };
        if parent.is_empty() || parent != open {
            lines.push(String::new());
        }
        if parent != open && !parent.is_empty() {
            lines.push(format!("{parent}:"));
        }
        open = parent;
        let comment = entry.comment.lines();
        lines.extend(comment.map(|line| format!("{indent}# {line}")));
        let printed = print(&json!({name: entry.default}));
        let printed = printed.trim_end().lines();
        lines.extend(printed.map(|line| format!("{indent}{line}")));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::Values;
    use serde_json::json;

    #[test]
    fn a_users_values_are_laid_over_the_defaults() {
        let mut values = Values::default();
        let own = json!({"image": {"tag": "v9"}, "replicas": 3, "nodeSelector": {"a": "b"}});
        values.overlay(&own).unwrap();
        assert_eq!(values.at("image.tag"), "v9");
        assert_eq!(values.at("image.repository"), "plimsoll");
        assert_eq!(values.at("replicas"), 3);
        assert_eq!(*values.at("nodeSelector"), json!({"a": "b"}));
    }

    #[test]
    fn a_name_that_means_nothing_and_a_wrong_type_are_refused() {
        let mut values = Values::default();
        let error = values.overlay(&json!({"image": {"tga": "v9"}}));
        assert_eq!(error.unwrap_err(), "there is no value \"image.tga\"");
        let error = values.overlay(&json!({"replicas": "3"}));
        assert_eq!(error.unwrap_err(), "replicas is a text, not a number");
    }
}
