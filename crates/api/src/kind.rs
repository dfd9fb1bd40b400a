//! The table of kinds: a kind is a row here plus a small [`Strategy`], never a handler.

use crate::custom::{self, Custom};
use crate::decode::{self, Decoded, FieldValidation};
use crate::gates::FeatureGates;
use crate::schema::{Node, TypeId};
use crate::status::{ApiError, FieldError};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Text that is static for built-in kinds and owned for custom ones.
pub type Text = Cow<'static, str>;

/// When `metadata.generation` moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The kind has no generation.
    Absent,
    /// Starts at 1 and counts changes of anything but metadata and status.
    Spec,
    /// Like [`Generation::Spec`], and changes of annotations count too (Deployments).
    SpecAndAnnotations,
    /// Starts at 1 and counts changes of anything but metadata (custom resources without a status
    /// subresource).
    Everything,
}

/// What a delete does to dependents when the caller does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Dependents are collected afterwards.
    Background,
    /// Dependents are kept.
    Orphan,
}

/// One served subresource.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// `status`, `scale`, `binding`, `eviction`, `log`, `exec`, `attach`, `token`, `finalize` …
    pub name: Text,
    /// Kind of the body: (group, version, kind).
    pub response: (Text, Text, Text),
    /// Verbs shown in discovery.
    pub verbs: &'static [&'static str],
}

/// Converts between a served version and the stored one (autoscaling v1, events.k8s.io).
#[derive(Debug, Clone, Copy)]
pub struct Conversion {
    /// From the served to the stored version.
    pub to_stored: fn(Value) -> Value,
    /// From the stored to the served version.
    pub from_stored: fn(Value) -> Value,
}

/// The rules of one kind beyond its schema. All functions are pure.
#[derive(Debug, Clone, Copy)]
pub struct Strategy {
    /// Fills defaults; runs on every write, before validation. Must be idempotent.
    pub default: fn(&mut Value),
    /// Drops fields of features that are off, unless the stored object uses them already; runs
    /// before the two below.
    pub drop_disabled: fn(new: &mut Value, old: Option<&Value>),
    /// Adjusts a new object before it is stored (e.g. resets status). Time-free.
    pub prepare_create: fn(&mut Value),
    /// Adjusts `new` against `old` (e.g. keeps status on the main endpoint).
    pub prepare_update: fn(new: &mut Value, old: &Value),
    /// Everything wrong with the object, in the order of upstream's messages.
    pub validate: fn(new: &Value, old: Option<&Value>) -> Vec<FieldError>,
    /// Text for `Warning` headers.
    pub warnings: fn(new: &Value) -> Vec<String>,
}

/// One column of a printed table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading.
    pub name: Text,
    /// OpenAPI type: `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: Text,
    /// `name` for the name column, else empty.
    pub format: Text,
    /// 0 = always shown, 1 = only with `-o wide`.
    pub priority: i32,
    /// What it shows; empty for a column of a built-in kind, which is known by its heading.
    pub description: Text,
}

/// How a kind prints as a table: the columns and, per object, one cell a column.
#[derive(Debug, Clone)]
pub struct Table {
    /// The columns, in order.
    pub columns: Cow<'static, [Column]>,
    /// The cells of one object; ages are computed against `now`.
    pub cells: fn(object: &Value, now: jiff::Timestamp) -> Vec<Value>,
}

/// One served (group, version, resource).
#[derive(Debug)]
pub struct Kind {
    /// API group; empty for core.
    pub group: Text,
    /// Served version.
    pub version: Text,
    /// `Deployment`.
    pub kind: Text,
    /// `deployments`.
    pub plural: Text,
    /// `deployment`.
    pub singular: Text,
    /// `deploy`.
    pub short_names: Vec<Text>,
    /// `all`.
    pub categories: Vec<Text>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs shown in discovery; also what the main endpoint accepts.
    pub verbs: Vec<Text>,
    /// Served subresources.
    pub subresources: Vec<Subresource>,
    /// Schema of the object.
    pub schema: TypeId,
    /// Where objects are stored, e.g. `apps/deployments`; versions of one resource share it.
    pub storage: Arc<str>,
    /// The stored `apiVersion` (differs from the served one only with a conversion).
    pub stored_api_version: Text,
    /// Conversion from and to the stored version.
    pub conversion: Option<Conversion>,
    /// When the generation moves.
    pub generation: Generation,
    /// Default deletion propagation.
    pub propagation: Propagation,
    /// Whether PUT creates an absent object.
    pub create_on_update: bool,
    /// Whether an update must carry a resourceVersion.
    pub requires_resource_version: bool,
    /// Field selectors beyond metadata.name and metadata.namespace: label → path in the object.
    pub selectable: Vec<(Text, Vec<Text>)>,
    /// Rules.
    pub strategy: Strategy,
    /// Printing.
    pub table: Table,
    /// What a custom kind has instead of tables and functions.
    pub custom: Option<Arc<Custom>>,
}

impl Strategy {
    /// No rules at all: those of a custom kind are in [`Kind::custom`].
    pub const NOTHING: Self = Self {
        default: |_| {},
        drop_disabled: |_, _| {},
        prepare_create: |_| {},
        prepare_update: |_, _| {},
        validate: |_, _| Vec::new(),
        warnings: |_| Vec::new(),
    };
}

impl Kind {
    /// Decodes a JSON body.
    ///
    /// # Errors
    /// As [`decode::json`].
    pub fn decode_json(&self, body: &[u8], mode: FieldValidation) -> Result<Decoded, ApiError> {
        match &self.custom {
            Some(custom) => custom::decode_json(self, custom, body, mode),
            None => decode::json(self.schema, body, mode),
        }
    }

    /// Checks a value that is parsed already, e.g. a patched object.
    ///
    /// # Errors
    /// As [`decode::value`].
    pub fn decode_value(&self, value: Value, mode: FieldValidation) -> Result<Decoded, ApiError> {
        match &self.custom {
            Some(custom) => custom::decode_value(self, custom, value, mode),
            None => decode::value(self.schema, value, mode),
        }
    }

    /// Fills defaults in; idempotent.
    pub fn default(&self, object: &mut Value) {
        match &self.custom {
            Some(custom) => custom.default(object),
            None => (self.strategy.default)(object),
        }
    }

    /// Adjusts a new object before it is stored.
    pub fn prepare_create(&self, object: &mut Value) {
        if let Some(custom) = &self.custom {
            return custom.prepare_create(object);
        }
        (self.strategy.drop_disabled)(object, None);
        (self.strategy.prepare_create)(object);
    }

    /// Adjusts `new` against `old` on the main endpoint.
    pub fn prepare_update(&self, new: &mut Value, old: &Value) {
        if let Some(custom) = &self.custom {
            return custom.prepare_update(new, old);
        }
        (self.strategy.drop_disabled)(new, Some(old));
        (self.strategy.prepare_update)(new, old);
    }

    /// Everything wrong with an object.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        match &self.custom {
            Some(custom) => custom.validate(self, new, old),
            None => (self.strategy.validate)(new, old),
        }
    }

    /// Text for `Warning` headers about a new state of an object.
    pub fn warnings(&self, new: &Value) -> Vec<String> {
        match &self.custom {
            Some(_) => Vec::new(),
            None => (self.strategy.warnings)(new),
        }
    }

    /// `PodList`.
    pub fn list_kind(&self) -> String {
        match &self.custom {
            Some(custom) => custom.list_kind.clone(),
            None => format!("{}List", self.kind),
        }
    }

    /// The paths whose values the store keeps beside each object, for field selectors.
    pub fn indexed(&self) -> impl Iterator<Item = &[Text]> {
        let own = self.custom.is_none().then_some(&self.selectable);
        let own = own.into_iter().flatten().map(|(_, path)| path.as_slice());
        let custom = self.custom.iter().flat_map(|custom| &custom.indexed);
        own.chain(custom.map(Vec::as_slice))
    }

    /// The cells of one object, one a column of [`Kind::table`].
    pub fn cells(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        match &self.custom {
            Some(custom) => custom.cells(object, now),
            None => (self.table.cells)(object, now),
        }
    }

    /// A stored object in the served version. Custom kinds that convert by webhook are converted
    /// before.
    pub fn to_served(&self, stored: Value) -> Value {
        if let Some(custom) = &self.custom {
            return custom.to_served(self, stored);
        }
        let Some(conversion) = &self.conversion else {
            return stored;
        };
        let mut served = (conversion.from_stored)(stored);
        let map = crate::meta::as_object(&mut served);
        map.insert("kind".into(), self.kind.as_ref().into());
        map.insert("apiVersion".into(), self.api_version().into());
        served
    }

    /// Whether stored JSON is already what clients of this version get.
    pub fn is_served_as_stored(&self, json: &[u8]) -> bool {
        match &self.custom {
            Some(custom) => custom.is_served_as_stored(json),
            None => self.conversion.is_none(),
        }
    }

    /// Whether this is the built-in kind of this group and name; custom kinds may share names.
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.custom.is_none() && self.group == group && self.kind == kind
    }
    /// `apps/v1`, or `v1` for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// How values of the kind merge.
    pub fn node(&self) -> Node<'_> {
        match &self.custom {
            Some(custom) => Node::Object(&custom.written_schema),
            None => Node::of(self.schema),
        }
    }

    /// Whether the kind has this subresource.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether the main endpoint accepts `verb`.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// All served kinds, by path.
#[derive(Debug, Clone, Default)]
pub struct Kinds {
    by_path: BTreeMap<(Text, Text, Text), Arc<Kind>>,
    features: FeatureGates,
}

impl Kinds {
    /// No kinds yet, to be served with these features.
    pub fn with_features(features: FeatureGates) -> Self {
        Self {
            features,
            ..Self::default()
        }
    }

    /// The features the kinds are served with.
    pub fn features(&self) -> FeatureGates {
        self.features
    }

    /// Adds or replaces a kind.
    pub fn insert(&mut self, kind: Kind) {
        let key = (
            kind.group.clone(),
            kind.version.clone(),
            kind.plural.clone(),
        );
        self.by_path.insert(key, Arc::new(kind));
    }

    /// Keeps only the kinds that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&Kind) -> bool) {
        self.by_path.retain(|_, kind| keep(kind));
    }

    /// The kind served under `/apis/GROUP/VERSION/PLURAL` (core: empty group).
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let key = (
            Text::Owned(group.into()),
            Text::Owned(version.into()),
            plural.to_owned().into(),
        );
        self.by_path.get(&key)
    }

    /// Every kind, sorted by group, version and plural.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.by_path.values()
    }
}
