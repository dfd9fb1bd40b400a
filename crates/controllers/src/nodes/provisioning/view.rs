//! A `ProvisioningRequest` as it is watched.

use crate::runtime::{Cached, Meta, wire};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plimsoll_engine::cluster::RequestState;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Which of its sets a request has room for, as text, among the details of its status.
pub(super) const SETS_DETAIL: &str = "schedulablePodSets";

/// A request.
#[derive(Debug)]
pub(in crate::nodes) struct RequestView {
    pub(super) meta: Meta,
    pub(super) spec: Spec,
    /// What its conditions say.
    pub(super) state: RequestState,
    /// The conditions as they are.
    pub(super) conditions: Vec<Value>,
    pub(super) details: BTreeMap<String, String>,
}

/// `spec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub(super) provisioning_class_name: String,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) pod_sets: Vec<SetSpec>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetSpec {
    pub(super) pod_template_ref: TemplateRef,
    pub(super) count: usize,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct TemplateRef {
    pub(super) name: String,
}

impl RequestView {
    /// The condition of a type.
    pub(super) fn condition(&self, kind: &str) -> Option<&Value> {
        find(&self.conditions, kind)
    }

    /// The reason of a condition; empty where there is none.
    pub(super) fn reason(&self, kind: &str) -> &str {
        let condition = self.condition(kind);
        let reason = condition.and_then(|condition| condition.get("reason"));
        reason.and_then(Value::as_str).unwrap_or("")
    }

    /// Templates of the sets that room was found for, where only some are.
    pub(super) fn partial_sets(&self) -> Option<Vec<String>> {
        if self.reason("Provisioned") != "PartialCapacityIsFound" {
            return None;
        }
        serde_json::from_str(self.details.get(SETS_DETAIL)?).ok()
    }
}

fn find<'a>(conditions: &'a [Value], kind: &str) -> Option<&'a Value> {
    let mut conditions = conditions.iter();
    conditions.find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

fn state(created: Option<Timestamp>, conditions: &[Value]) -> RequestState {
    let known = |kind: &str| {
        let condition = find(conditions, kind)?;
        let text = |field: &str| condition.get(field).and_then(Value::as_str);
        let since = text("lastTransitionTime")?.parse::<Timestamp>().ok()?;
        match text("status")? {
            "True" => Some((true, since)),
            "False" => Some((false, since)),
            _ => None,
        }
    };
    let holds = |kind: &str| {
        known(kind)
            .filter(|(holds, _)| *holds)
            .map(|(_, since)| since)
    };
    let ends = ["Failed", "BookingExpired", "CapacityRevoked"];
    RequestState {
        created,
        accepted: holds("Accepted"),
        provisioned: known("Provisioned"),
        ended: ends.into_iter().filter_map(holds).min(),
    }
}

impl Cached for RequestView {
    type Wire = RequestWire;

    fn from_wire(wire: RequestWire) -> Self {
        let meta = Meta::from(wire.metadata);
        let conditions = wire.status.conditions;
        Self {
            state: state(meta.created, &conditions),
            meta,
            // The definition lets nothing else in; what is no request asks for nothing.
            spec: serde_json::from_value(wire.spec).unwrap_or_default(),
            conditions,
            details: wire.status.provisioning_class_details,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of one.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::nodes) struct RequestWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    conditions: Vec<Value>,
    provisioning_class_details: BTreeMap<String, String>,
}

wire!(
    RequestWire,
    NamespaceResourceScope,
    "autoscaling.x-k8s.io",
    "v1",
    "ProvisioningRequest",
    "provisioningrequests"
);

#[cfg(test)]
mod tests {
    use super::{RequestView, RequestWire};
    use crate::runtime::Cached;
    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn view(conditions: &Value) -> RequestView {
        let wire: RequestWire = serde_json::from_value(json!({
            "metadata": {"name": "r", "namespace": "a"},
            "spec": {
                "provisioningClassName": "check-capacity.autoscaling.x-k8s.io",
                "podSets": [{"count": 2, "podTemplateRef": {"name": "t"}}],
            },
            "status": {
                "conditions": conditions,
                "provisioningClassDetails": {"schedulablePodSets": "[\"t\"]"},
            },
        }))
        .unwrap();
        RequestView::from_wire(wire)
    }

    fn condition(kind: &str, status: &str, second: i64) -> Value {
        let at = Timestamp::from_second(second).unwrap();
        json!({
            "type": kind, "status": status, "reason": "PartialCapacityIsFound",
            "message": "", "lastTransitionTime": at,
        })
    }

    #[rstest]
    #[case::nothing_yet(&[], None, None)]
    #[case::found(&[("Provisioned", "True", 5)], Some(true), None)]
    #[case::not_found(&[("Provisioned", "False", 5)], Some(false), None)]
    #[case::unknown(&[("Provisioned", "Unknown", 5)], None, None)]
    #[case::the_first_end_counts(&[("Failed", "True", 9), ("BookingExpired", "True", 7)],
        None, Some(7))]
    #[case::no_end(&[("Failed", "False", 9)], None, None)]
    fn conditions_tell_the_state(
        #[case] conditions: &[(&str, &str, i64)],
        #[case] provisioned: Option<bool>,
        #[case] ended: Option<i64>,
    ) {
        let all = conditions.iter().map(|(k, s, at)| condition(k, s, *at));
        let state = view(&all.collect()).state;
        assert_eq!(state.provisioned.map(|(holds, _)| holds), provisioned);
        assert_eq!(state.ended.map(Timestamp::as_second), ended);
    }

    #[test]
    fn sets_that_have_room_are_read_where_only_some_have() {
        let some = view(&json!([condition("Provisioned", "True", 5)]));
        assert_eq!(some.partial_sets().unwrap(), ["t"]);
        assert_eq!(view(&json!([])).partial_sets(), None);
        assert_eq!(some.spec.pod_sets[0].count, 2);
    }
}
