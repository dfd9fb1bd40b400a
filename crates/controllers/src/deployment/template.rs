//! Pod templates: equality and the hash that names a ReplicaSet.

use crate::pods::sorted;
use serde_json::Value;

/// Label that tells the pods of one ReplicaSet from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// The template in one normal form: keys sorted, nulls and the hash label dropped.
pub(super) fn normal(mut template: Value) -> Value {
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(HASH_LABEL);
    }
    sorted(template)
}

/// The hash of a normal template.
pub(super) fn hash(normal: &Value, collisions: Option<i32>) -> String {
    crate::pods::hash(&normal.to_string(), collisions)
}

#[cfg(test)]
mod tests {
    use super::{hash, normal};
    use serde_json::json;

    #[test]
    fn order_nulls_and_the_hash_label_do_not_matter() {
        let a = json!({"metadata": {"labels": {"a": "1", "pod-template-hash": "x"}, "creationTimestamp": null}, "spec": {"b": 1, "a": 2}});
        let b = json!({"spec": {"a": 2, "b": 1}, "metadata": {"labels": {"a": "1"}}});
        assert_eq!(normal(a.clone()), normal(b.clone()));
        assert_eq!(hash(&normal(a), None), hash(&normal(b), None));
    }

    #[test]
    fn collisions_and_changes_give_another_hash() {
        let a = normal(json!({"spec": {"a": 1}}));
        assert_ne!(hash(&a, None), hash(&a, Some(1)));
        assert_ne!(
            hash(&a, None),
            hash(&normal(json!({"spec": {"a": 2}})), None)
        );
    }
}
