//! A service that chooses among groups (`--expander=grpc`).

use super::error::ProviderError;
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;

/// What one group could do for pods that wait.
#[derive(Debug, Clone, PartialEq)]
pub struct OfferedOption {
    /// The group.
    pub group: Arc<str>,
    /// How many new nodes.
    pub nodes: usize,
    /// What is known of it, in words.
    pub note: String,
    /// A v1 Node object: what each new node will be.
    pub node: Arc<Value>,
    /// v1 Pod objects: the pods they would take.
    pub pods: Vec<Arc<Value>>,
}

/// Chooses which group grows.
#[async_trait]
pub trait ExpanderService: Send + Sync + std::fmt::Debug {
    /// The groups of the best options, in no order; several leave the choice to others.
    ///
    /// # Errors
    /// The service cannot be asked, or answers nothing that can be used.
    async fn best_options(&self, offered: &[OfferedOption])
    -> Result<Vec<Arc<str>>, ProviderError>;
}
