//! The slow steps of a pod: sandbox, volumes, image, start, hooks.

use super::demand::amount;
use super::names;
use super::security;
use super::state::PodState;
use super::view::{Container, Pod, Resources};
use super::{Node, Shared};
use crate::probe;
use crate::runtime::{ContainerSpec, Limits, RuntimeError, SandboxSpec, Security, Started};
use crate::volumes;
use plimsoll_quantity::Quantity;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything a step needs to know about its pod.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) shared: Arc<Shared>,
    pub(crate) node: Arc<Node>,
    pub(crate) pod: Arc<Pod>,
}

/// Why a container did not start, in the words of its `waiting` state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartFailure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What distinguishes one start of a container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Birth {
    /// Its index in [`Pod::containers`].
    pub(crate) index: usize,
    /// Which instance it is.
    pub(crate) attempt: u32,
    /// The pod's address.
    pub(crate) ip: Option<IpAddr>,
    /// The container whose processes it is to see.
    pub(crate) target: Option<String>,
    /// Its bounds.
    pub(crate) limits: Limits,
}

impl Site {
    /// The pod's directory on the host.
    pub(crate) fn directory(&self) -> PathBuf {
        self.shared
            .state_dir
            .join("pods")
            .join(&self.pod.metadata.uid)
    }

    /// Where a container's logs are kept.
    pub(crate) fn logs(&self) -> PathBuf {
        let meta = &self.pod.metadata;
        let name = format!("{}_{}_{}", meta.namespace, meta.name, meta.uid);
        self.shared.state_dir.join("logs").join(name)
    }

    /// The log of one instance of a container.
    pub(crate) fn log(&self, container: &str, attempt: u32) -> PathBuf {
        self.logs().join(container).join(format!("{attempt}.log"))
    }

    /// Prepares volumes and makes the sandbox.
    pub(crate) async fn create_sandbox(self, ip: IpAddr) -> Result<(), StartFailure> {
        if self.node.runtime.runs_processes() {
            volumes::keep_private(&self.shared.state_dir).map_err(|e| StartFailure {
                reason: "FailedMount",
                message: format!("cannot make {}: {e}", self.shared.state_dir.display()),
            })?;
            volumes::prepare(&self, ip)
                .await
                .map_err(|e| StartFailure {
                    reason: e.reason(),
                    message: e.to_string(),
                })?;
        }
        let pod = &self.pod;
        let hostname = pod.kernel_hostname(&self.shared.cluster_domain);
        let spec = SandboxSpec {
            node: self.node.name.clone(),
            uid: pod.metadata.uid.clone(),
            pod: (pod.metadata.namespace.clone(), pod.metadata.name.clone()),
            ip,
            hostname: hostname.map_err(|message| StartFailure {
                reason: "FailedCreatePodSandBox",
                message,
            })?,
            host_network: pod.spec.host_network,
            resolv_conf: names::resolv_conf(
                pod,
                self.shared.cluster_dns,
                &self.shared.cluster_domain,
            ),
            hosts: names::hosts(pod, ip, &self.shared.cluster_domain),
            share_processes: pod.spec.share_process_namespace,
            limits: limits(&pod.spec.resources),
        };
        self.node
            .runtime
            .create_sandbox(spec)
            .await
            .map_err(|e| StartFailure {
                reason: "FailedCreatePodSandBox",
                message: format!("Failed to create pod sandbox: {e}"),
            })
    }

    /// Takes the sandbox and the pod's directories down. Errors are only logged: the pod is over.
    pub(crate) async fn remove_sandbox(self) {
        if let Err(error) = self
            .node
            .runtime
            .remove_sandbox(&self.pod.metadata.uid)
            .await
        {
            tracing::warn!(pod = %self.pod.full_name(), %error, "sandbox not removed");
        }
        if self.node.runtime.runs_processes() {
            volumes::remove(&self);
        }
    }

    /// Prepares the image and starts a container.
    pub(crate) async fn start(self, birth: Birth) -> Result<Started, StartFailure> {
        let pod = Arc::clone(&self.pod);
        let container = pod.container(birth.index).ok_or_else(|| StartFailure {
            reason: "CreateContainerError",
            message: format!("the pod has no container {}", birth.index),
        })?;
        let runtime = &self.node.runtime;
        runtime
            .prepare_image(&container.image)
            .await
            .map_err(|e| image_failure(&e, container))?;
        let spec = self.container_spec(container, birth).await?;
        runtime.start(spec).await.map_err(|e| failure(&e))
    }

    /// Runs the start hook of a container that runs.
    pub(crate) async fn post_start(
        self,
        index: usize,
        id: String,
        ip: Option<IpAddr>,
    ) -> Result<(), String> {
        let pod = Arc::clone(&self.pod);
        let container = pod.container(index);
        let hook = container.and_then(|c| Some((c, c.lifecycle.as_ref()?.post_start.as_ref()?)));
        let Some((container, hook)) = hook else {
            return Ok(());
        };
        let target = probe::Target {
            runtime: &self.node.runtime,
            ip,
            container,
            id: &id,
        };
        probe::hook(&target, hook).await
    }

    async fn container_spec(
        &self,
        container: &Container,
        birth: Birth,
    ) -> Result<ContainerSpec, StartFailure> {
        let (attempt, ip) = (birth.attempt, birth.ip);
        let mut spec = ContainerSpec {
            pod_uid: self.pod.metadata.uid.clone(),
            name: container.name.clone(),
            attempt,
            image: container.image.clone(),
            command: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            working_dir: container.working_dir.clone(),
            mounts: Vec::new(),
            limits: birth.limits,
            security: Security::default(),
            stdin: container.stdin,
            stdin_once: container.stdin_once,
            tty: container.tty,
            target: birth.target,
            log_path: PathBuf::new(),
        };
        if !self.node.runtime.runs_processes() {
            return Ok(spec);
        }
        let config = |message| StartFailure {
            reason: "CreateContainerConfigError",
            message,
        };
        spec.security =
            security::of(&self.pod, container, self.node.spec.memory_bytes).map_err(config)?;
        spec.env = super::environment::resolve(self, container, ip)
            .await
            .map_err(config)?;
        let expand = |texts: &[String]| {
            texts
                .iter()
                .map(|t| super::environment::expand(t, &spec.env))
                .collect::<Vec<_>>()
        };
        let (command, args) = (expand(&container.command), expand(&container.args));
        spec.command = command;
        spec.args = args;
        if self.node.runtime.mounts_volumes() {
            spec.mounts = volumes::mounts(self, container, &spec.env).map_err(config)?;
            let message = super::termination::mount(self, container, attempt);
            spec.mounts.push(message.map_err(config)?);
        } else if let Some(mount) = volumes::indispensable(container) {
            return Err(config(format!(
                "the {} runtime cannot mount volume {:?} at {:?}",
                self.node.runtime.name(),
                mount.name,
                mount.mount_path
            )));
        }
        spec.log_path = self.log(&container.name, attempt);
        if let Some(parent) = spec.log_path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|e| config(format!("cannot make the log directory: {e}")))?;
        }
        Ok(spec)
    }

    /// Runs the preStop hook (within the grace), then asks the container to end. Returns whether
    /// there was a hook.
    pub(crate) async fn stop(
        self,
        index: usize,
        id: &str,
        grace: std::time::Duration,
        ip: Option<IpAddr>,
    ) -> bool {
        let runtime = &self.node.runtime;
        let container = self.pod.container(index);
        let hook = container.and_then(|c| Some((c, c.lifecycle.as_ref()?.pre_stop.as_ref()?)));
        let hook = hook.filter(|_| runtime.runs_processes());
        if let Some((container, hook)) = hook {
            let target = probe::Target {
                runtime,
                ip,
                container,
                id,
            };
            let run = tokio::time::timeout(grace, probe::hook(&target, hook)).await;
            let failed = match run {
                Ok(result) => result.err(),
                Err(_) => Some(format!("it did not end within {} s", grace.as_secs())),
            };
            if let Some(why) = failed {
                let event = ("FailedPreStopHook", format!("PreStopHook failed: {why}"));
                let severity = super::events::Severity::Warning;
                self.shared
                    .events
                    .pod(&self.pod, Some(&container.name), severity, event);
            }
        }
        let signal = container.map_or(libc::SIGTERM, stop_signal);
        if let Err(error) = runtime.signal(id, signal).await {
            tracing::debug!(pod = %self.pod.full_name(), %error, "{signal} not delivered");
        }
        hook.is_some()
    }
}

/// The signal that asks a container to end: SIGTERM unless it wants another one.
fn stop_signal(container: &Container) -> i32 {
    let wanted = container
        .lifecycle
        .as_ref()
        .and_then(|l| l.stop_signal.as_deref());
    let Some(name) = wanted else {
        return libc::SIGTERM;
    };
    if let Some(offset) = name
        .strip_prefix("SIGRTMIN+")
        .and_then(|n| n.parse::<i32>().ok())
    {
        return libc::SIGRTMIN() + offset;
    }
    if let Some(offset) = name
        .strip_prefix("SIGRTMAX-")
        .and_then(|n| n.parse::<i32>().ok())
    {
        return libc::SIGRTMAX() - offset;
    }
    match name {
        "SIGRTMIN" => libc::SIGRTMIN(),
        "SIGRTMAX" => libc::SIGRTMAX(),
        "SIGCLD" => libc::SIGCHLD,
        "SIGPOLL" => libc::SIGIO,
        name => name
            .parse::<nix::sys::signal::Signal>()
            .map_or(libc::SIGTERM, |signal| signal as i32),
    }
}

fn image_failure(error: &RuntimeError, container: &Container) -> StartFailure {
    let never = container.image_pull_policy.as_deref() == Some("Never");
    if never && matches!(error, RuntimeError::ImagePull { .. }) {
        let message = format!(
            "Container image {:?} is not present with pull policy of Never",
            container.image
        );
        return StartFailure {
            reason: "ErrImageNeverPull",
            message,
        };
    }
    failure(error)
}

fn failure(error: &RuntimeError) -> StartFailure {
    let reason = match error {
        RuntimeError::ImagePull { .. } => "ErrImagePull",
        RuntimeError::InvalidImageName { .. } => "InvalidImageName",
        RuntimeError::Start { .. }
        | RuntimeError::Sandbox(_)
        | RuntimeError::NotRunning(_)
        | RuntimeError::ResizeDeferred { .. }
        | RuntimeError::Unsupported { .. }
        | RuntimeError::Launcher(_) => "RunContainerError",
    };
    StartFailure {
        reason,
        message: error.to_string(),
    }
}

/// Requests and limits in the runtime's units; what does not parse is unlimited.
pub(crate) fn limits(resources: &Resources) -> Limits {
    let cpu = |map| amount(map, "cpu", Quantity::milli);
    let cpu_limit = cpu(&resources.limits);
    Limits {
        cpu_request_milli: cpu(&resources.requests).or(cpu_limit).unwrap_or(0),
        cpu_limit_milli: cpu_limit.filter(|l| *l > 0),
        memory_limit_bytes: amount(&resources.limits, "memory", Quantity::value).filter(|l| *l > 0),
    }
}

/// The address a pod's probes and fields show: its own, or the node's on the host network.
pub(crate) fn address(pod: &Pod, state: &PodState, node: &Node) -> Option<IpAddr> {
    if pod.spec.host_network {
        Some(node.address)
    } else {
        state.ip
    }
}
