//! Limits without cgroups: processes over their share are stopped until they have paid it back.
//!
//! Every 100 ms a container is charged for the CPU time it used and credited with its limit's
//! share of the window; while it owes, it is stopped.

use super::sys;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

/// Length of a window.
pub(crate) const WINDOW: Duration = Duration::from_millis(100);

/// What to do with a container in the next window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may run.
    Run,
    /// It owes CPU time.
    Stop,
}

/// The account of one container.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    seen_nanos: u64,
    debt_nanos: u64,
    stopped: bool,
}

impl Account {
    /// Charges what was used since the last window of `elapsed`; `total_nanos` is cumulative.
    pub(crate) fn settle(
        &mut self,
        total_nanos: u64,
        limit_milli: u64,
        elapsed: Duration,
    ) -> Verdict {
        let used = total_nanos.saturating_sub(self.seen_nanos);
        self.seen_nanos = self.seen_nanos.max(total_nanos);
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let credit = elapsed.saturating_mul(limit_milli) / 1000;
        self.debt_nanos = self.debt_nanos.saturating_add(used).saturating_sub(credit);
        // Stopped only for whole windows: stopping earlier would forfeit the rest of the credit.
        if self.debt_nanos > 0 && self.debt_nanos >= credit {
            Verdict::Stop
        } else {
            Verdict::Run
        }
    }

    /// Whether it is stopped now.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Carries a verdict out, if it changes anything.
    pub(crate) fn carry_out(&mut self, verdict: Verdict, pids: &[i32]) {
        let signal = match (verdict, self.stopped) {
            (Verdict::Stop, _) => Signal::SIGSTOP,
            (Verdict::Run, true) => Signal::SIGCONT,
            (Verdict::Run, false) => return,
        };
        self.stopped = verdict == Verdict::Stop;
        for pid in pids {
            let _gone = kill(Pid::from_raw(*pid), signal);
        }
    }
}

/// All live descendants of `roots`, and those themselves.
pub(crate) fn family(roots: &[i32]) -> Vec<i32> {
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|text| text.parse().ok())
        {
            if !found.contains(&child) {
                found.push(child);
            }
        }
    }
    found
}

/// CPU time of live processes (from their clocks) and of those they have reaped (in ticks).
pub(crate) fn cpu_nanos(pids: &[i32]) -> u64 {
    const TICK_NANOS: u64 = 10_000_000;
    pids.iter()
        .map(|pid| {
            let live = sys::process_cpu_nanos(*pid).unwrap_or(0);
            live + reaped_ticks(*pid).unwrap_or(0) * TICK_NANOS
        })
        .sum()
}

/// Memory of all that is their own, in bytes: without files mapped, of which every applet's
/// program is one and the same.
pub(crate) fn memory_bytes(pids: &[i32]) -> u64 {
    let texts = pids
        .iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok());
    texts.map(|text| own_memory(&text)).sum()
}

/// `RssAnon` and `RssShmem` of a process's status, in bytes.
fn own_memory(status: &str) -> u64 {
    let kib = |line: &str| {
        let rest = line
            .strip_prefix("RssAnon:")
            .or_else(|| line.strip_prefix("RssShmem:"))?;
        rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    status.lines().filter_map(kib).sum::<u64>() * 1024
}

fn reaped_ticks(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command may contain anything, but its closing bracket is the last one.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// Lets a busy loop run under the governor for ten seconds and returns the millicores it got.
    fn busy_loop_under(limit_milli: u64) -> u64 {
        let mut account = Account::default();
        let (mut total, mut verdict) = (0, Verdict::Run);
        for _ in 0..100 {
            if verdict == Verdict::Run {
                total += u64::try_from(WINDOW.as_nanos()).unwrap();
            }
            verdict = account.settle(total, limit_milli, WINDOW);
        }
        total / 10_000_000
    }

    #[rstest]
    #[case(100)]
    #[case(200)]
    #[case(500)]
    #[case(900)]
    fn a_busy_loop_gets_its_limit(#[case] limit: u64) {
        let got = busy_loop_under(limit);
        assert!(got.abs_diff(limit) <= 15, "{got} of {limit}");
    }

    #[test]
    fn files_mapped_are_not_a_processs_own_memory() {
        let status = "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t     300 kB\n\
            RssFile:\t     500 kB\nRssShmem:\t     100 kB\n";
        assert_eq!(own_memory(status), 400 * 1024);
        assert_eq!(own_memory(""), 0);
    }

    #[test]
    fn an_idle_container_saves_nothing_up() {
        let mut account = Account::default();
        for _ in 0..100 {
            assert_eq!(account.settle(0, 500, WINDOW), Verdict::Run);
        }
        assert_eq!(account.settle(100_000_000, 500, WINDOW), Verdict::Stop);
    }
}
