//! From a question to an expression.

use super::config::Replacement;
use super::template::{Template, Value};
use crate::custom::SourceError;
use plimsoll_api::selector::{LabelRequirement, LabelSelector, Operator};
use std::collections::BTreeMap;

/// Conditions on labels while they are collected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Matchers {
    expressions: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Matchers {
    /// The conditions of a metric's selector.
    ///
    /// # Errors
    /// [`SourceError::Unanswerable`] for `Gt` and `Lt`, which Prometheus does not have.
    pub(super) fn of(selector: &LabelSelector) -> Result<Self, SourceError> {
        let mut matchers = Self::default();
        for requirement in selector {
            matchers.require(requirement)?;
        }
        Ok(matchers)
    }

    fn require(&mut self, requirement: &LabelRequirement) -> Result<(), SourceError> {
        let values: Vec<&str> = requirement.values.iter().map(String::as_str).collect();
        let joined = values.join("|");
        // Parity: a value of `in` is a regular expression even if it is the only one, which people
        // use to hand one through.
        let operator = match requirement.operator {
            Operator::Equals | Operator::DoesNotExist => "=",
            Operator::NotEquals | Operator::Exists => "!=",
            Operator::In => "=~",
            Operator::NotIn => "!~",
            Operator::GreaterThan | Operator::LessThan => {
                let why = "operator not supported by prometheus query builder";
                return Err(SourceError::Unanswerable(why.to_owned()));
            }
        };
        self.add(&requirement.key, operator, &joined);
        Ok(())
    }

    /// Adds a condition.
    pub(super) fn add(&mut self, label: &str, operator: &str, value: &str) {
        self.expressions
            .push(format!("{label}{operator}{}", quote(value)));
        self.values.insert(label.to_owned(), value.to_owned());
    }

    /// Restricts a label to names: one exactly, several as alternatives.
    pub(super) fn name(&mut self, label: &str, names: &[String]) {
        let operator = if names.len() > 1 { "=~" } else { "=" };
        self.add(label, operator, &names.join("|"));
    }

    /// Replaces parts of all values that templates see by name.
    pub(super) fn replace(&mut self, replacements: &[Replacement]) {
        for Replacement { find, replace } in replacements.iter().filter(|r| !r.find.is_empty()) {
            for value in self.values.values_mut() {
                *value = value.replace(find, replace);
            }
        }
    }

    /// The conditions as they stand between braces.
    pub(super) fn text(&self) -> String {
        self.expressions.join(",")
    }
}

/// Fills a rule's template in.
///
/// # Errors
/// [`SourceError::Unanswerable`] if the template fails with these values or gives nothing.
pub(super) fn build(
    template: &Template,
    series: &str,
    matchers: &Matchers,
    group_by: &[String],
) -> Result<String, SourceError> {
    let values = matchers.values.iter();
    let by_name = values.map(|(label, value)| (label.clone(), value.as_str().into()));
    let groups = group_by.iter().map(|label| label.as_str().into());
    let data = Value::map([
        ("Series", series.into()),
        ("LabelMatchers", matchers.text().as_str().into()),
        ("LabelValuesByName", Value::Map(by_name.collect())),
        ("GroupBy", group_by.join(",").as_str().into()),
        ("GroupBySlice", Value::List(groups.collect())),
    ]);
    let expression = template
        .render(&data)
        .map_err(|error| SourceError::Unanswerable(format!("the query template: {error}")))?;
    if expression.is_empty() {
        let why = "empty query produced by metrics query template";
        return Err(SourceError::Unanswerable(why.to_owned()));
    }
    Ok(expression)
}

/// A string literal of PromQL.
fn quote(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::{Matchers, Replacement, build};
    use crate::rules::template::parse;
    use plimsoll_api::selector::LabelSelector;
    use proptest::prelude::*;
    use rstest::rstest;

    fn matchers(selector: &str) -> Matchers {
        Matchers::of(&LabelSelector::parse(selector).unwrap()).unwrap()
    }

    #[rstest]
    #[case("a=b", r#"a="b""#)]
    #[case("a!=b", r#"a!="b""#)]
    #[case("a in (c,b)", r#"a=~"b|c""#)]
    #[case("a in (b)", r#"a=~"b""#)]
    #[case("a notin (b)", r#"a!~"b""#)]
    #[case("a", r#"a!="""#)]
    #[case("!a", r#"a="""#)]
    #[case("b=x,a=y", r#"a="y",b="x""#)]
    fn a_selector_becomes_matchers(#[case] selector: &str, #[case] want: &str) {
        assert_eq!(matchers(selector).text(), want);
    }

    #[test]
    fn what_prometheus_cannot_compare_is_refused() {
        let selector = LabelSelector::parse("a>1").unwrap();
        assert!(Matchers::of(&selector).is_err());
    }

    #[test]
    fn a_query_narrows_to_names_and_groups_by_their_label() {
        let mut matchers = matchers("code=200");
        matchers.add("namespace", "=", "default");
        matchers.name("pod", &["a".to_owned(), "b".to_owned()]);
        let text = "sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)";
        let got = build(
            &parse(text).unwrap(),
            "http",
            &matchers,
            &["pod".to_owned()],
        )
        .unwrap();
        let want = r#"sum(rate(http{code="200",namespace="default",pod=~"a|b"}[2m])) by (pod)"#;
        assert_eq!(got, want);
    }

    #[test]
    fn replacements_reach_the_values_by_name() {
        let mut matchers = matchers("queue=a.b");
        let (find, replace) = (".".to_owned(), "#".to_owned());
        matchers.replace(&[Replacement { find, replace }]);
        let text = r#"x{q="<<index .LabelValuesByName "queue">>"}"#;
        let got = build(&parse(text).unwrap(), "x", &matchers, &[]).unwrap();
        assert_eq!(got, r#"x{q="a#b"}"#);
    }

    proptest! {
        #[test]
        fn no_value_ends_its_literal(value in "[\"\\\\\n a{}]{0,20}") {
            let literal = super::quote(&value);
            let inner = literal.strip_prefix('"').and_then(|l| l.strip_suffix('"')).unwrap();
            let mut escaped = false;
            for c in inner.chars() {
                prop_assert!(escaped || c != '"');
                prop_assert!(c != '\n');
                escaped = c == '\\' && !escaped;
            }
            prop_assert!(!escaped);
        }
    }
}
