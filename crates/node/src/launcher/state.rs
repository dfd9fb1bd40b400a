//! What the helper holds: nodes, sandboxes, processes; and how it carries orders out.

use super::birth::{self, Born};
use super::cgroup::Cgroups;
use super::fault::{Doing, Fault};
use super::governor::{self, Account};
use super::memory;
use super::network::{ClusterNetwork, PodNetwork, open_socket};
use super::program::{self, Joined, Program, Started};
use super::protocol::{Answer, ExecOrder, Order, Purpose, Refusal, StartOrder};
use super::rootfs::{Overlay, Rootfs};
use super::sys::{self, Side};
use crate::runtime::{Counters, Exit, Limits, NodeSlice, SandboxSpec, Security};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What an order gives back.
pub(crate) type Outcome = Result<(Answer, Vec<OwnedFd>), Refusal>;

/// Everything the helper knows.
#[derive(Debug)]
pub(crate) struct State {
    cgroups: Cgroups,
    network: ClusterNetwork,
    scratch: PathBuf,
    overlay: Overlay,
    nodes: BTreeMap<String, NodeSlice>,
    sandboxes: BTreeMap<String, Sandbox>,
    tasks: BTreeMap<u64, Task>,
}

#[derive(Debug)]
struct Sandbox {
    spec: SandboxSpec,
    network: PodNetwork,
    /// First process of the pid namespace that its containers share.
    holder: Option<i32>,
}

/// A process that the main process asked for.
#[derive(Debug)]
struct Task {
    pid: i32,
    ended: bool,
    /// The container it belongs to: itself, or the one it was started in.
    container: u64,
    env: Vec<(String, String)>,
    working_dir: String,
    security: Security,
    pod_uid: String,
    group: PathBuf,
    limits: Limits,
    account: Account,
    /// CPU time of ended exec processes and the last reading, where the kernel keeps no sum.
    highest: Counters,
    watchdog_killed: bool,
}

impl State {
    /// An empty one.
    pub(crate) fn new(
        cgroups: Cgroups,
        network: ClusterNetwork,
        scratch: PathBuf,
        overlay: Overlay,
    ) -> Self {
        Self {
            cgroups,
            network,
            scratch,
            overlay,
            nodes: BTreeMap::new(),
            sandboxes: BTreeMap::new(),
            tasks: BTreeMap::new(),
        }
    }

    /// Does what was asked for.
    pub(crate) fn carry_out(&mut self, order: Order) -> Outcome {
        let done = Ok((Answer::Done, Vec::new()));
        match order {
            Order::AddNode(slice) => {
                self.cgroups.add_node(&slice)?;
                self.nodes.insert(slice.node.clone(), slice);
                done
            }
            Order::RemoveNode(node) => {
                self.cgroups.remove(Path::new(&node));
                self.nodes.remove(&node);
                done
            }
            Order::CreateSandbox(spec) => self.create_sandbox(spec).map(|()| done)?,
            Order::RemoveSandbox(uid) => {
                self.remove_sandbox(&uid);
                done
            }
            Order::Start(order) => self.start(order).map(|born| Ok((Answer::Done, born.fds)))?,
            Order::Exec(order) => self.exec(&order).map(|born| Ok((Answer::Done, born.fds)))?,
            Order::Signal { task, signal } => self.signal(task, signal).map(|()| done)?,
            Order::Remove { task } => {
                self.remove(task);
                done
            }
            Order::Resize { task, limits } => self.resize(task, limits).map(|()| done)?,
            Order::Counters => Ok((self.count(), Vec::new())),
            Order::Socket {
                purpose,
                address,
                pod_uid,
            } => {
                let socket = match pod_uid {
                    Some(uid) => self.open_inside(uid, purpose, address)?,
                    None => open_socket(purpose, address)?,
                };
                Ok((Answer::Done, vec![socket]))
            }
        }
    }

    fn create_sandbox(&mut self, spec: SandboxSpec) -> Result<(), Fault> {
        if self.sandboxes.contains_key(&spec.uid) {
            return Err(Fault::new(format!("sandbox {:?} exists already", spec.uid)));
        }
        let directory = self.pod_directory(&spec.uid);
        fs::create_dir_all(&directory).doing(|| format!("make {}", directory.display()))?;
        for (file, text) in [
            ("resolv.conf", &spec.resolv_conf),
            ("hosts", &spec.hosts),
            ("hostname", &format!("{}\n", spec.hostname)),
        ] {
            fs::write(directory.join(file), text).doing(|| format!("write {file}"))?;
        }
        self.cgroups.add_pod(&pod_group(&spec), spec.limits)?;
        let network = match spec.ip {
            _ if spec.host_network => self.network.node()?,
            IpAddr::V4(address) => self.network.add_pod(address)?,
            IpAddr::V6(address) => {
                return Err(Fault::new(format!(
                    "{address}: only IPv4 pods are supported"
                )));
            }
        };
        let holder = spec.share_processes.then(hold_pids).transpose()?;
        let uid = spec.uid.clone();
        let sandbox = Sandbox {
            spec,
            network,
            holder,
        };
        self.sandboxes.insert(uid, sandbox);
        Ok(())
    }

    fn remove_sandbox(&mut self, uid: &str) {
        let inside: Vec<_> = self
            .tasks
            .iter()
            .filter(|(number, task)| task.pod_uid == uid && task.container == **number)
            .map(|(number, _)| *number)
            .collect();
        for number in inside {
            self.remove(number);
        }
        if let Some(sandbox) = self.sandboxes.remove(uid) {
            if let Some(holder) = sandbox.holder {
                let _gone = kill(Pid::from_raw(holder), Signal::SIGKILL);
            }
            let _gone = ClusterNetwork::remove_pod(&sandbox.network);
            self.cgroups.remove(&pod_group(&sandbox.spec));
        }
        memory::remove(&self.pod_directory(uid));
        let _gone = fs::remove_dir_all(self.pod_directory(uid));
    }

    fn open_inside(
        &self,
        uid: String,
        purpose: Purpose,
        address: SocketAddr,
    ) -> Result<OwnedFd, Refusal> {
        let sandbox = self.sandboxes.get(&uid);
        let sandbox = sandbox.ok_or(Refusal::NoSuchSandbox(uid))?;
        let netns = &sandbox.network.netns;
        let work = || open_socket(purpose, address);
        Ok(self.network.in_namespace(netns, work)?)
    }

    fn pod_directory(&self, uid: &str) -> PathBuf {
        self.scratch.join("pods").join(uid)
    }

    fn start(&mut self, mut order: StartOrder) -> Result<Born, Refusal> {
        let directory = self.pod_directory(&order.pod_uid);
        let sandbox = self
            .sandboxes
            .get(&order.pod_uid)
            .ok_or_else(|| Refusal::NoSuchSandbox(order.pod_uid.clone()))?;
        memory::provide(&directory, &mut order.mounts)?;
        let pod = pod_group(&sandbox.spec);
        let group = pod.join(order.task.to_string());
        self.cgroups.add_container(&group, order.limits)?;
        let rootfs = self.rootfs_of(&order, &sandbox.spec);
        let started = Started {
            doors: self.cgroups.doors(&group),
            netns: &sandbox.network.netns,
            rootfs: &rootfs,
            program: Program {
                argv: &order.argv,
                env: &order.env,
                working_dir: &order.working_dir,
                security: &order.security,
            },
        };
        let born = self.bear(&order, &started);
        let born = match born {
            Ok(born) => born,
            Err(fault) => {
                self.cgroups.remove(&group);
                let _gone = fs::remove_dir_all(self.scratch.join(&rootfs.own));
                return Err(fault.into());
            }
        };
        let task = Task {
            pid: born.pid,
            ended: false,
            container: order.task,
            env: order.env,
            working_dir: order.working_dir,
            security: order.security,
            pod_uid: order.pod_uid,
            group,
            limits: order.limits,
            account: Account::default(),
            highest: Counters::default(),
            watchdog_killed: false,
        };
        let pod_uid = task.pod_uid.clone();
        self.tasks.insert(order.task, task);
        self.weigh(&pod_uid, &pod);
        Ok(born)
    }

    fn rootfs_of(&self, order: &StartOrder, pod: &SandboxSpec) -> Rootfs {
        Rootfs {
            scratch: self.scratch.clone(),
            image: "image".into(),
            own: PathBuf::from("containers").join(order.task.to_string()),
            pod: PathBuf::from("pods").join(&order.pod_uid),
            program: "program".into(),
            hostname: if pod.host_network {
                String::new()
            } else {
                pod.hostname.clone()
            },
            overlay: self.overlay,
            mounts: order.mounts.clone(),
            privileged: order.security.privileged,
            read_only: order.security.read_only_root,
        }
    }

    /// Starts the first process of a container, in new namespaces, or beside another container's.
    fn bear(&self, order: &StartOrder, started: &Started<'_>) -> Result<Born, Fault> {
        let flags = libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        let target = order.target.and_then(|target| self.tasks.get(&target));
        let target = target
            .filter(|target| !target.ended)
            .map(|target| target.pid);
        let sandbox = self.sandboxes.get(&order.pod_uid);
        let shared = sandbox.and_then(|sandbox| sandbox.holder);
        if let Some(pid) = shared.or(target) {
            let pids = program::pids_of(pid)?;
            birth::give_birth(0, order.stdio, |line| {
                program::first_beside(line, started, &pids, flags)
            })
        } else {
            let flags = flags | libc::CLONE_NEWPID;
            birth::give_birth(flags, order.stdio, |line| program::first(line, started))
        }
    }

    /// Gives a pod the weight of its containers' requests.
    fn weigh(&self, pod_uid: &str, pod: &Path) {
        let whole = self
            .sandboxes
            .get(pod_uid)
            .map(|sandbox| sandbox.spec.limits);
        let whole = whole.unwrap_or_default();
        let requests = self
            .tasks
            .iter()
            .filter(|(number, task)| {
                task.pod_uid == pod_uid && !task.ended && task.container == **number
            })
            .map(|(_, task)| task.limits.cpu_request_milli)
            .sum();
        let cpu_request_milli = match whole.cpu_request_milli {
            0 => requests,
            own => own,
        };
        let limits = Limits {
            cpu_request_milli,
            ..whole
        };
        // Only a matter of fairness; a pod that is being removed meanwhile needs none.
        let _gone = self.cgroups.limit(pod, limits);
    }

    fn exec(&mut self, order: &ExecOrder) -> Result<Born, Refusal> {
        let container = self
            .tasks
            .get(&order.container)
            .filter(|task| !task.ended)
            .ok_or(Refusal::NotRunning(order.container))?;
        let joined = Joined {
            doors: self.cgroups.doors(&container.group),
            namespaces: program::namespaces_of(container.pid)?,
            program: Program {
                argv: &order.argv,
                env: &container.env,
                working_dir: &container.working_dir,
                security: &container.security,
            },
        };
        let born = birth::give_birth(0, order.stdio, |line| program::another(line, &joined))?;
        let task = Task {
            pid: born.pid,
            ended: false,
            container: order.container,
            env: Vec::new(),
            working_dir: String::new(),
            security: Security::default(),
            pod_uid: container.pod_uid.clone(),
            group: container.group.clone(),
            limits: container.limits,
            account: Account::default(),
            highest: Counters::default(),
            watchdog_killed: false,
        };
        self.tasks.insert(order.task, task);
        Ok(born)
    }

    fn signal(&self, number: u64, signal: i32) -> Result<(), Refusal> {
        let task = self
            .tasks
            .get(&number)
            .filter(|task| !task.ended)
            .ok_or(Refusal::NotRunning(number))?;
        let signal = Signal::try_from(signal).doing(|| format!("signal {signal}"))?;
        // The first process of a pid namespace takes all others with it; a command in a container
        // leads a session of its own.
        let whom = if task.container == number {
            task.pid
        } else {
            -task.pid
        };
        kill(Pid::from_raw(whom), signal).doing(|| format!("send {signal}"))?;
        if task.account.stopped() && signal != Signal::SIGSTOP {
            let _gone = kill(Pid::from_raw(task.pid), Signal::SIGCONT);
        }
        Ok(())
    }

    fn remove(&mut self, number: u64) {
        let Some(task) = self.tasks.get(&number) else {
            return;
        };
        if !task.ended {
            let _gone = kill(Pid::from_raw(task.pid), Signal::SIGKILL);
        }
        if task.container == number {
            self.cgroups.remove(&task.group);
            let own = self.scratch.join("containers").join(number.to_string());
            let _gone = fs::remove_dir_all(own);
        }
        if task.ended {
            self.tasks.remove(&number);
        }
    }

    fn resize(&mut self, number: u64, limits: Limits) -> Result<(), Refusal> {
        let used = self
            .counters_of(number)
            .map(|counters| counters.memory_bytes);
        let cgroups = self.cgroups.clone();
        let task = self
            .tasks
            .get_mut(&number)
            .filter(|task| !task.ended)
            .ok_or(Refusal::NotRunning(number))?;
        // The kernel would refuse (version 1) or kill at once (version 2).
        let too_low = limits
            .memory_limit_bytes
            .zip(used)
            .filter(|(limit, used)| limit < used);
        let possible = Limits {
            memory_limit_bytes: match too_low {
                Some(_) => task.limits.memory_limit_bytes,
                None => limits.memory_limit_bytes,
            },
            ..limits
        };
        cgroups.limit(&task.group, possible)?;
        task.limits = possible;
        let (uid, group) = (task.pod_uid.clone(), task.group.clone());
        if let Some(pod) = group.parent() {
            self.weigh(&uid, pod);
        }
        match too_low {
            Some((limit, used)) => Err(Refusal::MemoryInUse { limit, used }),
            None => Ok(()),
        }
    }

    fn count(&mut self) -> Answer {
        let running: Vec<_> = self
            .tasks
            .iter()
            .filter(|(number, task)| !task.ended && task.container == **number)
            .map(|(number, _)| *number)
            .collect();
        let mut nodes: BTreeMap<String, Counters> = BTreeMap::new();
        let mut tasks = Vec::new();
        for number in running {
            let Some(counters) = self.counters_of(number) else {
                continue;
            };
            let node = self
                .tasks
                .get(&number)
                .and_then(|task| self.sandboxes.get(&task.pod_uid));
            if let Some(sandbox) = node {
                let sum = nodes.entry(sandbox.spec.node.clone()).or_default();
                sum.cpu_nanos += counters.cpu_nanos;
                sum.memory_bytes += counters.memory_bytes;
            }
            tasks.push((number, counters));
        }
        let nodes = self
            .nodes
            .keys()
            .map(|node| {
                let summed = nodes.get(node).copied().unwrap_or_default();
                (
                    node.clone(),
                    self.cgroups.counters(Path::new(node)).unwrap_or(summed),
                )
            })
            .collect();
        Answer::Counted { tasks, nodes }
    }

    fn counters_of(&mut self, number: u64) -> Option<Counters> {
        if !self.governs() {
            return self.cgroups.counters(&self.tasks.get(&number)?.group);
        }
        let pids = self.family_of(number);
        let now = Counters {
            cpu_nanos: governor::cpu_nanos(&pids),
            memory_bytes: governor::memory_bytes(&pids),
        };
        let task = self.tasks.get_mut(&number)?;
        // A process that has just been reaped shows up in ticks only: never count backwards.
        let cpu_nanos = now.cpu_nanos.max(task.highest.cpu_nanos);
        task.highest = Counters { cpu_nanos, ..now };
        Some(task.highest)
    }

    fn family_of(&self, number: u64) -> Vec<i32> {
        let roots: Vec<_> = self
            .tasks
            .values()
            .filter(|task| task.container == number && !task.ended)
            .map(|task| task.pid)
            .collect();
        governor::family(&roots)
    }

    /// Whether limits are enforced here and not by the kernel.
    pub(crate) fn governs(&self) -> bool {
        self.cgroups == Cgroups::Absent
    }

    /// One window of the governor and of the memory watchdog.
    pub(crate) fn govern(&mut self, elapsed: Duration) {
        let limited: Vec<_> = self
            .tasks
            .iter()
            .filter(|(number, task)| !task.ended && task.container == **number)
            .filter(|(_, task)| {
                let limits = task.limits;
                limits.cpu_limit_milli.is_some() || limits.memory_limit_bytes.is_some()
            })
            .map(|(number, _)| *number)
            .collect();
        for number in limited {
            let pids = self.family_of(number);
            let Some(used) = self.counters_of(number) else {
                continue;
            };
            let Some(task) = self.tasks.get_mut(&number) else {
                continue;
            };
            if task
                .limits
                .memory_limit_bytes
                .is_some_and(|limit| used.memory_bytes > limit)
            {
                task.watchdog_killed = true;
                let _gone = kill(Pid::from_raw(task.pid), Signal::SIGKILL);
            } else if let Some(limit) = task.limits.cpu_limit_milli {
                let verdict = task.account.settle(used.cpu_nanos, limit, elapsed);
                task.account.carry_out(verdict, &pids);
            }
        }
    }

    /// Collects every ended process; those of orphans are dropped.
    pub(crate) fn reap(&mut self) -> Vec<(u64, Exit)> {
        let mut ended = Vec::new();
        loop {
            let (pid, code, signal) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code, None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, 128 + signal as i32, Some(signal as i32))
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return ended,
                Ok(_) => continue,
            };
            let found = self
                .tasks
                .iter_mut()
                .find(|(_, task)| task.pid == pid.as_raw() && !task.ended);
            let Some((number, task)) = found else {
                continue;
            };
            task.ended = true;
            let number = *number;
            let is_container = task.container == number;
            let killed = task.watchdog_killed
                || (is_container && code != 0 && self.cgroups.oom_kills(&task.group) > 0);
            if !is_container {
                self.tasks.remove(&number);
            }
            ended.push((
                number,
                Exit {
                    code,
                    signal,
                    oom_killed: killed,
                },
            ));
        }
    }

    /// Kills everything and removes the groups.
    pub(crate) fn clear(&mut self) {
        let pods: Vec<_> = self.sandboxes.keys().cloned().collect();
        for uid in pods {
            self.remove_sandbox(&uid);
        }
        ClusterNetwork::unlink_host();
        self.cgroups.remove_all();
    }
}

/// Starts the process whose pid namespace a pod's containers share.
fn hold_pids() -> Result<i32, Fault> {
    match sys::fork(libc::CLONE_NEWPID).doing(|| "hold a pid namespace".into())? {
        Side::Child => sys::hold_forever(),
        Side::Parent(pid) => Ok(pid.as_raw()),
    }
}

fn pod_group(spec: &SandboxSpec) -> PathBuf {
    Path::new(&spec.node).join(format!("pod{}", spec.uid))
}
