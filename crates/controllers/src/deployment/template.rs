//! Pod templates: equality and the hash that names a ReplicaSet.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

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

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let entries: BTreeMap<String, Value> = map
                .into_iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k, sorted(v)))
                .collect();
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// The hash of a normal template, e.g. `6d4cf56db6`: digits of a 32-bit number in an alphabet
/// without vowels and without look-alikes, so that it spells no words.
pub(super) fn hash(normal: &Value, collisions: Option<i32>) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = Sha256::new();
    hasher.update(normal.to_string());
    if let Some(collisions) = collisions {
        hasher.update(collisions.to_le_bytes());
    }
    let digest = hasher.finalize();
    let number = digest
        .iter()
        .take(4)
        .fold(0_u32, |n, byte| (n << 8) | u32::from(*byte));
    let letter = |digit: u8| ALPHABET.get(usize::from(digit) % ALPHABET.len()).copied();
    number
        .to_string()
        .bytes()
        .filter_map(letter)
        .map(char::from)
        .collect()
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
