//! Which objects of a management cluster count: `--node-group-auto-discovery=clusterapi:…`.

use super::annotations::text;
use serde_json::Value;
use std::str::FromStr;

/// One selection: everything in it must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Namespace of the objects.
    pub namespace: Option<String>,
    /// Name of the cluster that they belong to.
    pub cluster: Option<String>,
    /// Labels that they carry.
    pub labels: Vec<(String, String)>,
}

/// Why a selection cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// It is for another provider.
    #[error("{0:?} does not begin with clusterapi:")]
    Prefix(String),
    /// A part is not `KEY=VALUE`.
    #[error("{0:?} is not KEY=VALUE")]
    Pair(String),
    /// It selects nothing.
    #[error("a selection needs a namespace, a clusterName or a label")]
    Empty,
}

impl FromStr for Discovery {
    type Err = DiscoveryError;

    /// `clusterapi:namespace=staging,clusterName=purple,owner=jim`.
    fn from_str(text: &str) -> Result<Self, DiscoveryError> {
        let pairs = text
            .strip_prefix("clusterapi:")
            .ok_or_else(|| DiscoveryError::Prefix(text.to_owned()))?;
        let mut discovery = Self::default();
        for pair in pairs.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let split = pair.split_once('=');
            let split = split.filter(|(key, value)| !key.is_empty() && !value.is_empty());
            let (key, value) = split.ok_or_else(|| DiscoveryError::Pair(pair.to_owned()))?;
            match key {
                "namespace" => discovery.namespace = Some(value.to_owned()),
                "clusterName" => discovery.cluster = Some(value.to_owned()),
                _ => discovery.labels.push((key.to_owned(), value.to_owned())),
            }
        }
        if discovery == Self::default() {
            return Err(DiscoveryError::Empty);
        }
        Ok(discovery)
    }
}

impl Discovery {
    /// Whether an object counts. `prefix` is the API group, which names the cluster's label.
    pub(super) fn matches(&self, object: &Value, prefix: &str) -> bool {
        let label = |key: &str| {
            let labels = object.pointer("/metadata/labels");
            labels.and_then(|labels| labels.get(key)?.as_str())
        };
        let name = text(object, "/spec/clusterName");
        let cluster = name.or_else(|| label(&format!("{prefix}/cluster-name")));
        let holds = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let mut labels = self.labels.iter();
        holds(&self.namespace, text(object, "/metadata/namespace"))
            && holds(&self.cluster, cluster)
            && labels.all(|(key, value)| label(key) == Some(value))
    }
}
