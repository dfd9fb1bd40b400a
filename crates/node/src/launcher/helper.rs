//! The helper process: one thread, one loop, everything that needs privileges.

use super::cgroup::Cgroups;
use super::fault::{Doing, Fault};
use super::network::ClusterNetwork;
use super::protocol::{Greeting, LauncherConfig, Message, Request, Rung};
use super::rootfs::{self, Overlay};
use super::state::State;
use super::sys::{self, Side};
use super::{base_image, channel, clock, governor};
use nix::mount::MsFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::MsgFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{getgid, getuid};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The word on the command line that makes this program a helper.
pub(crate) const ARGUMENT: &str = "__node-helper";

/// Stage one: makes the namespaces, forks the real helper as their first process, waits for its
/// end, and frees what the kernel does not free by itself.
pub(crate) fn run(rung: Rung) -> i32 {
    let socket = sys::adopt(0);
    let (cgroups, remark) = Cgroups::open(rung, std::process::id());
    let made = make_namespaces(rung);
    let code = match made.and_then(|()| sys::fork(0).doing(|| "fork the helper".into())) {
        Err(fault) => {
            let _unheard = say(&socket, &Message::Failed(fault), &[]);
            1
        }
        Ok(Side::Child) => {
            // Without stage one nobody would free what outlives the namespaces: end with it.
            let _unneeded = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            serve(&socket, rung, cgroups.clone(), remark);
            sys::leave(0)
        }
        Ok(Side::Parent(child)) => {
            drop(socket);
            // A signal meant for everybody must not end this process before it has tidied up;
            // the main process's end does.
            let _unneeded = SigSet::all().thread_block();
            // Stops and continues are not reported without asking, so one call is enough, unless
            // a signal interrupts it.
            while waitpid(child, None) == Err(nix::errno::Errno::EINTR) {}
            0
        }
    };
    cgroups.remove_all();
    code
}

/// Everything the helper makes lives in these, so that its end frees all of it.
pub(crate) fn make_namespaces(rung: Rung) -> Result<(), Fault> {
    if rung == Rung::Rootless {
        let (user, group) = (getuid(), getgid());
        unshare(CloneFlags::CLONE_NEWUSER).doing(|| "make a user namespace".into())?;
        for (file, text) in [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("0 {user} 1")),
            ("gid_map", format!("0 {group} 1")),
        ] {
            fs::write(format!("/proc/self/{file}"), text).doing(|| format!("write {file}"))?;
        }
    }
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
        .doing(|| "make mount and pid namespaces".into())
}

/// Stage two: the helper proper.
fn serve(socket: &OwnedFd, rung: Rung, cgroups: Cgroups, remark: Option<String>) {
    let result = channel::receive(socket, MsgFlags::empty())
        .doing(|| "receive the configuration".into())
        .and_then(|packet| {
            serde_json::from_slice::<LauncherConfig>(&packet.bytes)
                .map_err(|error| Fault::new(format!("configuration: {error}")))
        })
        .and_then(|config| prepare(&config, rung, cgroups, remark));
    match result {
        Ok((mut state, greeting)) => {
            if say(socket, &Message::Ready(greeting), &[]).is_ok() {
                let _ended = work(socket, &mut state);
            }
            state.clear();
        }
        Err(fault) => {
            let _unheard = say(socket, &Message::Failed(fault), &[]);
        }
    }
}

fn prepare(
    config: &LauncherConfig,
    rung: Rung,
    cgroups: Cgroups,
    remark: Option<String>,
) -> Result<(State, Greeting), Fault> {
    let mut remarks: Vec<_> = remark
        .map(|why| format!("no control groups: {why}"))
        .into_iter()
        .collect();
    // Both before the namespaces change: the host's routes, and this program's own file.
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let program =
        fs::read_link("/proc/self/exe").doing(|| "find this program's own file".into())?;
    rootfs::isolate_mounts()?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    rootfs::mount_new("proc", Path::new("/proc"), quiet, "")?;
    let scratch = config.directory.clone();
    rootfs::mount_new("tmpfs", &scratch, MsFlags::MS_NOSUID, "mode=755")?;
    let image = PathBuf::from("image");
    base_image::build(&scratch.join(&image), &program)?;
    // A bind keeps the file usable even when it is replaced by a newer build meanwhile.
    let own_program = PathBuf::from("program");
    fs::write(scratch.join(&own_program), "").doing(|| "make the program's place".into())?;
    rootfs::bind(&program, &scratch.join(&own_program))?;
    let overlay = choose_overlay(&scratch, &image, rung);
    if overlay == Overlay::Copy {
        remarks.push("overlay is refused here: images are copied per container".into());
    }
    let network = ClusterNetwork::enter(config, rung == Rung::Root)?;
    let reachable_from_host = match rung {
        Rung::Rootless => false,
        Rung::Root => match network.link_host(config, &routes) {
            Ok(()) => true,
            Err(fault) => {
                remarks.push(format!("pods are not reachable from the host: {fault}"));
                false
            }
        },
    };
    let limits = cgroups.describe().to_owned();
    let state = State::new(cgroups, network, scratch, overlay);
    Ok((
        state,
        Greeting {
            limits,
            reachable_from_host,
            remarks,
        },
    ))
}

/// Tries overlay in a throw-away child, which takes its mounts with it.
fn choose_overlay(scratch: &Path, image: &Path, rung: Rung) -> Overlay {
    let wanted = match rung {
        Rung::Root => Overlay::Plain,
        Rung::Rootless => Overlay::User,
    };
    let trial = PathBuf::from("trial");
    let works = match sys::fork(libc::CLONE_NEWNS) {
        Ok(Side::Child) => {
            let tried = rootfs::isolate_mounts()
                .and_then(|()| wanted.mount(scratch, image, &trial))
                .and_then(|merged| {
                    let path = scratch.join(merged).join("etc/passwd");
                    fs::write(&path, "x").doing(|| "write through the overlay".into())
                });
            sys::leave(i32::from(tried.is_err()))
        }
        Ok(Side::Parent(child)) => matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0))),
        Err(_) => false,
    };
    let _leftovers = fs::remove_dir_all(scratch.join(trial));
    if works { wanted } else { Overlay::Copy }
}

/// Serves requests and reaps children until the main process is gone.
fn work(socket: &OwnedFd, state: &mut State) -> Result<(), Fault> {
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block().doing(|| "block SIGCHLD".into())?;
    let signals = SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .doing(|| "watch for children".into())?;
    sys::close_from_on_exec(3);
    let mut window = clock::now();
    loop {
        let timeout = if state.governs() {
            let left = governor::WINDOW.saturating_sub(window.elapsed());
            PollTimeout::from(u8::try_from(left.as_millis()).unwrap_or(100))
        } else {
            PollTimeout::NONE
        };
        let mut fds = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).doing(|| "wait for requests".into()),
        }
        let [asked, _] = fds.map(|fd| fd.any().unwrap_or(false));
        if state.governs() && window.elapsed() >= governor::WINDOW {
            state.govern(window.elapsed());
            window = clock::now();
        }
        if asked && !answer(socket, state)? {
            return Ok(());
        }
        while let Ok(Some(_)) = signals.read_signal() {}
        for (task, exit) in state.reap() {
            say(socket, &Message::Ended { task, exit }, &[])?;
        }
    }
}

/// Serves one request; `false` when the main process is gone.
fn answer(socket: &OwnedFd, state: &mut State) -> Result<bool, Fault> {
    let packet =
        channel::receive(socket, MsgFlags::empty()).doing(|| "receive a request".into())?;
    if packet.bytes.is_empty() {
        return Ok(false);
    }
    let request: Request = serde_json::from_slice(&packet.bytes)
        .map_err(|error| Fault::new(format!("request: {error}")))?;
    let (result, fds) = match state.carry_out(request.order) {
        Ok((answer, fds)) => (Ok(answer), fds),
        Err(refusal) => (Err(refusal), Vec::new()),
    };
    say(
        socket,
        &Message::Reply {
            id: request.id,
            result,
        },
        &fds,
    )?;
    Ok(true)
}

fn say(socket: &OwnedFd, message: &Message, fds: &[OwnedFd]) -> Result<(), Fault> {
    let bytes = serde_json::to_vec(message).map_err(|error| Fault::new(error.to_string()))?;
    let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    channel::send(socket, &bytes, &fds, MsgFlags::empty()).doing(|| "send a message".into())
}
