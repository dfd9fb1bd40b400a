//! Memory of this process: what it has now, and the most it had since a moment.

use anyhow::{Context as _, Result};

/// The most memory this process had since [`Peak::begin`], beyond what it had then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peak {
    before: f64,
}

impl Peak {
    /// Forgets earlier peaks. `None` where the system keeps none.
    pub(super) fn begin() -> Option<Self> {
        // Linux: the number 5 resets the peak alone (proc(5), clear_refs).
        std::fs::write("/proc/self/clear_refs", "5").ok()?;
        let before = mebibytes("VmRSS").ok()?;
        Some(Self { before })
    }

    /// MiB.
    pub(super) fn end(self) -> Option<f64> {
        let peak = mebibytes("VmHWM").ok()?;
        Some((peak - self.before).max(0.0))
    }
}

fn mebibytes(name: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    amount(&status, name).with_context(|| format!("no {name} in the process's status"))
}

/// A line of `/proc/PID/status`, which counts in KiB, in MiB.
fn amount(status: &str, name: &str) -> Option<f64> {
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u32 = line.split_whitespace().next()?.parse().ok()?;
    Some(f64::from(kibibytes) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let status = "VmHWMark:\t 1 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  512 kB\n";
        assert_eq!(amount(status, "VmHWM"), Some(2.0));
        assert_eq!(amount(status, "VmRSS"), Some(0.5));
        assert_eq!(amount(status, "Vm"), None);
    }
}
