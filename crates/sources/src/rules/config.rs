//! prometheus-adapter's configuration file, as written.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Config {
    /// Custom metrics.
    pub rules: Vec<DiscoveryRule>,
    /// External metrics.
    pub external_rules: Vec<DiscoveryRule>,
    /// CPU and memory out of Prometheus.
    pub resource_rules: Option<ResourceRules>,
}

/// Which series become which metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DiscoveryRule {
    /// Selector of the series.
    pub series_query: String,
    /// Further conditions on the series' names.
    pub series_filters: Vec<RegexFilter>,
    /// Which labels name Kubernetes objects.
    pub resources: ResourceMapping,
    /// The metric's name in the API.
    pub name: NameMapping,
    /// Template of the query.
    pub metrics_query: String,
    /// Replacements in label values before they are sent.
    pub label_value_replacements: Vec<Replacement>,
}

/// A condition on a series' name; exactly one of the two is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct RegexFilter {
    /// The name must match.
    pub is: String,
    /// The name must not match.
    pub is_not: String,
}

/// From labels to Kubernetes resources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ResourceMapping {
    /// Form of the labels, e.g. `kube_<<.Resource>>`.
    pub template: String,
    /// Labels of another form, by name.
    pub overrides: BTreeMap<String, OverriddenResource>,
    /// Whether queries are narrowed to the namespace of who asks; true unless it says otherwise.
    pub namespaced: Option<bool>,
}

/// What a label names; singular or plural.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct OverriddenResource {
    /// API group; empty for core.
    pub group: String,
    /// The resource.
    pub resource: String,
}

/// From a series' name to a metric's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct NameMapping {
    /// What the name is taken apart with; everything matches if it is empty.
    pub matches: String,
    /// What it is put together from, e.g. `${1}_per_second`.
    pub r#as: String,
}

/// A replacement in a label's value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Replacement {
    /// The text to look for.
    pub find: String,
    /// What stands there instead.
    pub replace: String,
}

/// CPU and memory out of Prometheus. Read so that a file that has them is accepted; kubelets are
/// scraped instead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ResourceRules {
    /// CPU in cores.
    pub cpu: ResourceRule,
    /// Memory in bytes.
    pub memory: ResourceRule,
    /// Window that the queries' rates are over, e.g. `3m`.
    pub window: String,
}

/// How one resource is measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ResourceRule {
    /// Template of the query for containers.
    pub container_query: String,
    /// Template of the query for nodes.
    pub node_query: String,
    /// Which labels name pods, nodes and namespaces.
    pub resources: ResourceMapping,
    /// The label that names the container.
    pub container_label: String,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the rules in {path} cannot be read")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not YAML of the right shape.
    #[error("the rules are not a configuration of prometheus-adapter")]
    Shape(#[source] Box<serde_saphyr::Error>),
    /// Some rules make no sense; all of them are named.
    #[error("{}", list(.0))]
    Faulty(Vec<super::rule::Fault>),
}

fn list(faults: &[super::rule::Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

impl Config {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`ConfigError::Shape`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        serde_saphyr::from_str(text).map_err(|error| ConfigError::Shape(Box::new(error)))
    }
}
