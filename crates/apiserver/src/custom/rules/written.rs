//! What is wrong with the rules of a definition that is being written.

use super::node::{Node, Rule, path as field_path};
use plimsoll_api::custom::{Schema, Type};
use plimsoll_api::meta;
use plimsoll_api::status::FieldError;
use plimsoll_cel::{ESTIMATED_PER_RULE, ESTIMATED_PER_SCHEMA};
use serde_json::{Value, json};

/// How much a rule may exceed its budget before the factor says nothing any more.
const LARGEST_FACTOR: f64 = 100.0;
const HINT: &str = "try simplifying the rule, or adding maxItems, maxProperties, and maxLength \
                    where arrays, maps, and strings are declared";
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// Everything wrong with the rules of a new or changed definition. Versions whose schema did not
/// change are not looked at again.
pub(crate) fn problems(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let schema_of = |version: &Value| meta::at(version, &["schema", "openAPIV3Schema"]).cloned();
    let before: Vec<&Value> = old
        .map(|old| meta::list(old, &["spec", "versions"]).iter().collect())
        .unwrap_or_default();
    let mut found = Vec::new();
    for (index, version) in meta::list(new, &["spec", "versions"]).iter().enumerate() {
        let Some(written) = schema_of(version) else {
            continue;
        };
        if before
            .iter()
            .any(|old| schema_of(old).as_ref() == Some(&written))
        {
            continue;
        }
        let schema = Schema::parse(&written);
        if !schema.has_rules {
            continue;
        }
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        let mut walk = Walk::default();
        walk.node(&schema, &Node::root(&schema), &path);
        found.append(&mut walk.found);
        if let Some(factor) = factor(walk.cost, ESTIMATED_PER_SCHEMA) {
            let why = format!(
                "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema \
                 exceeds budget by factor of {factor} ({HINT})"
            );
            found.push(FieldError::forbidden(path, why));
        }
    }
    found
}

#[derive(Default)]
struct Walk {
    found: Vec<FieldError>,
    cost: u64,
}

impl Walk {
    fn node(&mut self, schema: &Schema, node: &Node, path: &str) {
        for (index, (written, rule)) in schema.rules.iter().zip(&node.rules).enumerate() {
            let at = format!("{path}.x-kubernetes-validations[{index}]");
            self.shape(schema, written, &at);
            self.rule(node, rule, &at);
        }
        for (name, below) in &node.properties {
            if let Some(schema) = schema.properties.get(name) {
                self.node(schema, below, &format!("{path}.properties[{name}]"));
            }
        }
        if let (Some(schema), Some(below)) = (&schema.additional, &node.additional) {
            self.node(schema, below, &format!("{path}.additionalProperties"));
        }
        if let (Some(schema), Some(below)) = (&schema.items, &node.items) {
            self.node(schema, below, &format!("{path}.items"));
        }
    }

    /// What needs no compilation.
    fn shape(&mut self, schema: &Schema, written: &Value, at: &str) {
        let rule = meta::text(written, &["rule"]);
        let message = written.get("message").and_then(Value::as_str);
        if rule.trim().is_empty() {
            let error = FieldError::required(format!("{at}.rule"), "rule is not specified");
            self.found.push(error);
        }
        let field = format!("{at}.message");
        match message {
            Some(text) if text.trim().is_empty() => {
                let why = "message must be non-empty if specified";
                self.found
                    .push(FieldError::invalid(field, &json!(text), why));
            }
            Some(text) if text.trim().contains(['\n', '\r']) => {
                let why = "message must not contain line breaks";
                self.found
                    .push(FieldError::invalid(field, &json!(text), why));
            }
            None if rule.trim().contains(['\n', '\r']) => {
                let why = "message must be specified if rule contains line breaks";
                self.found.push(FieldError::required(field, why));
            }
            Some(_) | None => {}
        }
        let reason = meta::text(written, &["reason"]);
        if !reason.is_empty() && !REASONS.contains(&reason) {
            let field = format!("{at}.reason");
            self.found
                .push(FieldError::not_supported(field, &json!(reason), &REASONS));
        }
        let target = meta::text(written, &["fieldPath"]);
        if !target.is_empty() && !is_path(schema, target) {
            let why = format!(
                "fieldPath must be a valid path: does not refer to a valid field: {target}"
            );
            self.found.push(FieldError::invalid(
                format!("{at}.fieldPath"),
                &json!(target),
                why,
            ));
        }
    }

    fn rule(&mut self, node: &Node, rule: &Rule, at: &str) {
        if rule.text.is_empty() {
            return;
        }
        let field = format!("{at}.rule");
        let program = match &rule.program {
            Ok(program) => program,
            Err(why) => {
                self.found
                    .push(FieldError::invalid(field, &json!(rule.text), why));
                return;
            }
        };
        if rule.is_transition && !node.correlatable {
            let why = format!(
                "oldSelf cannot be used on the uncorrelatable portion of the schema within {at}"
            );
            self.found
                .push(FieldError::invalid(field.clone(), &json!(rule.text), why));
        }
        if rule.optional_old && !rule.is_transition {
            let why = "may not be set if oldSelf is not used in rule";
            let old = format!("{at}.optionalOldSelf");
            self.found.push(FieldError::invalid(old, &json!(true), why));
        }
        self.charge(
            program.cost().saturating_mul(node.cardinality),
            field,
            "rule",
        );
        match &rule.message_program {
            Some(Ok(program)) => {
                let cost = program.cost().saturating_mul(node.cardinality);
                self.charge(cost, format!("{at}.messageExpression"), "messageExpression");
            }
            Some(Err(why)) => {
                let field = format!("{at}.messageExpression");
                self.found
                    .push(FieldError::invalid(field, &json!(rule.message_text), why));
            }
            None => {}
        }
    }

    fn charge(&mut self, cost: u64, field: String, what: &str) {
        self.cost = self.cost.saturating_add(cost);
        if let Some(factor) = factor(cost, ESTIMATED_PER_RULE) {
            let why =
                format!("estimated {what} cost exceeds budget by factor of {factor} ({HINT})");
            self.found.push(FieldError::forbidden(field, why));
        }
    }
}

/// How far a cost is over its budget, in words; `None` if it is not.
fn factor(cost: u64, budget: u64) -> Option<String> {
    if cost <= budget {
        return None;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a factor in words needs two digits"
    )]
    let factor = cost as f64 / budget as f64;
    Some(if factor > LARGEST_FACTOR {
        format!("more than {LARGEST_FACTOR:.0}x")
    } else {
        format!("{factor:.1}x")
    })
}

/// Whether a `fieldPath` leads to a declared field.
fn is_path(schema: &Schema, text: &str) -> bool {
    let Some(names) = field_path(text).filter(|names| !names.is_empty()) else {
        return false;
    };
    let mut at = schema;
    for name in &names {
        let below = at.key(name).filter(|_| at.ty == Some(Type::Object));
        let Some(below) = below else {
            return false;
        };
        at = below;
    }
    true
}
