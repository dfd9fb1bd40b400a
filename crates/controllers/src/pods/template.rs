//! Pod templates: one normal form and the hash that names what was made from them.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The value with its keys sorted and its nulls dropped, so that equal values have equal texts.
pub(crate) fn sorted(value: Value) -> Value {
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

/// The hash of a text, e.g. `6d4cf56db6`: digits of a 32-bit number in an alphabet without vowels
/// and without look-alikes, so that it spells no words.
pub(crate) fn hash(text: &str, collisions: Option<i32>) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hasher = Sha256::new();
    hasher.update(text);
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
