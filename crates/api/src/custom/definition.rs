//! A CustomResourceDefinition, read for serving.

use super::jsonpath::JsonPath;
use super::schema::Schema;
use super::table::PrinterColumn;
use crate::kind::Text;
use crate::meta;
use crate::status::FieldError;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What a definition calls its resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// `crontabs`.
    pub plural: String,
    /// `crontab`.
    pub singular: String,
    /// `CronTab`.
    pub kind: String,
    /// `CronTabList`.
    pub list_kind: String,
    /// `ct`.
    pub short_names: Vec<String>,
    /// `all`.
    pub categories: Vec<String>,
}

impl Names {
    /// Reads `spec.names` or `status.acceptedNames`.
    pub fn parse(names: &Value) -> Self {
        let text = |key: &str| meta::text(names, &[key]).to_owned();
        let texts = |key: &str| {
            let list = meta::list(names, &[key]).iter();
            list.filter_map(Value::as_str)
                .map(ToOwned::to_owned)
                .collect()
        };
        let or = |text: String, fallback: String| if text.is_empty() { fallback } else { text };
        let kind = text("kind");
        Self {
            plural: text("plural"),
            singular: or(text("singular"), kind.to_lowercase()),
            list_kind: or(text("listKind"), format!("{kind}List")),
            kind,
            short_names: texts("shortNames"),
            categories: texts("categories"),
        }
    }
}

/// Where replicas are found in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    /// `specReplicasPath`.
    pub spec_replicas: Vec<String>,
    /// `statusReplicasPath`.
    pub status_replicas: Vec<String>,
    /// `labelSelectorPath`.
    pub selector: Option<Vec<String>>,
}

impl ScalePaths {
    /// Replicas are no negative number.
    pub(super) fn validate(&self, object: &Value) -> Option<FieldError> {
        let path = self.spec_replicas.iter();
        let replicas = path.clone().try_fold(object, |value, key| value.get(key))?;
        let negative = replicas.as_i64().is_some_and(|n| n < 0);
        let field = || path.cloned().collect::<Vec<_>>().join(".");
        negative.then(|| FieldError::invalid(field(), replicas, "should be a non-negative integer"))
    }
}

/// One version of a definition.
#[derive(Debug, Clone)]
pub struct Version {
    /// `v1`.
    pub name: String,
    /// Whether it is served.
    pub served: bool,
    /// Whether objects are stored in it.
    pub storage: bool,
    /// The warning of a deprecated version.
    pub deprecation: Option<String>,
    /// `openAPIV3Schema` as written.
    pub written_schema: Arc<Value>,
    /// A hash of it.
    pub schema_hash: [u8; 32],
    /// The same, parsed.
    pub schema: Arc<Schema>,
    /// Columns after the name.
    pub columns: Vec<PrinterColumn>,
    /// Selectable fields: label and path.
    pub selectable: Vec<(Text, Vec<Text>)>,
    /// Whether there is a `status` subresource.
    pub has_status: bool,
    /// The `scale` subresource.
    pub scale: Option<ScalePaths>,
}

/// A definition.
#[derive(Debug, Clone)]
pub struct Definition {
    /// `crontabs.stable.example.com`.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// API group.
    pub group: String,
    /// Names as wished for in the spec.
    pub names: Names,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Versions in the order of the spec.
    pub versions: Vec<Version>,
    /// `spec.conversion.webhook`, if versions convert by webhook.
    pub webhook: Option<Value>,
    /// Whether it is being deleted.
    pub terminating: bool,
}

impl Definition {
    /// Reads a stored definition. What is malformed is left out; definitions are validated before
    /// they are stored.
    pub fn parse(object: &Value) -> Self {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let group = meta::text(spec, &["group"]).to_owned();
        let names = Names::parse(spec.get("names").unwrap_or(&Value::Null));
        let versions = meta::list(spec, &["versions"]).iter();
        let versions = versions.map(|version| read_version(version, &group, &names.kind));
        let by_webhook = meta::text(spec, &["conversion", "strategy"]) == "Webhook";
        Self {
            name: meta::name(object).to_owned(),
            uid: meta::uid(object).to_owned(),
            namespaced: meta::text(spec, &["scope"]) == "Namespaced",
            versions: versions.collect(),
            webhook: by_webhook
                .then(|| meta::at(spec, &["conversion", "webhook"]).cloned())
                .flatten(),
            terminating: meta::is_deleting(object),
            group,
            names,
        }
    }

    /// The version objects are stored in.
    pub fn storage_version(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.storage)
    }
}

fn read_version(version: &Value, group: &str, kind: &str) -> Version {
    let name = meta::text(version, &["name"]).to_owned();
    let flag = |path: &[&str]| meta::at(version, path) == Some(&Value::Bool(true));
    let deprecation = flag(&["deprecated"]).then(|| {
        let own = meta::text(version, &["deprecationWarning"]);
        if own.is_empty() {
            format!("{group}/{name} {kind} is deprecated")
        } else {
            own.to_owned()
        }
    });
    let written = meta::at(version, &["schema", "openAPIV3Schema"]);
    let selectable = meta::list(version, &["selectableFields"]).iter();
    let selectable = selectable.filter_map(|field| {
        let text = meta::text(field, &["jsonPath"]);
        let path = JsonPath::parse(text).ok()?.fields()?;
        let label = text.strip_prefix('.').unwrap_or(text).to_owned();
        Some((label.into(), path.into_iter().map(Text::from).collect()))
    });
    Version {
        served: flag(&["served"]),
        storage: flag(&["storage"]),
        deprecation,
        schema: Arc::new(written.map_or_else(Schema::anything, Schema::parse)),
        schema_hash: Sha256::digest(written.map(ToString::to_string).unwrap_or_default()).into(),
        written_schema: Arc::new(written.cloned().unwrap_or_default()),
        columns: PrinterColumn::of(version),
        selectable: selectable.collect(),
        has_status: meta::at(version, &["subresources", "status"]).is_some(),
        scale: meta::at(version, &["subresources", "scale"]).and_then(scale_paths),
        name,
    }
}

fn scale_paths(scale: &Value) -> Option<ScalePaths> {
    let path = |key: &str| JsonPath::parse(meta::text(scale, &[key])).ok()?.fields();
    Some(ScalePaths {
        spec_replicas: path("specReplicasPath")?,
        status_replicas: path("statusReplicasPath")?,
        selector: path("labelSelectorPath"),
    })
}
