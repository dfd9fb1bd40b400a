//! What the program says on its own behalf.

use std::io::Write;

/// One line on standard output. A closed pipe is not our error.
pub(crate) fn say(line: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").is_ok() {
        out.flush().ok();
    }
}

/// One line on standard error.
pub(crate) fn complain(line: impl std::fmt::Display) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}
