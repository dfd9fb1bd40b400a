//! Answers as YAML: block style, strings quoted wherever a reader might take them for something
//! else (by the rules of YAML 1.1, which Kubernetes clients follow).

use serde_json::Value;

/// A value as a YAML document, keys sorted, ending in a line break.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(value, 0, &mut out),
        Value::Array(list) if !list.is_empty() => block(value, 0, &mut out),
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            scalar(value, &mut out);
            out.push('\n');
        }
    }
    out
}

/// The lines of a map or a list that is not empty.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys {
                pad(indent, out);
                text(key, out);
                out.push(':');
                member(map.get(key).unwrap_or(&Value::Null), indent, out);
            }
        }
        Value::Array(list) => {
            for element in list {
                pad(indent, out);
                out.push('-');
                element_of(element, indent, out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What follows a key: a scalar on the same line, or a block below it. Lists are not indented.
fn member(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(value, indent + 2, out);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            block(value, indent, out);
        }
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => {
            out.push(' ');
            scalar(value, out);
            out.push('\n');
        }
    }
}

/// What follows the dash of a list: the first line of a block moves up beside it.
fn element_of(value: &Value, indent: usize, out: &mut String) {
    let mut lines = String::new();
    let nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if nested {
        block(value, indent + 2, &mut lines);
    } else {
        scalar(value, &mut lines);
        lines.push('\n');
    }
    out.push(' ');
    out.push_str(lines.trim_start_matches(' '));
}

fn scalar(value: &Value, out: &mut String) {
    match value.as_str() {
        Some(string) => text(string, out),
        None => out.push_str(&value.to_string()),
    }
}

fn text(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        // A JSON string is a double-quoted YAML string.
        out.push_str(&Value::from(text).to_string());
    }
}

/// Whether a string can stand without quotes: a letter, then harmless characters, and no word that
/// means something.
fn is_plain(text: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(harmless)
        && !words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn it_looks_as_people_expect() {
        let value = json!({
            "b": {"c": [1, {"d": "x", "e": [[2]]}], "empty": {}, "none": []},
            "a": "yes", "f": "1", "g": "a: b", "h": null, "i": [{"k": {"l": true}}],
        });
        let text = "a: \"yes\"\nb:\n  c:\n  - 1\n  - d: x\n    e:\n    - - 2\n  empty: {}\n  none: []\n\
                    f: \"1\"\ng: \"a: b\"\nh: null\ni:\n- k:\n    l: true\n";
        assert_eq!(document(&value), text);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~]{0,12}".prop_map(Value::from),
            "[a-z0-9.:~#-]{0,6}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z./-]{1,6}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(value in values()) {
            let text = document(&value);
            let read: Value = serde_saphyr::from_str(&text).unwrap();
            prop_assert_eq!(read, value, "{}", text);
        }
    }
}
