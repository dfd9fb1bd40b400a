//! Finding out what works on this machine, by really doing it in a throw-away process.

use super::fault::{Doing, Fault};
use super::helper;
use super::netlink::Netlink;
use super::protocol::Rung;
use super::rootfs;
use super::sys::{self, Side};
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use std::fs;
use std::io::Write;
use std::path::Path;
use tokio::process::Command;

/// The word on the command line that makes this program a probe.
pub(crate) const ARGUMENT: &str = "__node-probe";

/// The outcome of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `None` if the rung works, else the step that failed and why.
    pub refused: Option<String>,
}

/// Tries a rung in a child process of `exe` (this program): namespaces, mounts, a link.
pub async fn probe(exe: &Path, rung: Rung) -> Probe {
    let word = match rung {
        Rung::Root => "root",
        Rung::Rootless => "rootless",
    };
    let refused = match Command::new(exe).args([ARGUMENT, word]).output().await {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => Some(format!("cannot start {}: {error}", exe.display())),
    };
    Probe { refused }
}

/// In the child: exit code 0, or 1 with the reason on stdout.
pub(crate) fn run(rung: Rung) -> i32 {
    match attempt(rung) {
        Ok(()) => 0,
        Err(fault) => {
            let _unheard = writeln!(std::io::stdout(), "{fault}");
            1
        }
    }
}

fn attempt(rung: Rung) -> Result<(), Fault> {
    if rung == Rung::Root && !nix::unistd::geteuid().is_root() {
        return Err(Fault::new("not root"));
    }
    helper::make_namespaces(rung)?;
    // The rest needs a process in the new pid namespace, as the helper will be.
    match sys::fork(0).doing(|| "fork".into())? {
        Side::Child => {
            let code = match attempt_inside() {
                Ok(()) => 0,
                Err(fault) => {
                    let _unheard = writeln!(std::io::stdout(), "{fault}");
                    1
                }
            };
            sys::leave(code)
        }
        Side::Parent(child) => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            _ => Err(Fault::new("")),
        },
    }
}

fn attempt_inside() -> Result<(), Fault> {
    rootfs::isolate_mounts()?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    rootfs::mount_new("proc", Path::new("/proc"), quiet, "")?;
    rootfs::mount_new("tmpfs", Path::new("/tmp"), MsFlags::MS_NOSUID, "mode=755")?;
    unshare(CloneFlags::CLONE_NEWNET).doing(|| "make a network namespace".into())?;
    let here = fs::File::open("/proc/self/ns/net").doing(|| "open the namespace".into())?;
    Netlink::open()?.add_veth("probe0", "probe1", &here)?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").doing(|| "enable forwarding".into())
}
