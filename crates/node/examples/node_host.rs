//! A program that can be the launcher's helper and every applet, and nothing else: what the
//! runtime tests start.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll_node::launcher::maybe_run()
        .or_else(|| plimsoll_node::applet::dispatch(std::env::args_os()))
        .unwrap_or(ExitCode::from(2))
}
