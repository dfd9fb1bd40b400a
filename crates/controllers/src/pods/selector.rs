//! Label selectors.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// The label has one of these values.
    In(Arc<str>, Box<[Arc<str>]>),
    /// The label is absent or has none of these values.
    NotIn(Arc<str>, Box<[Arc<str>]>),
    /// The label is present.
    Exists(Arc<str>),
    /// The label is absent.
    Absent(Arc<str>),
}

impl Requirement {
    fn matches(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        match self {
            Self::In(key, values) => value(labels, key).is_some_and(|v| values.contains(v)),
            Self::NotIn(key, values) => value(labels, key).is_none_or(|v| !values.contains(v)),
            Self::Exists(key) => value(labels, key).is_some(),
            Self::Absent(key) => value(labels, key).is_none(),
        }
    }
}

/// Why a selector cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// `operator` of a match expression is not one of the four.
    #[error("unknown operator {0:?} in the label selector")]
    Operator(String),
    /// Text that is not a selector.
    #[error("cannot read {0:?} as a label selector")]
    Syntax(String),
}

/// A conjunction of requirements; without any it selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// All must hold.
    pub requirements: Box<[Requirement]>,
}

impl Selector {
    /// Selects objects that have all these labels.
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let equal = |(key, value): (&str, &str)| Requirement::In(key.into(), [value.into()].into());
        Self {
            requirements: labels.into_iter().map(equal).collect(),
        }
    }

    /// Selects objects that have all these labels.
    pub fn of_map(labels: &BTreeMap<String, String>) -> Self {
        Self::of_labels(
            labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        )
    }

    /// Reads the text form, e.g. `app=web,tier in (a,b),!old` (as in `scale.status.selector`).
    ///
    /// # Errors
    /// [`SelectorError::Syntax`] names the part that is not a requirement.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let parts = split(text).into_iter().filter(|part| !part.is_empty());
        Ok(Self {
            requirements: parts.map(requirement).collect::<Result<_, _>>()?,
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these labels (sorted by key) is selected.
    pub fn matches(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.matches(labels))
    }

    /// A label (key, value) every selected object has, for looking up an index.
    pub fn anchor(&self) -> Option<(&str, &str)> {
        self.requirements
            .iter()
            .find_map(|requirement| match requirement {
                Requirement::In(key, values) => match &**values {
                    [value] => Some((&**key, &**value)),
                    _ => None,
                },
                Requirement::NotIn(..) | Requirement::Exists(_) | Requirement::Absent(_) => None,
            })
    }
}

impl TryFrom<&LabelSelector> for Selector {
    type Error = SelectorError;

    fn try_from(selector: &LabelSelector) -> Result<Self, SelectorError> {
        let labels = selector.match_labels.iter().flatten();
        let mut requirements: Vec<Requirement> = labels
            .map(|(key, value)| {
                Requirement::In(key.as_str().into(), [value.as_str().into()].into())
            })
            .collect();
        for expression in selector.match_expressions.iter().flatten() {
            let key: Arc<str> = expression.key.as_str().into();
            let values = || {
                expression
                    .values
                    .iter()
                    .flatten()
                    .map(|v| Arc::from(&**v))
                    .collect()
            };
            requirements.push(match expression.operator.as_str() {
                "In" => Requirement::In(key, values()),
                "NotIn" => Requirement::NotIn(key, values()),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                other => return Err(SelectorError::Operator(other.into())),
            });
        }
        Ok(Self {
            requirements: requirements.into(),
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.requirements.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) => match &**values {
                    [value] => write!(f, "{key}={value}")?,
                    many => write!(f, "{key} in ({})", many.join(","))?,
                },
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(","))?,
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::Absent(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

fn value<'a>(labels: &'a [(Arc<str>, Arc<str>)], key: &str) -> Option<&'a Arc<str>> {
    let at = labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
    labels.get(at).map(|(_, value)| value)
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        c == ',' && depth == 0
    })
    .map(str::trim)
    .collect()
}

fn requirement(text: &str) -> Result<Requirement, SelectorError> {
    let syntax = || SelectorError::Syntax(text.to_owned());
    let one = |value: &str| -> Box<[Arc<str>]> { [Arc::from(value.trim())].into() };
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(key.trim().into(), one(value)));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::In(key.trim().into(), one(value)));
    }
    if let Some((head, list)) = text.split_once('(') {
        let list = list.trim().strip_suffix(')').ok_or_else(syntax)?;
        let values = list
            .split(',')
            .map(|value| Arc::from(value.trim()))
            .collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => Ok(Requirement::In(key.into(), values)),
            (Some(key), Some("notin"), None) => Ok(Requirement::NotIn(key.into(), values)),
            _ => Err(syntax()),
        };
    }
    let (absent, key) = match text.strip_prefix('!') {
        Some(key) => (true, key.trim()),
        None => (false, text),
    };
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(syntax());
    }
    Ok(if absent {
        Requirement::Absent(key.into())
    } else {
        Requirement::Exists(key.into())
    })
}

#[cfg(test)]
mod tests {
    use super::{Selector, SelectorError};
    use rstest::rstest;
    use std::sync::Arc;

    fn labels() -> Vec<(Arc<str>, Arc<str>)> {
        [("app", "web"), ("tier", "b")]
            .map(|(k, v)| (k.into(), v.into()))
            .to_vec()
    }

    #[rstest]
    #[case::everything("", true)]
    #[case::equal("app=web", true)]
    #[case::double_equal("app == web", true)]
    #[case::unequal("app!=web", false)]
    #[case::unequal_of_an_absent_label("zone!=x", true)]
    #[case::one_of("tier in (a, b),app=web", true)]
    #[case::none_of("tier notin (a,b)", false)]
    #[case::present("tier", true)]
    #[case::absent("!zone", true)]
    #[case::absent_but_there("!tier", false)]
    fn a_selector_selects(#[case] text: &str, #[case] selected: bool) {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.matches(&labels()), selected);
        assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[rstest]
    #[case("a in (b")]
    #[case("a on (b)")]
    #[case("a b")]
    #[case("!")]
    fn nonsense_is_refused(#[case] text: &str) {
        assert_eq!(
            Selector::parse(text),
            Err(SelectorError::Syntax(text.into()))
        );
    }
}
