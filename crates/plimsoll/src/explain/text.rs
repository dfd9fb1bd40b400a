//! Explanations and decisions as people read them.

use serde_json::Value;
use std::io::IsTerminal;

/// Escape sequences on a terminal, nothing elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Palette {
    coloured: bool,
}

impl Palette {
    /// Colours if standard output is a terminal and `NO_COLOR` is not set.
    pub(super) fn of_terminal() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            coloured: std::io::stdout().is_terminal() && !refused,
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.coloured {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn alarm(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn notice(self, text: &str) -> String {
        self.paint("33", text)
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> i64 {
    let found = object.pointer(pointer).and_then(Value::as_i64);
    found.unwrap_or_default()
}

fn list<'a>(object: &'a Value, key: &str) -> impl DoubleEndedIterator<Item = &'a Value> {
    let found = object.get(key).and_then(Value::as_array);
    found.into_iter().flatten()
}

/// An explanation: a head line, the sentences, what was found, what was changed lately.
pub(super) fn explanation(explanation: &Value, palette: Palette) -> Vec<String> {
    let name = text(explanation, "/metadata/name");
    let namespace = text(explanation, "/metadata/namespace");
    let short = match text(explanation, "/involvedObject/kind") {
        "PodAutoscaler" => "pa",
        _ => "hpa",
    };
    let passes = number(explanation, "/passes");
    let since = text(explanation, "/since");
    let same = if passes > 1 {
        format!(" (the same since {}, {passes} times)", seconds(since))
    } else {
        String::new()
    };
    let time = seconds(text(explanation, "/time"));
    let head = format!("{short}/{name} in {namespace}, decided at {time}{same}");
    let mut lines = vec![palette.bold(&head)];
    let sentences = list(explanation, "sentences").filter_map(Value::as_str);
    lines.extend(sentences.map(|sentence| format!("  {sentence}")));
    let error = text(explanation, "/decision/error");
    if !error.is_empty() {
        lines.push(palette.alarm(&format!("  error: {error}")));
    }
    for finding in list(explanation, "findings") {
        let (what, advice) = (text(finding, "/message"), text(finding, "/advice"));
        lines.push(palette.notice(&format!("  note: {what}")));
        lines.push(format!("        {advice}"));
    }
    let changes: Vec<String> = list(explanation, "changes")
        .rev()
        .take(5)
        .map(change)
        .collect();
    if !changes.is_empty() {
        lines.push("recent changes:".into());
        lines.extend(changes);
    }
    lines
}

fn change(change: &Value) -> String {
    let (time, reason) = (seconds(text(change, "/time")), text(change, "/reason"));
    let (from, to) = (number(change, "/from"), number(change, "/to"));
    format!("  {time}  {from} -> {to}  {reason}")
}

/// A decision in one line; equal ones count.
pub(super) fn decision(decision: &Value, named: bool, palette: Palette) -> String {
    let first = seconds(text(decision, "/firstTime"));
    let last = seconds(text(decision, "/lastTime"));
    let summary = text(decision, "/summary");
    let moved = decision.get("wrote").and_then(Value::as_bool) == Some(true);
    let summary = if moved {
        palette.bold(summary)
    } else {
        summary.to_owned()
    };
    let passes = number(decision, "/passes");
    let times = if passes > 1 {
        format!("  ({passes} times until {last})")
    } else {
        String::new()
    };
    let who = if named {
        let (namespace, name) = (
            text(decision, "/metadata/namespace"),
            text(decision, "/involvedObject/name"),
        );
        if namespace.is_empty() {
            format!("{name}  ")
        } else {
            format!("{namespace}/{name}  ")
        }
    } else {
        String::new()
    };
    let error = text(decision, "/error");
    let error = match error.strip_prefix("failed to rescale") {
        Some(_) => format!("  {}", palette.alarm(error)),
        None => String::new(),
    };
    format!("{first}  {who}{summary}{times}{error}")
}

/// One line for each autoscaler, in columns.
pub(super) fn overview<'a>(
    explanations: impl Iterator<Item = &'a Value>,
    every_namespace: bool,
) -> Vec<String> {
    let row = |explanation: &Value| {
        let mut name = text(explanation, "/metadata/name").to_owned();
        if every_namespace {
            name = format!("{}/{name}", text(explanation, "/metadata/namespace"));
        }
        let replicas = number(explanation, "/decision/replicas").to_string();
        let findings = list(explanation, "findings").count();
        let mut why = text(explanation, "/summary").to_owned();
        if findings > 0 {
            let plural = if findings == 1 { "" } else { "s" };
            why = format!("{why} [{findings} note{plural}]");
        }
        [name, replicas, why]
    };
    let rows: Vec<[String; 3]> = explanations.map(row).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let head = ["NAME", "REPLICAS", "WHY"].map(str::to_owned);
    let all: Vec<[String; 3]> = std::iter::once(head).chain(rows).collect();
    let width = |column: fn(&[String; 3]) -> &str| {
        all.iter()
            .map(|row| column(row).len())
            .max()
            .unwrap_or_default()
    };
    let (names, counts) = (width(|[name, ..]| name), width(|[_, count, _]| count));
    all.iter()
        .map(|[name, count, why]| format!("{name:names$}  {count:counts$}  {why}"))
        .collect()
}

/// A time without fractions of a second.
fn seconds(time: &str) -> String {
    match time.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Palette, decision, explanation, overview};
    use serde_json::{Value, json};

    fn told() -> Value {
        json!({
            "metadata": { "name": "web", "namespace": "default" },
            "involvedObject": { "kind": "HorizontalPodAutoscaler", "name": "web" },
            "time": "2026-01-01T12:00:00.123Z", "since": "2026-01-01T11:59:00Z", "passes": 5,
            "decision": { "error": null, "replicas": 4 },
            "summary": "2 -> 4 replicas",
            "sentences": ["2 replicas now, 1 to 10 allowed", "2 -> 4 replicas"],
            "findings": [{ "message": "cpu is at its limit", "advice": "raise it" }],
            "changes": [{ "time": "2026-01-01T12:00:00Z", "from": 2, "to": 4,
                          "reason": "cpu above target" }],
        })
    }

    #[test]
    fn an_explanation_prints_sentences_findings_and_changes() {
        assert_eq!(
            explanation(&told(), Palette::default()),
            [
                "hpa/web in default, decided at 2026-01-01T12:00:00Z (the same since \
                 2026-01-01T11:59:00Z, 5 times)",
                "  2 replicas now, 1 to 10 allowed",
                "  2 -> 4 replicas",
                "  note: cpu is at its limit",
                "        raise it",
                "recent changes:",
                "  2026-01-01T12:00:00Z  2 -> 4  cpu above target",
            ]
        );
    }

    #[test]
    fn an_overview_has_columns() {
        let told = told();
        assert_eq!(
            overview([&told].into_iter(), true),
            [
                "NAME         REPLICAS  WHY",
                "default/web  4         2 -> 4 replicas [1 note]",
            ]
        );
        assert!(overview(std::iter::empty(), true).is_empty());
    }

    #[test]
    fn equal_decisions_are_counted_and_changes_stand_out() {
        let mut made = json!({
            "metadata": { "namespace": "default" }, "involvedObject": { "name": "web" },
            "firstTime": "2026-01-01T12:00:00Z", "lastTime": "2026-01-01T12:01:00.5Z",
            "passes": 5, "wrote": false, "error": null, "summary": "held at 4",
        });
        assert_eq!(
            decision(&made, false, Palette::default()),
            "2026-01-01T12:00:00Z  held at 4  (5 times until 2026-01-01T12:01:00Z)"
        );
        made["wrote"] = json!(true);
        made["passes"] = json!(1);
        let painted = decision(&made, true, Palette { coloured: true });
        assert_eq!(
            painted,
            "2026-01-01T12:00:00Z  default/web  \x1b[1mheld at 4\x1b[0m"
        );
    }
}
