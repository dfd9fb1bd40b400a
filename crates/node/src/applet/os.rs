//! The little that applets need of the system: output, waiting, the environment.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Prints a line; `false` when nobody reads any more.
pub(super) fn line(text: &str) -> bool {
    print(format!("{text}\n").as_bytes())
}

/// Prints bytes as they are; `false` when nobody reads any more.
pub(super) fn print(bytes: &[u8]) -> bool {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .is_ok()
}

/// Complains on standard error and returns the usual exit code.
pub(super) fn fail(text: &str) -> u8 {
    complain(text);
    1
}

/// Writes a line to standard error.
pub(super) fn complain(text: &str) {
    let _nobody_reads = writeln!(io::stderr(), "{text}");
}

/// An I/O error's reason, as the C library words it.
pub(super) fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(
        || error.to_string(),
        |number| nix::errno::Errno::from_raw(number).desc().to_owned(),
    )
}

/// Waits.
#[expect(
    clippy::disallowed_methods,
    reason = "an applet is a program of its own, in real time"
)]
pub(super) fn pause_for(duration: Duration) {
    std::thread::sleep(duration);
}

/// The monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "an applet is a program of its own, in real time"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The time of day.
#[expect(
    clippy::disallowed_methods,
    reason = "an applet is a program of its own, in real time"
)]
pub(super) fn time_of_day() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A variable of the environment, if it is set to something.
#[expect(
    clippy::disallowed_methods,
    reason = "an applet is a program of its own; this is its input"
)]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The host name.
pub(super) fn hostname() -> String {
    // A plain process shares the machine's host name, so it is told its own.
    if variable(super::names::SERVER).is_some()
        && let Some(name) = variable("HOSTNAME")
    {
        return name;
    }
    nix::unistd::gethostname().map_or_else(
        |_| "localhost".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}
