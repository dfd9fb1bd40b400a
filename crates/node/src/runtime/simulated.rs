//! Containers that exist only as records, for simulation and for large clusters on one machine.

use super::{
    ContainerSpec, Counters, Exit, Limits, Network, NodeSlice, Runtime, RuntimeCounters,
    RuntimeError, SandboxSpec, Started,
};
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use plimsoll_api::node::Session;
use plimsoll_clock::Clock;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A pod as the usage model sees it.
#[derive(Debug, Clone, Copy)]
pub struct PodKey<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Node it runs on.
    pub node: &'a str,
}

/// How simulated containers behave.
pub trait UsageModel: Send + Sync + std::fmt::Debug {
    /// How long the container takes to start.
    fn start_delay(&self, _pod: PodKey<'_>, _container: &str) -> Duration {
        Duration::ZERO
    }

    /// What it uses at a moment: CPU in millicores and working set in bytes.
    fn usage(&self, pod: PodKey<'_>, container: &str, now: Timestamp) -> (u64, u64);

    /// Whether its probes succeed at a moment.
    fn healthy(&self, _pod: PodKey<'_>, _container: &str, _now: Timestamp) -> bool {
        true
    }
}

/// Every container uses the same all the time.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    /// CPU in millicores.
    pub cpu_milli: u64,
    /// Working set in bytes.
    pub memory_bytes: u64,
    /// Time to start.
    pub start_delay: Duration,
}

impl Default for Steady {
    fn default() -> Self {
        Self {
            cpu_milli: 1,
            memory_bytes: 1 << 20,
            start_delay: Duration::ZERO,
        }
    }
}

impl UsageModel for Steady {
    fn start_delay(&self, _pod: PodKey<'_>, _container: &str) -> Duration {
        self.start_delay
    }

    fn usage(&self, _pod: PodKey<'_>, _container: &str, _now: Timestamp) -> (u64, u64) {
        (self.cpu_milli, self.memory_bytes)
    }
}

#[derive(Debug)]
struct Sandbox {
    node: Arc<str>,
    namespace: Box<str>,
    name: Box<str>,
}

#[derive(Debug)]
struct Running {
    pod_uid: Arc<str>,
    name: Box<str>,
    cpu_nanos: u64,
    counted_until: Timestamp,
    cpu_limit_milli: Option<u64>,
    exit: watch::Sender<Option<Exit>>,
}

#[derive(Debug, Default)]
struct Records {
    nodes: BTreeMap<Arc<str>, Counters>,
    sandboxes: BTreeMap<Arc<str>, Sandbox>,
    containers: BTreeMap<Box<str>, Running>,
    last_id: u64,
}

/// The simulated runtime: no processes, no files, no sockets.
#[derive(Debug)]
pub struct Simulated {
    clock: Clock,
    model: Arc<dyn UsageModel>,
    records: Mutex<Records>,
    broken: watch::Sender<Option<String>>,
}

impl Simulated {
    /// A runtime whose containers behave as the model says.
    pub fn new(clock: Clock, model: Arc<dyn UsageModel>) -> Self {
        Self {
            clock,
            model,
            records: Mutex::default(),
            broken: watch::Sender::default(),
        }
    }

    /// Ends a running container as if its process had exited. Absent is fine.
    pub fn end(&self, container_id: &str, exit: Exit) {
        if let Some(running) = self.records.lock().containers.get(local(container_id)) {
            running.exit.send_replace(Some(exit));
        }
    }

    /// Breaks the whole runtime down, for faults: its nodes are not Ready from now on.
    pub fn break_down(&self, why: &str) {
        self.broken.send_replace(Some(why.to_owned()));
    }

    /// IDs of the containers that run now, for tests and faults.
    pub fn container_ids(&self) -> Vec<String> {
        let records = self.records.lock();
        records
            .containers
            .keys()
            .map(|id| format!("simulated://{id}"))
            .collect()
    }

    fn delay(&self, spec: &ContainerSpec) -> Result<Duration, RuntimeError> {
        let records = self.records.lock();
        let sandbox = records
            .sandboxes
            .get(spec.pod_uid.as_str())
            .ok_or_else(|| {
                let why = "its sandbox is gone".to_owned();
                RuntimeError::Start {
                    container: spec.name.clone(),
                    why,
                }
            })?;
        Ok(self.model.start_delay(sandbox.key(), &spec.name))
    }
}

impl Sandbox {
    fn key(&self) -> PodKey<'_> {
        PodKey {
            namespace: &self.namespace,
            name: &self.name,
            node: &self.node,
        }
    }
}

fn local(container_id: &str) -> &str {
    container_id
        .strip_prefix("simulated://")
        .unwrap_or(container_id)
}

fn unsupported(what: &str) -> RuntimeError {
    RuntimeError::Unsupported {
        runtime: "simulated",
        what: what.to_owned(),
    }
}

#[async_trait]
impl Runtime for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn describe(&self) -> String {
        "simulated: pods are records; nothing is executed".to_owned()
    }

    fn runs_processes(&self) -> bool {
        false
    }

    async fn breakdown(&self) -> String {
        let mut broken = self.broken.subscribe();
        match broken.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    fn simulated_health(&self, container_id: &str) -> Option<bool> {
        let records = self.records.lock();
        let running = records.containers.get(local(container_id))?;
        let sandbox = records.sandboxes.get(&running.pod_uid)?;
        Some(
            self.model
                .healthy(sandbox.key(), &running.name, self.clock.now()),
        )
    }

    async fn add_node(&self, slice: NodeSlice) -> Result<(), RuntimeError> {
        self.records
            .lock()
            .nodes
            .insert(slice.node.into(), Counters::default());
        Ok(())
    }

    async fn remove_node(&self, node: &str) -> Result<(), RuntimeError> {
        self.records.lock().nodes.remove(node);
        Ok(())
    }

    async fn prepare_image(&self, image: &str) -> Result<String, RuntimeError> {
        if image.ends_with(":404") || image.contains("non-existent") {
            let why = "the simulated runtime has no image of this name".to_owned();
            return Err(RuntimeError::ImagePull {
                image: image.to_owned(),
                why,
            });
        }
        Ok(format!("simulated:{image}"))
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<(), RuntimeError> {
        let (namespace, name) = spec.pod;
        let mut records = self.records.lock();
        // One copy of the node's name for all its pods.
        let node: Arc<str> = match records.nodes.get_key_value(spec.node.as_str()) {
            Some((node, _)) => Arc::clone(node),
            None => spec.node.into(),
        };
        let sandbox = Sandbox {
            node,
            namespace: namespace.into(),
            name: name.into(),
        };
        records.sandboxes.insert(spec.uid.into(), sandbox);
        Ok(())
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        let mut records = self.records.lock();
        records.sandboxes.remove(pod_uid);
        records
            .containers
            .retain(|_, c| c.pod_uid.as_ref() != pod_uid);
        Ok(())
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Started, RuntimeError> {
        let delay = self.delay(&spec)?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let (exit, seen) = watch::channel(None);
        let mut records = self.records.lock();
        let Some((uid, _)) = records.sandboxes.get_key_value(spec.pod_uid.as_str()) else {
            let why = "its sandbox is gone".to_owned();
            return Err(RuntimeError::Start {
                container: spec.name,
                why,
            });
        };
        let pod_uid = Arc::clone(uid);
        records.last_id += 1;
        let id = format!("{:016x}", records.last_id);
        let container_id = format!("simulated://{id}");
        let running = Running {
            pod_uid,
            name: spec.name.into(),
            cpu_nanos: 0,
            counted_until: self.clock.now(),
            cpu_limit_milli: spec.limits.cpu_limit_milli,
            exit,
        };
        records.containers.insert(id.into(), running);
        let image_id = format!("simulated:{}", spec.image);
        Ok(Started {
            container_id,
            image_id,
            exit: seen,
        })
    }

    async fn signal(&self, container_id: &str, signal: i32) -> Result<(), RuntimeError> {
        let records = self.records.lock();
        let running = records
            .containers
            .get(local(container_id))
            .ok_or_else(|| RuntimeError::NotRunning(container_id.to_owned()))?;
        // Simulated programs end cleanly when they are asked to.
        let exit = match signal {
            libc::SIGKILL => Exit {
                code: 137,
                signal: Some(signal),
                oom_killed: false,
            },
            _ => Exit {
                code: 0,
                signal: None,
                oom_killed: false,
            },
        };
        running.exit.send_replace(Some(exit));
        Ok(())
    }

    async fn remove(&self, container_id: &str) -> Result<(), RuntimeError> {
        self.records.lock().containers.remove(local(container_id));
        Ok(())
    }

    async fn exec(
        &self,
        _container_id: &str,
        _command: Vec<String>,
        _tty: bool,
        _stdin: bool,
    ) -> Result<Session, RuntimeError> {
        Err(unsupported("run commands in a pod"))
    }

    async fn attach(&self, _container_id: &str, _stdin: bool) -> Result<Session, RuntimeError> {
        Err(unsupported("attach to a pod"))
    }

    async fn counters(&self) -> Result<RuntimeCounters, RuntimeError> {
        let now = self.clock.now();
        let mut guard = self.records.lock();
        let records = &mut *guard;
        for node in records.nodes.values_mut() {
            node.memory_bytes = 0;
        }
        let mut counted = RuntimeCounters::default();
        for (id, running) in &mut records.containers {
            let Some(sandbox) = records.sandboxes.get(&running.pod_uid) else {
                continue;
            };
            if running.exit.borrow().is_some() {
                continue;
            }
            let (cpu_milli, memory_bytes) = self.model.usage(sandbox.key(), &running.name, now);
            let cpu_milli = running
                .cpu_limit_milli
                .map_or(cpu_milli, |l| cpu_milli.min(l));
            let elapsed = now.duration_since(running.counted_until).as_nanos();
            let elapsed = u64::try_from(elapsed).unwrap_or(0);
            let used = elapsed.saturating_mul(cpu_milli) / 1000;
            running.cpu_nanos = running.cpu_nanos.saturating_add(used);
            running.counted_until = now;
            if let Some(node) = records.nodes.get_mut(&sandbox.node) {
                node.cpu_nanos = node.cpu_nanos.saturating_add(used);
                node.memory_bytes = node.memory_bytes.saturating_add(memory_bytes);
            }
            let counters = Counters {
                cpu_nanos: running.cpu_nanos,
                memory_bytes,
            };
            counted
                .containers
                .insert(format!("simulated://{id}"), counters);
        }
        let nodes = records.nodes.iter();
        counted.nodes = nodes
            .map(|(name, counters)| (name.to_string(), *counters))
            .collect();
        Ok(counted)
    }

    async fn resize(&self, container_id: &str, limits: Limits) -> Result<(), RuntimeError> {
        let now = self.clock.now();
        let mut guard = self.records.lock();
        let records = &mut *guard;
        let running = records
            .containers
            .get_mut(local(container_id))
            .ok_or_else(|| RuntimeError::NotRunning(container_id.to_owned()))?;
        running.cpu_limit_milli = limits.cpu_limit_milli;
        let sandbox = records.sandboxes.get(&running.pod_uid);
        if let (Some(limit), Some(sandbox)) = (limits.memory_limit_bytes, sandbox) {
            let (_, used) = self.model.usage(sandbox.key(), &running.name, now);
            if limit < used {
                return Err(RuntimeError::ResizeDeferred { limit, used });
            }
        }
        Ok(())
    }

    fn network(&self) -> Arc<dyn Network> {
        Arc::new(NoNetwork)
    }

    async fn shutdown(&self) {
        let mut records = self.records.lock();
        records.containers.clear();
        records.sandboxes.clear();
    }
}

/// Simulated pods have addresses but no sockets.
#[derive(Debug)]
struct NoNetwork;

fn no_sockets() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        "simulated pods have no sockets",
    )
}

#[async_trait]
impl Network for NoNetwork {
    async fn listen(&self, _address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
        Err(no_sockets())
    }

    async fn bind_udp(&self, _address: SocketAddr) -> std::io::Result<tokio::net::UdpSocket> {
        Err(no_sockets())
    }

    async fn connect(&self, _address: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        Err(no_sockets())
    }

    fn reachable_from_host(&self) -> bool {
        false
    }
}
