//! Making a process: what the helper does around a fork, and what the child reports before exec.

use super::channel;
use super::fault::{Doing, Fault};
use super::protocol::Stdio;
use super::streams;
use super::sys::{self, Side};
use nix::sys::socket::MsgFlags;
use nix::unistd::{access, execve};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// A process that runs its program.
#[derive(Debug)]
pub(crate) struct Born {
    /// Its pid, as the helper sees it.
    pub(crate) pid: i32,
    /// `[stdin,] stdout, stderr`, or the terminal's master.
    pub(crate) fds: Vec<OwnedFd>,
}

/// What a child says before it becomes its program; silence then means success.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The real process is another one (exec in a container forks twice).
    Pid(i32),
    /// The terminal's master comes along.
    Terminal,
    /// It did not work.
    Failed(Fault),
}

/// The child's line to the helper; closed by exec.
#[derive(Debug)]
pub(crate) struct Line {
    socket: OwnedFd,
    near: streams::Near,
    stdio: Stdio,
}

impl Line {
    /// Tells the helper which process is the real one.
    pub(crate) fn announce(&self, pid: i32) -> Result<(), Fault> {
        self.say(&Word::Pid(pid), &[])
    }

    /// Connects the standard streams; to be called inside the container's root.
    pub(crate) fn connect(&mut self) -> Result<(), Fault> {
        if self.stdio == Stdio::Terminal {
            let master = streams::connect_terminal()?;
            return self.say(&Word::Terminal, &[&master]);
        }
        streams::connect(std::mem::take(&mut self.near))
    }

    fn say(&self, word: &Word, fds: &[&OwnedFd]) -> Result<(), Fault> {
        let bytes = serde_json::to_vec(word).map_err(|error| Fault::new(error.to_string()))?;
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        channel::send(&self.socket, &bytes, &fds, MsgFlags::empty())
            .doing(|| "report to the helper".into())
    }
}

/// Forks with `flags`; `become_program` runs in the child and returns only with a failure.
pub(crate) fn give_birth(
    flags: libc::c_int,
    stdio: Stdio,
    become_program: impl FnOnce(&mut Line) -> Result<Infallible, Fault>,
) -> Result<Born, Fault> {
    let (near, mut fds) = streams::pipes(stdio)?;
    let (socket, theirs) = channel::pair().doing(|| "make a status line".into())?;
    let mut line = Line {
        socket: theirs,
        near,
        stdio,
    };
    let mut pid = match sys::fork(flags).doing(|| "fork".into())? {
        Side::Child => {
            let Err(fault) = become_program(&mut line);
            let _unheard = line.say(&Word::Failed(fault), &[]);
            sys::leave(127)
        }
        Side::Parent(pid) => pid.as_raw(),
    };
    drop(line);
    loop {
        let packet = channel::receive(&socket, MsgFlags::empty())
            .doing(|| "hear from the new process".into())?;
        if packet.bytes.is_empty() {
            return Ok(Born { pid, fds });
        }
        match serde_json::from_slice(&packet.bytes) {
            Ok(Word::Pid(real)) => pid = real,
            Ok(Word::Terminal) => fds.extend(packet.fds),
            Ok(Word::Failed(fault)) => return Err(fault),
            Err(error) => return Err(Fault::new(error.to_string())),
        }
    }
}

/// Becomes the program `argv`, found as a shell would in the environment's `PATH`.
pub(crate) fn execute(argv: &[String], env: &[(String, String)]) -> Result<Infallible, Fault> {
    let Some(name) = argv.first().filter(|name| !name.is_empty()) else {
        return Err(Fault::new("no command specified"));
    };
    let program = find_program(name, env)?;
    let nul = |text: &str| {
        CString::new(text).map_err(|_| Fault::new(format!("{text:?} contains a NUL byte")))
    };
    let arguments = argv
        .iter()
        .map(|one| nul(one))
        .collect::<Result<Vec<_>, _>>()?;
    let variables = env
        .iter()
        .map(|(name, value)| nul(&format!("{name}={value}")))
        .collect::<Result<Vec<_>, _>>()?;
    execve(&nul(&program)?, &arguments, &variables).doing(|| format!("exec {program:?}"))
}

fn find_program(name: &str, env: &[(String, String)]) -> Result<String, Fault> {
    if name.contains('/') {
        return Ok(name.to_owned());
    }
    let path = env
        .iter()
        .rev()
        .find(|(key, _)| key == "PATH")
        .map_or("", |(_, value)| value);
    path.split(':')
        .map(|directory| format!("{directory}/{name}"))
        .find(|file| {
            Path::new(file).is_file()
                && access(file.as_str(), nix::unistd::AccessFlags::X_OK).is_ok()
        })
        .ok_or_else(|| {
            Fault::new(format!(
                "exec: {name:?}: executable file not found in $PATH"
            ))
        })
}
