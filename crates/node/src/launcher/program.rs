//! The last steps of a new process before it becomes its program.

use super::birth::{Line, execute};
use super::fault::{Doing, Fault};
use super::rootfs::Rootfs;
use super::sys::{self, Side};
use crate::runtime::Security;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chdir, chown, setgid, setgroups, setuid};
use std::convert::Infallible;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What a process becomes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    /// The command.
    pub(crate) argv: &'a [String],
    /// The environment.
    pub(crate) env: &'a [(String, String)],
    /// Where it starts.
    pub(crate) working_dir: &'a str,
    /// Who it runs as.
    pub(crate) security: &'a Security,
}

/// What a container's first process needs.
#[derive(Debug)]
pub(crate) struct Started<'a> {
    /// Files to write `0` to, to join the container's groups.
    pub(crate) doors: Vec<PathBuf>,
    /// The pod's network.
    pub(crate) netns: &'a OwnedFd,
    /// Its file systems.
    pub(crate) rootfs: &'a Rootfs,
    /// What it becomes.
    pub(crate) program: Program<'a>,
}

/// What a further process in a container needs.
#[derive(Debug)]
pub(crate) struct Joined<'a> {
    /// As for the first one.
    pub(crate) doors: Vec<PathBuf>,
    /// The container's namespaces, in the order to enter them.
    pub(crate) namespaces: Vec<(CloneFlags, OwnedFd)>,
    /// What it becomes.
    pub(crate) program: Program<'a>,
}

/// In the first process of a container (already in its new namespaces).
pub(crate) fn first(line: &mut Line, order: &Started<'_>) -> Result<Infallible, Fault> {
    join_groups(&order.doors)?;
    // Where the kernel has none, /proc shows the groups' full names; nothing else changes.
    let _absent = unshare(CloneFlags::CLONE_NEWCGROUP);
    setns(order.netns, CloneFlags::CLONE_NEWNET).doing(|| "enter the pod's network".into())?;
    order.rootfs.enter()?;
    become_program(line, order.program)
}

/// In an intermediate process: joins the pid namespace of another container, then forks the first
/// process of a new one inside it.
pub(crate) fn first_beside(
    line: &mut Line,
    order: &Started<'_>,
    pids: &OwnedFd,
    flags: libc::c_int,
) -> Result<Infallible, Fault> {
    setns(pids, CloneFlags::CLONE_NEWPID).doing(|| "enter the target's processes".into())?;
    // It takes effect for children; as a sibling, the child is the helper's own.
    match sys::fork(libc::CLONE_PARENT | flags).doing(|| "fork beside the target".into())? {
        Side::Parent(pid) => {
            line.announce(pid.as_raw())?;
            sys::leave(0)
        }
        Side::Child => first(line, order),
    }
}

/// Opens the pid namespace of a running container.
pub(crate) fn pids_of(pid: i32) -> Result<OwnedFd, Fault> {
    let path = format!("/proc/{pid}/ns/pid");
    let file = fs::File::open(&path).doing(|| format!("open {path}"))?;
    Ok(file.into())
}

/// Opens the namespaces of a running container.
pub(crate) fn namespaces_of(pid: i32) -> Result<Vec<(CloneFlags, OwnedFd)>, Fault> {
    [
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
        ("pid", CloneFlags::CLONE_NEWPID),
        // Last, because the others' paths are outside.
        ("mnt", CloneFlags::CLONE_NEWNS),
    ]
    .into_iter()
    .map(|(name, flag)| {
        let path = format!("/proc/{pid}/ns/{name}");
        let file = fs::File::open(&path).doing(|| format!("open {path}"))?;
        Ok((flag, file.into()))
    })
    .collect()
}

/// In an intermediate process: enters the container, then forks a sibling inside it.
pub(crate) fn another(line: &mut Line, order: &Joined<'_>) -> Result<Infallible, Fault> {
    join_groups(&order.doors)?;
    for (flag, namespace) in &order.namespaces {
        setns(namespace, *flag).doing(|| format!("enter the container ({flag:?})"))?;
    }
    // A pid namespace takes effect for children; as a sibling, the child is the helper's own.
    match sys::fork(libc::CLONE_PARENT).doing(|| "fork in the container".into())? {
        Side::Parent(pid) => {
            line.announce(pid.as_raw())?;
            sys::leave(0)
        }
        Side::Child => become_program(line, order.program),
    }
}

fn join_groups(doors: &[PathBuf]) -> Result<(), Fault> {
    doors
        .iter()
        .try_for_each(|door| fs::write(door, "0").doing(|| format!("join {}", door.display())))
}

fn become_program(line: &mut Line, program: Program<'_>) -> Result<Infallible, Fault> {
    let Program {
        argv,
        env,
        working_dir,
        security,
    } = program;
    if !Path::new(working_dir).exists() {
        // As other runtimes do; where the root is read-only, the next step tells.
        let _refused = fs::create_dir_all(working_dir);
    }
    // Lowering it takes a privilege that even root may lack here.
    let _refused = fs::write(
        "/proc/self/oom_score_adj",
        security.oom_score_adj.to_string(),
    );
    line.connect()?;
    umask(Mode::from_bits_truncate(0o022));
    sys::reset_signals();
    sys::limit_bounding_set(security.capabilities);
    become_user(security)?;
    chdir(working_dir).doing(|| format!("chdir to {working_dir:?}"))?;
    sys::limit_capabilities(security.capabilities).doing(|| "limit capabilities".into())?;
    if security.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().doing(|| "forbid new privileges".into())?;
    }
    execute(argv, env)
}

/// Takes the user and the groups on. Root without further groups stays what it is: in a user
/// namespace nothing else exists.
fn become_user(security: &Security) -> Result<(), Fault> {
    let Security {
        user,
        group,
        groups,
        ..
    } = security;
    if *user == 0 && *group == 0 && groups.is_empty() {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(*user), Gid::from_raw(*group));
    if *user != 0 {
        // Its standard streams belong to root until now, and programs open them by name.
        for stream in 0..3 {
            let path = format!("/proc/self/fd/{stream}");
            let _not_ours = chown(path.as_str(), Some(uid), Some(gid));
        }
    }
    let all: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    match setgroups(&all) {
        // A plain user's namespace has no further groups.
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno).doing(|| format!("join the groups {groups:?}")),
    }
    let only_root = "without root privileges there is only user 0 and group 0";
    setgid(gid).doing(|| format!("run as group {group} ({only_root})"))?;
    setuid(uid).doing(|| format!("run as user {user} ({only_root})"))
}
