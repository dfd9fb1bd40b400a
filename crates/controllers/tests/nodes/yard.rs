//! A provider of machines that can be slow, refuse, lie, and lose machines.

use async_trait::async_trait;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{
    ErrorClass, Instance, InstanceProblem, InstanceState, NodeGroup, NodeProvider, NodeRef,
    OptionOverrides, ProviderError, ProviderTemplate,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How the provider behaves; changed at any time.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// How long every call takes.
    pub(crate) delay: Duration,
    /// How long a machine takes to become a node.
    pub(crate) boot: Duration,
    /// What calls answer instead of doing anything: part of the call's name, and the error.
    pub(crate) refuses: Option<(&'static str, ProviderError)>,
    /// Machines of this group run, and never become nodes.
    pub(crate) never_joins: Option<&'static str>,
    /// Machines of this group are not to be had, which shows only after they were asked for.
    pub(crate) sold_out: Option<&'static str>,
    /// The groups are told as they were when this was set.
    pub(crate) stale: Option<Vec<NodeGroup>>,
    /// So many more machines are said to be asked for than are.
    pub(crate) phantom: usize,
    /// Node objects stay this long after their machines.
    pub(crate) lingers: Duration,
    /// Calls that are obeyed and never answered: part of the call's name.
    pub(crate) mute: Option<&'static str>,
    /// Calls at which the provider's own code fails: part of the call's name.
    pub(crate) panics: Option<&'static str>,
    /// Machines of this group are said to be deleted, and go on being told.
    pub(crate) keeps: Option<&'static str>,
    /// Whether nobody tells what new machines will be.
    pub(crate) secretive: bool,
    /// New machines may have as little CPU as this, whatever those that are there have.
    pub(crate) least_cpu: Option<&'static str>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            boot: Duration::from_secs(20),
            refuses: None,
            never_joins: None,
            sold_out: None,
            stale: None,
            phantom: 0,
            lingers: Duration::ZERO,
            mute: None,
            panics: None,
            keeps: None,
            secretive: false,
            least_cpu: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Machine {
    Booting,
    Running,
    /// It runs and is no node.
    Lost,
    Failed,
}

#[derive(Debug)]
struct Group {
    min: usize,
    max: usize,
    target: usize,
    cpu: &'static str,
    /// Dollars an hour.
    price: Option<f64>,
    machines: BTreeMap<String, Machine>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<String, Group>,
    made: usize,
    manner: Manner,
    /// Every call that changes something, as it was made.
    calls: Vec<String>,
    /// How often the groups were read.
    reads: usize,
    /// Most machines there ever were.
    most: usize,
}

/// Groups of machines whose Node objects come and go with them. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Yard {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
    nodes: Api<DynamicObject>,
}

impl Yard {
    pub(crate) fn new(client: Client) -> Self {
        let resource = ApiResource {
            group: String::new(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "Node".into(),
            plural: "nodes".into(),
        };
        Self {
            state: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
            nodes: Api::all_with(client, &resource),
        }
    }

    /// A group with as many nodes as it has at least.
    pub(crate) async fn group(&self, name: &str, (min, max): (usize, usize), cpu: &'static str) {
        let group = Group {
            min,
            max,
            target: min,
            cpu,
            price: None,
            machines: BTreeMap::new(),
        };
        self.state.lock().groups.insert(name.to_owned(), group);
        for _ in 0..min {
            let machine = self.make(name);
            self.join(name, &machine).await;
        }
    }

    /// Machines of a group that are made from now on have so much.
    pub(crate) fn reshape(&self, group: &str, cpu: &'static str) {
        self.state.lock().groups.get_mut(group).unwrap().cpu = cpu;
        self.tell();
    }

    /// What a machine of a group costs.
    pub(crate) fn charge(&self, group: &str, price: f64) {
        self.state.lock().groups.get_mut(group).unwrap().price = Some(price);
        self.tell();
    }

    /// Behaves differently from now on.
    pub(crate) fn behave(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.state.lock().manner);
        self.tell();
    }

    /// Goes on telling what it tells now, whatever happens.
    pub(crate) fn freeze(&self) {
        let groups = self.told();
        self.behave(|manner| manner.stale = Some(groups));
    }

    /// Calls that change something, since the last time.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().calls)
    }

    /// How often the groups were read: once a look.
    pub(crate) fn reads(&self) -> usize {
        self.state.lock().reads
    }

    /// What was asked for.
    pub(crate) fn target(&self, group: &str) -> usize {
        self.state.lock().groups[group].target
    }

    /// Most machines there ever were at a time.
    pub(crate) fn most(&self) -> usize {
        self.state.lock().most
    }

    /// The machine stops, and the provider does not notice.
    pub(crate) async fn break_down(&self, node: &str) {
        for group in self.state.lock().groups.values_mut() {
            if let Some(machine) = group.machines.get_mut(node) {
                *machine = Machine::Lost;
            }
        }
        let condition = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown",
            "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}]}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&condition));
        let sent = self.nodes.patch_status(node, &params, &patch);
        sent.await.unwrap();
    }

    /// The machine is gone at once, and its Node object with it.
    pub(crate) async fn vanish(&self, node: &str) {
        for group in self.state.lock().groups.values_mut() {
            if group.machines.remove(node).is_some() {
                group.target = group.target.saturating_sub(1);
            }
        }
        self.tell();
        drop(self.nodes.delete(node, &DeleteParams::default()).await);
    }

    /// Whether something runs pods there.
    pub(crate) fn works(&self, node: &str) -> bool {
        let state = self.state.lock();
        let mut groups = state.groups.values();
        groups.any(|group| group.machines.get(node) == Some(&Machine::Running))
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn make(&self, group: &str) -> String {
        let mut state = self.state.lock();
        state.made += 1;
        let name = format!("{group}-{}", state.made);
        let place = state.groups.get_mut(group).unwrap();
        place.machines.insert(name.clone(), Machine::Booting);
        let all = state.groups.values().map(|g| g.machines.len()).sum();
        state.most = state.most.max(all);
        name
    }

    fn set(&self, group: &str, name: &str, to: Machine) -> bool {
        let mut state = self.state.lock();
        let machines = &mut state.groups.get_mut(group).unwrap().machines;
        let known = machines.get_mut(name).map(|machine| *machine = to);
        drop(state);
        self.tell();
        known.is_some()
    }

    async fn join(&self, group: &str, name: &str) {
        if !self.set(group, name, Machine::Running) {
            return;
        }
        let node = self.node(group, name);
        let node = serde_json::from_value(node).unwrap();
        self.nodes
            .create(&PostParams::default(), &node)
            .await
            .unwrap();
    }

    fn node(&self, group: &str, name: &str) -> Value {
        let cpu = self.state.lock().groups[group].cpu;
        let amounts = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "group": group}},
            "spec": {"providerID": id(name)},
            "status": {"capacity": amounts, "allocatable": amounts,
                "conditions": [{"type": "Ready", "status": "True"}]},
        })
    }

    /// What becomes of a machine that was asked for.
    async fn boot(self, group: String, name: String) {
        let manner = self.state.lock().manner.clone();
        if manner.sold_out == Some(group.as_str()) {
            self.set(&group, &name, Machine::Failed);
            return;
        }
        tokio::time::sleep(manner.boot).await;
        if manner.never_joins == Some(group.as_str()) {
            self.set(&group, &name, Machine::Lost);
            return;
        }
        self.join(&group, &name).await;
    }

    /// Takes the time a call takes; then notes it, and refuses it if it is to be refused.
    async fn called(&self, call: String) -> Result<(), ProviderError> {
        let delay = self.state.lock().manner.delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut state = self.state.lock();
        let breaks = state.manner.panics.is_some_and(|part| call.contains(part));
        if breaks {
            state.calls.push(call.clone());
        }
        assert!(!breaks, "the provider's code fails at {call:?}");
        let refused = state.manner.refuses.clone();
        let refused = refused.filter(|(part, _)| call.contains(part));
        if call == "groups" {
            state.reads += 1;
        } else {
            state.calls.push(call);
        }
        refused.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Answers, or never does.
    async fn answer(&self, call: &str) {
        let mute = self.state.lock().manner.mute;
        if mute.is_some_and(|part| call.contains(part)) {
            std::future::pending::<()>().await;
        }
    }

    /// The Node object goes, sooner or later.
    async fn leave(&self, name: &str) {
        let lingers = self.state.lock().manner.lingers;
        let (nodes, name) = (self.nodes.clone(), name.to_owned());
        let gone = async move {
            tokio::time::sleep(lingers).await;
            drop(nodes.delete(&name, &DeleteParams::default()).await);
        };
        if lingers.is_zero() {
            gone.await;
        } else {
            drop(tokio::spawn(gone));
        }
    }

    fn told(&self) -> Vec<NodeGroup> {
        let state = self.state.lock();
        let groups = state.groups.iter();
        let told = groups.map(|(id, group)| NodeGroup {
            id: id.as_str().into(),
            min: group.min,
            max: group.max,
            target: group.target + state.manner.phantom,
            instances: group.machines.iter().map(instance).collect(),
            options: OptionOverrides::default(),
            debug: format!("{id} ({}:{})", group.min, group.max),
        });
        told.collect()
    }
}

fn id(name: &str) -> String {
    format!("yard://{name}")
}

fn instance((name, machine): (&String, &Machine)) -> Instance {
    let failed = *machine == Machine::Failed;
    Instance {
        id: id(name).into(),
        state: Some(match machine {
            Machine::Booting | Machine::Failed => InstanceState::Creating,
            Machine::Running | Machine::Lost => InstanceState::Running,
        }),
        problem: failed.then(|| InstanceProblem {
            class: ErrorClass::OutOfResources,
            code: "SoldOut".into(),
            message: "no such machines left".into(),
        }),
    }
}

fn no_group(group: &str) -> ProviderError {
    ProviderError::new(ErrorClass::NotFound, format!("there is no group {group}"))
}

#[async_trait]
impl NodeProvider for Yard {
    fn name(&self) -> &'static str {
        "yard"
    }

    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError> {
        self.called("groups".into()).await?;
        let stale = self.state.lock().manner.stale.clone();
        Ok(stale.unwrap_or_else(|| self.told()))
    }

    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        let Some(name) = node.provider_id.strip_prefix("yard://") else {
            return Ok(None);
        };
        let group = name.rsplit_once('-').map(|(group, _)| group);
        Ok(group.map(Into::into))
    }

    fn price(&self, node: &Value) -> Option<f64> {
        let group = node["metadata"]["labels"]["group"].as_str()?;
        self.state.lock().groups.get(group)?.price
    }

    async fn template(&self, group: &str) -> Result<Option<ProviderTemplate>, ProviderError> {
        if self.state.lock().manner.secretive {
            return Ok(None);
        }
        let mut node = self.node(group, "template");
        if let Some(cpu) = self.state.lock().manner.least_cpu {
            for amounts in ["/status/capacity/cpu", "/status/allocatable/cpu"] {
                if let Some(amount) = node.pointer_mut(amounts) {
                    *amount = cpu.into();
                }
            }
        }
        Ok(Some(ProviderTemplate {
            node,
            price_per_hour: None,
        }))
    }

    fn is_uneven(&self, _group: &str) -> bool {
        self.state.lock().manner.least_cpu.is_some()
    }

    async fn increase(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        self.called(format!("increase {group} by {delta}")).await?;
        {
            let mut state = self.state.lock();
            let place = state.groups.get_mut(group).ok_or_else(|| no_group(group))?;
            if place.target + delta > place.max {
                return Err(ProviderError::new(ErrorClass::Invalid, "above the maximum"));
            }
            place.target += delta;
        }
        for _ in 0..delta {
            let name = self.make(group);
            drop(tokio::spawn(self.clone().boot(group.to_owned(), name)));
        }
        self.tell();
        self.answer("increase").await;
        Ok(())
    }

    async fn delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        let machine = |node: &NodeRef| node.provider_id.replace("yard://", "");
        let names: Vec<String> = nodes.iter().map(machine).collect();
        self.called(format!("delete {}", names.join(","))).await?;
        if self.state.lock().manner.keeps == Some(group) {
            return Ok(());
        }
        for name in &names {
            {
                let mut state = self.state.lock();
                let place = state.groups.get_mut(group).ok_or_else(|| no_group(group))?;
                if !place.machines.contains_key(name) {
                    continue;
                }
                if place.target <= place.min {
                    return Err(ProviderError::new(ErrorClass::Invalid, "below the minimum"));
                }
                place.machines.remove(name);
                place.target -= 1;
            }
            self.leave(name).await;
        }
        self.tell();
        self.answer("delete").await;
        Ok(())
    }

    async fn decrease_target(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        self.called(format!("decrease {group} by {delta}")).await?;
        let mut state = self.state.lock();
        let phantom = state.manner.phantom;
        state.manner.phantom = phantom.saturating_sub(delta);
        let place = state.groups.get_mut(group).ok_or_else(|| no_group(group))?;
        let delta = delta.saturating_sub(phantom);
        if place.target.saturating_sub(delta) < place.machines.len() {
            return Err(ProviderError::new(ErrorClass::Invalid, "machines exist"));
        }
        place.target -= delta;
        drop(state);
        self.tell();
        Ok(())
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.changed.subscribe())
    }
}
