//! YAML as the status ConfigMap has it, byte for byte: keys in order of the alphabet, two spaces a
//! level, lists as deep as their keys.

use serde_json::Value;

/// The text of an object.
pub(super) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0);
    text
}

fn write(text: &mut String, value: &Value, level: usize) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for (at, key) in keys.into_iter().enumerate() {
                // The first key of a list's item follows its dash.
                if at > 0 || !text.ends_with("- ") {
                    indent(text, level);
                }
                text.push_str(key);
                text.push(':');
                nested(text, &map[key], level);
            }
        }
        Value::Array(items) => {
            for item in items {
                indent(text, level);
                text.push_str("- ");
                if is_block(item) {
                    write(text, item, level + 1);
                } else {
                    text.push_str(&scalar(item));
                    text.push('\n');
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
}

fn nested(text: &mut String, value: &Value, level: usize) {
    if !is_block(value) {
        text.push(' ');
        text.push_str(&scalar(value));
        text.push('\n');
        return;
    }
    text.push('\n');
    let deeper = level + usize::from(value.is_object());
    write(text, value, deeper);
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn indent(text: &mut String, level: usize) {
    text.push_str(&"  ".repeat(level));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        Value::String(words) if is_plain(words) => words.clone(),
        // JSON's strings are YAML's, too.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// Whether a text reads back as itself without quotes.
fn is_plain(text: &str) -> bool {
    let first = text.chars().next();
    let starts_well =
        first.is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '_') || is_go_time(text);
    let inside = |c: char| c.is_ascii_graphic() || c == ' ';
    let word = matches!(
        &*text.to_ascii_lowercase(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
    );
    starts_well
        && !word
        && text.chars().all(inside)
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' '])
}

/// A time as Go prints it, which is no timestamp of YAML's.
fn is_go_time(text: &str) -> bool {
    text.ends_with(" +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::yaml;
    use rstest::rstest;
    use serde_json::{Value, json};

    #[test]
    fn blocks_are_laid_out_as_upstream_does() {
        let value = json!({"b": [{"name": "x", "health": {"a": 1}}, 2], "a": {"z": null, "y": []}});
        let want = "a:\n  y: []\n  z: null\nb:\n- health:\n    a: 1\n  name: x\n- 2\n";
        assert_eq!(yaml(&value), want);
    }

    #[rstest]
    #[case::word("Healthy", "Healthy")]
    #[case::address("https://a/b-c", "https://a/b-c")]
    #[case::number("12", "\"12\"")]
    #[case::time("2026-01-01T00:00:00Z", "\"2026-01-01T00:00:00Z\"")]
    #[case::go_time("2026-01-01 00:00:00 +0000 UTC", "2026-01-01 00:00:00 +0000 UTC")]
    #[case::boolean("no", "\"no\"")]
    #[case::key("a: b", "\"a: b\"")]
    #[case::comment("a #b", "\"a #b\"")]
    #[case::lines("a\nb", "\"a\\nb\"")]
    #[case::empty("", "\"\"")]
    fn texts_are_quoted_where_they_must(#[case] text: &str, #[case] want: &str) {
        assert_eq!(yaml(&Value::from(text)), format!("{want}\n"));
    }
}
