//! Terminals: `tty`, `stty size`, and starting a program in a session of its own.

use super::os;
use crate::launcher::sys;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The applet that takes standard input as its terminal before it becomes another program.
pub(crate) const SESSION: &str = "on-terminal";

/// Prints the name of the terminal on standard input.
pub(super) fn tty(_: &[String]) -> u8 {
    let Ok(path) = nix::unistd::ttyname(std::io::stdin()) else {
        os::line("not a tty");
        return 1;
    };
    u8::from(!os::line(&path.display().to_string()))
}

/// Prints the terminal's size: `stty size`.
pub(super) fn stty(arguments: &[String]) -> u8 {
    let size = match sys::window(std::io::stdin()) {
        Ok(size) => size,
        Err(errno) => return os::fail(&format!("stty: standard input: {}", errno.desc())),
    };
    match arguments {
        [word] if word == "size" => u8::from(!os::line(&format!("{} {}", size.1, size.0))),
        [] => u8::from(!os::line(&format!("rows {}; columns {};", size.1, size.0))),
        _ => os::fail("stty: only `stty` and `stty size` are built in"),
    }
}

/// Becomes `PROGRAM ARGUMENT…` in a session of its own, with standard input as its terminal.
pub(super) fn session(arguments: &[String]) -> u8 {
    let Some((program, rest)) = arguments.split_first() else {
        return os::fail("Usage: on-terminal PROGRAM [ARGUMENT…]");
    };
    // A process that leads a session already keeps it.
    let _leads = nix::unistd::setsid();
    if let Err(errno) = sys::take_terminal(std::io::stdin()) {
        return os::fail(&format!("{program}: no terminal: {}", errno.desc()));
    }
    let error = Command::new(program).args(rest).exec();
    os::complain(&format!("{program}: {}", os::reason(&error)));
    127
}
