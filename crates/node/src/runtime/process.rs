//! The last resort: built-in images as plain processes of this user, without isolation.
//!
//! A pod gets a loopback address of its own, `127.A.B.C` for `10.A.B.C`, and is told to listen
//! there. Ports below 1024, which a plain user may not have, are moved up by 8000. CPU limits are
//! enforced by stopping and continuing. The built-in tools resolve the cluster's names and know
//! the stand-ins; this machine's own programs do not. Volumes are not mounted.

use super::guard::Guard;
use super::plain::{Streams, launch, stdio};
use super::session::{Live, Logs, open_logs};
use super::streams::AtEnd;
use super::{
    ContainerSpec, Counters, Leash, Limits, Network, NodeSlice, Runtime, RuntimeCounters,
    RuntimeError, SandboxSpec, Started,
};
use crate::launcher::governor::{self, Account};
use crate::{applet, images};
use async_trait::async_trait;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use plimsoll_api::node::{Output, Session};
use plimsoll_clock::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const NAME: &str = "process";
/// Added to ports below 1024.
const PORT_SHIFT: u16 = 8000;

/// Plain processes.
#[derive(Debug)]
pub struct Processes {
    bin: PathBuf,
    clock: Clock,
    state: Arc<Mutex<State>>,
    governor: JoinHandle<()>,
    guard: Guard,
}

#[derive(Debug, Default)]
struct State {
    nodes: Vec<String>,
    sandboxes: BTreeMap<String, SandboxSpec>,
    containers: BTreeMap<String, Container>,
}

#[derive(Debug, Clone)]
struct Container {
    pid: i32,
    pod_uid: String,
    node: String,
    limits: Limits,
    env: Vec<(String, String)>,
    live: Live,
    stdin_once: bool,
    account: Account,
    highest_nanos: u64,
    watchdog_killed: Arc<std::sync::atomic::AtomicBool>,
    /// Process groups of commands that run beside it.
    others: Arc<Mutex<BTreeSet<i32>>>,
}

impl Processes {
    /// Gets ready; `exe` is this program, `directory` takes links to it under its applets' names.
    ///
    /// # Errors
    ///
    /// When the links cannot be made.
    pub fn start(exe: &Path, directory: &Path, clock: Clock) -> Result<Self, RuntimeError> {
        let bin = directory.join("bin");
        let fail = |error: io::Error| RuntimeError::Launcher(format!("{}: {error}", bin.display()));
        let program = std::fs::canonicalize(exe).map_err(fail)?;
        std::fs::create_dir_all(&bin).map_err(fail)?;
        for name in applet::names() {
            let link = bin.join(name);
            let _absent = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&program, &link).map_err(fail)?;
        }
        let state = Arc::new(Mutex::new(State::default()));
        let guard = Guard::start(&bin).map_err(fail)?;
        let governor = tokio::spawn(govern(Arc::clone(&state)));
        Ok(Self {
            bin,
            clock,
            state,
            governor,
            guard,
        })
    }

    fn find(&self, container_id: &str) -> Result<Container, RuntimeError> {
        let found = self.state.lock().containers.get(container_id).cloned();
        found.ok_or_else(|| RuntimeError::NotRunning(container_id.to_owned()))
    }

    fn command(
        &self,
        argv: &[String],
        env: &[(String, String)],
        tty: bool,
    ) -> Result<Command, String> {
        let (name, arguments) = argv.split_first().ok_or("no command specified")?;
        let base = name.rsplit('/').next().unwrap_or_default();
        let own = self.bin.join(base);
        let in_image = name == base || name == &format!("/bin/{base}");
        let program = if in_image && own.exists() {
            own
        } else {
            PathBuf::from(name)
        };
        let mut command = if tty {
            // It makes a session of its own, which a leader of a process group cannot.
            let mut command = Command::new(self.bin.join(applet::SESSION));
            command.arg(program);
            command
        } else {
            let mut command = Command::new(program);
            command.process_group(0);
            command
        };
        command
            .args(arguments)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()))
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.governor.abort();
        for container in self.state.lock().containers.values() {
            end(container);
        }
    }
}

fn end(container: &Container) {
    if container.live.exit.borrow().is_none() {
        for pid in governor::family(&[container.pid]) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _gone = killpg(Pid::from_raw(container.pid), Signal::SIGKILL);
    }
    for group in container.others.lock().iter() {
        let _gone = killpg(Pid::from_raw(*group), Signal::SIGKILL);
    }
}

/// What the applets need to know to resolve the cluster's names.
fn resolver(resolv_conf: &str) -> Vec<(String, String)> {
    let field = |name: &str| {
        resolv_conf
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let server = field("nameserver").and_then(|text| text.trim().parse::<IpAddr>().ok());
    let Some(server) = server.map(|ip| stand_in(SocketAddr::new(ip, 53))) else {
        return Vec::new();
    };
    let search = field("search").unwrap_or_default();
    vec![
        (applet::names::SERVER.into(), server.to_string()),
        (applet::names::SEARCH.into(), search.to_owned()),
    ]
}

/// One window after the other: charges CPU time, stops and continues, watches memory.
async fn govern(state: Arc<Mutex<State>>) {
    let mut windows = tokio::time::interval(governor::WINDOW);
    windows.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = windows.tick().await;
    loop {
        let now = windows.tick().await;
        let elapsed = now.duration_since(last);
        last = now;
        for container in state.lock().containers.values_mut() {
            let Limits {
                cpu_limit_milli,
                memory_limit_bytes,
                ..
            } = container.limits;
            let unlimited = cpu_limit_milli.is_none() && memory_limit_bytes.is_none();
            if unlimited || container.live.exit.borrow().is_some() {
                continue;
            }
            let pids = governor::family(&[container.pid]);
            let used = governor::cpu_nanos(&pids).max(container.highest_nanos);
            container.highest_nanos = used;
            if memory_limit_bytes.is_some_and(|limit| governor::memory_bytes(&pids) > limit) {
                container
                    .watchdog_killed
                    .store(true, std::sync::atomic::Ordering::Relaxed);
                end(container);
            } else if let Some(limit) = cpu_limit_milli {
                let verdict = container.account.settle(used, limit, elapsed);
                container.account.carry_out(verdict, &pids);
            }
        }
    }
}

impl Processes {
    /// Runs a command in the environment of a container.
    fn run_inside(
        &self,
        container_id: &str,
        command: &[String],
        tty: bool,
        streams: Streams,
    ) -> Result<(i32, Live, mpsc::Receiver<Output>), RuntimeError> {
        let container = self.find(container_id)?;
        let fail = |why: String| RuntimeError::Launcher(format!("exec in {container_id}: {why}"));
        let command = self.command(command, &container.env, tty).map_err(fail)?;
        let (pid, live, output) = launch(command, streams, Logs::default(), &Arc::default())
            .map_err(|error| fail(error.to_string()))?;
        self.guard.add(pid, live.exit.clone());
        container.others.lock().insert(pid);
        let (others, mut exit) = (container.others, live.exit.clone());
        tokio::spawn(async move {
            let _lost = exit.wait_for(Option::is_some).await.is_err();
            others.lock().remove(&pid);
        });
        Ok((pid, live, output))
    }
}

#[async_trait]
impl Runtime for Processes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn describe(&self) -> String {
        "plain processes without isolation (limits: software governor; pods at 127.A.B.C; \
         built-in images only)"
            .into()
    }

    fn mounts_volumes(&self) -> bool {
        false
    }

    async fn add_node(&self, slice: NodeSlice) -> Result<(), RuntimeError> {
        self.state.lock().nodes.push(slice.node);
        Ok(())
    }

    async fn remove_node(&self, node: &str) -> Result<(), RuntimeError> {
        self.state.lock().nodes.retain(|one| one != node);
        Ok(())
    }

    async fn prepare_image(&self, image: &str) -> Result<String, RuntimeError> {
        images::find(image).map(images::Image::id)
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<(), RuntimeError> {
        self.state.lock().sandboxes.insert(spec.uid.clone(), spec);
        Ok(())
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        let mut state = self.state.lock();
        state.sandboxes.remove(pod_uid);
        state.containers.retain(|_, container| {
            let keep = container.pod_uid != pod_uid;
            if !keep {
                end(container);
            }
            keep
        });
        Ok(())
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Started, RuntimeError> {
        let image = images::find(&spec.image)?;
        let sandbox = self.state.lock().sandboxes.get(&spec.pod_uid).cloned();
        let sandbox = sandbox
            .ok_or_else(|| RuntimeError::Sandbox(format!("no sandbox {:?}", spec.pod_uid)))?;
        let fail = |why: String| RuntimeError::Start {
            container: spec.name.clone(),
            why,
        };
        let mut env = spec.env.clone();
        env.push(("HOSTNAME".into(), sandbox.hostname.clone()));
        env.push(("PLIMSOLL_LISTEN".into(), loopback(sandbox.ip).to_string()));
        env.extend(resolver(&sandbox.resolv_conf));
        if spec.tty {
            env.push(("TERM".into(), "xterm".into()));
        }
        if let Some(port) = image.port {
            let named = env.iter().any(|(name, _)| name == "PORT");
            if !named {
                env.push(("PORT".into(), shifted(port).to_string()));
            }
        }
        let logs = open_logs(&spec.name, &spec.log_path, self.clock)?;
        let mut command = self
            .command(&image.argv(&spec.command, &spec.args), &env, spec.tty)
            .map_err(fail)?;
        if let Some(directory) = &spec.working_dir {
            command.current_dir(directory);
        }
        let watchdog_killed = Arc::default();
        let (pid, live, _) = launch(command, stdio(spec.tty, spec.stdin), logs, &watchdog_killed)
            .map_err(|error| fail(error.to_string()))?;
        self.guard.add(pid, live.exit.clone());
        let container_id = format!("{NAME}://{}-{}-{}", spec.pod_uid, spec.name, spec.attempt);
        let started = Started {
            container_id: container_id.clone(),
            image_id: image.id(),
            exit: live.exit.clone(),
        };
        let container = Container {
            pid,
            pod_uid: spec.pod_uid,
            node: sandbox.node,
            limits: spec.limits,
            env,
            live,
            stdin_once: spec.stdin_once,
            account: Account::default(),
            highest_nanos: 0,
            watchdog_killed,
            others: Arc::default(),
        };
        self.state.lock().containers.insert(container_id, container);
        Ok(started)
    }

    async fn signal(&self, container_id: &str, signal: i32) -> Result<(), RuntimeError> {
        let container = self.find(container_id)?;
        if container.live.exit.borrow().is_some() {
            return Err(RuntimeError::NotRunning(container_id.to_owned()));
        }
        if signal == Signal::SIGKILL as i32 {
            end(&container);
            return Ok(());
        }
        let bad = |errno: nix::errno::Errno| {
            RuntimeError::Launcher(format!("send signal {signal}: {errno}"))
        };
        let signal = Signal::try_from(signal).map_err(bad)?;
        kill(Pid::from_raw(container.pid), signal).map_err(bad)?;
        let _continued = kill(Pid::from_raw(container.pid), Signal::SIGCONT);
        Ok(())
    }

    async fn remove(&self, container_id: &str) -> Result<(), RuntimeError> {
        if let Some(container) = self.state.lock().containers.remove(container_id) {
            end(&container);
        }
        Ok(())
    }

    async fn exec(
        &self,
        container_id: &str,
        command: Vec<String>,
        tty: bool,
        stdin: bool,
    ) -> Result<Session, RuntimeError> {
        let streams = stdio(tty, stdin);
        let (_, live, output) = self.run_inside(container_id, &command, tty, streams)?;
        Ok(live.session(output, stdin, AtEnd::Close))
    }

    async fn exec_leashed(
        &self,
        container_id: &str,
        command: Vec<String>,
    ) -> Result<(Session, Leash), RuntimeError> {
        let streams = stdio(false, false);
        let (pid, live, output) = self.run_inside(container_id, &command, false, streams)?;
        let exit = live.exit.clone();
        let leash = Leash::new(move || {
            if exit.borrow().is_none() {
                let _gone = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
        });
        Ok((live.session(output, false, AtEnd::Close), leash))
    }

    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session, RuntimeError> {
        let container = self.find(container_id)?;
        let at_end = AtEnd::of(container.stdin_once);
        Ok(container.live.attach(stdin, at_end))
    }

    async fn counters(&self) -> Result<RuntimeCounters, RuntimeError> {
        let mut counted = RuntimeCounters::default();
        let mut state = self.state.lock();
        for node in state.nodes.clone() {
            counted.nodes.insert(node, Counters::default());
        }
        for (id, container) in &mut state.containers {
            if container.live.exit.borrow().is_some() {
                continue;
            }
            let pids = governor::family(&[container.pid]);
            let cpu_nanos = governor::cpu_nanos(&pids).max(container.highest_nanos);
            container.highest_nanos = cpu_nanos;
            let one = Counters {
                cpu_nanos,
                memory_bytes: governor::memory_bytes(&pids),
            };
            counted.containers.insert(id.clone(), one);
            let node = counted.nodes.entry(container.node.clone()).or_default();
            node.cpu_nanos += one.cpu_nanos;
            node.memory_bytes += one.memory_bytes;
        }
        Ok(counted)
    }

    async fn resize(&self, container_id: &str, limits: Limits) -> Result<(), RuntimeError> {
        let pid = self.find(container_id)?.pid;
        let used = governor::memory_bytes(&governor::family(&[pid]));
        let too_low = limits.memory_limit_bytes.filter(|limit| *limit < used);
        if let Some(container) = self.state.lock().containers.get_mut(container_id) {
            let memory_limit_bytes = match too_low {
                Some(_) => container.limits.memory_limit_bytes,
                None => limits.memory_limit_bytes,
            };
            container.limits = Limits {
                memory_limit_bytes,
                ..limits
            };
        }
        match too_low {
            Some(limit) => Err(RuntimeError::ResizeDeferred { limit, used }),
            None => Ok(()),
        }
    }

    fn network(&self) -> Arc<dyn Network> {
        Arc::new(Loopback)
    }

    async fn shutdown(&self) {
        self.governor.abort();
        for container in std::mem::take(&mut self.state.lock().containers).values() {
            end(container);
        }
    }
}

/// The pods' network when there is none: loopback addresses.
#[derive(Debug)]
struct Loopback;

#[async_trait]
impl Network for Loopback {
    async fn listen(&self, address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::bind(local(address)).await
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
        tokio::net::UdpSocket::bind(local(address)).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        tokio::net::TcpStream::connect(local(address)).await
    }

    fn reachable_from_host(&self) -> bool {
        false
    }
}

/// The loopback address that stands in for a pod's or Service's.
fn loopback(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => {
            let [_, b, c, d] = address.octets();
            Ipv4Addr::new(127, b, c, d)
        }
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
    }
}

fn shifted(port: u16) -> u16 {
    if (1..1024).contains(&port) {
        port + PORT_SHIFT
    } else {
        port
    }
}

/// Where to really connect for an address: cluster addresses have stand-ins, others are real.
pub(crate) fn stand_in(address: SocketAddr) -> SocketAddr {
    let of_cluster = match address.ip() {
        // Services are in 10.96.0.0/12, pods from 10.244.0.0/16 on.
        IpAddr::V4(ip) => matches!(ip.octets(), [10, 96..=111 | 244.., _, _]),
        IpAddr::V6(_) => false,
    };
    if of_cluster { local(address) } else { address }
}

fn local(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(loopback(address.ip()).into(), shifted(address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cluster_addresses_have_stand_ins_and_the_resolver_is_told() {
        let own = |text: &str| stand_in(text.parse().unwrap()).to_string();
        assert_eq!(own("10.98.1.2:80"), "127.98.1.2:8080");
        assert_eq!(own("10.0.0.5:80"), "10.0.0.5:80");
        assert_eq!(own("1.2.3.4:443"), "1.2.3.4:443");
        let told = resolver("nameserver 10.96.0.10\nsearch a.svc b\noptions ndots:5\n");
        let values: Vec<_> = told.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["127.96.0.10:8053", "a.svc b"]);
        assert!(resolver("").is_empty());
    }

    #[test]
    fn cluster_addresses_have_loopback_stand_ins() {
        let vip: SocketAddr = "10.96.0.10:53".parse().unwrap();
        assert_eq!(local(vip).to_string(), "127.96.0.10:8053");
        let pod: SocketAddr = "10.244.1.7:8080".parse().unwrap();
        assert_eq!(local(pod).to_string(), "127.244.1.7:8080");
    }
}
