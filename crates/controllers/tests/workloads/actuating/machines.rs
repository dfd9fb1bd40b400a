//! A provider whose machines are Node objects: what it removes, disappears.

use async_trait::async_trait;
use kube::api::{Api, DeleteParams, DynamicObject};
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{
    ErrorClass, Instance, InstanceState, NodeGroup, NodeProvider, NodeRef, OptionOverrides,
    ProviderError, ProviderTemplate,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How the provider takes calls to remove machines.
#[derive(Debug, Clone, Default)]
pub(super) enum Mood {
    /// It removes them.
    #[default]
    Obeys,
    /// It refuses a call that names one of these.
    Refuses(Vec<&'static str>),
    /// It never answers.
    IsSilent,
    /// It agrees and does nothing.
    Lies,
}

#[derive(Debug)]
pub(super) struct Machines {
    nodes: Api<DynamicObject>,
    pub(super) mood: Mutex<Mood>,
    /// How long a machine takes to disappear.
    pub(super) slow: Mutex<Duration>,
    /// Machines by their names, with what they are doing.
    instances: Mutex<BTreeMap<Arc<str>, InstanceState>>,
    pub(super) calls: Mutex<Vec<String>>,
    pub(super) target: Mutex<usize>,
    pub(super) foreign: Mutex<BTreeSet<Arc<str>>>,
}

impl Machines {
    pub(super) fn new(nodes: Api<DynamicObject>) -> Arc<Self> {
        Arc::new(Self {
            nodes,
            mood: Mutex::default(),
            slow: Mutex::new(Duration::from_secs(1)),
            instances: Mutex::default(),
            calls: Mutex::default(),
            target: Mutex::new(0),
            foreign: Mutex::default(),
        })
    }

    pub(super) fn add(&self, name: &str) {
        let mut instances = self.instances.lock();
        instances.insert(name.into(), InstanceState::Running);
        *self.target.lock() += 1;
    }

    /// The machine begins to disappear, whoever asked for that.
    pub(super) fn remove(&self, name: &Arc<str>) {
        let state = self
            .instances
            .lock()
            .insert(Arc::clone(name), InstanceState::Deleting);
        if state == Some(InstanceState::Deleting) {
            return;
        }
        let (nodes, slow, name) = (self.nodes.clone(), *self.slow.lock(), Arc::clone(name));
        drop(tokio::spawn(async move {
            tokio::time::sleep(slow).await;
            drop(nodes.delete(&name, &DeleteParams::default()).await);
        }));
    }

    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock())
    }

    pub(super) fn state(&self, name: &str) -> Option<InstanceState> {
        self.instances.lock().get(name).copied()
    }

    pub(super) fn group(&self) -> NodeGroup {
        let instances = self.instances.lock();
        let instance = |(name, state): (&Arc<str>, &InstanceState)| Instance {
            id: format!("test://{name}").into(),
            state: Some(*state),
            problem: None,
        };
        NodeGroup {
            id: "g".into(),
            min: 1,
            max: 100,
            target: *self.target.lock(),
            instances: instances.iter().map(instance).collect(),
            options: OptionOverrides::default(),
            debug: String::new(),
        }
    }
}

fn refused(message: &str) -> ProviderError {
    ProviderError::new(ErrorClass::Other, message)
}

#[async_trait]
impl NodeProvider for Machines {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError> {
        if matches!(*self.mood.lock(), Mood::IsSilent) {
            return Err(refused("no answer"));
        }
        Ok(vec![self.group()])
    }

    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        let known = node.provider_id.starts_with("test://");
        let ours = known && !self.foreign.lock().contains(&node.name);
        Ok(ours.then(|| "g".into()))
    }

    async fn template(&self, _: &str) -> Result<Option<ProviderTemplate>, ProviderError> {
        Ok(None)
    }

    async fn increase(&self, _: &str, delta: usize) -> Result<(), ProviderError> {
        *self.target.lock() += delta;
        Ok(())
    }

    async fn delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        let names: Vec<&str> = nodes.iter().map(|node| &*node.name).collect();
        self.calls
            .lock()
            .push(format!("{group}: {}", names.join(",")));
        let mood = self.mood.lock().clone();
        match mood {
            Mood::Refuses(bad) if bad.iter().any(|bad| names.contains(bad)) => {
                return Err(refused("instance is protected"));
            }
            Mood::Obeys | Mood::Refuses(_) => {}
            Mood::IsSilent => std::future::pending().await,
            Mood::Lies => return Ok(()),
        }
        *self.target.lock() -= nodes.len();
        for node in nodes {
            self.remove(&node.name);
        }
        Ok(())
    }

    async fn force_delete(&self, _: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        let names: Vec<&str> = nodes.iter().map(|node| &*node.name).collect();
        self.calls
            .lock()
            .push(format!("force: {}", names.join(",")));
        *self.target.lock() -= nodes.len();
        Ok(())
    }

    async fn decrease_target(&self, _: &str, delta: usize) -> Result<(), ProviderError> {
        self.calls.lock().push(format!("decrease: {delta}"));
        if matches!(*self.mood.lock(), Mood::Refuses(_)) {
            return Err(refused("machines exist"));
        }
        *self.target.lock() -= delta;
        Ok(())
    }
}
