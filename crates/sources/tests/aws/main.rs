//! The provider of Auto Scaling groups against a server that speaks AWS's protocols, through a
//! proxy that fails on demand.
//!
//! The server is moto's: `$PLIMSOLL_E2E_MOTO/bin/moto_server` (`.ci/fetch-moto DIR` puts it there).
//! Without it the tests are reported as ignored, with the reason on the first line.

mod cases;
mod moto;
mod proxy;
mod rig;

use libtest_mimic::{Arguments, Failed, Trial};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// What a test returns.
type Outcome = Result<(), Failed>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let server = moto::Moto::start();
    if let Err(why) = &server {
        let line = format!("skipped: tests of the AWS provider: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).ok();
    }
    let server = server.ok().map(Arc::new);
    let trial = |(name, case): &(&'static str, cases::Case)| {
        let (server, case) = (server.clone(), *case);
        let ignored = server.is_none();
        let run = move || server.map_or(Ok(()), |server| rig::run(&server, case));
        Trial::test(*name, run).with_ignored_flag(ignored)
    };
    let trials = cases::ALL.iter().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
