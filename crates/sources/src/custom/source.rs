//! What a source of custom or external metrics is asked and what it answers.

use async_trait::async_trait;
use jiff::Timestamp;
use plimsoll_api::selector::LabelSelector;
use plimsoll_api::status::ApiError;
use plimsoll_quantity::Quantity;
use std::collections::BTreeMap;
use std::fmt;

/// A resource without its version: `pods`, `deployments.apps`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupResource {
    /// API group; empty for core.
    pub group: String,
    /// Plural.
    pub resource: String,
}

impl GroupResource {
    /// A resource of a group.
    pub fn new(group: &str, resource: &str) -> Self {
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
        }
    }

    /// Reads `RESOURCE[.GROUP]`; the group is everything behind the first dot.
    pub fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self::new(group, resource)
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource)?;
        if self.group.is_empty() {
            return Ok(());
        }
        write!(f, ".{}", self.group)
    }
}

/// A custom metric that a source has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CustomInfo {
    /// What it describes.
    pub resource: GroupResource,
    /// Whether the objects it describes are in namespaces.
    pub namespaced: bool,
    /// Name in the API.
    pub metric: String,
}

/// Which objects a metric is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// The one of this name.
    Named(String),
    /// All that the selector selects.
    Selected(LabelSelector),
}

/// A question for a custom metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomAsk {
    /// What the metric describes, as the client spells it.
    pub resource: GroupResource,
    /// Where the objects are; `None` for cluster-scoped ones.
    pub namespace: Option<String>,
    /// Which ones.
    pub objects: Objects,
    /// Name of the metric.
    pub metric: String,
    /// Which of its series.
    pub selector: LabelSelector,
}

/// A metric's value for one object.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomValue {
    /// Kind of the object, e.g. `Pod`.
    pub kind: String,
    /// Its apiVersion as upstream prints it, with a slash even for the core group: `/v1`.
    pub api_version: String,
    /// Its namespace, unless it is cluster-scoped.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// The time a rate was calculated over, in seconds.
    pub window_seconds: Option<i64>,
    /// The value.
    pub value: Quantity,
}

/// A question for an external metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAsk {
    /// Namespace of who asks.
    pub namespace: String,
    /// Name of the metric.
    pub metric: String,
    /// Which of its series.
    pub selector: LabelSelector,
}

/// One series of an external metric.
#[derive(Debug, Clone, PartialEq)]
pub struct ExternalValue {
    /// Its labels; `None` prints as `null`.
    pub labels: Option<BTreeMap<String, String>>,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// The time a rate was calculated over, in seconds.
    pub window_seconds: Option<i64>,
    /// The value.
    pub value: Quantity,
}

/// Why a source has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// The source does not know the metric; another one may.
    #[error("the server could not find the metric {metric} for {subject}")]
    Unknown {
        /// The metric.
        metric: String,
        /// The resource, with the object's name where one was asked for.
        subject: String,
    },
    /// The source knows the metric but there is no value now that could be trusted.
    #[error("no value of metric {metric} for {subject}: {why}")]
    NoValue {
        /// The metric.
        metric: String,
        /// The resource, with the object's name where one was asked for.
        subject: String,
        /// What is there instead, e.g. `NaN`.
        why: String,
    },
    /// The question cannot be asked this way.
    #[error("{0}")]
    Unanswerable(String),
    /// Where the metric comes from cannot be reached or answers nonsense.
    #[error("unable to fetch metrics: {0}")]
    Unavailable(String),
    /// Another server refused, in its own words.
    #[error("{message}")]
    Refused {
        /// HTTP status code.
        code: u16,
        /// Its message.
        message: String,
    },
}

impl SourceError {
    /// Whether another source may know better.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Refused { code: 404, .. })
    }
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> Self {
        let message = error.to_string();
        match error {
            SourceError::Unknown { .. } | SourceError::NoValue { .. } => {
                Self::new(404, "NotFound", message)
            }
            SourceError::Unanswerable(_) => Self::bad_request(message),
            SourceError::Unavailable(_) => Self::internal(message),
            SourceError::Refused { code, .. } => match code {
                400 => Self::bad_request(message),
                403 => Self::new(403, "Forbidden", message),
                404 => Self::new(404, "NotFound", message),
                429 => Self::new(429, "TooManyRequests", message),
                503 => Self::new(503, "ServiceUnavailable", message),
                _ => Self::internal(message),
            },
        }
    }
}

/// Where metrics that describe Kubernetes objects come from.
#[async_trait]
pub trait CustomSource: Send + Sync + fmt::Debug {
    /// What it is called in logs, e.g. `rules` or the name of an adapter.
    fn name(&self) -> &str;
    /// The metrics it has now, for discovery.
    fn list(&self) -> Vec<CustomInfo>;
    /// Whether it may know a metric; whoever says no is not asked.
    fn may_have(&self, metric: &str) -> bool {
        !metric.is_empty()
    }
    /// Hears that no source knows what was asked for, so that it can look for it.
    fn missed(&self, _: &CustomAsk) {}
    /// Answers a question: one value for a named object, any number for selected ones.
    ///
    /// # Errors
    /// [`SourceError`]; [`SourceError::Unknown`] lets the next source try.
    async fn read(&self, ask: &CustomAsk) -> Result<Vec<CustomValue>, SourceError>;
}

/// Where metrics that describe no object come from.
#[async_trait]
pub trait ExternalSource: Send + Sync + fmt::Debug {
    /// What it is called in logs.
    fn name(&self) -> &str;
    /// The names of the metrics it has now, for discovery.
    fn list(&self) -> Vec<String>;
    /// Whether it may know a metric; whoever says no is not asked.
    fn may_have(&self, metric: &str) -> bool {
        !metric.is_empty()
    }
    /// Hears that no source knows what was asked for, so that it can look for it.
    fn missed(&self, _: &ExternalAsk) {}
    /// Answers a question with any number of series.
    ///
    /// # Errors
    /// [`SourceError`]; [`SourceError::Unknown`] lets the next source try.
    async fn read(&self, ask: &ExternalAsk) -> Result<Vec<ExternalValue>, SourceError>;
}
