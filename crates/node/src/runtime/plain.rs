//! Starting a plain process with its streams connected.

use super::Exit;
use super::session::{Ends, Live, Logs};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use plimsoll_api::node::Output;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

/// Which streams of a process are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streams {
    /// Standard output and error.
    Output,
    /// Standard input too.
    All,
    /// A terminal for all three.
    Terminal,
}

/// What a process needs that gets a terminal, or input, or neither.
pub(super) fn stdio(tty: bool, stdin: bool) -> Streams {
    match (tty, stdin) {
        (true, _) => Streams::Terminal,
        (false, true) => Streams::All,
        (false, false) => Streams::Output,
    }
}

/// Starts a command and connects its streams.
pub(super) fn launch(
    mut command: Command,
    streams: Streams,
    logs: Logs,
    watchdog: &Arc<AtomicBool>,
) -> io::Result<(i32, Live, mpsc::Receiver<Output>)> {
    let mut master = None;
    match streams {
        Streams::Output => {}
        Streams::All => drop(command.stdin(Stdio::piped())),
        Streams::Terminal => {
            let terminal = nix::pty::openpty(None, None)?;
            for end in [&terminal.master, &terminal.slave] {
                fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            }
            let end = || terminal.slave.try_clone().map(Stdio::from);
            command.stdin(end()?).stdout(end()?).stderr(end()?);
            master = Some(terminal.master);
        }
    }
    let mut child = command.spawn()?;
    // It holds this side's copies of the terminal's end.
    drop(command);
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .unwrap_or_default();
    let ends = match master {
        Some(master) => Ends::Terminal(master),
        None => take_ends(&mut child)?,
    };
    let (sender, ended) = watch::channel(None);
    let watchdog = Arc::clone(watchdog);
    tokio::spawn(async move {
        let status = child.wait().await.unwrap_or_default();
        let signal = status.signal();
        let code = status
            .code()
            .or(signal.map(|signal| 128 + signal))
            .unwrap_or(255);
        let oom_killed = watchdog.load(Ordering::Relaxed);
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
