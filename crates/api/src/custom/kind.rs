//! A version of a definition as a kind.

use super::definition::{Definition, ScalePaths, Version};
use super::schema::Schema;
use super::table::PrinterColumn;
use super::{fill, prune};
use crate::kind::{Column, Generation, Kind, Propagation, Strategy, Subresource, Table, Text};
use crate::schema::TypeId;
use crate::status::FieldError;
use crate::{meta, print, validation};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
const STATUS: &[&str] = &["get", "patch", "update"];

/// How objects of one version become objects of another.
#[derive(Debug, Clone, PartialEq)]
pub enum Conversion {
    /// Only `apiVersion` changes.
    Rename,
    /// A webhook converts; this is `spec.conversion.webhook`.
    Webhook(Arc<Value>),
}

/// What a custom kind has instead of tables.
#[derive(Debug)]
pub struct Custom {
    /// Name of the definition.
    pub definition: String,
    /// Schema of the served version.
    pub schema: Arc<Schema>,
    /// The same as written, for publishing.
    pub written_schema: Arc<Value>,
    /// A hash of it.
    pub schema_hash: [u8; 32],
    /// `CronTabList`.
    pub list_kind: String,
    /// Columns after the name.
    pub columns: Vec<PrinterColumn>,
    /// Whether there is a `status` subresource.
    pub has_status: bool,
    /// The `scale` subresource.
    pub scale: Option<ScalePaths>,
    /// Warning of a deprecated version.
    pub deprecation: Option<String>,
    /// How versions convert.
    pub conversion: Conversion,
    /// Paths that the store indexes: the selectable fields of the storage version.
    pub indexed: Vec<Vec<Text>>,
    /// Whether the definition is being deleted: no new objects then.
    pub terminating: bool,
    /// Whether all versions have one schema, so that what one stores is what another shows.
    pub uniform: bool,
    /// Objects of a later revision were written under this very definition.
    pub since: u64,
    /// How stored JSON of the served version begins.
    head: Vec<u8>,
}

impl Definition {
    /// The kinds of all served versions. `since` is the store's revision at which the definition
    /// took its present form.
    pub fn kinds(&self, since: u64) -> Vec<Kind> {
        let served = self.versions.iter().filter(|version| version.served);
        served.map(|version| self.kind(version, since)).collect()
    }

    /// The kind of the storage version, served or not.
    pub fn storage_kind(&self, since: u64) -> Option<Kind> {
        self.storage_version()
            .map(|version| self.kind(version, since))
    }

    fn kind(&self, version: &Version, since: u64) -> Kind {
        let names = &self.names;
        let stored = self.storage_version().unwrap_or(version);
        let stored_api_version = format!("{}/{}", self.group, stored.name);
        let texts = |list: &[String]| list.iter().cloned().map(Text::Owned).collect();
        Kind {
            group: self.group.clone().into(),
            version: version.name.clone().into(),
            kind: names.kind.clone().into(),
            plural: names.plural.clone().into(),
            singular: names.singular.clone().into(),
            short_names: texts(&names.short_names),
            categories: texts(&names.categories),
            namespaced: self.namespaced,
            verbs: VERBS.iter().map(|verb| Text::Borrowed(verb)).collect(),
            subresources: self.subresources(version),
            schema: TypeId(u16::MAX),
            storage: format!("{}/{}", self.group, names.plural).into(),
            stored_api_version: stored_api_version.into(),
            conversion: None,
            generation: if version.has_status {
                Generation::Spec
            } else {
                Generation::Everything
            },
            propagation: Propagation::Background,
            create_on_update: false,
            requires_resource_version: true,
            selectable: version.selectable.clone(),
            strategy: Strategy::NOTHING,
            table: table(version),
            custom: Some(Arc::new(self.custom(version, stored, since))),
        }
    }

    fn is_uniform(&self) -> bool {
        let mut schemas = self.versions.iter().map(|v| v.schema_hash);
        let first = schemas.next();
        self.webhook.is_none() && schemas.all(|schema| Some(schema) == first)
    }

    fn subresources(&self, version: &Version) -> Vec<Subresource> {
        let mut list = Vec::new();
        if version.has_status {
            let group = self.group.clone().into();
            let name = version.name.clone().into();
            list.push(Subresource {
                name: "status".into(),
                response: (group, name, self.names.kind.clone().into()),
                verbs: STATUS,
            });
        }
        if version.scale.is_some() {
            list.push(Subresource {
                name: "scale".into(),
                response: ("autoscaling".into(), "v1".into(), "Scale".into()),
                verbs: STATUS,
            });
        }
        list
    }

    fn custom(&self, version: &Version, stored: &Version, since: u64) -> Custom {
        let api_version = format!("{}/{}", self.group, version.name);
        let head = format!(
            "{{\"kind\":{},\"apiVersion\":{},",
            Value::from(self.names.kind.as_str()),
            Value::from(api_version),
        );
        Custom {
            definition: self.name.clone(),
            schema: Arc::clone(&version.schema),
            written_schema: Arc::clone(&version.written_schema),
            schema_hash: version.schema_hash,
            list_kind: self.names.list_kind.clone(),
            columns: version.columns.clone(),
            has_status: version.has_status,
            scale: version.scale.clone(),
            deprecation: version.deprecation.clone(),
            conversion: match &self.webhook {
                Some(webhook) => Conversion::Webhook(Arc::new(webhook.clone())),
                None => Conversion::Rename,
            },
            indexed: stored
                .selectable
                .iter()
                .map(|(_, path)| path.clone())
                .collect(),
            terminating: self.terminating,
            uniform: self.is_uniform(),
            since,
            head: head.into_bytes(),
        }
    }
}

fn table(version: &Version) -> Table {
    let name = print::GENERIC.first().cloned();
    let columns: Vec<Column> = name
        .into_iter()
        .chain(version.columns.iter().map(|c| c.column.clone()))
        .collect();
    Table {
        columns: Cow::Owned(columns),
        cells: print::generic,
    }
}

impl Custom {
    /// Whether stored JSON can be served as it is: it has this version and was written under this
    /// definition.
    pub(crate) fn is_served_as_stored(&self, json: &[u8]) -> bool {
        self.uniform
            && json.starts_with(&self.head)
            && stored_revision(json).is_some_and(|r| r > self.since)
    }

    /// Fills defaults in.
    pub(crate) fn default(&self, object: &mut Value) {
        fill(&self.schema, object);
    }

    /// A new object has no status if that is a subresource.
    pub(crate) fn prepare_create(&self, object: &mut Value) {
        if self.has_status {
            meta::as_object(object).shift_remove("status");
        }
    }

    /// A write to the main endpoint keeps the status if that is a subresource.
    pub(crate) fn prepare_update(&self, new: &mut Value, old: &Value) {
        if !self.has_status {
            return;
        }
        let map = meta::as_object(new);
        match old.get("status") {
            Some(status) => drop(map.insert("status".into(), status.clone())),
            None => drop(map.shift_remove("status")),
        }
    }

    /// A stored object in the served form: pruned and defaulted as this version's schema says.
    pub(crate) fn to_served(&self, kind: &Kind, mut stored: Value) -> Value {
        let map = meta::as_object(&mut stored);
        map.insert("apiVersion".into(), kind.api_version().into());
        prune(&self.schema, &mut stored);
        fill(&self.schema, &mut stored);
        stored
    }

    /// Everything wrong with an object of this version.
    pub(crate) fn validate(
        &self,
        kind: &Kind,
        new: &Value,
        old: Option<&Value>,
    ) -> Vec<FieldError> {
        let mut errors = if kind.namespaced {
            validation::namespaced_object(new, old)
        } else {
            validation::cluster_object(new, old)
        };
        errors.extend(super::check(&self.schema, new, old));
        if let Some(scale) = &self.scale {
            errors.extend(scale.validate(new));
        }
        errors
    }

    /// The cells of one object.
    pub(crate) fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let rest = self.columns.iter().map(|column| column.cell(object, now));
        std::iter::once(meta::name(object).into())
            .chain(rest)
            .collect()
    }
}

/// The resourceVersion near the start of stored JSON. Nothing before it can contain its key: names
/// and uids have no quotes.
fn stored_revision(json: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"resourceVersion\":\"";
    let start = json.get(..json.len().min(2_048))?;
    let at = start.windows(KEY.len()).position(|window| window == KEY)?;
    let rest = start.get(at + KEY.len()..)?;
    let mut digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
    digits.try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}
