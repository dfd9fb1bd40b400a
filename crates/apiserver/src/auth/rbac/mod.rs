//! Role-based access control: what roles and bindings let a user do.

pub(crate) mod aggregate;
pub(crate) mod escalation;
mod index;
mod policy;
pub(crate) mod seed;
#[cfg(test)]
mod tests;

use index::Index;

use super::{Attributes, Identity, MASTERS, node};
use crate::server::ApiServer;
use crate::store::{Change, Event, ListQuery, Store, StoreError, Watch};
use parking_lot::Mutex;
use plimsoll_api::rbac::{Rule, uncovered};
use plimsoll_api::status::ApiError;
use std::sync::Arc;

/// Where roles and bindings are stored.
pub(crate) const RESOURCES: [&str; 4] = [
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/roles",
    "rbac.authorization.k8s.io/clusterrolebindings",
    "rbac.authorization.k8s.io/rolebindings",
];

/// Whether something may be done, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may.
    pub allowed: bool,
    /// Which binding allows it, or what went wrong while looking; often empty.
    pub reason: String,
}

impl Decision {
    /// Yes, because of `reason`.
    pub(crate) fn allow(reason: String) -> Self {
        Self {
            allowed: true,
            reason,
        }
    }
}

/// Decides by the roles and bindings of a store. They are looked up in an index that is brought up
/// to date by each question, so an answer takes every write into account that came before it.
#[derive(Debug)]
pub(crate) struct Rbac {
    store: Store,
    followed: Mutex<Option<Followed>>,
}

/// The index and the events that are to come into it.
#[derive(Debug)]
struct Followed {
    index: Index,
    watches: Vec<Watch>,
}

impl Rbac {
    /// Nothing is read before the first question.
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            followed: Mutex::new(None),
        }
    }

    /// Whether roles let `who` do this. Members of `system:masters` may do anything, nodes also what
    /// the pods on them need.
    pub(crate) fn decide(&self, who: &Identity, asked: &Attributes<'_>) -> Decision {
        if who.is_in(MASTERS) {
            return Decision::allow(String::new());
        }
        if let Some(name) = node::node_of(who) {
            let rules = self.role("", "system:node");
            let decision = node::decide(&self.store, name, rules.as_deref(), asked);
            if decision.allowed {
                return decision;
            }
            let bound = self.look(|index| index.decide(who, asked));
            return if bound.allowed { bound } else { decision };
        }
        self.look(|index| index.decide(who, asked))
    }

    /// What `who` may do: the rules bound in the whole cluster, and in `namespace` if it is not
    /// empty; and what could not be found out.
    pub(crate) fn rules(&self, who: &Identity, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, broken) = self.look(|index| index.rules(who, namespace));
        let everything = Rule::everything();
        if who.is_in(MASTERS) && uncovered(&rules, &everything).is_some() {
            rules.splice(0..0, everything);
        }
        (rules, broken)
    }

    /// The rules of a role; `namespace` is empty for ClusterRoles.
    pub(crate) fn role(&self, namespace: &str, name: &str) -> Option<Arc<[Rule]>> {
        self.look(|index| index.role(namespace, name))
    }

    /// Looks at an index that knows every write there has been.
    fn look<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        let mut followed = self.followed.lock();
        if followed.as_mut().is_none_or(|f| f.catch_up().is_err()) {
            *followed = Followed::start(&self.store).ok();
        }
        match &*followed {
            Some(current) => look(&current.index),
            // Nothing is known, so nothing is allowed.
            None => look(&Index::default()),
        }
    }
}

impl Followed {
    fn start(store: &Store) -> Result<Self, StoreError> {
        let mut index = Index::default();
        let mut watches = Vec::with_capacity(RESOURCES.len());
        for resource in RESOURCES {
            let (page, watch) = store.list_and_watch(&ListQuery {
                resource: resource.into(),
                ..ListQuery::default()
            })?;
            for entry in &page.entries {
                index.put(entry);
            }
            watches.push(watch);
        }
        Ok(Self { index, watches })
    }

    fn catch_up(&mut self) -> Result<(), StoreError> {
        let index = &mut self.index;
        for watch in &mut self.watches {
            while let Some(event) = watch.try_next()? {
                apply(index, &event);
            }
        }
        Ok(())
    }
}

fn apply(index: &mut Index, event: &Event) {
    match event.change {
        Change::Put => index.put(&event.entry),
        Change::Delete => index.remove(&event.entry.key),
    }
}

impl ApiServer {
    /// As [`ApiServer::authorize`], with the refusal as an error.
    ///
    /// # Errors
    /// 403.
    pub(crate) fn demand(&self, who: &Identity, asked: &Attributes<'_>) -> Result<(), ApiError> {
        let decision = self.authorize(who, asked);
        if decision.allowed {
            return Ok(());
        }
        Err(refusal(who, asked, &decision.reason))
    }
}

/// 403 in upstream's words: who may not do what where, and what the decision has to say about it.
pub(crate) fn refusal(who: &Identity, asked: &Attributes<'_>, reason: &str) -> ApiError {
    let Attributes {
        verb,
        group,
        resource,
        subresource,
        namespace,
        name,
        path,
    } = *asked;
    let user = &who.user;
    let because = match reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    if resource.is_empty() {
        let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}{because}");
        return ApiError::new(403, "Forbidden", message);
    }
    let full = match subresource {
        "" => resource.to_owned(),
        sub => format!("{resource}/{sub}"),
    };
    let place = match namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let why = format!(
        "User {user:?} cannot {verb} resource {full:?} in API group {group:?} {place}{because}"
    );
    ApiError::forbidden(group, resource, name, &why)
}
