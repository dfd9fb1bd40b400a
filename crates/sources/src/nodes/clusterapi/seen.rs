//! The objects of the management cluster at one look.

use super::machine::{Machine, Mark};
use super::scalable::{Kind, Scalable, Source};
use plimsoll_api::nodegroup::{ErrorClass, Instance, InstanceState, NodeRef, ProviderError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Namespace and name of a Machine.
type Key = (String, String);

/// The objects at one look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) groups: BTreeMap<Arc<str>, Scalable>,
    machines: BTreeMap<Key, Machine>,
    by_instance: BTreeMap<String, Key>,
    by_group: BTreeMap<Arc<str>, Vec<Key>>,
    /// Groups of instances that pools without Machine objects list.
    listed: BTreeMap<String, Arc<str>>,
    /// Pools whose members nobody tells.
    pub(super) untold: Vec<Arc<str>>,
}

impl Seen {
    pub(super) fn new(
        groups: Vec<Scalable>,
        machines: Vec<Machine>,
        sets: &BTreeMap<Source, Source>,
    ) -> Self {
        let named = groups.into_iter();
        let mut seen = Self {
            groups: named.map(|group| (Arc::clone(&group.id), group)).collect(),
            ..Self::default()
        };
        let ids = seen.groups.values().map(|g| (&g.source, Arc::clone(&g.id)));
        let ids: BTreeMap<&Source, Arc<str>> = ids.collect();
        for mut machine in machines {
            let owner = machine.owner.as_ref();
            // A MachineSet that a MachineDeployment owns is no group of its own.
            let owner = owner.map(|owner| sets.get(owner).unwrap_or(owner));
            machine.group = owner.and_then(|o| ids.get(o)).map(Arc::clone);
            let key = (machine.namespace.clone(), machine.name.clone());
            if let Some(group) = &machine.group {
                let mine = seen.by_group.entry(Arc::clone(group)).or_default();
                mine.push(key.clone());
            }
            seen.by_instance.insert(machine.instance_id(), key.clone());
            seen.machines.insert(key, machine);
        }
        seen.take_in_pools();
        seen
    }

    /// Notes the members of pools that have no Machine objects, and leaves out pools whose members
    /// cannot be told: their machines would count as never made.
    fn take_in_pools(&mut self) {
        let (mut listed, mut untold) = (BTreeMap::new(), Vec::new());
        for group in self.groups.values().filter(|g| self.is_bare_pool(g)) {
            if group.members.is_empty() && group.present > 0 {
                untold.push(Arc::clone(&group.id));
                continue;
            }
            let members = group.members.iter();
            listed.extend(members.map(|id| (id.clone(), Arc::clone(&group.id))));
        }
        self.listed = listed;
        self.groups.retain(|id, _| !untold.contains(id));
        self.untold = untold;
    }

    /// Whether the group is a pool whose machines are no objects.
    pub(super) fn is_bare_pool(&self, group: &Scalable) -> bool {
        group.source.kind == Kind::Pool && !self.by_group.contains_key(&group.id)
    }

    pub(super) fn of<'a>(&'a self, group: &str) -> impl Iterator<Item = &'a Machine> {
        let keys = self.by_group.get(group).into_iter().flatten();
        keys.filter_map(|key| self.machines.get(key))
    }

    /// Instances of a group.
    pub(super) fn instances(&self, group: &Scalable) -> Vec<Instance> {
        if self.is_bare_pool(group) {
            let instance = |id: &String| Instance {
                id: id.as_str().into(),
                state: Some(InstanceState::Running),
                problem: None,
            };
            return group.members.iter().map(instance).collect();
        }
        self.of(&group.id).map(Machine::instance).collect()
    }

    /// Machines of a group that would have to go for it to be smaller.
    pub(super) fn living(&self, group: &Scalable) -> usize {
        let machines = self.of(&group.id).filter(|m| m.is_there()).count();
        machines.max(group.members.len()).max(group.present)
    }

    /// How many marked machines the owner has been told to delete and has not yet: those there are
    /// beyond the number of replicas. A mark beyond that was left over.
    pub(super) fn surplus(&self, group: &Scalable) -> usize {
        let staying = self.of(&group.id).filter(|m| !m.deleting).count();
        staying.saturating_sub(group.replicas)
    }

    /// The machine of a node: the one it names, else the one with its provider id.
    pub(super) fn machine(&self, node: &NodeRef, prefix: &str) -> Option<&Machine> {
        let says = |key: &str| {
            let key = format!("{prefix}/{key}");
            let mut annotations = node.annotations.iter();
            let found = annotations.find(|(name, _)| **name == *key);
            found.map(|(_, value)| value.to_string())
        };
        let named = says("machine").zip(says("cluster-namespace"));
        let found = named.and_then(|(name, namespace)| self.machines.get(&(namespace, name)));
        let by_id = || self.machines.get(self.by_instance.get(&*node.provider_id)?);
        found.or_else(by_id)
    }

    /// The group of a node.
    pub(super) fn group_of(&self, node: &NodeRef, prefix: &str) -> Option<Arc<str>> {
        match self.machine(node, prefix) {
            Some(machine) => machine.group.clone(),
            None => self.listed.get(&*node.provider_id).map(Arc::clone),
        }
    }

    pub(super) fn group(&self, id: &str) -> Result<&Scalable, ProviderError> {
        self.groups.get(id).ok_or_else(|| {
            let message = format!("there is no node group {id:?}");
            ProviderError::new(ErrorClass::NotFound, message)
        })
    }

    /// Machines with a mark of this program's in groups that were not lowered: the process ended
    /// between the two writes.
    pub(super) fn left_over(&self) -> Vec<&Machine> {
        let calm = self.groups.values().filter(|g| self.surplus(g) == 0);
        let marked = calm.flat_map(|group| self.of(&group.id));
        marked
            .filter(|m| m.mark == Some(Mark::Own) && !m.deleting)
            .collect()
    }
}
