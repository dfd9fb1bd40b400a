//! Which requests a policy or a binding is about: `MatchResources`.

use crate::admission::webhook::rules::{Rule, Target};
use crate::admission::webhook::{Matched, Selector, Subject};
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::Value;

/// `matchConstraints` or `matchResources`.
#[derive(Debug)]
pub(super) struct Constraints {
    rules: Vec<NamedRule>,
    excluded: Vec<NamedRule>,
    /// `matchPolicy: Equivalent`.
    equivalent: bool,
    namespaces: Selector,
    objects: Selector,
}

#[derive(Debug)]
struct NamedRule {
    rule: Rule,
    /// `resourceNames`; empty for all.
    names: Vec<String>,
}

impl NamedRule {
    fn read(rule: &Value) -> Self {
        let names = meta::list(rule, &["resourceNames"]).iter();
        Self {
            rule: Rule::read(rule),
            names: names.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    fn covers(&self, target: &Target<'_>, name: &str) -> bool {
        self.rule.covers(target) && (self.names.is_empty() || self.names.iter().any(|n| n == name))
    }
}

impl Constraints {
    /// Reads a `MatchResources`.
    pub(super) fn read(resources: &Value) -> Self {
        let rules = |key: &str| {
            let list = meta::list(resources, &[key]).iter();
            list.map(NamedRule::read).collect()
        };
        Self {
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            equivalent: meta::text(resources, &["matchPolicy"]) != "Exact",
            namespaces: Selector::read(resources.get("namespaceSelector")),
            objects: Selector::read(resources.get("objectSelector")),
        }
    }

    /// The form in which the request matches; `None` if it does not. No rules match everything.
    ///
    /// # Errors
    /// A selector cannot be understood.
    pub(super) fn matched(
        &self,
        subject: &Subject<'_>,
        (object, old): (&Value, Option<&Value>),
    ) -> Result<Option<Matched>, ApiError> {
        let listed = |rules: &[NamedRule], target: &Target<'_>| {
            rules.iter().any(|rule| rule.covers(target, subject.name))
        };
        let excluded = subject.by_rules(self.equivalent, |t| listed(&self.excluded, t));
        if excluded.is_some() {
            return Ok(None);
        }
        let covers = |target: &Target<'_>| self.rules.is_empty() || listed(&self.rules, target);
        let Some(matched) = subject.by_rules(self.equivalent, covers) else {
            return Ok(None);
        };
        let selected = subject.selected((&self.namespaces, &self.objects), object, old)?;
        Ok(selected.then_some(matched))
    }
}
