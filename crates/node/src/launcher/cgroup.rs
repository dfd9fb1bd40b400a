//! Control groups, both versions: one parent per cluster, then node, pod, container.

use super::fault::{Doing, Fault};
use super::protocol::Rung;
use crate::runtime::{Counters, Limits, NodeSlice};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// First part of the names of our top directories; the rest is the owner's pid and the time it
/// started, because pids come back.
const PREFIX: &str = "plimsoll-";
/// Tries, two milliseconds apart, to remove a group whose last processes are on their way out.
const TRIES: u32 = 50;
/// The same at the end of a cluster, when nobody comes after us.
const LAST_TRIES: u32 = 2500;
/// CPU quotas are per this many microseconds.
const PERIOD_MICROS: u64 = 100_000;
const ROOT: &str = "/sys/fs/cgroup";

/// Where limits are enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// Version 1 or hybrid: one directory per controller.
    V1(Controllers),
    /// Version 2.
    V2(PathBuf),
    /// None that we may write; the governor has to do.
    Absent,
}

/// The cluster's directory in each version 1 controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Controllers {
    cpu: PathBuf,
    cpuacct: PathBuf,
    memory: PathBuf,
    pids: PathBuf,
}

impl Cgroups {
    /// Makes the cluster's top directories, after removing those of dead owners. The string says
    /// why there are none.
    pub(crate) fn open(rung: Rung, owner: u32) -> (Self, Option<String>) {
        let started = start_time(owner).unwrap_or_default();
        let name = format!("{PREFIX}{owner}-{started}");
        let version_2 = fs::metadata(Path::new(ROOT).join("cgroup.controllers")).is_ok();
        let made = if version_2 {
            open_v2(rung, &name)
        } else {
            open_v1(&name)
        };
        match made {
            Ok(cgroups) => (cgroups, None),
            Err(fault) => (Self::Absent, Some(fault.what)),
        }
    }

    /// For people.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::V1(_) => "cgroup v1",
            Self::V2(_) => "cgroup v2",
            Self::Absent => "software governor",
        }
    }

    /// Makes a node's group: quota and weight of its capacity.
    pub(crate) fn add_node(&self, slice: &NodeSlice) -> Result<(), Fault> {
        let node = Path::new(&slice.node);
        self.make(node, Inner::Yes)?;
        let limits = Limits {
            cpu_request_milli: slice.cpu_milli,
            cpu_limit_milli: Some(slice.cpu_milli),
            memory_limit_bytes: Some(slice.memory_bytes),
        };
        self.limit(node, limits)
    }

    /// Makes a pod's group, with the bounds of the pod as a whole.
    pub(crate) fn add_pod(&self, pod: &Path, limits: Limits) -> Result<(), Fault> {
        self.make(pod, Inner::Yes)?;
        if limits == Limits::default() {
            return Ok(());
        }
        self.limit(pod, limits)
    }

    /// Makes a container's group.
    pub(crate) fn add_container(&self, path: &Path, limits: Limits) -> Result<(), Fault> {
        self.make(path, Inner::No)?;
        if let Self::V2(root) = self {
            // A container goes as a whole when it is out of memory, as upstream; not on old kernels.
            let _absent = set(&root.join(path), "memory.oom.group", "1");
        }
        self.limit(path, limits)
    }

    /// The files into which a process writes `0` to join.
    pub(crate) fn doors(&self, path: &Path) -> Vec<PathBuf> {
        self.directories(path)
            .into_iter()
            .map(|dir| dir.join("cgroup.procs"))
            .collect()
    }

    /// Writes bounds.
    pub(crate) fn limit(&self, path: &Path, limits: Limits) -> Result<(), Fault> {
        let quota = limits
            .cpu_limit_milli
            .map(|milli| (milli * PERIOD_MICROS / 1000).max(1000));
        match self {
            Self::V1(controllers) => {
                let cpu = controllers.cpu.join(path);
                let shares = (limits.cpu_request_milli * 1024 / 1000).max(2);
                set(&cpu, "cpu.shares", &shares.to_string())?;
                set(&cpu, "cpu.cfs_period_us", &PERIOD_MICROS.to_string())?;
                let quota = quota.map_or("-1".to_owned(), |micros| micros.to_string());
                set(&cpu, "cpu.cfs_quota_us", &quota)?;
                let memory = limits
                    .memory_limit_bytes
                    .map_or("-1".to_owned(), |bytes| bytes.to_string());
                set(
                    &controllers.memory.join(path),
                    "memory.limit_in_bytes",
                    &memory,
                )
            }
            Self::V2(root) => {
                let dir = root.join(path);
                set(
                    &dir,
                    "cpu.weight",
                    &weight(limits.cpu_request_milli).to_string(),
                )?;
                let quota = quota.map_or("max".to_owned(), |micros| micros.to_string());
                set(&dir, "cpu.max", &format!("{quota} {PERIOD_MICROS}"))?;
                let memory = limits
                    .memory_limit_bytes
                    .map_or("max".to_owned(), |bytes| bytes.to_string());
                set(&dir, "memory.max", &memory)
            }
            Self::Absent => Ok(()),
        }
    }

    /// CPU time and working set; `None` where the group is gone or there are none.
    pub(crate) fn counters(&self, path: &Path) -> Option<Counters> {
        match self {
            Self::V1(controllers) => {
                let cpu_nanos = number(&controllers.cpuacct.join(path).join("cpuacct.usage"))?;
                let memory = controllers.memory.join(path);
                let used = number(&memory.join("memory.usage_in_bytes"))?;
                let idle = field(&memory.join("memory.stat"), "total_inactive_file").unwrap_or(0);
                Some(Counters {
                    cpu_nanos,
                    memory_bytes: used.saturating_sub(idle),
                })
            }
            Self::V2(root) => {
                let dir = root.join(path);
                let micros = field(&dir.join("cpu.stat"), "usage_usec")?;
                let used = number(&dir.join("memory.current"))?;
                let idle = field(&dir.join("memory.stat"), "inactive_file").unwrap_or(0);
                let memory_bytes = used.saturating_sub(idle);
                Some(Counters {
                    cpu_nanos: micros * 1000,
                    memory_bytes,
                })
            }
            Self::Absent => None,
        }
    }

    /// How many processes the kernel killed here for their memory.
    pub(crate) fn oom_kills(&self, path: &Path) -> u64 {
        let file = match self {
            Self::V1(controllers) => controllers.memory.join(path).join("memory.oom_control"),
            Self::V2(root) => root.join(path).join("memory.events"),
            Self::Absent => return 0,
        };
        field(&file, "oom_kill").unwrap_or(0)
    }

    /// Removes a group and those below it; what still runs there is killed.
    pub(crate) fn remove(&self, path: &Path) {
        for directory in self.directories(path) {
            remove_tree(&directory, TRIES);
        }
    }

    /// Removes everything of this cluster.
    pub(crate) fn remove_all(&self) {
        for directory in self.directories(Path::new("")) {
            remove_tree(&directory, LAST_TRIES);
        }
    }

    fn make(&self, path: &Path, inner: Inner) -> Result<(), Fault> {
        for directory in self.directories(path) {
            fs::create_dir_all(&directory).doing(|| format!("make {}", directory.display()))?;
            if let (Self::V2(_), Inner::Yes) = (self, inner) {
                set(&directory, "cgroup.subtree_control", "+cpu +memory +pids")?;
            }
        }
        Ok(())
    }

    fn directories(&self, path: &Path) -> Vec<PathBuf> {
        match self {
            Self::V1(Controllers {
                cpu,
                cpuacct,
                memory,
                pids,
            }) => {
                let mut all: Vec<_> = [cpu, cpuacct, memory, pids]
                    .map(|dir| dir.join(path))
                    .into();
                all.dedup();
                all
            }
            Self::V2(root) => vec![root.join(path)],
            Self::Absent => Vec::new(),
        }
    }
}

/// Whether a group has groups below it (version 2 must be told).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inner {
    Yes,
    No,
}

fn open_v1(name: &str) -> Result<Cgroups, Fault> {
    let place = |controller: &str| -> Result<PathBuf, Fault> {
        let mounted = Path::new(ROOT).join(controller);
        // Distributions mount "cpu" and "cpuacct" together and link both names to it.
        let mounted = fs::canonicalize(&mounted).doing(|| format!("find {}", mounted.display()))?;
        sweep(&mounted);
        Ok(mounted.join(name))
    };
    let cgroups = Cgroups::V1(Controllers {
        cpu: place("cpu")?,
        cpuacct: place("cpuacct")?,
        memory: place("memory")?,
        pids: place("pids")?,
    });
    prepare_top(cgroups)
}

fn open_v2(rung: Rung, name: &str) -> Result<Cgroups, Fault> {
    let parent = match rung {
        Rung::Root => PathBuf::from(ROOT),
        Rung::Rootless => own_v2_group()?,
    };
    sweep(&parent);
    let controllers = parent.join("cgroup.controllers");
    let offered =
        fs::read_to_string(&controllers).doing(|| format!("read {}", controllers.display()))?;
    for wanted in ["cpu", "memory", "pids"] {
        if !offered.split_whitespace().any(|one| one == wanted) {
            return Err(Fault::new(format!(
                "{wanted} is not delegated to {}",
                parent.display()
            )));
        }
    }
    let delegate = || set(&parent, "cgroup.subtree_control", "+cpu +memory +pids");
    if delegate().is_err() {
        // A group with processes of its own cannot hand controllers on: move them to a leaf.
        let leaf = parent.join("plimsoll.sup");
        fs::create_dir_all(&leaf).doing(|| format!("make {}", leaf.display()))?;
        let members = fs::read_to_string(parent.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines() {
            set(&leaf, "cgroup.procs", pid)?;
        }
        delegate()?;
    }
    prepare_top(Cgroups::V2(parent.join(name)))
}

/// The top directory competes as one entity against every other task of the machine, so its
/// weight is that of all its cores.
fn prepare_top(cgroups: Cgroups) -> Result<Cgroups, Fault> {
    cgroups.make(Path::new(""), Inner::Yes)?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let limits = Limits {
        cpu_request_milli: cores * 1000,
        ..Limits::default()
    };
    cgroups.limit(Path::new(""), limits)?;
    Ok(cgroups)
}

fn own_v2_group() -> Result<PathBuf, Fault> {
    let text = fs::read_to_string("/proc/self/cgroup").doing(|| "read /proc/self/cgroup".into())?;
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .ok_or_else(|| Fault::new("no cgroup v2 in /proc/self/cgroup"))?;
    Ok(Path::new(ROOT).join(path.trim_start_matches('/')))
}

/// Removes the groups of clusters whose owner is dead.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_abandoned) {
            remove_tree(&entry.path(), TRIES);
        }
    }
}

/// Whether a directory's name is one of ours and its owner is dead.
fn is_abandoned(name: &str) -> bool {
    let Some(owner) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let (pid, started) = owner.split_once('-').unwrap_or((owner, ""));
    let Ok(pid) = pid.parse::<u32>() else {
        return false;
    };
    match start_time(pid) {
        None => true,
        Some(now) => started.parse::<u64>().is_ok_and(|then| then != now),
    }
}

/// When a process started, in ticks since boot; `None` when there is none.
fn start_time(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may contain anything, but its closing bracket is the last one.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

fn remove_tree(directory: &Path, tries: u32) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path(), tries);
        }
    }
    // Killed processes leave the group a moment later; a bounded number of tries.
    for _ in 0..tries {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            Ok(()) | Err(_) => return,
        }
        let members = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines().filter_map(|line| line.parse::<i32>().ok()) {
            if pid > 0 {
                let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        super::clock::wait_millis(2);
    }
}

/// Version 2's weight for a CPU request: the usual mapping of shares 2..262144 to 1..10000.
fn weight(cpu_request_milli: u64) -> u64 {
    let shares = (cpu_request_milli * 1024 / 1000).clamp(2, 262_144);
    1 + ((shares - 2) * 9999) / 262_142
}

fn set(directory: &Path, file: &str, value: &str) -> Result<(), Fault> {
    let path = directory.join(file);
    fs::write(&path, value).doing(|| format!("write {value} to {}", path.display()))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        if key == name {
            value.trim().parse().ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_abandoned_when_its_owner_is_dead_or_its_pid_has_come_back() {
        let own = std::process::id();
        let started = start_time(own).unwrap();
        assert!(!is_abandoned(&format!("plimsoll-{own}-{started}")));
        assert!(is_abandoned(&format!("plimsoll-{own}-{}", started + 1)));
        assert!(is_abandoned("plimsoll-4194999-1"));
        for foreign in ["plimsoll.sup", "plimsoll-x", "docker", "plimsoll-"] {
            assert!(!is_abandoned(foreign), "{foreign}");
        }
    }

    #[test]
    fn weights_follow_shares_from_end_to_end() {
        assert_eq!(weight(0), 1);
        assert_eq!(weight(1000), 39);
        assert_eq!(weight(u64::from(u32::MAX)), 10_000);
    }
}
