//! Real containers over the built-in launcher, as root or as a plain user.

use super::session::{Ends, Live, open_logs};
use super::streams::AtEnd;
use super::{
    ContainerSpec, Leash, Limits, Network, NodeSlice, Runtime, RuntimeCounters, RuntimeError,
    SandboxSpec, Started,
};
use crate::images;
use crate::launcher::{
    ExecOrder, Launcher, LauncherConfig, LauncherError, Order, Purpose, Rung, Running, StartOrder,
    Stdio,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use plimsoll_api::node::{Output, Session};
use plimsoll_clock::Clock;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

const NAME: &str = "plimsoll";

/// Containers made by the helper process.
#[derive(Debug)]
pub struct BuiltIn {
    launcher: Arc<Launcher>,
    clock: Clock,
    containers: Mutex<BTreeMap<String, Container>>,
    hostnames: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug, Clone)]
struct Container {
    task: u64,
    live: Live,
    stdin_once: bool,
    pod_uid: String,
}

impl BuiltIn {
    /// Starts the helper (`exe` is this program) on `rung`.
    ///
    /// # Errors
    ///
    /// When the helper cannot be started or set up.
    pub async fn start(
        exe: &Path,
        rung: Rung,
        config: &LauncherConfig,
        clock: Clock,
    ) -> Result<Self, LauncherError> {
        std::fs::create_dir_all(&config.directory).map_err(|error| {
            LauncherError::Spawn(format!("make {}: {error}", config.directory.display()))
        })?;
        let launcher = Arc::new(Launcher::spawn(exe, rung, config).await?);
        let (containers, hostnames) = (Mutex::default(), Mutex::default());
        Ok(Self {
            launcher,
            clock,
            containers,
            hostnames,
        })
    }

    /// The helper.
    pub fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    fn find(&self, container_id: &str) -> Result<Container, RuntimeError> {
        let found = self.containers.lock().get(container_id).cloned();
        found.ok_or_else(|| RuntimeError::NotRunning(container_id.to_owned()))
    }

    async fn order(&self, order: Order) -> Result<Vec<OwnedFd>, RuntimeError> {
        ask(&self.launcher, order).await.map(|(_, fds)| fds)
    }

    fn environment(&self, image: &images::Image, spec: &ContainerSpec) -> Vec<(String, String)> {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut env: Vec<_> = image.env.iter().copied().map(own).collect();
        let home = if spec.security.user == 0 {
            "/root"
        } else {
            "/"
        };
        env.push(own(("HOME", home)));
        if let Some(hostname) = self.hostnames.lock().get(&spec.pod_uid) {
            env.push(own(("HOSTNAME", hostname)));
        }
        if spec.tty {
            env.push(own(("TERM", "xterm")));
        }
        env.extend(spec.env.iter().cloned());
        // Later wins; one entry each, because programs see the first.
        let mut seen = std::collections::BTreeSet::new();
        let mut unique: Vec<_> = env
            .into_iter()
            .rev()
            .filter(|(name, _)| seen.insert(name.clone()))
            .collect();
        unique.reverse();
        unique
    }
}

async fn ask(
    launcher: &Launcher,
    order: Order,
) -> Result<(crate::launcher::Answer, Vec<OwnedFd>), RuntimeError> {
    use crate::launcher::Refusal;
    let (result, fds) = launcher
        .ask(order)
        .await
        .map_err(|error| RuntimeError::Launcher(error.to_string()))?;
    let answer = result.map_err(|refusal| match refusal {
        Refusal::Fault(fault) => RuntimeError::Launcher(fault.what),
        Refusal::NoSuchSandbox(uid) => RuntimeError::Sandbox(format!("no sandbox {uid:?}")),
        Refusal::NotRunning(task) => RuntimeError::NotRunning(task.to_string()),
        Refusal::MemoryInUse { limit, used } => RuntimeError::ResizeDeferred { limit, used },
    })?;
    Ok((answer, fds))
}

impl BuiltIn {
    /// Runs a command in a container.
    async fn run_inside(
        &self,
        container_id: &str,
        process: Running,
        argv: Vec<String>,
        stdio: Stdio,
    ) -> Result<(Live, mpsc::Receiver<Output>), RuntimeError> {
        let Running { task, exit } = process;
        let order = ExecOrder {
            task,
            container: self
                .find(container_id)
                .inspect_err(|_| self.launcher.forget_process(task))?
                .task,
            argv,
            stdio,
        };
        let result = named(self.order(Order::Exec(order)).await, container_id);
        let fds = result.inspect_err(|_| self.launcher.forget_process(task))?;
        let lost = |why: &str| RuntimeError::Launcher(format!("exec in {container_id}: {why}"));
        let ends = Ends::sort(fds).ok_or_else(|| lost("its streams are missing"))?;
        let logs = super::session::Logs::default();
        Live::start(ends, exit, logs).map_err(|error| lost(&error.to_string()))
    }
}

#[async_trait]
impl Runtime for BuiltIn {
    fn name(&self) -> &'static str {
        NAME
    }

    fn describe(&self) -> String {
        let who = match self.launcher.rung() {
            Rung::Root => "as root",
            Rung::Rootless => "as a plain user",
        };
        let greeting = self.launcher.greeting();
        let reach = if greeting.reachable_from_host {
            "pod addresses reachable from this host"
        } else {
            "pod addresses reachable inside the cluster only"
        };
        let mut text = format!(
            "built-in containers {who} (limits: {}; {reach})",
            greeting.limits
        );
        for remark in &greeting.remarks {
            let _infallible = write!(text, "; {remark}");
        }
        text
    }

    async fn breakdown(&self) -> String {
        self.launcher.ended().await;
        LauncherError::Gone.to_string()
    }

    async fn add_node(&self, slice: NodeSlice) -> Result<(), RuntimeError> {
        self.order(Order::AddNode(slice)).await.map(drop)
    }

    async fn remove_node(&self, node: &str) -> Result<(), RuntimeError> {
        self.order(Order::RemoveNode(node.to_owned()))
            .await
            .map(drop)
    }

    async fn prepare_image(&self, image: &str) -> Result<String, RuntimeError> {
        images::find(image).map(images::Image::id)
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<(), RuntimeError> {
        let (uid, hostname) = (spec.uid.clone(), spec.hostname.clone());
        self.order(Order::CreateSandbox(spec))
            .await
            .map_err(|error| reworded(error, RuntimeError::Sandbox))?;
        self.hostnames.lock().insert(uid, hostname);
        Ok(())
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        self.hostnames.lock().remove(pod_uid);
        self.order(Order::RemoveSandbox(pod_uid.to_owned())).await?;
        self.containers
            .lock()
            .retain(|_, container| container.pod_uid != pod_uid);
        Ok(())
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Started, RuntimeError> {
        let image = images::find(&spec.image)?;
        let fail = |why: String| RuntimeError::Start {
            container: spec.name.clone(),
            why,
        };
        let logs = open_logs(&spec.name, &spec.log_path, self.clock)?;
        let Running { task, exit } = self.launcher.expect_process();
        let order = Order::Start(StartOrder {
            task,
            pod_uid: spec.pod_uid.clone(),
            name: spec.name.clone(),
            argv: image.argv(&spec.command, &spec.args),
            env: self.environment(image, &spec),
            working_dir: spec.working_dir.clone().unwrap_or_else(|| "/".to_owned()),
            mounts: spec.mounts.clone(),
            limits: spec.limits,
            security: spec.security.clone(),
            stdio: stdio(spec.tty, spec.stdin),
            target: match &spec.target {
                Some(target) => Some(self.find(target)?.task),
                None => None,
            },
        });
        let fds = self.order(order).await.map_err(|error| {
            self.launcher.forget_process(task);
            reworded(error, fail)
        })?;
        let ends = Ends::sort(fds).ok_or_else(|| fail("its streams are missing".into()))?;
        let (live, _) = Live::start(ends, exit, logs).map_err(|error| fail(error.to_string()))?;
        let container_id = container_id(&spec);
        let started = Started {
            container_id: container_id.clone(),
            image_id: image.id(),
            exit: live.exit.clone(),
        };
        let (stdin_once, pod_uid) = (spec.stdin_once, spec.pod_uid);
        let container = Container {
            task,
            live,
            stdin_once,
            pod_uid,
        };
        self.containers.lock().insert(container_id, container);
        Ok(started)
    }

    async fn signal(&self, container_id: &str, signal: i32) -> Result<(), RuntimeError> {
        let task = self.find(container_id)?.task;
        named(
            self.order(Order::Signal { task, signal }).await.map(drop),
            container_id,
        )
    }

    async fn remove(&self, container_id: &str) -> Result<(), RuntimeError> {
        let Ok(container) = self.find(container_id) else {
            return Ok(());
        };
        self.order(Order::Remove {
            task: container.task,
        })
        .await?;
        self.containers.lock().remove(container_id);
        Ok(())
    }

    async fn exec(
        &self,
        container_id: &str,
        command: Vec<String>,
        tty: bool,
        stdin: bool,
    ) -> Result<Session, RuntimeError> {
        let process = self.launcher.expect_process();
        let (live, output) = self
            .run_inside(container_id, process, command, stdio(tty, stdin))
            .await?;
        Ok(live.session(output, stdin, AtEnd::Close))
    }

    async fn exec_leashed(
        &self,
        container_id: &str,
        command: Vec<String>,
    ) -> Result<(Session, Leash), RuntimeError> {
        let process = self.launcher.expect_process();
        let (launcher, task) = (Arc::clone(&self.launcher), process.task);
        // Before the start: nobody may be left to wait for the answer.
        let leash = Leash::new(move || {
            let signal = libc::SIGKILL;
            tokio::spawn(async move { drop(launcher.ask(Order::Signal { task, signal }).await) });
        });
        let (live, output) = self
            .run_inside(container_id, process, command, Stdio::Output)
            .await?;
        Ok((live.session(output, false, AtEnd::Close), leash))
    }

    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session, RuntimeError> {
        let container = self.find(container_id)?;
        if container.live.exit.borrow().is_some() {
            return Err(RuntimeError::NotRunning(container_id.to_owned()));
        }
        let at_end = AtEnd::of(container.stdin_once);
        Ok(container.live.attach(stdin, at_end))
    }

    async fn counters(&self) -> Result<RuntimeCounters, RuntimeError> {
        let (answer, _) = ask(&self.launcher, Order::Counters).await?;
        let crate::launcher::Answer::Counted { tasks, nodes } = answer else {
            return Err(RuntimeError::Launcher("it did not count".into()));
        };
        let by_task: BTreeMap<_, _> = tasks.into_iter().collect();
        let containers = self.containers.lock();
        let containers = containers
            .iter()
            .filter_map(|(id, one)| by_task.get(&one.task).map(|counted| (id.clone(), *counted)))
            .collect();
        Ok(RuntimeCounters {
            containers,
            nodes: nodes.into_iter().collect(),
        })
    }

    async fn resize(&self, container_id: &str, limits: Limits) -> Result<(), RuntimeError> {
        let task = self.find(container_id)?.task;
        named(
            self.order(Order::Resize { task, limits }).await.map(drop),
            container_id,
        )
    }

    fn network(&self) -> Arc<dyn Network> {
        Arc::new(ClusterSockets {
            launcher: Arc::clone(&self.launcher),
        })
    }

    async fn shutdown(&self) {
        self.launcher.shutdown().await;
    }
}

/// Sockets made inside the cluster's network by the helper; a socket stays where it was made.
#[derive(Debug)]
struct ClusterSockets {
    launcher: Arc<Launcher>,
}

impl ClusterSockets {
    async fn socket(
        &self,
        purpose: Purpose,
        address: SocketAddr,
        pod_uid: Option<&str>,
    ) -> io::Result<OwnedFd> {
        use crate::launcher::Refusal;
        let order = Order::Socket {
            purpose,
            address,
            pod_uid: pod_uid.map(str::to_owned),
        };
        let (result, fds) = self.launcher.ask(order).await.map_err(io::Error::other)?;
        match result {
            Ok(_) => fds
                .into_iter()
                .next()
                .ok_or_else(|| io::Error::other("no socket came")),
            Err(Refusal::Fault(fault)) => Err(fault.errno.map_or_else(
                || io::Error::other(fault.what),
                io::Error::from_raw_os_error,
            )),
            Err(other) => Err(io::Error::other(format!("{other:?}"))),
        }
    }
}

#[async_trait]
impl Network for ClusterSockets {
    async fn listen(&self, address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
        let socket = self.socket(Purpose::Listen, address, None).await?;
        tokio::net::TcpListener::from_std(socket.into())
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
        let socket = self.socket(Purpose::Datagram, address, None).await?;
        tokio::net::UdpSocket::from_std(socket.into())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        let socket = self.socket(Purpose::Connect, address, None).await?;
        finish(socket, address).await
    }

    async fn connect_inside(
        &self,
        pod_uid: &str,
        address: SocketAddr,
    ) -> io::Result<tokio::net::TcpStream> {
        let inside = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
        let socket = self.socket(Purpose::Connect, inside, Some(pod_uid)).await?;
        finish(socket, inside).await
    }

    fn reachable_from_host(&self) -> bool {
        self.launcher.greeting().reachable_from_host
    }
}

/// Connects a socket that was made elsewhere.
async fn finish(socket: OwnedFd, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let socket = tokio::net::TcpSocket::from_std_stream(socket.into());
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn stdio(tty: bool, stdin: bool) -> Stdio {
    match (tty, stdin) {
        (true, _) => Stdio::Terminal,
        (false, true) => Stdio::Pipes,
        (false, false) => Stdio::Output,
    }
}

/// Names the container instead of the helper's number.
fn named<T>(result: Result<T, RuntimeError>, container_id: &str) -> Result<T, RuntimeError> {
    result.map_err(|error| {
        if matches!(error, RuntimeError::NotRunning(_)) {
            RuntimeError::NotRunning(container_id.to_owned())
        } else {
            error
        }
    })
}

/// Says what the launcher's failure means to the caller.
fn reworded(error: RuntimeError, meaning: impl FnOnce(String) -> RuntimeError) -> RuntimeError {
    if let RuntimeError::Launcher(why) = &error {
        meaning(why.clone())
    } else {
        error
    }
}

fn container_id(spec: &ContainerSpec) -> String {
    let text = format!("{}/{}/{}", spec.pod_uid, spec.name, spec.attempt);
    let mut id = format!("{NAME}://");
    for byte in Sha256::digest(text.as_bytes()) {
        let _infallible = write!(id, "{byte:02x}");
    }
    id
}
