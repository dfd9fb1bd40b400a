//! `guard`: ends process groups when the program that started them is gone.
//!
//! Containers end with the launcher's namespaces; plain processes would outlive a killed main
//! process. It tells its guard which groups there are: `+GROUP` and `-GROUP`, a line each.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io::BufRead;

/// The applet's name.
pub(crate) const NAME: &str = "guard";

/// Reads groups from standard input, and kills those left when it ends.
pub(super) fn guard(_: &[String]) -> u8 {
    for group in left(std::io::stdin().lock()) {
        let _gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    0
}

fn left(lines: impl BufRead) -> BTreeSet<i32> {
    let mut groups = BTreeSet::new();
    for line in lines.lines().map_while(Result::ok) {
        // Groups 0 and 1 would be ourselves and everybody.
        let group = line.get(1..).and_then(|text| text.parse::<i32>().ok());
        match (line.chars().next(), group.filter(|group| *group > 1)) {
            (Some('+'), Some(group)) => drop(groups.insert(group)),
            (Some('-'), Some(group)) => drop(groups.remove(&group)),
            _ => {}
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_that_have_not_ended_are_left() {
        let told = "+12\n+13\n-12\n+0\n+1\n+-5\nnonsense\n+14".as_bytes();
        assert_eq!(left(told), BTreeSet::from([13, 14]));
    }
}
