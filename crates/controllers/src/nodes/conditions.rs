//! Conditions in the status of the kinds that node autoscaling looks after.

use jiff::Timestamp;
use serde_json::{Value, json};

/// A condition as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub(super) holds: &'static str,
    /// One word.
    pub(super) reason: &'static str,
    /// A sentence.
    pub(super) message: String,
}

/// The conditions of a status with these in their place, as of `generation`. Those of others stay
/// as they are, and so does the order.
pub(super) fn merged(
    status: &Value,
    wanted: impl IntoIterator<Item = Condition>,
    generation: i64,
    now: Timestamp,
) -> Value {
    let known = status.get("conditions").and_then(Value::as_array);
    let mut all = known.cloned().unwrap_or_default();
    for Condition {
        kind,
        holds,
        reason,
        message,
    } in wanted
    {
        let place = all.iter().position(|known| has(known, "type", kind));
        let before = place.and_then(|at| all.get(at));
        let since = before.filter(|known| has(known, "status", holds));
        let since = since.and_then(|known| known.get("lastTransitionTime"));
        let since = since.cloned().unwrap_or_else(|| {
            let now = now.strftime("%Y-%m-%dT%H:%M:%SZ");
            json!(now.to_string())
        });
        let condition = json!({
            "type": kind, "status": holds, "reason": reason, "message": message,
            "observedGeneration": generation, "lastTransitionTime": since,
        });
        match place.and_then(|at| all.get_mut(at)) {
            Some(place) => *place = condition,
            None => all.push(condition),
        }
    }
    all.into()
}

fn has(condition: &Value, field: &str, text: &str) -> bool {
    condition.get(field).and_then(Value::as_str) == Some(text)
}

/// Whether a status has each of these fields already; null stands for a field that is not there.
pub(super) fn says(status: &Value, wanted: &Value) -> bool {
    let fields = wanted.as_object().into_iter().flatten();
    let same = |key: &str, value: &Value| status.get(key).unwrap_or(&Value::Null) == value;
    fields.into_iter().all(|(key, value)| same(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(holds: &'static str) -> Condition {
        Condition {
            kind: "Ready",
            holds,
            reason: "Because",
            message: String::new(),
        }
    }

    #[test]
    fn the_time_of_a_condition_is_that_of_its_last_change() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let first = merged(&Value::Null, [ready("True")], 1, at(10));
        assert_eq!(first[0]["lastTransitionTime"], "1970-01-01T00:00:10Z");
        let status = json!({ "conditions": first });
        let again = merged(&status, [ready("True")], 2, at(20));
        assert_eq!(again[0]["lastTransitionTime"], "1970-01-01T00:00:10Z");
        assert_eq!(again[0]["observedGeneration"], 2);
        let turned = merged(&status, [ready("False")], 2, at(20));
        assert_eq!(turned[0]["lastTransitionTime"], "1970-01-01T00:00:20Z");
    }

    #[test]
    fn conditions_of_others_stay_where_they_are() {
        let other = json!({"type": "Approved", "status": "False"});
        let status = json!({"conditions": [other, {"type": "Ready", "status": "False"}]});
        let all = merged(&status, [ready("True")], 1, Timestamp::UNIX_EPOCH);
        assert_eq!(all.as_array().map(Vec::len), Some(2));
        assert_eq!((&all[0], &all[1]["status"]), (&other, &json!("True")));
        let wanted = json!({ "conditions": all });
        assert!(!says(&status, &wanted) && says(&wanted, &wanted));
    }
}
