//! CPU time and memory of a process.

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};

/// Ticks a second in `/proc/PID/stat`, on every Linux.
const TICKS: f64 = 100.0;

/// CPU time this process has used.
pub(super) fn own_cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| -> Result<f64> {
        let micros = u32::try_from(time.tv_usec()).unwrap_or_default();
        Ok(f64::from(u32::try_from(time.tv_sec())?) + f64::from(micros) / 1e6)
    };
    Ok(seconds(usage.user_time())? + seconds(usage.system_time())?)
}

/// CPU time a process has used, all its threads together.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let file = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&file).with_context(|| format!("no process {pid}"))?;
    cpu_of(&stat).with_context(|| format!("{file} is not understood"))
}

fn cpu_of(stat: &str) -> Option<f64> {
    // The name may contain anything, but ends at the last parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some((f64::from(ticks()?) + f64::from(ticks()?)) / TICKS)
}

/// Resident memory of this process.
pub(in crate::bench) fn rss_mebibytes() -> Result<f64> {
    rss_of("self")
}

/// Resident memory of a process.
pub(super) fn rss_of(pid: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    Ok(f64::from(kibibytes.context("no VmRSS in the process's status")?) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::cpu_of;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_of(stat), Some(3.0));
        assert_eq!(cpu_of("7 (a"), None);
    }
}
