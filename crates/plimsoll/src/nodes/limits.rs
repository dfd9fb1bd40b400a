//! Limits on the sum of nodes, from what the node autoscaler explains about its groups.

use plimsoll_engine::cluster::Quota;
use plimsoll_engine::placement::{LabelSelector, Operator, Requirement};
use serde_json::Value;

/// The quotas that growth is told to heed; what cannot be read is left out.
pub(super) fn quotas(growth: &Value) -> Vec<Quota> {
    list(growth, "quotas").filter_map(quota).collect()
}

fn quota(told: &Value) -> Option<Quota> {
    let limits = told.get("limits")?.as_object()?.iter();
    let limits = limits.filter_map(|(name, most)| Some((name.clone(), most.as_i64()?)));
    let requirements = list(told, "requirements").map(requirement);
    Some(Quota {
        id: text(told, "id")?,
        selector: LabelSelector {
            requirements: requirements.collect::<Option<_>>()?,
        },
        limits: limits.collect(),
    })
}

fn requirement(told: &Value) -> Option<Requirement> {
    let values = list(told, "values").filter_map(Value::as_str);
    Some(Requirement {
        key: text(told, "key")?,
        operator: Operator::named(&text(told, "operator")?)?,
        values: values.map(str::to_owned).collect(),
    })
}

fn list<'a>(told: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let all = told.get(name).and_then(Value::as_array);
    all.into_iter().flatten()
}

fn text(told: &Value, name: &str) -> Option<String> {
    Some(told.get(name)?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::quotas;
    use plimsoll_engine::cluster::Quota;
    use plimsoll_engine::placement::{LabelSelector, Operator, Requirement};
    use serde_json::json;

    #[test]
    fn quotas_are_read_as_they_were_told() {
        let requirement = json!({"key": "zone", "operator": "NotIn", "values": ["a", "b"]});
        let whole = json!({
            "id": "CapacityQuota/q", "limits": {"cpu": 4000}, "requirements": [requirement],
        });
        let unreadable = json!({"id": "r", "limits": {}, "requirements": [{"key": "x"}]});
        let want = Quota {
            id: "CapacityQuota/q".into(),
            selector: LabelSelector {
                requirements: vec![Requirement {
                    key: "zone".into(),
                    operator: Operator::NotIn,
                    values: vec!["a".into(), "b".into()],
                }],
            },
            limits: [("cpu".to_owned(), 4000)].into(),
        };
        assert_eq!(quotas(&json!({"quotas": [whole, unreadable]})), [want]);
        assert_eq!(quotas(&json!({})), []);
    }
}
