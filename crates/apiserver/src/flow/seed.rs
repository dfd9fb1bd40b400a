//! The flow schemas and priority levels that every cluster has.

use serde_json::{Value, json};

const MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";

/// A level: name, shares, percent that may be lent, and its queues (none: it rejects).
type Level = (&'static str, u32, u32, Option<u32>);

const LEVELS: [Level; 7] = [
    ("catch-all", 5, 0, None),
    ("global-default", 20, 50, Some(128)),
    ("leader-election", 10, 0, Some(16)),
    ("node-high", 40, 25, Some(64)),
    ("system", 30, 33, Some(64)),
    ("workload-high", 40, 50, Some(128)),
    ("workload-low", 100, 90, Some(128)),
];

/// A schema: name, precedence, level, whose requests share a queue, and its rules.
type Flow = (&'static str, u32, &'static str, &'static str, Value);

/// Group, plural and object of every seed, levels first.
pub(super) fn seeds() -> Vec<(&'static str, Value)> {
    let exempt = json!({
        "type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
    });
    let levels = LEVELS.iter().map(|level| (level.0, limited(level)));
    let levels = levels.chain([("exempt", exempt)]).map(|(name, spec)| {
        let object = seed("PriorityLevelConfiguration", name, &spec);
        ("prioritylevelconfigurations", object)
    });
    let schemas = flows()
        .into_iter()
        .map(|(name, precedence, level, by, rules)| {
            let mut spec = json!({
                "matchingPrecedence": precedence,
                "priorityLevelConfiguration": {"name": level},
                "rules": rules,
            });
            if !by.is_empty() {
                plimsoll_api::meta::as_object(&mut spec)
                    .insert("distinguisherMethod".into(), json!({"type": by}));
            }
            ("flowschemas", seed("FlowSchema", name, &spec))
        });
    levels.chain(schemas).collect()
}

fn seed(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "kind": kind, "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "metadata": {
            "name": name,
            "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"},
        },
        "spec": spec,
    })
}

fn limited((_, shares, lendable, queues): &Level) -> Value {
    let hand = if queues == &Some(16) { 4 } else { 6 };
    let response = match queues {
        None => json!({"type": "Reject"}),
        Some(queues) => json!({
            "type": "Queue",
            "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50},
        }),
    };
    json!({
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": lendable,
            "limitResponse": response,
        },
    })
}

fn flows() -> Vec<Flow> {
    let (by_user, by_namespace) = ("ByUser", "ByNamespace");
    let high = "workload-high";
    let nodes = || json!([group("system:nodes")]);
    let manager = json!([user(MANAGER)]);
    let scheduler = json!([user(SCHEDULER)]);
    let masters = json!([group("system:masters")]);
    let accounts = json!([group("system:serviceaccounts")]);
    let system = json!([system_accounts()]);
    vec![
        ("exempt", 1, "exempt", "", all(&masters)),
        ("probes", 2, "exempt", "", probes()),
        (
            "system-leader-election",
            100,
            "leader-election",
            by_user,
            elections(),
        ),
        (
            "system-node-high",
            400,
            "node-high",
            by_user,
            heartbeats(&nodes()),
        ),
        ("system-nodes", 500, "system", by_user, all(&nodes())),
        (
            "kube-controller-manager",
            800,
            high,
            by_namespace,
            all(&manager),
        ),
        ("kube-scheduler", 800, high, by_namespace, all(&scheduler)),
        (
            "kube-system-service-accounts",
            900,
            high,
            by_namespace,
            all(&system),
        ),
        (
            "service-accounts",
            9000,
            "workload-low",
            by_user,
            all(&accounts),
        ),
        (
            "global-default",
            9900,
            "global-default",
            by_user,
            all(&everyone()),
        ),
        ("catch-all", 10_000, "catch-all", by_user, all(&everyone())),
    ]
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn system_accounts() -> Value {
    let account = json!({"namespace": "kube-system", "name": "*"});
    json!({"kind": "ServiceAccount", "serviceAccount": account})
}

fn everyone() -> Value {
    json!([
        group("system:unauthenticated"),
        group("system:authenticated")
    ])
}

fn probes() -> Value {
    let urls = ["/healthz", "/readyz", "/livez"];
    json!([{
        "subjects": everyone(),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": urls}],
    }])
}

fn elections() -> Value {
    json!([{
        "subjects": [user(MANAGER), user(SCHEDULER), system_accounts()],
        "resourceRules": [in_namespaces(&["get", "create", "update"], &["leases"])],
    }])
}

fn heartbeats(nodes: &Value) -> Value {
    let status = json!({
        "verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"],
        "clusterScope": true, "namespaces": ["*"],
    });
    json!([{
        "subjects": nodes,
        "resourceRules": [status, in_namespaces(&["*"], &["leases"])],
    }])
}

fn in_namespaces(verbs: &[&str], resources: &[&str]) -> Value {
    json!({
        "verbs": verbs, "apiGroups": ["coordination.k8s.io"], "resources": resources,
        "namespaces": ["*"],
    })
}

/// Everything these subjects do.
fn all(subjects: &Value) -> Value {
    json!([{
        "subjects": subjects,
        "resourceRules": [{
            "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true,
            "namespaces": ["*"],
        }],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }])
}
