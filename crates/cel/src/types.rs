//! What a value may be, and what an expression may name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A size nobody bounded.
pub const UNBOUNDED: u64 = u64::MAX;

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Anything; checked when it is used.
    Dyn,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// 64-bit signed integer.
    Int,
    /// 64-bit unsigned integer.
    Uint,
    /// 64-bit floating point number.
    Double,
    /// Text.
    String,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A point in time; RFC 3339 in JSON.
    Timestamp,
    /// A span of time; `1h30m` in JSON.
    Duration,
    /// A type itself, as `type(x)` gives it.
    Type,
    /// A list.
    List(Arc<ListType>),
    /// A map.
    Map(Arc<MapType>),
    /// A value with declared fields.
    Object(Arc<ObjectType>),
    /// A value that may be absent.
    Optional(Arc<Type>),
    /// A value of one of the libraries.
    Opaque(OpaqueType),
}

/// The types the libraries add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpaqueType {
    /// `kubernetes.Quantity`.
    Quantity,
    /// `kubernetes.URL`.
    Url,
    /// `net.IP`.
    Ip,
    /// `net.CIDR`.
    Cidr,
    /// `kubernetes.Semver`.
    Semver,
    /// `kubernetes.NamedFormat`.
    Format,
    /// `kubernetes.authorization.Authorizer`.
    Authorizer,
    /// `kubernetes.authorization.PathCheck`.
    PathCheck,
    /// `kubernetes.authorization.GroupCheck`.
    GroupCheck,
    /// `kubernetes.authorization.ResourceCheck`.
    ResourceCheck,
    /// `kubernetes.authorization.Decision`.
    Decision,
    /// The composed `variables`.
    Variables,
}

impl OpaqueType {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quantity => "kubernetes.Quantity",
            Self::Url => "kubernetes.URL",
            Self::Ip => "net.IP",
            Self::Cidr => "net.CIDR",
            Self::Semver => "kubernetes.Semver",
            Self::Format => "kubernetes.NamedFormat",
            Self::Authorizer => "kubernetes.authorization.Authorizer",
            Self::PathCheck => "kubernetes.authorization.PathCheck",
            Self::GroupCheck => "kubernetes.authorization.GroupCheck",
            Self::ResourceCheck => "kubernetes.authorization.ResourceCheck",
            Self::Decision => "kubernetes.authorization.Decision",
            Self::Variables => "kubernetes.variables",
        }
    }
}

/// A type with the largest size its values may have: bytes of text, items of a list, entries of
/// a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Decl {
    /// The type.
    pub ty: Type,
    /// The largest size, [`UNBOUNDED`] if nobody says.
    pub max: u64,
}

impl Decl {
    /// A type of unknown size.
    pub fn new(ty: Type) -> Self {
        Self { ty, max: UNBOUNDED }
    }

    /// A type whose values are at most this large.
    pub fn sized(ty: Type, max: u64) -> Self {
        Self { ty, max }
    }
}

/// How the items of a list are told apart; decides equality and what `+` means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListKind {
    /// By place.
    #[default]
    Atomic,
    /// By value; the order does not matter.
    Set,
    /// By these fields; the order does not matter.
    Map(Vec<String>),
}

/// The type of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ListType {
    /// Its items.
    pub element: Decl,
    /// How they are told apart.
    pub kind: ListKind,
}

/// The type of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct MapType {
    /// Its keys.
    pub key: Decl,
    /// Its values.
    pub value: Decl,
}

/// A type with declared fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObjectType {
    /// Its name in messages and, for types that expressions construct, in the source.
    pub name: String,
    /// Its fields by the name expressions use, see [`crate::escape`].
    pub fields: BTreeMap<String, FieldDecl>,
    /// Whether fields that are not declared may be constructed and read as [`Type::Dyn`].
    pub open: bool,
}

/// A declared field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldDecl {
    /// Its name in JSON.
    pub json: String,
    /// Its type.
    pub decl: Decl,
}

impl Type {
    /// A list of this type.
    pub fn list(element: Decl) -> Self {
        Self::List(Arc::new(ListType {
            element,
            kind: ListKind::Atomic,
        }))
    }

    /// A map from text to this type.
    pub fn map(value: Decl) -> Self {
        Self::Map(Arc::new(MapType {
            key: Decl::new(Self::String),
            value,
        }))
    }

    /// A map between these types.
    pub fn map_of(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(MapType {
            key: Decl::new(key),
            value: Decl::new(value),
        }))
    }

    /// An object with these fields, named as in JSON.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (String, Decl)>) -> Self {
        let fields = fields
            .into_iter()
            .map(|(json, decl)| (crate::escape(&json), FieldDecl { json, decl }))
            .collect();
        Self::Object(Arc::new(ObjectType {
            name: name.to_owned(),
            fields,
            open: false,
        }))
    }

    /// An object whose fields are named in expressions as they are in JSON.
    pub fn record(name: &str, fields: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let fields = fields
            .into_iter()
            .map(|(json, ty)| {
                let field = FieldDecl {
                    json: json.to_owned(),
                    decl: Decl::new(ty),
                };
                (json.to_owned(), field)
            })
            .collect();
        Self::Object(Arc::new(ObjectType {
            name: name.to_owned(),
            fields,
            open: false,
        }))
    }

    /// A value of this type that may be absent.
    pub fn optional(inner: Self) -> Self {
        Self::Optional(Arc::new(inner))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::Type => f.write_str("type"),
            Self::List(list) => write!(f, "list({})", list.element.ty),
            Self::Map(map) => write!(f, "map({}, {})", map.key.ty, map.value.ty),
            Self::Object(object) => f.write_str(&object.name),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Opaque(opaque) => f.write_str(opaque.name()),
        }
    }
}

/// What an expression may name.
#[derive(Debug, Clone, Default)]
pub struct Env {
    pub(crate) variables: BTreeMap<String, Decl>,
    pub(crate) composed: BTreeMap<String, Decl>,
    pub(crate) structs: BTreeMap<String, Arc<ObjectType>>,
    pub(crate) open: Vec<String>,
}

impl Env {
    /// An environment without variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable.
    #[must_use]
    pub fn with(mut self, name: &str, decl: Decl) -> Self {
        self.variables.insert(name.to_owned(), decl);
        self
    }

    /// Declares `variables.NAME`, of the type a program gives.
    pub fn compose(&mut self, name: &str, decl: Decl) {
        let ty = Type::Opaque(OpaqueType::Variables);
        self.variables.insert("variables".to_owned(), Decl::new(ty));
        self.composed.insert(name.to_owned(), decl);
    }

    /// Declares a type that expressions may construct, under its name.
    pub fn construct(&mut self, object: Arc<ObjectType>) {
        self.structs.insert(object.name.clone(), object);
    }

    /// Lets expressions construct objects of this type and of any below it (`Object.spec`), with
    /// any fields.
    pub fn construct_below(&mut self, root: &str) {
        self.open.push(root.to_owned());
    }

    /// The type that a literal of this name constructs.
    pub(crate) fn structure(&self, name: &str) -> Option<Arc<ObjectType>> {
        if let Some(known) = self.structs.get(name) {
            return Some(Arc::clone(known));
        }
        let below = |root: &String| {
            let rest = name.strip_prefix(root.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.open.iter().any(below).then(|| {
            Arc::new(ObjectType {
                name: name.to_owned(),
                open: true,
                ..ObjectType::default()
            })
        })
    }

    /// What the variable is declared as.
    pub fn variable(&self, name: &str) -> Option<&Decl> {
        self.variables.get(name)
    }

    /// Whether the variable is declared.
    pub fn declares(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }
}
