//! The launcher: a single-threaded helper process that makes containers, and the asynchronous
//! client the node agents use.
//!
//! ```text
//! main process (tokio)          helper, stage one          helper (pid 1 of its namespaces)
//!   Launcher ── SOCK_SEQPACKET, JSON + descriptors ──────▶  State: cgroups, network, processes
//!   pipes, sockets, terminals ◀────────────────────────────    │ fork
//!                                                              ▼
//!                                                        containers
//! ```
//!
//! Containers are never forked from the multi-threaded main process. The helper lives in mount,
//! network and pid namespaces of its own (and in a user namespace, for a plain user), so that its
//! end, however it comes, frees every container, mount and interface.

mod base_image;
mod birth;
mod cgroup;
mod channel;
mod client;
mod clock;
mod fault;
pub(crate) mod governor;
mod helper;
mod memory;
mod netlink;
mod network;
mod probe;
mod program;
mod protocol;
mod rootfs;
mod state;
mod streams;
pub(crate) mod sys;

pub(crate) use client::Running;
pub use client::{Launcher, LauncherError};
pub use probe::{Probe, probe};
pub(crate) use protocol::{Answer, ExecOrder, Order, Purpose, Refusal, StartOrder, Stdio};
pub use protocol::{Cidr, Greeting, LauncherConfig, Rung};

use std::process::ExitCode;

/// Turns this process into a launcher's helper (or a probe) if its command line says so.
///
/// To be called first thing in `main`, before any thread exists. Returns the exit code to end
/// with, or `None` for an ordinary start.
pub fn maybe_run() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let word = arguments.next()?;
    if word != helper::ARGUMENT && word != probe::ARGUMENT {
        return None;
    }
    let rung = match arguments.next()?.to_str()? {
        "root" => Rung::Root,
        "rootless" => Rung::Rootless,
        _ => return Some(ExitCode::from(2)),
    };
    let code = if word == helper::ARGUMENT {
        helper::run(rung)
    } else {
        probe::run(rung)
    };
    Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
