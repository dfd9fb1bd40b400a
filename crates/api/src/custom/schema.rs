//! Structural schemas: `openAPIV3Schema` of a definition's version, parsed for use on every write.
//!
//! Parsing takes any JSON and never fails: what is malformed is left out, because definitions are
//! checked by [`super::structural`] before they are stored.

use crate::meta;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Deeper schemas are cut off: objects that deep are refused when they are decoded.
const MAX_DEPTH: usize = 128;

/// The `type` of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A JSON object.
    Object,
    /// A list.
    Array,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
}

impl Type {
    /// The type of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// `object`, `array`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// How a list merges and what must be unique in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListKind {
    /// Replaced as a whole.
    #[default]
    Atomic,
    /// No element twice.
    Set,
    /// Elements are told apart by these keys.
    Map(Vec<String>),
}

/// One level of a structural schema, or a constraint inside `allOf`, `anyOf`, `oneOf` or `not`.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of one schema level"
)]
pub struct Schema {
    /// `type`; absent for int-or-string, for preserved values and in constraints.
    pub ty: Option<Type>,
    /// Whether null is a value.
    pub nullable: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve: bool,
    /// `x-kubernetes-embedded-resource`; not set for the root, whose caller knows.
    pub embedded: bool,
    /// `x-kubernetes-list-type` with its keys.
    pub list: ListKind,
    /// Whether `x-kubernetes-list-type` is given at all.
    pub list_type_given: bool,
    /// Whether `x-kubernetes-map-type` is `atomic`.
    pub map_atomic: bool,
    /// `properties`.
    pub properties: BTreeMap<String, Schema>,
    /// `additionalProperties`; `true` is a schema that preserves anything.
    pub additional: Option<Box<Schema>>,
    /// `items`.
    pub items: Option<Box<Schema>>,
    /// `default`.
    pub default: Option<Value>,
    /// Constraints on the value, if there are any.
    pub limits: Option<Box<Limits>>,
    /// `x-kubernetes-validations` as written.
    pub rules: Vec<Value>,
    /// Whether anything here or below has a default.
    pub has_defaults: bool,
    /// Whether anything here or below has a validation rule.
    pub has_rules: bool,
}

/// Constraints on a value.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// `required`.
    pub required: Vec<String>,
    /// `enum`.
    pub allowed: Vec<Value>,
    /// `pattern`, as written and compiled; uncompilable patterns are left out.
    pub pattern: Option<(String, regex::Regex)>,
    /// `format`.
    pub format: Option<String>,
    /// `maximum`, and whether it is exclusive.
    pub maximum: Option<(f64, bool)>,
    /// `minimum`, and whether it is exclusive.
    pub minimum: Option<(f64, bool)>,
    /// `multipleOf`.
    pub multiple_of: Option<f64>,
    /// `maxLength`, in characters.
    pub max_length: Option<u64>,
    /// `minLength`, in characters.
    pub min_length: Option<u64>,
    /// `maxItems`.
    pub max_items: Option<u64>,
    /// `minItems`.
    pub min_items: Option<u64>,
    /// `maxProperties`.
    pub max_properties: Option<u64>,
    /// `minProperties`.
    pub min_properties: Option<u64>,
    /// `uniqueItems`.
    pub unique: bool,
    /// `allOf`.
    pub all_of: Vec<Schema>,
    /// `anyOf`.
    pub any_of: Vec<Schema>,
    /// `oneOf`.
    pub one_of: Vec<Schema>,
    /// `not`.
    pub not: Option<Box<Schema>>,
}

impl Schema {
    /// Reads a schema.
    pub fn parse(value: &Value) -> Self {
        Self::read(value, MAX_DEPTH)
    }

    /// A schema that keeps anything.
    pub fn anything() -> Self {
        Self {
            preserve: true,
            ..Self::default()
        }
    }

    fn read(value: &Value, depth: usize) -> Self {
        let Some(depth) = depth.checked_sub(1) else {
            return Self::anything();
        };
        let flag = |key: &str| value.get(key) == Some(&Value::Bool(true));
        let list_type = meta::text(value, &["x-kubernetes-list-type"]);
        let mut schema = Self {
            ty: Type::parse(meta::text(value, &["type"])),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            list: match list_type {
                "set" => ListKind::Set,
                "map" => ListKind::Map(texts(value, "x-kubernetes-list-map-keys")),
                _ => ListKind::Atomic,
            },
            list_type_given: !list_type.is_empty(),
            map_atomic: meta::text(value, &["x-kubernetes-map-type"]) == "atomic",
            properties: properties(value, depth),
            additional: additional(value, depth).map(Box::new),
            items: value
                .get("items")
                .filter(|items| items.is_object())
                .map(|items| Box::new(Self::read(items, depth))),
            default: value.get("default").cloned(),
            limits: Limits::read(value, depth).map(Box::new),
            rules: meta::list(value, &["x-kubernetes-validations"]).to_vec(),
            has_defaults: false,
            has_rules: false,
        };
        let defaults = schema
            .below()
            .any(|s| s.has_defaults || s.default.is_some());
        let rules = !schema.rules.is_empty() || schema.below().any(|s| s.has_rules);
        (schema.has_defaults, schema.has_rules) = (defaults, rules);
        schema
    }

    /// The schemas of properties, other keys and items.
    pub fn below(&self) -> impl Iterator<Item = &Schema> {
        self.properties
            .values()
            .chain(self.additional.as_deref())
            .chain(self.items.as_deref())
    }

    /// The schema of a key of an object; `None` for unknown ones.
    pub fn key(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// The schema at a path of property names and, for lists, their items.
    pub fn at(&self, path: &[impl AsRef<str>]) -> Option<&Schema> {
        path.iter()
            .try_fold(self, |schema, name| schema.key(name.as_ref()))
    }
}

impl Limits {
    fn read(value: &Value, depth: usize) -> Option<Self> {
        let number = |key: &str| value.get(key).and_then(Value::as_f64);
        let count = |key: &str| {
            let number = value.get(key)?;
            number.as_u64().or_else(|| number.as_i64().map(|_| 0))
        };
        let flag = |key: &str| value.get(key) == Some(&Value::Bool(true));
        let schemas = |key: &str| {
            let list = meta::list(value, &[key]);
            list.iter()
                .map(|s| Schema::read(s, depth))
                .collect::<Vec<_>>()
        };
        let text = |key: &str| Some(meta::text(value, &[key])).filter(|text| !text.is_empty());
        let limits = Self {
            required: texts(value, "required"),
            allowed: meta::list(value, &["enum"]).to_vec(),
            pattern: text("pattern").and_then(|p| Some((p.to_owned(), pattern(p).ok()?))),
            format: text("format").map(ToOwned::to_owned),
            maximum: number("maximum").map(|n| (n, flag("exclusiveMaximum"))),
            minimum: number("minimum").map(|n| (n, flag("exclusiveMinimum"))),
            multiple_of: number("multipleOf").filter(|n| *n > 0.0),
            max_length: count("maxLength"),
            min_length: count("minLength"),
            max_items: count("maxItems"),
            min_items: count("minItems"),
            max_properties: count("maxProperties"),
            min_properties: count("minProperties"),
            unique: flag("uniqueItems"),
            all_of: schemas("allOf"),
            any_of: schemas("anyOf"),
            one_of: schemas("oneOf"),
            not: value
                .get("not")
                .filter(|not| not.is_object())
                .map(|not| Box::new(Schema::read(not, depth))),
        };
        limits.says_anything().then_some(limits)
    }

    fn says_anything(&self) -> bool {
        let counts = [
            self.max_length,
            self.min_length,
            self.max_items,
            self.min_items,
            self.max_properties,
            self.min_properties,
        ];
        let lists = [&self.all_of, &self.any_of, &self.one_of];
        !self.required.is_empty()
            || !self.allowed.is_empty()
            || self.pattern.is_some()
            || self.format.is_some()
            || self.maximum.is_some()
            || self.minimum.is_some()
            || self.multiple_of.is_some()
            || self.unique
            || self.not.is_some()
            || counts.iter().any(Option::is_some)
            || lists.iter().any(|list| !list.is_empty())
    }
}

/// Compiles a pattern; bounded in size, so that a definition cannot fill the memory.
pub(super) fn pattern(text: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(4 << 20).build()
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let list = meta::list(value, &[key]).iter();
    list.filter_map(Value::as_str)
        .map(ToOwned::to_owned)
        .collect()
}

fn properties(value: &Value, depth: usize) -> BTreeMap<String, Schema> {
    let map: Option<&Map<String, Value>> = value.get("properties").and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(name, schema)| (name.clone(), Schema::read(schema, depth)))
        .collect()
}

fn additional(value: &Value, depth: usize) -> Option<Schema> {
    match value.get("additionalProperties")? {
        Value::Bool(true) => Some(Schema::anything()),
        schema @ Value::Object(_) => Some(Schema::read(schema, depth)),
        Value::Null
        | Value::Bool(false)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_) => None,
    }
}
