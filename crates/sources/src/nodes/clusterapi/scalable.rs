//! Objects that are groups.

use super::{Settings, annotations};
use annotations::text;
use plimsoll_api::nodegroup::{ErrorClass, Instance, NodeGroup, OptionOverrides, ProviderError};
use serde_json::Value;
use std::sync::Arc;

/// Kinds with a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Deployment,
    Set,
    Pool,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Deployment, Self::Set, Self::Pool];

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "machinedeployments",
            Self::Set => "machinesets",
            Self::Pool => "machinepools",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Deployment => "MachineDeployment",
            Self::Set => "MachineSet",
            Self::Pool => "MachinePool",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Source {
    pub(super) fn of(kind: Kind, object: &Value) -> Option<Self> {
        Some(Self {
            kind,
            namespace: text(object, "/metadata/namespace")?.to_owned(),
            name: text(object, "/metadata/name")?.to_owned(),
        })
    }
}

/// The owner of one of `kinds` that an object names.
pub(super) fn owner(object: &Value, kinds: &[Kind]) -> Option<Source> {
    let namespace = text(object, "/metadata/namespace")?;
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find_map(|owner| {
        let kind = Kind::named(text(owner, "/kind")?).filter(|kind| kinds.contains(kind))?;
        Some(Source {
            kind,
            namespace: namespace.to_owned(),
            name: text(owner, "/name")?.to_owned(),
        })
    })
}

/// The MachineDeployment that a MachineSet belongs to.
pub(super) fn owning_deployment(source: &Source, object: &Value) -> Option<Source> {
    if source.kind != Kind::Set {
        return None;
    }
    owner(object, &[Kind::Deployment])
}

/// An object that is a group.
#[derive(Debug)]
pub(super) struct Scalable {
    pub(super) id: Arc<str>,
    pub(super) source: Source,
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) replicas: usize,
    /// Provider ids that a pool lists as its members.
    pub(super) members: Vec<String>,
    /// Machines that a pool's status counts.
    pub(super) present: usize,
    options: OptionOverrides,
    /// As it was listed.
    pub(super) object: Value,
}

impl Scalable {
    /// The group, if the object carries sizes.
    pub(super) fn of(source: Source, object: Value, settings: &Settings) -> Option<Self> {
        let (min, max) = annotations::sizes(&object, &settings.group)?;
        let replicas = object.pointer("/spec/replicas").and_then(Value::as_u64);
        let Source {
            kind,
            namespace,
            name,
        } = &source;
        Some(Self {
            id: format!("{}/{namespace}/{name}", kind.name()).into(),
            min,
            max,
            // A MachineDeployment without a number has one, as a Deployment.
            replicas: usize::try_from(replicas.unwrap_or(1)).unwrap_or(0),
            options: annotations::options(&object, &settings.group),
            members: members(*kind, &object),
            present: present(*kind, &object),
            source,
            object,
        })
    }

    pub(super) fn told(&self, instances: Vec<Instance>) -> NodeGroup {
        NodeGroup {
            id: Arc::clone(&self.id),
            min: self.min,
            max: self.max,
            target: self.replicas,
            instances,
            options: self.options.clone(),
            debug: format!(
                "{} (min: {}, max: {}, replicas: {})",
                self.id, self.min, self.max, self.replicas
            ),
        }
    }
}

fn members(kind: Kind, pool: &Value) -> Vec<String> {
    let listed = pool
        .pointer("/spec/providerIDList")
        .and_then(Value::as_array);
    let listed = listed.filter(|_| kind == Kind::Pool).into_iter().flatten();
    let ids = listed.filter_map(Value::as_str).filter(|id| !id.is_empty());
    ids.map(str::to_owned).collect()
}

/// The larger of the nodes and of the replicas that the status tells.
fn present(kind: Kind, pool: &Value) -> usize {
    if kind != Kind::Pool {
        return 0;
    }
    let nodes = pool.pointer("/status/nodeRefs").and_then(Value::as_array);
    let told = pool.pointer("/status/replicas").and_then(Value::as_u64);
    let told = told.and_then(|told| usize::try_from(told).ok());
    nodes.map_or(0, Vec::len).max(told.unwrap_or(0))
}

pub(super) fn too_small(group: &Scalable, wanted: usize) -> ProviderError {
    let message = format!(
        "{} cannot shrink to {wanted}: its minimum is {}",
        group.id, group.min
    );
    ProviderError::new(ErrorClass::Invalid, message)
}

pub(super) fn too_large(group: &Scalable, wanted: usize) -> ProviderError {
    let message = format!(
        "{} cannot grow to {wanted}: its maximum is {}",
        group.id, group.max
    );
    ProviderError::new(ErrorClass::Invalid, message)
}
