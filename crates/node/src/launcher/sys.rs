//! The system calls that have no safe wrapper, each behind one small function.

use nix::errno::Errno;
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Which side of a [`fork`] this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The old process, with the child's pid in its own pid namespace.
    Parent(Pid),
}

/// Forks with extra `clone(2)` flags (namespaces, `CLONE_PARENT`).
///
/// Only for the helper: it has one thread, so the child may go on as if after a plain fork.
#[expect(
    unsafe_code,
    reason = "clone has no safe wrapper that behaves like fork"
)]
pub(crate) fn fork(flags: libc::c_int) -> Result<Side, Errno> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: No stack and no tid pointers are passed, so the kernel copies the caller as fork
    // does. The helper is single-threaded: no lock can be held by a thread that does not exist in
    // the child.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match Errno::result(pid)? {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid::from_raw(
            i32::try_from(pid).unwrap_or(i32::MAX),
        ))),
    }
}

/// Ends this process at once, without running destructors or flushing buffers of the parent.
#[expect(unsafe_code, reason = "_exit has no safe wrapper")]
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Takes ownership of a descriptor that the kernel has just handed over (`SCM_RIGHTS`).
#[expect(unsafe_code, reason = "the kernel returns plain numbers")]
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: Called only with descriptors that recvmsg installed for us, or with the socket that
    // the parent passed as standard input; nobody else owns them.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Registers a descriptor with the tokio runtime.
#[expect(
    unsafe_code,
    reason = "tokio cannot check that the descriptor stays the same one"
)]
pub(crate) fn watch(fd: OwnedFd) -> std::io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: An OwnedFd is one descriptor for its whole life, and AsyncFd owns it until it has
    // deregistered it.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(fd) }?)
}

/// Marks every descriptor from `first` on close-on-exec.
#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
pub(crate) fn close_from_on_exec(first: u32) {
    const CLOSE_ON_EXEC: libc::c_uint = 4;
    // SAFETY: Only flags of descriptors change; ownership stays as it is.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            CLOSE_ON_EXEC,
        )
    };
}

/// Undoes what was changed about signals: nothing blocked, and nothing ignored, neither by Rust's
/// start-up (SIGPIPE) nor by who started us (a script's background job ignores SIGINT, which would
/// take Ctrl-C from every container).
#[expect(unsafe_code, reason = "changing a signal's action has no safe wrapper")]
pub(crate) fn reset_signals() {
    for number in 1..32 {
        // SAFETY: SIG_DFL installs no handler of ours. SIGKILL and SIGSTOP answer EINVAL: fine.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let _unchanged = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Drops every capability outside `keep` (bits by capability number) from the bounding set.
#[expect(unsafe_code, reason = "prctl has no safe wrapper for this")]
pub(crate) fn limit_bounding_set(keep: u64) {
    for number in 0..64_u32 {
        if keep & (1 << number) == 0 {
            // SAFETY: Integer arguments only. Unknown numbers answer EINVAL, which is fine.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        }
    }
}

/// Limits the process's own sets of capabilities to `keep` (bits by capability number).
#[expect(unsafe_code, reason = "capset has no safe wrapper")]
pub(crate) fn limit_capabilities(keep: u64) -> Result<(), Errno> {
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut sets = [0_u32; 6];
    // SAFETY: Version 3 reads a header and writes two triples of 32-bit words, which `sets` holds.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr())
    })?;
    let low = u32::try_from(keep & 0xffff_ffff).unwrap_or(u32::MAX);
    let high = u32::try_from(keep >> 32).unwrap_or(u32::MAX);
    for (index, set) in sets.iter_mut().enumerate() {
        let inheritable = index % 3 == 2;
        *set &= if inheritable {
            0
        } else if index < 3 {
            low
        } else {
            high
        };
    }
    // SAFETY: As above; the kernel only reads `sets`.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })?;
    Ok(())
}

/// Does nothing until it is killed: the first process of a pid namespace that containers share.
#[expect(unsafe_code, reason = "ignoring a signal has no safe wrapper")]
pub(crate) fn hold_forever() -> ! {
    // SAFETY: Ignoring installs no handler. The kernel then reaps the orphans of the namespace.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    // SAFETY: This process uses no descriptor any more, and never returns to code that might.
    unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0) };
    loop {
        nix::unistd::pause();
    }
}

/// Makes the terminal the controlling one of this (new) session.
#[expect(unsafe_code, reason = "TIOCSCTTY has no safe wrapper")]
pub(crate) fn take_terminal(terminal: impl AsFd) -> Result<(), Errno> {
    // SAFETY: The argument is an integer; the descriptor is open.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) };
    Errno::result(result).map(drop)
}

/// Unlocks the terminal behind a `ptmx` descriptor and returns its number in `/dev/pts`.
#[expect(unsafe_code, reason = "devpts ioctls have no safe wrapper")]
pub(crate) fn unlock_terminal(master: impl AsFd) -> Result<u32, Errno> {
    let fd = master.as_fd().as_raw_fd();
    let unlocked: libc::c_int = 0;
    let mut number: libc::c_uint = 0;
    // SAFETY: Both ioctls take a pointer to an int that lives across the call.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCSPTLCK, &raw const unlocked) })?;
    // SAFETY: As above.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}

/// Sets the size of the terminal behind a master descriptor.
#[expect(unsafe_code, reason = "TIOCSWINSZ has no safe wrapper")]
pub(crate) fn set_window(master: impl AsFd, width: u16, height: u16) -> Result<(), Errno> {
    let size = libc::winsize {
        ws_row: height,
        ws_col: width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: The kernel reads one winsize, which lives across the call.
    let result = unsafe {
        libc::ioctl(
            master.as_fd().as_raw_fd(),
            libc::TIOCSWINSZ,
            &raw const size,
        )
    };
    Errno::result(result).map(drop)
}

/// The width and height of the terminal behind a descriptor.
#[expect(unsafe_code, reason = "TIOCGWINSZ has no safe wrapper")]
pub(crate) fn window(terminal: impl AsFd) -> Result<(u16, u16), Errno> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: The kernel writes one winsize, which lives across the call.
    Errno::result(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_col, size.ws_row))
}

/// CPU time of all threads of a process, in nanoseconds; `None` when it is gone.
#[expect(unsafe_code, reason = "process clocks have no safe wrapper")]
pub(crate) fn process_cpu_nanos(pid: i32) -> Option<u64> {
    // The kernel's encoding of "CPU clock of process PID": negated pid, shifted, kind 2.
    let clock = ((!pid) << 3) | 2;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: The kernel writes one timespec, which lives across the call.
    Errno::result(unsafe { libc::clock_gettime(clock, &raw mut time) }).ok()?;
    let seconds = u64::try_from(time.tv_sec).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).ok()?)
}
