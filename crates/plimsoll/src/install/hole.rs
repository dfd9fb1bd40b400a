//! Objects with holes: filled in now for `plimsoll install`, or by Helm later.
//!
//! A hole is the text `⟦PATH⟧`, where PATH names a value; `⟦PATH|items⟧` as an item of a list stands
//! for the items of a list value, `⟦PATH|join⟧` for them joined by commas. `⟦Namespace⟧` is the
//! namespace of the installation, `⟦Item⟧` the item an object is repeated for.

use super::values::Values;
use serde_json::Value;

const OPEN: char = '⟦';
const CLOSE: char = '⟧';

/// When an object is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Always.
    Always,
    /// If the value at this path is true.
    True(&'static str),
    /// If the list at this path contains this, and the whole cluster is in scope.
    Serves(&'static str),
    /// If the whole cluster is in scope.
    Everywhere,
    /// Once for each namespace in scope, unless that is the whole cluster.
    EachNamespace,
}

/// An object of the installation.
#[derive(Debug, Clone)]
pub(super) struct Template {
    /// Name of the chart's file, without its ending.
    pub(super) file: &'static str,
    /// When it is there.
    pub(super) when: When,
    /// The object, with holes.
    pub(super) object: Value,
}

/// The values, with what is not among them.
pub(super) struct Filling<'a> {
    /// The values.
    pub(super) values: &'a Values,
    /// The namespace of the installation.
    pub(super) namespace: &'a str,
}

impl Template {
    /// The objects this stands for.
    pub(super) fn fill(&self, filling: &Filling<'_>) -> Vec<Value> {
        let namespaces = filling.values.at("scope.namespaces");
        let namespaces: Vec<&str> = namespaces
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let serves = |api: &str| {
            let apis = filling.values.at("apis").as_array();
            apis.is_some_and(|apis| apis.iter().any(|one| one == api))
        };
        let there = match self.when {
            When::Always => true,
            When::True(path) => *filling.values.at(path) == Value::Bool(true),
            When::Serves(api) => namespaces.is_empty() && serves(api),
            When::Everywhere => namespaces.is_empty(),
            When::EachNamespace => {
                let each = namespaces.iter();
                return each.map(|item| filling.fill(&self.object, item)).collect();
            }
        };
        Vec::from_iter(there.then(|| filling.fill(&self.object, "")))
    }
}

impl Filling<'_> {
    fn fill(&self, value: &Value, item: &str) -> Value {
        match value {
            Value::String(text) => self.fill_text(text, item),
            Value::Array(items) => {
                let items = items.iter().flat_map(|one| self.fill_item(one, item));
                Value::Array(items.collect())
            }
            Value::Object(map) => {
                let filled = map
                    .iter()
                    .map(|(key, value)| (key.clone(), self.fill(value, item)));
                Value::Object(filled.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn fill_item(&self, value: &Value, item: &str) -> Vec<Value> {
        let whole = value.as_str().and_then(whole_hole);
        match whole.and_then(|hole| hole.strip_suffix("|items")) {
            Some(path) => self.values.at(path).as_array().cloned().unwrap_or_default(),
            None => vec![self.fill(value, item)],
        }
    }

    fn fill_text(&self, text: &str, item: &str) -> Value {
        if let Some(hole) = whole_hole(text) {
            return self.look_up(hole, item);
        }
        let filled = replace_holes(text, |hole| match self.look_up(hole, item) {
            Value::String(text) => text,
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)) => other.to_string(),
        });
        Value::String(filled)
    }

    fn look_up(&self, hole: &str, item: &str) -> Value {
        match hole {
            "Namespace" => self.namespace.into(),
            "Item" => item.into(),
            _ => match hole.strip_suffix("|join") {
                Some(path) => join(self.values.at(path)).into(),
                None => self.values.at(hole).clone(),
            },
        }
    }
}

fn join(list: &Value) -> String {
    let items = list.as_array().into_iter().flatten();
    let items: Vec<&str> = items.filter_map(Value::as_str).collect();
    items.join(",")
}

/// The hole that is all of a text.
fn whole_hole(text: &str) -> Option<&str> {
    let inside = text.strip_prefix(OPEN)?.strip_suffix(CLOSE)?;
    (!inside.contains(OPEN)).then_some(inside)
}

/// The text with each hole replaced.
pub(super) fn replace_holes(text: &str, mut with: impl FnMut(&str) -> String) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        let Some((hole, after)) = after.split_once(CLOSE) else {
            break;
        };
        filled.push_str(before);
        filled.push_str(&with(hole));
        rest = after;
    }
    filled + rest
}

/// The hole that a printed YAML scalar is, with or without quotes.
pub(super) fn printed_hole(scalar: &str) -> Option<&str> {
    let bare = scalar.trim();
    let bare = ['"', '\'']
        .into_iter()
        .find_map(|quote| bare.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(bare);
    whole_hole(bare)
}
