//! What nodes granted containers while their requests are being changed.

use super::pod::{Container, ContainerRole};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a node granted a container (`status.containerStatuses[].allocatedResources`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocated {
    /// The container.
    pub container: Arc<str>,
    /// Resource and quantity as written.
    pub requests: Box<[(Arc<str>, Box<str>)]>,
}

impl Allocated {
    /// What a container that stays was granted, if that is not what it asks for.
    pub(super) fn unlike(
        name: &str,
        granted: &BTreeMap<String, String>,
        containers: &[Container],
    ) -> Option<Self> {
        let mut containers = containers.iter();
        let container = containers.find(|container| &*container.name == name)?;
        let asked = container.requests.iter();
        let asked = asked.map(|(name, quantity)| (&**name, &**quantity));
        let given = || granted.iter().map(|(n, q)| (n.as_str(), q.as_str()));
        let differs = container.role != ContainerRole::Init && !asked.eq(given());
        differs.then(|| Self {
            container: Arc::clone(&container.name),
            requests: given().map(|(n, q)| (n.into(), q.into())).collect(),
        })
    }
}
