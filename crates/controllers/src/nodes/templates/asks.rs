//! Asking the provider what new nodes will be, within the time of a look.

use plimsoll_api::nodegroup::{ErrorClass, NodeProvider, ProviderTemplate};
use plimsoll_engine::cluster::GroupId;
use std::time::Duration;
use tokio::time::Instant;

/// The provider, and how much of one look may be spent on asking it.
pub(in crate::nodes) struct Asks<'a> {
    pub(super) provider: &'a dyn NodeProvider,
    until: Instant,
    /// It has not answered, and is asked nothing more.
    silent: bool,
}

impl<'a> Asks<'a> {
    pub(in crate::nodes) fn new(provider: &'a dyn NodeProvider, patience: Duration) -> Self {
        Self {
            provider,
            until: Instant::now() + patience,
            silent: false,
        }
    }

    /// What new nodes of the group will be, where the provider says so.
    pub(super) async fn template(&mut self, group: &GroupId) -> Option<ProviderTemplate> {
        if self.silent {
            return None;
        }
        let answer = tokio::time::timeout_at(self.until, self.provider.template(group)).await;
        let Ok(answer) = answer else {
            self.silent = true;
            tracing::warn!(%group, "the provider takes too long to tell what new nodes will be");
            return None;
        };
        answer.unwrap_or_else(|error| {
            self.silent = error.class == ErrorClass::Unreachable;
            tracing::warn!(%group, %error, "the provider does not tell what new nodes will be");
            None
        })
    }
}
