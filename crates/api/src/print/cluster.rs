//! Events, policy, access control, quotas and the small kinds.

use super::duration::{duration, seconds_between};
use super::{AGE, Cells, NAME, age, column, count, number, or_none, platform};
use super::{text, wide};
use crate::kind::Column;
use crate::meta;
use jiff::Timestamp;
use serde_json::Value;

type Layout = (&'static [Column], Cells);

/// The small kinds of the core group.
pub(super) fn core(kind: &str) -> Layout {
    match kind {
        "Namespace" => (NAMESPACE, namespace),
        "ConfigMap" => (CONFIG_MAP, config_map),
        "Secret" => (SECRET, secret),
        "ResourceQuota" => (QUOTA, quota),
        "LimitRange" => (CREATED, created),
        _ => platform::layout("", kind),
    }
}

/// The small kinds of other groups.
pub(super) fn others(group: &str, kind: &str) -> Layout {
    match (group, kind) {
        ("policy", "PodDisruptionBudget") => (BUDGET, budget),
        ("coordination.k8s.io", "Lease") => (LEASE, lease),
        ("scheduling.k8s.io", "PriorityClass") => (PRIORITY, priority),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole")
        | ("apiextensions.k8s.io", "CustomResourceDefinition") => (CREATED, created),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => (BINDING, binding),
        ("apiregistration.k8s.io", _) => (SERVICE, api_service),
        ("certificates.k8s.io", "CertificateSigningRequest") => (SIGNING, signing),
        (_, "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
            (WEBHOOKS, webhooks)
        }
        (_, "ValidatingAdmissionPolicy") => (VALIDATION, validation),
        _ => platform::layout(group, kind),
    }
}

pub(super) const EVENT: &[Column] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    wide("Count"),
    column("Name", "string", 1),
];

/// Both forms: core `v1` and `events.k8s.io/v1`.
pub(super) fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let either = |names: [&str; 2]| names.iter().find_map(|name| object.get(*name));
    let time = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .and_then(|text| text.parse::<Timestamp>().ok())
    };
    let ago = |then: Option<Timestamp>| {
        then.map_or_else(
            || "<unknown>".to_owned(),
            |then| duration(seconds_between(then, now)),
        )
    };
    let event_time = time(object.get("eventTime"));
    let first = time(either(["firstTimestamp", "deprecatedFirstTimestamp"])).or(event_time);
    let series = time(meta::at(object, &["series", "lastObservedTime"]));
    let last = series
        .or(time(either(["lastTimestamp", "deprecatedLastTimestamp"])))
        .or(first);
    let series_count = meta::integer(object, &["series", "count"]);
    let times = series_count
        .or_else(|| either(["count", "deprecatedCount"]).and_then(Value::as_i64))
        .filter(|times| *times > 0)
        .unwrap_or(1);
    let about = either(["involvedObject", "regarding"]).unwrap_or(&Value::Null);
    let kind = meta::text(about, &["kind"]).to_lowercase();
    vec![
        ago(last).into(),
        meta::text(object, &["type"]).into(),
        meta::text(object, &["reason"]).into(),
        format!("{kind}/{}", meta::text(about, &["name"])).into(),
        meta::text(about, &["fieldPath"]).into(),
        source(object, either(["source", "deprecatedSource"])).into(),
        either(["message", "note"])
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim()
            .into(),
        ago(first).into(),
        times.into(),
        meta::name(object).into(),
    ]
}

fn source(event: &Value, source: Option<&Value>) -> String {
    let part = |key: &str| source.map_or("", |source| meta::text(source, &[key]));
    let reporting = ["reportingComponent", "reportingController"]
        .iter()
        .map(|key| meta::text(event, &[key]))
        .find(|text| !text.is_empty());
    let (component, host) = match part("component") {
        "" => (
            reporting.unwrap_or_default(),
            meta::text(event, &["reportingInstance"]),
        ),
        component => (component, part("host")),
    };
    if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    }
}

const NAMESPACE: &[Column] = &[NAME, text("Status"), AGE];

fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    let phase = meta::text(object, &["status", "phase"]);
    vec![meta::name(object).into(), phase.into(), age(object, now)]
}

const CONFIG_MAP: &[Column] = &[NAME, number("Data"), AGE];

fn entries(object: &Value, key: &str) -> usize {
    object
        .get(key)
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len)
}

fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    let data = entries(object, "data") + entries(object, "binaryData");
    vec![meta::name(object).into(), data.into(), age(object, now)]
}

const SECRET: &[Column] = &[NAME, text("Type"), number("Data"), AGE];

fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    let kind = meta::text(object, &["type"]);
    vec![
        meta::name(object).into(),
        kind.into(),
        entries(object, "data").into(),
        age(object, now),
    ]
}

const QUOTA: &[Column] = &[NAME, text("Request"), text("Limit"), AGE];

fn quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut columns = [Vec::new(), Vec::new()];
    let hard = meta::at(object, &["status", "hard"]).and_then(Value::as_object);
    let sorted: std::collections::BTreeMap<_, _> = hard.into_iter().flatten().collect();
    for (resource, limit) in sorted {
        let used = meta::text(object, &["status", "used", resource]);
        let used = if used.is_empty() { "0" } else { used };
        let entry = format!("{resource}: {used}/{}", limit.as_str().unwrap_or_default());
        let [requests, limits] = &mut columns;
        if resource.starts_with("limits") {
            limits.push(entry);
        } else {
            requests.push(entry);
        }
    }
    let [requests, limits] = columns;
    vec![
        meta::name(object).into(),
        requests.join(", ").into(),
        limits.join(", ").into(),
        age(object, now),
    ]
}

const CREATED: &[Column] = &[NAME, column("Created At", "date", 0)];

fn created(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        meta::text(object, &["metadata", "creationTimestamp"]).into(),
    ]
}

const BUDGET: &[Column] = &[
    NAME,
    text("Min Available"),
    text("Max Unavailable"),
    number("Allowed Disruptions"),
    AGE,
];

fn budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let amount = |key: &str| match meta::at(object, &["spec", key]) {
        Some(Value::String(text)) => Value::from(text.as_str()),
        Some(Value::Number(number)) => number.to_string().into(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => {
            "N/A".into()
        }
    };
    vec![
        meta::name(object).into(),
        amount("minAvailable"),
        amount("maxUnavailable"),
        count(object, &["status", "disruptionsAllowed"]).into(),
        age(object, now),
    ]
}

const LEASE: &[Column] = &[NAME, text("Holder"), AGE];

fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    let holder = meta::text(object, &["spec", "holderIdentity"]);
    vec![meta::name(object).into(), holder.into(), age(object, now)]
}

const PRIORITY: &[Column] = &[
    NAME,
    number("Value"),
    column("Global-Default", "boolean", 0),
    AGE,
    text("PreemptionPolicy"),
];

fn priority(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        count(object, &["value"]).into(),
        (object.get("globalDefault") == Some(&Value::Bool(true))).into(),
        age(object, now),
        meta::text(object, &["preemptionPolicy"]).into(),
    ]
}

const BINDING: &[Column] = &[
    NAME,
    text("Role"),
    AGE,
    wide("Users"),
    wide("Groups"),
    wide("ServiceAccounts"),
];

fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let names: Vec<String> = meta::list(object, &["subjects"])
            .iter()
            .filter(|subject| meta::text(subject, &["kind"]) == kind)
            .map(|subject| match meta::text(subject, &["namespace"]) {
                "" => meta::text(subject, &["name"]).to_owned(),
                namespace => format!("{namespace}/{}", meta::text(subject, &["name"])),
            })
            .collect();
        Value::from(names.join(", "))
    };
    let role = |key: &str| meta::text(object, &["roleRef", key]);
    vec![
        meta::name(object).into(),
        format!("{}/{}", role("kind"), role("name")).into(),
        age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

const SERVICE: &[Column] = &[NAME, text("Service"), text("Available"), AGE];

fn api_service(object: &Value, now: Timestamp) -> Vec<Value> {
    let service = meta::at(object, &["spec", "service"]).map_or_else(
        || "Local".to_owned(),
        |service| {
            format!(
                "{}/{}",
                meta::text(service, &["namespace"]),
                meta::text(service, &["name"])
            )
        },
    );
    let condition = meta::list(object, &["status", "conditions"])
        .iter()
        .find(|condition| meta::text(condition, &["type"]) == "Available");
    let available = condition.map_or_else(String::new, |condition| {
        let (status, reason) = (
            meta::text(condition, &["status"]),
            meta::text(condition, &["reason"]),
        );
        if status == "True" {
            status.to_owned()
        } else {
            format!("{status} ({reason})")
        }
    });
    vec![
        meta::name(object).into(),
        service.into(),
        available.into(),
        age(object, now),
    ]
}

const SIGNING: &[Column] = &[
    NAME,
    AGE,
    text("SignerName"),
    text("Requestor"),
    text("RequestedDuration"),
    text("Condition"),
];

fn signing(object: &Value, now: Timestamp) -> Vec<Value> {
    let lasts = meta::integer(object, &["spec", "expirationSeconds"]);
    let mut words: Vec<&str> = meta::list(object, &["status", "conditions"])
        .iter()
        .map(|condition| meta::text(condition, &["type"]))
        .collect();
    if words.is_empty() {
        words.push("Pending");
    }
    if !meta::text(object, &["status", "certificate"]).is_empty() {
        words.push("Issued");
    }
    vec![
        meta::name(object).into(),
        age(object, now),
        or_none(meta::text(object, &["spec", "signerName"])),
        meta::text(object, &["spec", "username"]).into(),
        lasts.map_or_else(|| "<none>".into(), |seconds| duration(seconds).into()),
        words.join(",").into(),
    ]
}

const WEBHOOKS: &[Column] = &[NAME, number("Webhooks"), AGE];

fn webhooks(object: &Value, now: Timestamp) -> Vec<Value> {
    let hooks = meta::list(object, &["webhooks"]).len();
    vec![meta::name(object).into(), hooks.into(), age(object, now)]
}

const VALIDATION: &[Column] = &[NAME, number("Validations"), text("ParamKind"), AGE];

fn validation(object: &Value, now: Timestamp) -> Vec<Value> {
    let param = meta::at(object, &["spec", "paramKind"]).map_or_else(
        || "<unset>".to_owned(),
        |kind| {
            format!(
                "{}/{}",
                meta::text(kind, &["apiVersion"]),
                meta::text(kind, &["kind"])
            )
        },
    );
    vec![
        meta::name(object).into(),
        meta::list(object, &["spec", "validations"]).len().into(),
        param.into(),
        age(object, now),
    ]
}
