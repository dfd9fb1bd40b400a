//! From a question to the source that knows the answer.

use super::api::{CustomMetricsApi, ExternalMetricsApi};
use super::source::{
    CustomAsk, CustomInfo, CustomSource, CustomValue, ExternalAsk, ExternalSource, ExternalValue,
    SourceError,
};
use parking_lot::RwLock;
use plimsoll_api::local::LocalGroup;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The sources of the two metrics APIs, in the order in which they are asked. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Router(Arc<RwLock<Sources>>);

#[derive(Debug, Default)]
struct Sources {
    custom: Vec<Arc<dyn CustomSource>>,
    external: Vec<Arc<dyn ExternalSource>>,
}

impl Router {
    /// A router without sources.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source, to be asked after those that are there already.
    pub fn add_custom(&self, source: Arc<dyn CustomSource>) {
        self.0.write().custom.push(source);
    }

    /// Adds a source, to be asked after those that are there already.
    pub fn add_external(&self, source: Arc<dyn ExternalSource>) {
        self.0.write().external.push(source);
    }

    /// The APIs that have sources, ready to be served: both versions of
    /// `custom.metrics.k8s.io`, and `external.metrics.k8s.io/v1beta1`.
    pub fn groups(&self) -> Vec<Arc<dyn LocalGroup>> {
        let sources = self.0.read();
        let mut groups: Vec<Arc<dyn LocalGroup>> = Vec::new();
        if !sources.custom.is_empty() {
            groups.push(Arc::new(CustomMetricsApi::v1beta1(self.clone())));
            groups.push(Arc::new(CustomMetricsApi::v1beta2(self.clone())));
        }
        if !sources.external.is_empty() {
            groups.push(Arc::new(ExternalMetricsApi::new(self.clone())));
        }
        groups
    }

    /// Every custom metric, each once.
    pub(super) fn custom_metrics(&self) -> BTreeSet<CustomInfo> {
        let sources = self.0.read().custom.clone();
        sources.iter().flat_map(|source| source.list()).collect()
    }

    /// Every external metric, each once.
    pub(super) fn external_metrics(&self) -> BTreeSet<String> {
        let sources = self.0.read().external.clone();
        sources.iter().flat_map(|source| source.list()).collect()
    }

    pub(super) async fn custom(&self, ask: &CustomAsk) -> Result<Vec<CustomValue>, SourceError> {
        let sources = self.0.read().custom.clone();
        let mut first = None;
        for source in sources.iter().filter(|s| s.may_have(&ask.metric)) {
            match source.read(ask).await {
                Err(error) if error.is_unknown() => first = first.or(Some(error)),
                Err(error) => return Err(told(source.name(), &ask.metric, error)),
                Ok(values) => return Ok(values),
            }
        }
        for source in &sources {
            source.missed(ask);
        }
        Err(first.unwrap_or_else(|| SourceError::Unknown {
            metric: ask.metric.clone(),
            subject: ask.resource.to_string(),
        }))
    }

    pub(super) async fn external(
        &self,
        ask: &ExternalAsk,
    ) -> Result<Vec<ExternalValue>, SourceError> {
        let sources = self.0.read().external.clone();
        let mut first = None;
        for source in sources.iter().filter(|s| s.may_have(&ask.metric)) {
            match source.read(ask).await {
                Err(error) if error.is_unknown() => first = first.or(Some(error)),
                Err(error) => return Err(told(source.name(), &ask.metric, error)),
                Ok(values) => return Ok(values),
            }
        }
        for source in &sources {
            source.missed(ask);
        }
        Err(first.unwrap_or_else(|| SourceError::Unknown {
            metric: ask.metric.clone(),
            subject: String::new(),
        }))
    }
}

fn told(source: &str, metric: &str, error: SourceError) -> SourceError {
    tracing::warn!(source, metric, %error, "a metric was not read");
    error
}
