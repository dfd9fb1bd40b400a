//! API aggregation: groups that other servers answer for, announced by APIServices.
//!
//! Every group version has an APIService. Those without `spec.service` are ours and kept by
//! [`registrar`]. The others are looked after by one task ([`run`]): it probes them, notes in their
//! status whether they answer, and remembers their discovery. Requests for them are authorised
//! here and then handed on with the caller's identity in headers ([`proxy`]).

mod availability;
mod discovery;
mod proxy;
mod registrar;
mod registration;
mod remote;
mod run;

pub(crate) use discovery::{extend_group, extend_groups, extend_index};
pub(crate) use proxy::{Extension, forward, on_behalf};

use crate::admission::follow::Followed;
use crate::http::route::Route;
use crate::server::ApiServer;
use crate::store::Store;
use parking_lot::RwLock;
use registration::{Registered, Registration};
use remote::Discovered;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Where APIServices are stored.
const RESOURCE: &str = "apiregistration.k8s.io/apiservices";

/// What is known of other servers.
#[derive(Debug)]
pub(crate) struct Aggregation {
    services: Followed<Registered>,
    /// By the APIService's name: what it said it serves, last time it answered.
    discovered: RwLock<BTreeMap<String, Arc<Discovered>>>,
    /// Rung when what we serve ourselves has changed.
    changed: Notify,
}

impl Aggregation {
    /// The APIServices that the store holds, now and later.
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            services: Followed::new(store, RESOURCE, Registered::parse),
            discovered: RwLock::default(),
            changed: Notify::new(),
        }
    }

    /// Says that other groups are served from now on.
    pub(crate) fn groups_changed(&self) {
        self.changed.notify_one();
    }

    /// The other server that answers for a group version.
    fn external(&self, group: &str, version: &str) -> Option<Arc<Registration>> {
        let registered = self.services.get("", &format!("{version}.{group}"))?;
        registered.external()
    }

    /// All other servers, by name.
    fn externals(&self) -> Vec<Arc<Registration>> {
        let all = self.services.in_namespace("");
        all.iter().filter_map(|r| r.external()).collect()
    }
}

/// The other server that a path is for. Groups that are built in are always ours.
pub(crate) fn serving(server: &ApiServer, route: &Route) -> Option<Extension> {
    let (group, version) = match route {
        Route::Resource(path) => (path.group.as_str(), path.version.as_str()),
        Route::GroupVersion(group, version) => (group.as_str(), version.as_str()),
        Route::OpenApi(path) => path.strip_prefix("apis/")?.split_once('/')?,
        Route::CoreVersions
        | Route::Groups
        | Route::Group(_)
        | Route::OpenApiIndex
        | Route::Other(_) => return None,
    };
    if registration::is_built_in(group) {
        return None;
    }
    let external = server.0.aggregation.external(group, version)?;
    Some(Extension(external))
}
