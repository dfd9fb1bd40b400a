//! One group and its machines.

use super::shape::{GROUP_LABEL, Shape};
use super::{Floor, Machine, creating};
use plimsoll_api::nodegroup::{
    ErrorClass, Instance, InstanceProblem, InstanceState, NodeGroup, NodeRef, OptionOverrides,
    ProviderError, ProviderTemplate,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// `spec.providerID` of a group's node.
pub fn provider_id(group: &str, node: &str) -> String {
    format!("plimsoll://{group}/{node}")
}

/// A group as it is configured.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupConfig {
    /// Name; nodes are called `NAME-1`, `NAME-2` and so on.
    pub name: Arc<str>,
    /// Smallest size.
    pub min: usize,
    /// Largest size.
    pub max: usize,
    /// What its nodes are.
    pub shape: Arc<Shape>,
    /// From order to node.
    pub boot: Duration,
    /// Options of its own.
    pub options: OptionOverrides,
}

impl GroupConfig {
    /// A group whose nodes boot at once. They carry the group's name in [`GROUP_LABEL`].
    pub fn new(name: &str, (min, max): (usize, usize), mut shape: Shape) -> Self {
        shape.labels.insert(GROUP_LABEL.to_owned(), name.to_owned());
        Self {
            name: name.into(),
            min,
            max,
            shape: Arc::new(shape),
            boot: Duration::ZERO,
            options: OptionOverrides::default(),
        }
    }

    /// The same with another boot time.
    #[must_use]
    pub fn with_boot(self, boot: Duration) -> Self {
        Self { boot, ..self }
    }

    /// The number of a node that is called as this group's are.
    fn number(&self, node: &str) -> Option<u64> {
        let digits = node.strip_prefix(&*self.name)?.strip_prefix('-')?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        digits.parse().ok().filter(|_| plain)
    }
}

/// A machine of a group.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) state: InstanceState,
    pub(super) problem: Option<InstanceProblem>,
    /// Rings when the machine has to go.
    pub(super) doomed: Arc<Notify>,
    pub(super) task: Option<AbortHandle>,
}

/// A group and its machines.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) config: Arc<GroupConfig>,
    /// Numbers are never given twice while the process lives: a name stands for one machine.
    next: u64,
    entries: BTreeMap<Arc<str>, Entry>,
}

impl Group {
    pub(super) fn new(config: GroupConfig) -> Self {
        Self {
            config: Arc::new(config),
            next: 1,
            entries: BTreeMap::new(),
        }
    }

    /// How many machines are asked for: all that are not going.
    pub(super) fn target(&self) -> usize {
        let staying = self
            .entries
            .values()
            .filter(|e| e.state != InstanceState::Deleting);
        staying.count()
    }

    pub(super) fn entry(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.get_mut(name)
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// Takes a machine of an earlier life back, if it is called as this group's are.
    pub(super) fn take_back(&mut self, name: &Arc<str>) {
        if let Some(number) = self.config.number(name) {
            self.next = self.next.max(number + 1);
            self.insert(Arc::clone(name), number);
        }
    }

    /// Makes the place of one more machine.
    pub(super) fn order(&mut self) -> Machine {
        let number = self.next;
        self.next += 1;
        let name: Arc<str> = format!("{}-{number}", self.config.name).into();
        self.insert(Arc::clone(&name), number);
        self.machine(name)
    }

    fn insert(&mut self, name: Arc<str>, number: u64) {
        let entry = Entry {
            number,
            state: InstanceState::Creating,
            problem: None,
            doomed: Arc::default(),
            task: None,
        };
        self.entries.insert(name, entry);
    }

    pub(super) fn machines(&self) -> Vec<Machine> {
        let names = self.entries.keys().map(Arc::clone);
        names.map(|name| self.machine(name)).collect()
    }

    fn machine(&self, name: Arc<str>) -> Machine {
        Machine {
            provider_id: provider_id(&self.config.name, &name).into(),
            name,
            group: Arc::clone(&self.config.name),
            shape: Arc::clone(&self.config.shape),
        }
    }

    pub(super) fn increase(&mut self, delta: usize) -> Result<Vec<Machine>, ProviderError> {
        let (name, max) = (&self.config.name, self.config.max);
        let wanted = self.target().saturating_add(delta);
        if delta == 0 {
            return Err(invalid(format!("{name} cannot grow by nothing")));
        }
        if wanted > max {
            let message = format!("{name} cannot grow to {wanted}: its maximum is {max}");
            return Err(invalid(message));
        }
        Ok((0..delta).map(|_| self.order()).collect())
    }

    /// Gives machines up that are not there yet, youngest first.
    pub(super) fn cancel(&mut self, delta: usize) -> Result<(), ProviderError> {
        let mut coming: Vec<&mut Entry> = self
            .entries
            .values_mut()
            .filter(|entry| creating(entry.state))
            .collect();
        if coming.len() < delta {
            let message = format!(
                "{} cannot give up {delta} machine(s): {} are on the way",
                self.config.name,
                coming.len()
            );
            return Err(invalid(message));
        }
        coming.sort_by_key(|entry| std::cmp::Reverse(entry.number));
        for entry in coming.into_iter().take(delta) {
            entry.dismiss();
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, nodes: &[NodeRef], floor: Floor) -> Result<(), ProviderError> {
        let mut going: Vec<Arc<str>> = Vec::new();
        for node in nodes {
            if let Some(name) = self.find(node)? {
                going.push(name);
            }
        }
        going.sort();
        going.dedup();
        let (left, min) = (self.target().saturating_sub(going.len()), self.config.min);
        if floor == Floor::Minimum && left < min && !going.is_empty() {
            let message = format!(
                "{} cannot shrink to {left}: its minimum is {min}",
                self.config.name
            );
            return Err(invalid(message));
        }
        for name in going {
            if let Some(entry) = self.entries.get_mut(&name) {
                entry.dismiss();
            }
        }
        Ok(())
    }

    /// Lets a machine go and orders another.
    pub(super) fn replace(&mut self, node: &str) -> Result<Machine, ProviderError> {
        let going = self
            .entries
            .get_mut(node)
            .filter(|entry| entry.state != InstanceState::Deleting);
        let Some(going) = going else {
            let message = format!("{} has no machine {node:?}", self.config.name);
            return Err(ProviderError::new(ErrorClass::NotFound, message));
        };
        going.dismiss();
        Ok(self.order())
    }

    /// The machine of a node, unless it is gone or going.
    fn find(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        let name = self.name_of(node).ok_or_else(|| {
            let group = &self.config.name;
            invalid(format!("node {:?} is not of group {group}", node.name))
        })?;
        let entry = self.entries.get_key_value(name);
        let staying = entry.filter(|(_, entry)| entry.state != InstanceState::Deleting);
        Ok(staying.map(|(name, _)| Arc::clone(name)))
    }

    /// The name of a node's machine, if the node says that it is of this group.
    fn name_of<'a>(&self, node: &'a NodeRef) -> Option<&'a str> {
        let id = node.provider_id.strip_prefix("plimsoll://")?;
        let (group, name) = id.split_once('/')?;
        (*group == *self.config.name).then_some(name)
    }

    pub(super) fn holds(&self, node: &NodeRef) -> bool {
        self.name_of(node)
            .is_some_and(|name| self.entries.contains_key(name))
    }

    pub(super) fn describe(&self) -> NodeGroup {
        let config = &self.config;
        let mut entries: Vec<(&Arc<str>, &Entry)> = self.entries.iter().collect();
        entries.sort_by_key(|(_, entry)| entry.number);
        let instances = entries.into_iter().map(|(name, entry)| Instance {
            id: provider_id(&config.name, name).into(),
            state: Some(entry.state),
            problem: entry.problem.clone(),
        });
        let target = self.target();
        NodeGroup {
            id: Arc::clone(&config.name),
            min: config.min,
            max: config.max,
            target,
            instances: instances.collect(),
            options: config.options.clone(),
            debug: format!(
                "{} ({} to {} nodes, {target} wanted)",
                config.name, config.min, config.max
            ),
        }
    }

    pub(super) fn template(&self) -> ProviderTemplate {
        let shape = &self.config.shape;
        ProviderTemplate {
            node: shape.node(&format!("{}-template", self.config.name)),
            price_per_hour: shape.price_per_hour,
        }
    }

    /// Drops every task; machines stay as they are.
    pub(super) fn abandon(&mut self) {
        for entry in self.entries.values_mut() {
            if let Some(task) = entry.task.take() {
                task.abort();
            }
        }
    }
}

impl Entry {
    fn dismiss(&mut self) {
        self.state = InstanceState::Deleting;
        self.doomed.notify_one();
    }
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, message)
}
