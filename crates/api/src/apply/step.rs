//! One step of a path into an object.

use crate::schema::{Keys, ListType, Node};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// One step from a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step<'a> {
    /// A field of an object or a key of a map.
    Field(Cow<'a, str>),
    /// An element of a list as FieldsV1 writes it: `k:{…}`, `v:…` or `i:…`, canonical.
    Element(Cow<'a, str>),
}

/// Why a list's element has no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoIdentity {
    /// A null among the elements of a set.
    #[error("associative list without keys has an element that's {0}")]
    NotScalar(&'static str),
    /// A null among the elements of a keyed list.
    #[error("associative list with keys may not have {0}")]
    NotObject(&'static str),
    /// None of the keys is present.
    #[error(
        "associative list with keys has an element that omits all key fields {0:?} (and doesn't have default values for any key fields)"
    )]
    NoKey(Vec<String>),
}

impl<'a> Step<'a> {
    /// A field.
    pub fn field(name: &'a str) -> Self {
        Self::Field(Cow::Borrowed(name))
    }

    /// Reads a key of FieldsV1; `None` for an unknown prefix or malformed JSON.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (prefix, rest) = text.split_once(':')?;
        match prefix {
            "f" => Some(Self::field(rest)),
            "k" => {
                let key: Map<String, Value> = serde_json::from_str(rest).ok()?;
                let fields = key
                    .iter()
                    .map(|(name, value)| (name.as_str(), value))
                    .collect();
                Some(Self::Element(canonical(text, key_text(fields))))
            }
            "v" => {
                let value: Value = serde_json::from_str(rest).ok()?;
                Some(Self::Element(canonical(text, format!("v:{value}"))))
            }
            "i" => {
                let index: i64 = rest.parse().ok()?;
                Some(Self::Element(canonical(text, format!("i:{index}"))))
            }
            _ => None,
        }
    }

    /// Like [`Step::parse`] for text this program wrote, so that elements are canonical already.
    pub(super) fn trusted(text: &'a str) -> Option<Self> {
        match text.as_bytes().get(..2)? {
            b"f:" => text.get(2..).map(Self::field),
            b"k:" | b"v:" | b"i:" => Some(Self::Element(Cow::Borrowed(text))),
            _ => None,
        }
    }

    /// The key of FieldsV1.
    pub fn text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Element(text) => text.clone().into_owned(),
        }
    }

    /// The same step without borrows.
    pub fn into_owned(self) -> Step<'static> {
        match self {
            Self::Field(name) => Step::Field(Cow::Owned(name.into_owned())),
            Self::Element(text) => Step::Element(Cow::Owned(text.into_owned())),
        }
    }
}

fn canonical(given: &str, canonical: String) -> Cow<'_, str> {
    if given == canonical {
        Cow::Borrowed(given)
    } else {
        Cow::Owned(canonical)
    }
}

/// `k:{…}` with sorted fields.
fn key_text(mut fields: Vec<(&str, &Value)>) -> String {
    fields.sort_by_key(|(name, _)| *name);
    let mut text = "k:{".to_owned();
    for (index, (name, value)) in fields.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ignored = write!(text, "{comma}{}:{value}", Value::from(name));
    }
    text.push('}');
    text
}

/// The step to an element of a set or keyed list.
///
/// # Errors
///
/// An element without identity.
pub(super) fn element<'a>(
    list: Node<'_>,
    kind: ListType,
    keys: Keys<'_>,
    item: &Value,
) -> Result<Step<'a>, NoIdentity> {
    let text = match kind {
        ListType::Set | ListType::Atomic => match item {
            Value::Null => return Err(NoIdentity::NotScalar("a null")),
            Value::Object(_) => return Err(NoIdentity::NotScalar("a map type")),
            Value::Array(_) => return Err(NoIdentity::NotScalar("a list")),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => format!("v:{item}"),
        },
        ListType::Map => {
            let Value::Object(fields) = item else {
                let what = if item.is_null() {
                    "a null element"
                } else {
                    "non-map elements"
                };
                return Err(NoIdentity::NotObject(what));
            };
            keyed(list, keys, fields)?
        }
    };
    Ok(Step::Element(Cow::Owned(text)))
}

fn keyed(
    list: Node<'_>,
    keys: Keys<'_>,
    fields: &Map<String, Value>,
) -> Result<String, NoIdentity> {
    let defaults: Vec<(&str, Value)> = keys
        .iter()
        .filter(|key| !fields.contains_key(*key))
        .filter_map(|key| list.key_default(key).map(|value| (key, value)))
        .collect();
    let present = keys
        .iter()
        .filter_map(|key| fields.get(key).map(|value| (key, value)));
    let found: Vec<(&str, &Value)> = present
        .chain(defaults.iter().map(|(key, value)| (*key, value)))
        .collect();
    if found.is_empty() {
        return Err(NoIdentity::NoKey(keys.iter().map(str::to_owned).collect()));
    }
    Ok(key_text(found))
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Field(name) => return write!(out, ".{name}"),
            Self::Element(text) => text,
        };
        let (prefix, rest) = text.split_once(':').unwrap_or(("i", text));
        match prefix {
            "v" => write!(out, "[={rest}]"),
            "k" => {
                let key: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
                let fields: Vec<String> = key.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(out, "[{}]", fields.join(","))
            }
            _ => write!(out, "[{rest}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::by_name;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::field("f:spec", ".spec")]
    #[case::dotted("f:a.b/c", ".a.b/c")]
    #[case::key(r#"k:{"name":"web"}"#, r#"[name="web"]"#)]
    #[case::keys(r#"k:{"port":80,"protocol":"TCP"}"#, r#"[port=80,protocol="TCP"]"#)]
    #[case::value(r#"v:"a""#, r#"[="a"]"#)]
    #[case::index("i:3", "[3]")]
    fn steps_print_as_paths(#[case] text: &str, #[case] path: &str) {
        let step = Step::parse(text).unwrap();
        assert_eq!(step.to_string(), path);
        assert_eq!(step.text(), text);
        assert_eq!(Step::trusted(text), Some(step));
    }

    #[test]
    fn foreign_spellings_become_canonical() {
        let step = Step::parse(r#"k:{"protocol": "TCP", "port":80}"#).unwrap();
        assert_eq!(step.text(), r#"k:{"port":80,"protocol":"TCP"}"#);
        assert!(Step::parse("x:y").is_none() && Step::parse("k:[").is_none());
    }

    #[test]
    fn missing_keys_take_their_default() {
        let container = Node::of(by_name("io.k8s.api.core.v1.Container").unwrap());
        let ports = container.field("ports").unwrap();
        let keys = Keys::Static(&["containerPort", "protocol"]);
        let step = |item: &Value| element(ports, ListType::Map, keys, item);
        let found = step(&json!({"containerPort": 80})).unwrap();
        assert_eq!(found.text(), r#"k:{"containerPort":80,"protocol":"TCP"}"#);
        let why = step(&json!(7)).unwrap_err().to_string();
        assert_eq!(
            why,
            "associative list with keys may not have non-map elements"
        );
    }
}
