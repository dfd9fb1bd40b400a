//! What this machine has.

use std::path::Path;

/// CPU in millicores and memory in bytes, of the whole machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Cores × 1000.
    pub(crate) cpu_milli: u64,
    /// Bytes.
    pub(crate) memory_bytes: u64,
}

impl Machine {
    /// Asks the kernel.
    pub(crate) fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let meminfo = std::fs::read_to_string(Path::new("/proc/meminfo")).unwrap_or_default();
        Self {
            cpu_milli: u64::try_from(cores).unwrap_or(1).saturating_mul(1000),
            memory_bytes: total_memory(&meminfo).unwrap_or(1 << 30),
        }
    }
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_memory_is_read_in_kib() {
        let text = "MemTotal:       24689604 kB\nMemFree:        1 kB\n";
        assert_eq!(total_memory(text), Some(24_689_604 * 1024));
        assert_eq!(total_memory("nonsense"), None);
    }
}
