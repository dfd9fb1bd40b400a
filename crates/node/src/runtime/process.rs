//! The last resort: built-in images as plain processes of this user, without isolation.
//!
//! A pod gets a loopback address of its own, `127.A.B.C` for `10.A.B.C`, and is told to listen
//! there. Ports below 1024, which a plain user may not have, are moved up by 8000. CPU limits are
//! enforced by stopping and continuing.

use super::session::{Ends, Live, Logs, open_logs};
use super::streams::AtEnd;
use super::{
    ContainerSpec, Counters, Exit, Limits, Network, NodeSlice, Runtime, RuntimeCounters,
    RuntimeError, SandboxSpec, Started,
};
use crate::launcher::governor::{self, Account};
use crate::{applet, images};
use async_trait::async_trait;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use plimsoll_api::node::Session;
use plimsoll_clock::Clock;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::process::{Child, Command};
use tokio::sync::watch;
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
        let governor = tokio::spawn(govern(Arc::clone(&state)));
        Ok(Self {
            bin,
            clock,
            state,
            governor,
        })
    }

    fn find(&self, container_id: &str) -> Result<Container, RuntimeError> {
        let found = self.state.lock().containers.get(container_id).cloned();
        found.ok_or_else(|| RuntimeError::NotRunning(container_id.to_owned()))
    }

    fn command(&self, argv: &[String], env: &[(String, String)]) -> Result<Command, String> {
        let (name, arguments) = argv.split_first().ok_or("no command specified")?;
        let base = name.rsplit('/').next().unwrap_or_default();
        let own = self.bin.join(base);
        let in_image = name == base || name == &format!("/bin/{base}");
        let program = if in_image && own.exists() {
            own
        } else {
            PathBuf::from(name)
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()))
            .process_group(0)
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
}

/// Starts a command and connects its streams.
fn launch(
    mut command: Command,
    stdin: bool,
    logs: Logs,
    watchdog: &Arc<std::sync::atomic::AtomicBool>,
) -> io::Result<(
    i32,
    Live,
    tokio::sync::mpsc::Receiver<plimsoll_api::node::Output>,
)> {
    if stdin {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn()?;
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .unwrap_or_default();
    let ends = take_ends(&mut child)?;
    let (sender, ended) = watch::channel(None);
    let watchdog = Arc::clone(watchdog);
    tokio::spawn(async move {
        let status = child.wait().await.unwrap_or_default();
        let signal = status.signal();
        let code = status
            .code()
            .or(signal.map(|signal| 128 + signal))
            .unwrap_or(255);
        let oom_killed = watchdog.load(std::sync::atomic::Ordering::Relaxed);
        sender.send_replace(Some(Exit {
            code,
            signal,
            oom_killed,
        }));
    });
    let (live, first) = Live::start(ends, ended, logs)?;
    Ok((pid, live, first))
}

fn take_ends(child: &mut Child) -> io::Result<Ends> {
    let missing = || io::Error::other("a stream is missing");
    let stdin: Option<OwnedFd> = child
        .stdin
        .take()
        .map(tokio::process::ChildStdin::into_owned_fd)
        .transpose()?;
    let stdout = child.stdout.take().ok_or_else(missing)?.into_owned_fd()?;
    let stderr = child.stderr.take().ok_or_else(missing)?.into_owned_fd()?;
    Ok(Ends::Pipes {
        stdin,
        stdout,
        stderr,
    })
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
            if container.live.exit.borrow().is_some() {
                continue;
            }
            let pids = governor::family(&[container.pid]);
            let used = governor::cpu_nanos(&pids).max(container.highest_nanos);
            container.highest_nanos = used;
            let memory = container.limits.memory_limit_bytes;
            if memory.is_some_and(|limit| governor::memory_bytes(&pids) > limit) {
                container
                    .watchdog_killed
                    .store(true, std::sync::atomic::Ordering::Relaxed);
                end(container);
            } else if let Some(limit) = container.limits.cpu_limit_milli {
                let verdict = container.account.settle(used, limit, elapsed);
                container.account.carry_out(verdict, &pids);
            }
        }
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
        if spec.tty {
            let what = format!("give container {:?} a terminal", spec.name);
            return Err(RuntimeError::Unsupported {
                runtime: NAME,
                what,
            });
        }
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
        if let Some(port) = image.port {
            let named = env.iter().any(|(name, _)| name == "PORT");
            if !named {
                env.push(("PORT".into(), shifted(port).to_string()));
            }
        }
        let logs = open_logs(&spec.name, &spec.log_path, self.clock)?;
        let mut command = self
            .command(&image.argv(&spec.command, &spec.args), &env)
            .map_err(fail)?;
        if let Some(directory) = &spec.working_dir {
            command.current_dir(directory);
        }
        let watchdog_killed = Arc::default();
        let (pid, live, _) = launch(command, spec.stdin, logs, &watchdog_killed)
            .map_err(|error| fail(error.to_string()))?;
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
        let container = self.find(container_id)?;
        if tty {
            let what = "give a command a terminal".into();
            return Err(RuntimeError::Unsupported {
                runtime: NAME,
                what,
            });
        }
        let fail = |why: String| RuntimeError::Launcher(format!("exec in {container_id}: {why}"));
        let command = self.command(&command, &container.env).map_err(fail)?;
        let (_, live, output) = launch(command, stdin, Logs::default(), &Arc::default())
            .map_err(|error| fail(error.to_string()))?;
        Ok(live.session(output, stdin, AtEnd::Close))
    }

    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session, RuntimeError> {
        let container = self.find(container_id)?;
        let at_end = if container.stdin_once {
            AtEnd::Close
        } else {
            AtEnd::Keep
        };
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
        if let Some(limit) = limits.memory_limit_bytes.filter(|limit| *limit < used) {
            return Err(RuntimeError::ResizeDeferred { limit, used });
        }
        if let Some(container) = self.state.lock().containers.get_mut(container_id) {
            container.limits = limits;
        }
        Ok(())
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

fn local(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(loopback(address.ip()).into(), shifted(address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_addresses_have_loopback_stand_ins() {
        let vip: SocketAddr = "10.96.0.10:53".parse().unwrap();
        assert_eq!(local(vip).to_string(), "127.96.0.10:8053");
        let pod: SocketAddr = "10.244.1.7:8080".parse().unwrap();
        assert_eq!(local(pod).to_string(), "127.244.1.7:8080");
    }
}
