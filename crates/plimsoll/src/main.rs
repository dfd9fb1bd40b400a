//! Plimsoll: the whole of Kubernetes autoscaling in one program, with its own cluster to do it on.
//!
//! The same file answers under several names: as the command line, as the node helper that makes
//! containers, and as the programs inside the built-in images.

mod args;
mod bench;
mod cluster;
mod convert;
mod demo;
mod doctor;
mod explain;
mod gates;
mod hold;
mod install;
mod lifecycle;
mod metric_sources;
mod node_autoscaling;
mod nodes;
mod output;
mod reach;
mod run;
mod safekeeping;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: containers start through here, and must do so in about a millisecond.
    if let Some(code) = plimsoll_node::applet::dispatch(std::env::args_os()) {
        return code;
    }
    if let Some(code) = plimsoll_node::launcher::maybe_run() {
        return code;
    }
    args::run()
}
