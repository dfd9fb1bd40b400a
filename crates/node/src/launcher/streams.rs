//! Standard streams of a new process: made in the helper, so that they belong to its user.

use super::fault::{Doing, Fault};
use super::protocol::Stdio;
use super::sys;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};
use std::os::fd::OwnedFd;

/// The process's ends.
#[derive(Debug, Default)]
pub(crate) struct Near {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Makes the pipes; the second part goes to the main process: `[stdin,] stdout, stderr`, or
/// nothing yet for a terminal, which only the process itself can open.
pub(crate) fn pipes(stdio: Stdio) -> Result<(Near, Vec<OwnedFd>), Fault> {
    let mut near = Near::default();
    let mut far = Vec::new();
    let make = || pipe2(OFlag::O_CLOEXEC).doing(|| "make a pipe".into());
    match stdio {
        Stdio::Terminal => return Ok((near, far)),
        Stdio::Pipes => {
            let (read, write) = make()?;
            near.stdin = Some(read);
            far.push(write);
        }
        Stdio::Output => {}
    }
    for end in [&mut near.stdout, &mut near.stderr] {
        let (read, write) = make()?;
        *end = Some(write);
        far.push(read);
    }
    Ok((near, far))
}

/// In the new process, inside its root: a session of its own, connected to `near`.
pub(crate) fn connect(near: Near) -> Result<(), Fault> {
    setsid().doing(|| "start a session".into())?;
    let stdin = match near.stdin {
        Some(pipe) => pipe,
        None => open(
            "/dev/null",
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .doing(|| "open /dev/null".into())?,
    };
    dup2_stdin(&stdin).doing(|| "connect stdin".into())?;
    if let (Some(stdout), Some(stderr)) = (&near.stdout, &near.stderr) {
        dup2_stdout(stdout).doing(|| "connect stdout".into())?;
        dup2_stderr(stderr).doing(|| "connect stderr".into())?;
    }
    Ok(())
}

/// In the new process, inside its root: opens a terminal in the container's own devpts, makes it
/// the controlling one, and returns its master.
pub(crate) fn connect_terminal() -> Result<OwnedFd, Fault> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = open("/dev/ptmx", flags, Mode::empty()).doing(|| "open /dev/ptmx".into())?;
    let number = sys::unlock_terminal(&master).doing(|| "unlock the terminal".into())?;
    let path = format!("/dev/pts/{number}");
    let terminal = open(path.as_str(), flags, Mode::empty()).doing(|| format!("open {path}"))?;
    setsid().doing(|| "start a session".into())?;
    sys::take_terminal(&terminal).doing(|| "take the terminal".into())?;
    dup2_stdin(&terminal).doing(|| "connect stdin".into())?;
    dup2_stdout(&terminal).doing(|| "connect stdout".into())?;
    dup2_stderr(&terminal).doing(|| "connect stderr".into())?;
    Ok(master)
}
