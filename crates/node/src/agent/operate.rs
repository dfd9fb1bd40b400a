//! The slow steps of a pod: sandbox, volumes, image, start, hooks.

use super::names;
use super::state::PodState;
use super::view::{Container, Pod};
use super::{Node, Shared};
use crate::probe;
use crate::runtime::{ContainerSpec, Limits, RuntimeError, SandboxSpec, Started};
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
                    reason: "FailedMount",
                    message: e.to_string(),
                })?;
        }
        let pod = &self.pod;
        let spec = SandboxSpec {
            node: self.node.name.clone(),
            uid: pod.metadata.uid.clone(),
            pod: (pod.metadata.namespace.clone(), pod.metadata.name.clone()),
            ip,
            hostname: pod.hostname(),
            host_network: pod.spec.host_network,
            resolv_conf: names::resolv_conf(
                pod,
                self.shared.cluster_dns,
                &self.shared.cluster_domain,
            ),
            hosts: names::hosts(pod, ip, &self.shared.cluster_domain),
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
            volumes::remove(&self.directory());
        }
    }

    /// Prepares the image and starts the container at an index.
    pub(crate) async fn start(
        self,
        index: usize,
        attempt: u32,
        ip: Option<IpAddr>,
        target: Option<String>,
    ) -> Result<Started, StartFailure> {
        let pod = Arc::clone(&self.pod);
        let container = pod.container(index).ok_or_else(|| StartFailure {
            reason: "CreateContainerError",
            message: format!("the pod has no container {index}"),
        })?;
        let runtime = &self.node.runtime;
        runtime
            .prepare_image(&container.image)
            .await
            .map_err(|e| image_failure(&e, container))?;
        let mut spec = self.container_spec(container, attempt, ip).await?;
        spec.target = target;
        let started = runtime.start(spec).await.map_err(|e| failure(&e))?;
        let hook = container
            .lifecycle
            .as_ref()
            .and_then(|l| l.post_start.as_ref());
        if let (Some(hook), true) = (hook, runtime.runs_processes()) {
            let target = probe::Target {
                runtime,
                ip,
                container,
                id: &started.container_id,
            };
            if let Err(why) = probe::hook(&target, hook).await {
                drop(runtime.signal(&started.container_id, libc::SIGKILL).await);
                let message = format!("PostStartHook failed: {why}");
                return Err(StartFailure {
                    reason: "PostStartHookError",
                    message,
                });
            }
        }
        Ok(started)
    }

    async fn container_spec(
        &self,
        container: &Container,
        attempt: u32,
        ip: Option<IpAddr>,
    ) -> Result<ContainerSpec, StartFailure> {
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
            limits: limits(container),
            stdin: container.stdin,
            stdin_once: container.stdin_once,
            tty: container.tty,
            target: None,
            log_path: PathBuf::new(),
        };
        if !self.node.runtime.runs_processes() {
            return Ok(spec);
        }
        let config = |message| StartFailure {
            reason: "CreateContainerConfigError",
            message,
        };
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

    /// Runs the preStop hook (within the grace), then asks the container to end.
    pub(crate) async fn stop(
        self,
        index: usize,
        id: String,
        grace: std::time::Duration,
        ip: Option<IpAddr>,
    ) {
        let runtime = &self.node.runtime;
        let hook = self
            .pod
            .container(index)
            .and_then(|c| Some((c, c.lifecycle.as_ref()?.pre_stop.as_ref()?)));
        if let (Some((container, hook)), true) = (hook, runtime.runs_processes()) {
            let target = probe::Target {
                runtime,
                ip,
                container,
                id: &id,
            };
            let run = tokio::time::timeout(grace, probe::hook(&target, hook)).await;
            if let Ok(Err(why)) = run {
                let event = ("FailedPreStopHook", format!("PreStopHook failed: {why}"));
                let severity = super::events::Severity::Warning;
                self.shared
                    .events
                    .pod(&self.pod, Some(&container.name), severity, event);
            }
        }
        if let Err(error) = runtime.signal(&id, libc::SIGTERM).await {
            tracing::debug!(pod = %self.pod.full_name(), %error, "SIGTERM not delivered");
        }
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

/// Requests and limits of a container in the runtime's units; what does not parse is unlimited.
pub(crate) fn limits(container: &Container) -> Limits {
    let parse = |text: Option<&String>| text.and_then(|t| t.parse::<Quantity>().ok());
    let amount = |v: i64| u64::try_from(v).unwrap_or(0);
    let resources = &container.resources;
    let cpu_limit = parse(resources.limits.get("cpu")).map(|q| amount(q.milli()));
    let cpu_request = parse(resources.requests.get("cpu")).map(|q| amount(q.milli()));
    Limits {
        cpu_request_milli: cpu_request.or(cpu_limit).unwrap_or(0),
        cpu_limit_milli: cpu_limit.filter(|l| *l > 0),
        memory_limit_bytes: parse(resources.limits.get("memory"))
            .map(|q| amount(q.value()))
            .filter(|l| *l > 0),
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
