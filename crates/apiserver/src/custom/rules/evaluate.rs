//! Asking the rules about an object.

use super::node::{Node, Rule};
use plimsoll_api::custom::ListKind;
use plimsoll_api::status::FieldError;
use plimsoll_cel::{Bindings, Budget, EvalError, Value as Cel};
use serde_json::Value;
use std::sync::Arc;

/// Characters of the longest message an expression may give.
const LONGEST_MESSAGE: usize = 5 * 1024;
const SPENT: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The state of one check.
struct Check {
    budget: Budget,
    errors: Vec<FieldError>,
    /// Whether a rule was cut off: the others are not asked then.
    over: bool,
}

/// What the rules have against an object; `old` is the object before, on update.
pub(super) fn check(rules: &Node, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut check = Check {
        budget: Budget::per_object(),
        errors: Vec::new(),
        over: false,
    };
    check.value(rules, (new, old), "");
    check.errors
}

impl Check {
    fn value(&mut self, node: &Node, (new, old): (&Value, Option<&Value>), path: &str) {
        if new.is_null() {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        for rule in &node.rules {
            if self.over {
                return;
            }
            // What was stored before may stay as it is, even if a rule was added since.
            let settled = !rule.is_transition && old == Some(new);
            let unanswerable = rule.is_transition && old.is_none() && !rule.optional_old;
            if !settled && !unanswerable {
                self.rule(node, rule, (new, old), path);
            }
        }
        match new {
            Value::Object(map) => self.entries(node, (map, old), path),
            Value::Array(items) => self.items(node, (items, old), path),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn entries(
        &mut self,
        node: &Node,
        (map, old): (&serde_json::Map<String, Value>, Option<&Value>),
        path: &str,
    ) {
        if node.properties.is_empty() && node.additional.is_none() {
            return;
        }
        for (key, value) in map {
            let before = old.and_then(|old| old.get(key));
            if let Some(below) = node.properties.get(key) {
                self.value(below, (value, before), &child(path, key));
            } else if let Some(below) = &node.additional {
                self.value(below, (value, before), &format!("{path}[{key}]"));
            }
        }
    }

    fn items(&mut self, node: &Node, (items, old): (&[Value], Option<&Value>), path: &str) {
        let Some(below) = &node.items else {
            return;
        };
        let before = old
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            let twin = match &node.list {
                ListKind::Map(keys) => {
                    let same = |old: &&Value| keys.iter().all(|key| old.get(key) == item.get(key));
                    before
                        .get(index)
                        .filter(same)
                        .or_else(|| before.iter().find(same))
                }
                ListKind::Set | ListKind::Atomic => None,
            };
            self.value(below, (item, twin), &format!("{path}[{index}]"));
        }
    }

    fn rule(&mut self, node: &Node, rule: &Rule, (new, old): (&Value, Option<&Value>), path: &str) {
        let outcome = bindings(node, rule, (new, old)).and_then(|bindings| {
            let program = rule.program.as_ref();
            let program = program.map_err(|why| EvalError::BadArgument(why.clone()))?;
            let holds = program.holds(&bindings, &mut self.budget)?;
            Ok((!holds).then(|| self.message(rule, &bindings)))
        });
        let spent = self.budget.is_spent();
        let why = match outcome {
            Ok(None) | Err(EvalError::CostExceeded) if spent => SPENT.to_owned(),
            Ok(None) => return,
            Ok(Some(message)) => {
                let at = rule
                    .field_path
                    .iter()
                    .fold(path.to_owned(), |path, name| child(&path, name));
                self.errors.push(violated(rule, node, (&at, &message)));
                return;
            }
            Err(error @ EvalError::CostExceeded) => format!(
                "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                rule.text
            ),
            Err(error @ EvalError::NoSuchOverload) => format!(
                "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                named(rule)
            ),
            Err(error) => format!("{error} evaluating rule: {}", named(rule)),
        };
        self.over = spent || why.contains("no further validation rules");
        self.errors.push(FieldError::invalid(
            shown(path),
            &node.type_name.into(),
            why,
        ));
    }

    /// What a violation says.
    fn message(&mut self, rule: &Rule, bindings: &Bindings<'_>) -> String {
        if let Some(Ok(program)) = &rule.message_program
            && let Ok(Cel::Text(text)) = program.evaluate(bindings, &mut self.budget)
        {
            let text = text.as_str().trim();
            if !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n') {
                return text.to_owned();
            }
        }
        if rule.message.is_empty() {
            return format!("failed rule: {}", rule.text);
        }
        rule.message.clone()
    }
}

/// What messages call the rule.
fn named(rule: &Rule) -> &str {
    if rule.message.is_empty() {
        &rule.text
    } else {
        &rule.message
    }
}

fn bindings<'v>(
    node: &Node,
    rule: &Rule,
    (new, old): (&'v Value, Option<&'v Value>),
) -> Result<Bindings<'v>, EvalError> {
    let bindings = Bindings::new().with("self", Cel::of_json(new, &node.decl.ty)?);
    if !rule.is_transition {
        return Ok(bindings);
    }
    let old = old
        .map(|old| Cel::of_json(old, &node.decl.ty))
        .transpose()?;
    Ok(match (rule.optional_old, old) {
        (true, old) => bindings.with("oldSelf", Cel::Optional(old.map(Arc::new))),
        (false, Some(old)) => bindings.with("oldSelf", old),
        (false, None) => bindings,
    })
}

fn violated(rule: &Rule, node: &Node, (path, message): (&str, &str)) -> FieldError {
    let path = shown(path);
    match rule.reason.as_str() {
        "FieldValueForbidden" => FieldError::forbidden(path, message),
        "FieldValueRequired" => FieldError::required(path, message),
        "FieldValueDuplicate" => FieldError::duplicate(path, &node.type_name.into()),
        _ => FieldError::invalid(path, &node.type_name.into(), message),
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Upstream's word for the path of the whole object.
fn shown(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}
