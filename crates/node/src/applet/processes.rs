//! `ps` and `top`.

use super::options::Options;
use super::os;
use std::fs;
use std::time::Duration;

#[derive(Debug, Clone)]
struct Process {
    pid: u32,
    state: String,
    ticks: u64,
    pages: u64,
    command: String,
}

/// Lists processes.
pub(super) fn ps(_: &[String]) -> u8 {
    os::line("PID   USER     TIME  COMMAND");
    for process in processes() {
        let seconds = process.ticks / 100;
        let time = format!("{}:{:02}", seconds / 60, seconds % 60);
        if !os::line(&format!(
            "{:>5} root     {time:>5} {}",
            process.pid, process.command
        )) {
            return 1;
        }
    }
    0
}

/// Lists processes with their share of CPU; `-n` rounds, each after a second.
pub(super) fn top(arguments: &[String]) -> u8 {
    let options = match Options::parse(arguments, &["n", "d"], &["b", "H", "m"]) {
        Ok(options) => options,
        Err(why) => return os::fail(&format!("top: {why}")),
    };
    let rounds = options
        .value(&["n"])
        .and_then(|text| text.parse().ok())
        .unwrap_or(u64::MAX);
    let delay = options
        .value(&["d"])
        .and_then(|text| text.parse().ok())
        .unwrap_or(1_u64)
        .max(1);
    let mut before = processes();
    for round in 0..rounds {
        os::pause_for(Duration::from_secs(if round == 0 { 1 } else { delay }));
        let span = if round == 0 { 1 } else { delay };
        let after = processes();
        let used = |process: &Process| {
            let old = before.iter().find(|old| old.pid == process.pid);
            process.ticks.saturating_sub(old.map_or(0, |old| old.ticks)) / span
        };
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        if !os::line(&format!(
            "Load average: {}\n  PID STAT   RSS %CPU COMMAND",
            load.trim()
        )) {
            return 1;
        }
        let mut shown = after.clone();
        shown.sort_by_key(|process| std::cmp::Reverse(used(process)));
        for process in &shown {
            let kilobytes = process.pages * 4;
            let share = used(process);
            let Process {
                pid,
                state,
                command,
                ..
            } = process;
            os::line(&format!(
                "{pid:>5} {state:<4} {kilobytes:>5} {share:>3}% {command}"
            ));
        }
        before = after;
    }
    0
}

fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| describe(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn describe(pid: u32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = text.rsplit_once(") ")?;
    let name = start.split_once('(').map_or("", |(_, name)| name);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let command = if line.trim().is_empty() {
        format!("[{name}]")
    } else {
        line.trim().to_owned()
    };
    Some(Process {
        pid,
        state: fields.first()?.to_string(),
        ticks: number(11)? + number(12)?,
        pages: number(21)?,
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found() {
        let own = std::process::id();
        assert!(
            processes()
                .iter()
                .any(|process| process.pid == own && process.pages > 0)
        );
    }
}
