//! Field tables of every built-in type, derived from the API's published facts.
//!
//! The tables are static data: no start-up cost, lookups by binary search.

#[rustfmt::skip]
mod fields;
mod node;
#[rustfmt::skip]
mod resources;
#[rustfmt::skip]
mod types;

pub use node::{Atom, Keys, Node, Relation, Scalar};

use std::sync::OnceLock;

/// Index of a type in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u16);

/// What a type looks like on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object with the listed fields.
    Object,
    /// A quantity: a string, or a number that is turned into one.
    Quantity,
    /// An int32 or a string.
    IntOrString,
    /// RFC 3339 with whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Any object, kept as it is.
    RawExtension,
    /// A field set; any object.
    FieldsV1,
    /// Any JSON value.
    Json,
    /// A JSON schema or a list of them.
    JsonSchemaOrArray,
    /// A JSON schema or a boolean.
    JsonSchemaOrBool,
    /// A JSON schema or a list of strings.
    JsonSchemaOrStrings,
}

/// A value inside a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// Text.
    String,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// Floating-point number.
    Double,
    /// Boolean.
    Bool,
    /// Bytes, base64 in JSON.
    Bytes,
    /// A type of the table.
    Type(TypeId),
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A single value.
    One(Item),
    /// A list.
    List(Item),
    /// A map with string keys.
    Map(Item),
    /// A map of string keys to lists.
    MapOfLists(Item),
}

/// How a list (or map) merges when applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// A set of scalars.
    Set,
    /// Elements identified by the list's map keys.
    Map,
}

/// One field of an object type.
#[derive(Debug, Clone, Copy)]
pub struct FieldDef {
    /// JSON name.
    pub name: &'static str,
    /// Type.
    pub ty: FieldType,
    /// Protobuf field number in the innermost message; 0 where the field is not on that wire.
    pub number: u16,
    flags: u16,
    /// The start of the name; see [`start_of`].
    start: u64,
    extra: &'static Extra,
}

/// The first eight bytes of a name as a number that orders as they do. Most names differ in them,
/// so that a search seldom compares text.
const fn start_of(name: &str) -> u64 {
    let mut rest = name.as_bytes();
    let (mut start, mut shift) = (0, u64::BITS);
    while shift > 0 {
        shift -= u8::BITS;
        if let Some((first, tail)) = rest.split_first() {
            start |= (*first as u64) << shift;
            rest = tail;
        }
    }
    start
}

#[derive(Debug)]
struct Extra {
    keys: &'static [&'static str],
    merge_key: &'static str,
    embedded: &'static [u16],
}

const REQUIRED: u16 = 1;
const NULLABLE: u16 = 2;
const MERGE: u16 = 4;
const RETAIN_KEYS: u16 = 8;
const LIST_ATOMIC: u16 = 16;
const LIST_SET: u16 = 32;
const LIST_MAP: u16 = 64;
const MAP_ATOMIC: u16 = 128;
const REPLACE: u16 = 256;

static PLAIN: Extra = Extra {
    keys: &[],
    merge_key: "",
    embedded: &[],
};

impl FieldDef {
    const fn plain(name: &'static str, ty: FieldType, flags: u16, number: u16) -> Self {
        Self {
            name,
            ty,
            number,
            flags,
            start: start_of(name),
            extra: &PLAIN,
        }
    }

    const fn with(
        name: &'static str,
        ty: FieldType,
        flags: u16,
        number: u16,
        extra: &'static Extra,
    ) -> Self {
        Self {
            name,
            ty,
            number,
            flags,
            start: start_of(name),
            extra,
        }
    }

    const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether the field must be present; upstream then prints it even when it is zero.
    pub const fn required(&self) -> bool {
        self.has(REQUIRED)
    }

    /// Whether upstream tells zero from absent here.
    pub const fn tells_zero_from_absent(&self) -> bool {
        self.has(NULLABLE)
    }

    /// How a list merges on apply; `None` for fields that are no lists or say nothing.
    pub const fn list_type(&self) -> Option<ListType> {
        if self.has(LIST_ATOMIC) {
            Some(ListType::Atomic)
        } else if self.has(LIST_SET) {
            Some(ListType::Set)
        } else if self.has(LIST_MAP) {
            Some(ListType::Map)
        } else {
            None
        }
    }

    /// The keys that identify an element of a [`ListType::Map`] list.
    pub const fn list_map_keys(&self) -> &'static [&'static str] {
        self.extra.keys
    }

    /// Whether an object or map is replaced as a whole on apply.
    pub const fn atomic_map(&self) -> bool {
        self.has(MAP_ATOMIC)
    }

    /// Whether a strategic merge patch merges the list instead of replacing it.
    pub const fn patch_merges(&self) -> bool {
        self.has(MERGE)
    }

    /// Whether a strategic merge patch replaces an object here instead of merging into it.
    pub const fn patch_replaces(&self) -> bool {
        self.has(REPLACE)
    }

    /// Whether the field's patches may carry `$retainKeys`.
    pub const fn patch_retains_keys(&self) -> bool {
        self.has(RETAIN_KEYS)
    }

    /// The key that identifies an element in a strategic merge patch; `None` for sets of scalars.
    pub fn patch_merge_key(&self) -> Option<&'static str> {
        (!self.extra.merge_key.is_empty()).then_some(self.extra.merge_key)
    }

    /// Numbers of the embedded messages that lead to the field on the protobuf wire.
    pub const fn embedded(&self) -> &'static [u16] {
        self.extra.embedded
    }
}

/// One type.
#[derive(Debug)]
pub struct TypeDef {
    /// Full name, e.g. `io.k8s.api.core.v1.Pod`.
    pub name: &'static str,
    /// Wire form.
    pub shape: Shape,
    /// Whether apply replaces values of the type as a whole.
    pub atomic: bool,
    /// Fields sorted by name; empty unless the shape is an object.
    pub fields: &'static [FieldDef],
    /// (group, version, kind) if the type is a kind of its own.
    pub gvk: Option<(&'static str, &'static str, &'static str)>,
}

impl TypeDef {
    /// The field with this JSON name.
    pub fn field(&self, name: &str) -> Option<&'static FieldDef> {
        let start = match name.as_bytes().first_chunk() {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => start_of(name),
        };
        let found = self.fields.binary_search_by(|field| {
            let by_start = field.start.cmp(&start);
            by_start.then_with(|| field.name.cmp(name))
        });
        self.fields.get(found.ok()?)
    }

    /// The last part of the name, e.g. `PodSpec`.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// One served (group, version, resource) as upstream serves it by default.
#[derive(Debug)]
pub struct ResourceDef {
    /// API group; empty for core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural.
    pub plural: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs of the main endpoint, in discovery's words.
    pub verbs: &'static [&'static str],
    /// Subresources, sorted by name.
    pub subresources: &'static [SubresourceDef],
}

/// One subresource.
#[derive(Debug)]
pub struct SubresourceDef {
    /// `status`, `scale` …
    pub name: &'static str,
    /// (group, version, kind) of the body.
    pub gvk: (&'static str, &'static str, &'static str),
    /// HTTP methods in lower case (`get`, `patch`, `put`, `post`, `connect`).
    pub methods: &'static [&'static str],
}

/// Every resource, sorted by group, version and plural.
pub fn resources() -> &'static [ResourceDef] {
    resources::RESOURCES
}

/// The type's row. Ids only come from this module, so the row exists.
pub fn get(id: TypeId) -> &'static TypeDef {
    static NOTHING: TypeDef = TypeDef {
        name: "",
        shape: Shape::Json,
        atomic: true,
        fields: &[],
        gvk: None,
    };
    types::TYPES.get(usize::from(id.0)).unwrap_or(&NOTHING)
}

/// Every type with its id, sorted by name.
pub fn all() -> impl Iterator<Item = (TypeId, &'static TypeDef)> {
    (0..).map(TypeId).zip(types::TYPES)
}

/// The type with this full name.
pub fn by_name(name: &str) -> Option<TypeId> {
    let index = types::TYPES
        .binary_search_by(|row| row.name.cmp(name))
        .ok()?;
    u16::try_from(index).ok().map(TypeId)
}

/// The type registered for a kind. `DeleteOptions` and `WatchEvent` exist in every group.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<TypeId> {
    let find = |wanted: (&str, &str, &str)| {
        let index = types::KINDS
            .binary_search_by(|row| (row.0, row.1, row.2).cmp(&wanted))
            .ok()?;
        types::KINDS.get(index).map(|row| TypeId(row.3))
    };
    find((group, version, kind)).or_else(|| {
        matches!(kind, "DeleteOptions" | "WatchEvent")
            .then(|| find(("", "v1", kind)))
            .flatten()
    })
}

/// `PartialObjectMetadata`, which has no definition of its own: the metadata in field 1.
pub fn partial_object_metadata() -> &'static TypeDef {
    static FIELDS: OnceLock<[FieldDef; 1]> = OnceLock::new();
    static ROW: OnceLock<TypeDef> = OnceLock::new();
    ROW.get_or_init(|| {
        let metadata = by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        let metadata = FieldType::One(metadata.map_or(Item::String, Item::Type));
        TypeDef {
            name: "io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata",
            shape: Shape::Object,
            atomic: false,
            fields: FIELDS.get_or_init(|| [FieldDef::plain("metadata", metadata, 0, 1)]),
            gvk: None,
        }
    })
}
