//! A type as merging sees it: what an object's fields and a list's elements are, and what merges
//! element by element.
//!
//! Server-side apply, field tracking and whatever else walks values along their types use
//! [`Node`]; they never look at the tables themselves. A new source of types (a custom resource's
//! structural schema, say) is one more variant here.

use super::{FieldDef, FieldType, Item, ListType, Shape, TypeDef, TypeId, by_name, get};
use serde_json::Value;

/// The type of one value.
#[derive(Debug, Clone, Copy)]
pub enum Node<'s> {
    /// A single value of a built-in type.
    Item(Item),
    /// A built-in object that is replaced as a whole whatever its type says.
    Whole(Item),
    /// A list in a built-in field, which says how it merges.
    List(&'static FieldDef, Item),
    /// A list that is replaced as a whole.
    WholeList(Item),
    /// A map in a built-in field.
    Map(&'static FieldDef, FieldType),
    /// A custom object: a structural schema as JSON, whose metadata is an `ObjectMeta`.
    Object(&'s Value),
    /// A value inside a custom object, described by a structural schema as JSON.
    Structural(&'s Value),
    /// Nothing is known: objects merge field by field, lists are replaced as a whole.
    Unknown,
}

/// What a value of a type should look like and how it merges.
#[derive(Debug, Clone, Copy)]
pub enum Atom<'s> {
    /// A scalar.
    Scalar(Scalar),
    /// An object or map.
    Map(Relation),
    /// A list.
    List(ListType, Keys<'s>),
    /// Whatever the value is.
    Unknown,
}

/// What scalars a type allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// An integer or floating-point number.
    Number,
    /// Text.
    Text,
    /// A boolean.
    Bool,
    /// Any of them.
    Any,
}

/// How an object merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Field by field.
    Separable,
    /// As a whole.
    Atomic,
}

/// The fields that identify an element of a [`ListType::Map`] list.
#[derive(Debug, Clone, Copy)]
pub enum Keys<'s> {
    /// Of a built-in list.
    Static(&'static [&'static str]),
    /// A JSON list of names.
    Json(&'s [Value]),
}

impl<'s> Keys<'s> {
    /// The names, in the schema's order.
    pub fn iter(self) -> impl Iterator<Item = &'s str> {
        let (fixed, json) = match self {
            Self::Static(names) => (names, [].as_slice()),
            Self::Json(names) => ([].as_slice(), names),
        };
        let json = json.iter().filter_map(Value::as_str);
        fixed.iter().copied().chain(json)
    }
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Built-in fields that upstream's own types hold by value: an object of such a type always has
/// the field, if only empty, so its coming and going is no change.
const HELD_BY_VALUE: &[&str] = &[
    "clientConfig",
    "daemonEndpoints",
    "jobTemplate",
    "kubeletEndpoint",
    "lastState",
    "loadBalancer",
    "metadata",
    "nodeInfo",
    "resources",
    "scaleTargetRef",
    "source",
    "spec",
    "state",
    "status",
    "strategy",
    "template",
    "updateStrategy",
];

impl<'s> Node<'s> {
    /// Objects of a built-in type.
    pub const fn of(ty: TypeId) -> Self {
        Self::Item(Item::Type(ty))
    }

    fn field_node(field: &'static FieldDef) -> Self {
        match field.ty {
            FieldType::One(item) if field.atomic_map() => Self::Whole(item),
            FieldType::One(item) => Self::Item(item),
            FieldType::List(item) => Self::List(field, item),
            FieldType::Map(item) => Self::Map(field, FieldType::One(item)),
            FieldType::MapOfLists(item) => Self::Map(field, FieldType::List(item)),
        }
    }

    /// What a value of the type looks like.
    pub fn atom(self) -> Atom<'s> {
        let relation = |atomic: bool| {
            if atomic {
                Relation::Atomic
            } else {
                Relation::Separable
            }
        };
        match self {
            Self::Item(Item::Type(id)) => match get(id).shape {
                Shape::Object => Atom::Map(relation(get(id).atomic)),
                Shape::Quantity | Shape::IntOrString | Shape::Time | Shape::MicroTime => {
                    Atom::Scalar(Scalar::Any)
                }
                Shape::RawExtension
                | Shape::FieldsV1
                | Shape::Json
                | Shape::JsonSchemaOrArray
                | Shape::JsonSchemaOrBool
                | Shape::JsonSchemaOrStrings => Atom::Unknown,
            },
            Self::Item(Item::Int32 | Item::Int64 | Item::Double) => Atom::Scalar(Scalar::Number),
            Self::Item(Item::String | Item::Bytes) => Atom::Scalar(Scalar::Text),
            Self::Item(Item::Bool) => Atom::Scalar(Scalar::Bool),
            Self::Whole(_) => Atom::Map(Relation::Atomic),
            Self::Map(field, _) => Atom::Map(relation(field.atomic_map())),
            Self::List(field, _) => {
                let kind = field.list_type().unwrap_or(ListType::Atomic);
                Atom::List(kind, Keys::Static(field.list_map_keys()))
            }
            Self::WholeList(_) => Atom::List(ListType::Atomic, Keys::Static(&[])),
            Self::Object(_) => Atom::Map(Relation::Separable),
            Self::Structural(schema) => structural_atom(schema),
            Self::Unknown => Atom::Unknown,
        }
    }

    fn row(self) -> Option<&'static TypeDef> {
        match self {
            Self::Item(Item::Type(id)) | Self::Whole(Item::Type(id)) => Some(get(id)),
            Self::Item(_)
            | Self::Whole(_)
            | Self::List(..)
            | Self::WholeList(_)
            | Self::Map(..)
            | Self::Object(_)
            | Self::Structural(_)
            | Self::Unknown => None,
        }
    }

    /// The declared field `name` of an object.
    pub fn field(self, name: &str) -> Option<Self> {
        match self {
            Self::Object(schema) => match name {
                "metadata" => by_name(OBJECT_META).map(Self::of),
                "apiVersion" | "kind" => Some(Self::Item(Item::String)),
                _ => property(schema, name),
            },
            Self::Structural(schema) => {
                let embedded = flag(schema, "x-kubernetes-embedded-resource");
                if embedded && matches!(name, "metadata" | "apiVersion" | "kind") {
                    return Self::Object(schema).field(name);
                }
                property(schema, name)
            }
            Self::Item(_)
            | Self::Whole(_)
            | Self::List(..)
            | Self::WholeList(_)
            | Self::Map(..)
            | Self::Unknown => self.row()?.field(name).map(Self::field_node),
        }
    }

    /// What the undeclared fields of an object or the values of a map are; `None` where undeclared
    /// fields are errors.
    pub fn values(self) -> Option<Self> {
        match self {
            Self::Map(_, FieldType::List(item)) => Some(Self::WholeList(item)),
            Self::Map(_, FieldType::One(item)) => Some(Self::Item(item)),
            Self::Object(schema) | Self::Structural(schema) => structural_values(schema),
            Self::Unknown => Some(Self::Unknown),
            Self::Map(..) | Self::List(..) | Self::WholeList(_) => None,
            Self::Item(_) | Self::Whole(_) => {
                let open = self.row().is_none_or(|row| row.shape != Shape::Object);
                open.then_some(Self::Unknown)
            }
        }
    }

    /// The field or map value `name`; `None` where it is unknown.
    pub fn child(self, name: &str) -> Option<Self> {
        self.field(name).or_else(|| self.values())
    }

    /// The elements of a list.
    #[must_use]
    pub fn element(self) -> Self {
        match self {
            Self::List(_, item) | Self::WholeList(item) => Self::Item(item),
            Self::Structural(schema) => schema.get("items").map_or(Self::Unknown, Self::Structural),
            Self::Item(_) | Self::Whole(_) | Self::Map(..) | Self::Object(_) | Self::Unknown => {
                Self::Unknown
            }
        }
    }

    /// What a missing key field of an element of this list stands for.
    pub fn key_default(self, key: &str) -> Option<Value> {
        match self {
            // The one key with a default among built-in lists.
            Self::List(field, _) => (key == "protocol" && field.name == "ports")
                .then(|| Value::String("TCP".to_owned())),
            Self::Structural(schema) => schema
                .get("items")?
                .get("properties")?
                .get(key)?
                .get("default")
                .cloned(),
            Self::Item(_)
            | Self::Whole(_)
            | Self::WholeList(_)
            | Self::Map(..)
            | Self::Object(_)
            | Self::Unknown => None,
        }
    }

    /// Whether upstream's typed objects always have the field `name`, so that its absence means
    /// "empty".
    pub fn always_has(self, name: &str) -> bool {
        let Some(field) = self.row().and_then(|row| row.field(name)) else {
            return false;
        };
        match field.ty {
            FieldType::One(Item::Type(id)) => {
                get(id).shape == Shape::Object && HELD_BY_VALUE.contains(&name)
            }
            FieldType::List(_) | FieldType::Map(_) => field.required(),
            FieldType::One(_) | FieldType::MapOfLists(_) => false,
        }
    }
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

fn text<'v>(schema: &'v Value, key: &str) -> &'v str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn property<'s>(schema: &'s Value, name: &str) -> Option<Node<'s>> {
    schema.get("properties")?.get(name).map(Node::Structural)
}

fn structural_values(schema: &Value) -> Option<Node<'_>> {
    match schema.get("additionalProperties") {
        Some(values @ Value::Object(_)) => return Some(Node::Structural(values)),
        Some(Value::Bool(true)) => return Some(Node::Unknown),
        Some(_) | None => {}
    }
    let declares = schema
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(|fields| !fields.is_empty());
    let open = flag(schema, "x-kubernetes-preserve-unknown-fields") || !declares;
    open.then_some(Node::Unknown)
}

fn structural_atom(schema: &Value) -> Atom<'_> {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Atom::Scalar(Scalar::Any);
    }
    match text(schema, "type") {
        "object" if text(schema, "x-kubernetes-map-type") == "atomic" => {
            Atom::Map(Relation::Atomic)
        }
        "object" => Atom::Map(Relation::Separable),
        "array" => {
            let keys = schema.get("x-kubernetes-list-map-keys");
            let keys = keys
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice);
            let kind = match text(schema, "x-kubernetes-list-type") {
                "map" => ListType::Map,
                "set" => ListType::Set,
                _ => ListType::Atomic,
            };
            Atom::List(kind, Keys::Json(keys))
        }
        "string" => Atom::Scalar(Scalar::Text),
        "integer" | "number" => Atom::Scalar(Scalar::Number),
        "boolean" => Atom::Scalar(Scalar::Bool),
        _ => Atom::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::by_kind;
    use serde_json::json;

    fn deployment() -> Node<'static> {
        Node::of(by_kind("apps", "v1", "Deployment").unwrap())
    }

    #[test]
    fn built_in_types_say_how_they_merge() {
        let spec = deployment().field("spec").unwrap();
        assert!(matches!(spec.atom(), Atom::Map(Relation::Separable)));
        let selector = spec.field("selector").unwrap();
        assert!(matches!(selector.atom(), Atom::Map(Relation::Atomic)));
        let pod = spec.field("template").and_then(|t| t.field("spec"));
        let containers = pod.unwrap().field("containers").unwrap();
        let Atom::List(ListType::Map, keys) = containers.atom() else {
            panic!("containers merge by key");
        };
        assert_eq!(keys.iter().collect::<Vec<_>>(), ["name"]);
        let ports = containers.element().field("ports").unwrap();
        assert_eq!(ports.key_default("protocol"), Some(json!("TCP")));
        assert!(ports.key_default("containerPort").is_none());
        let limits = containers.element().field("resources");
        let limits = limits.and_then(|r| r.field("limits")).unwrap();
        let quantity = limits.child("cpu").unwrap();
        assert!(matches!(quantity.atom(), Atom::Scalar(Scalar::Any)));
        assert!(spec.child("nonsense").is_none());
        assert!(deployment().always_has("spec") && !spec.always_has("paused"));
    }

    #[test]
    fn structural_schemas_say_how_they_merge() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "rules": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["host"],
                    "items": {"type": "object", "properties": {
                        "host": {"type": "string", "default": "*"}}}},
                "free": {"x-kubernetes-preserve-unknown-fields": true},
                "tags": {"type": "object", "additionalProperties": {"type": "string"}},
            }},
        }});
        let root = Node::Object(&schema);
        let metadata = root.field("metadata").unwrap();
        assert!(metadata.field("labels").is_some());
        let spec = root.field("spec").unwrap();
        assert!(spec.child("other").is_none());
        let rules = spec.field("rules").unwrap();
        assert!(matches!(rules.atom(), Atom::List(ListType::Map, _)));
        assert_eq!(rules.key_default("host"), Some(json!("*")));
        assert!(matches!(spec.field("free").unwrap().atom(), Atom::Unknown));
        let tag = spec.field("tags").and_then(|tags| tags.child("a")).unwrap();
        assert!(matches!(tag.atom(), Atom::Scalar(Scalar::Text)));
    }
}
