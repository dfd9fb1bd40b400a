//! Admission webhooks: other programs that change, agree to or refuse what is written.
//!
//! Configurations take effect with the write that makes them: every request looks at what the
//! store holds, which costs one comparison when nothing changed and nothing more when there are
//! none.

mod ask;
mod config;
mod counters;
mod mutate;
mod review;
pub(crate) mod rules;
mod subject;
mod validate;

pub(crate) use config::Selector;
pub(crate) use mutate::{Rounds, mutate, replace};
pub(crate) use subject::{Matched, Subject};
pub(crate) use validate::validate;

use super::follow::Followed;
use crate::store::Store;
use config::{Configuration, Hook};
use counters::Counters;
use std::sync::Arc;

/// Every configured webhook.
#[derive(Debug)]
pub(crate) struct Webhooks {
    mutating: Followed<Configuration>,
    validating: Followed<Configuration>,
    counters: Counters,
}

impl Webhooks {
    /// The webhooks that the store holds, now and later.
    pub(crate) fn new(store: &Store) -> Self {
        let follow = |resource| Followed::new(store, resource, Configuration::parse);
        Self {
            mutating: follow("admissionregistration.k8s.io/mutatingwebhookconfigurations"),
            validating: follow("admissionregistration.k8s.io/validatingwebhookconfigurations"),
            counters: Counters::default(),
        }
    }

    /// Those that may change objects, in the order they are asked: by the configuration's name,
    /// then as listed.
    fn mutating(&self) -> Vec<Arc<Hook>> {
        hooks(&self.mutating)
    }

    /// Those that agree or refuse.
    fn validating(&self) -> Vec<Arc<Hook>> {
        hooks(&self.validating)
    }

    /// The counters in the Prometheus text form.
    pub(crate) fn render(&self) -> String {
        self.counters.render()
    }
}

fn hooks(configurations: &Followed<Configuration>) -> Vec<Arc<Hook>> {
    let all = configurations.in_namespace("");
    all.iter()
        .flat_map(|configuration| configuration.hooks.iter().map(Arc::clone))
        .collect()
}
