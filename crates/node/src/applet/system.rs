//! Tools that tell about the system: `hostname`, `env`, `date`, `id`, `whoami`, `uname`, `free`,
//! `df`, `kill`.

use super::{names, os};
use nix::sys::signal::{Signal, kill as send};
use nix::sys::statvfs::statvfs;
use nix::unistd::{Pid, getgid, getuid};
use std::fs;
use std::str::FromStr;

/// Prints the host name (`-i`: its address).
pub(super) fn hostname(arguments: &[String]) -> u8 {
    let name = os::hostname();
    if arguments.iter().any(|word| word == "-i" || word == "-I") {
        let told = os::variable("PLIMSOLL_LISTEN").and_then(|text| text.parse().ok());
        let address: Option<std::net::IpAddr> = told.or_else(|| {
            let found = names::look_up(&name).ok()?;
            found.into_iter().next()
        });
        let Some(address) = address else {
            return os::fail(&format!("hostname: {name}: Unknown host"));
        };
        return u8::from(!os::line(&address.to_string()));
    }
    u8::from(!os::line(&name))
}

/// Prints the environment.
pub(super) fn env(_: &[String]) -> u8 {
    for (name, value) in std::env::vars_os() {
        if !os::line(&format!(
            "{}={}",
            name.to_string_lossy(),
            value.to_string_lossy()
        )) {
            return 1;
        }
    }
    0
}

/// Prints the time; `+FORMAT` as in strftime.
pub(super) fn date(arguments: &[String]) -> u8 {
    let now = os::time_of_day().to_zoned(jiff::tz::TimeZone::UTC);
    let format = arguments.iter().find_map(|word| word.strip_prefix('+'));
    let format = format.unwrap_or("%a %b %e %H:%M:%S UTC %Y");
    match jiff::fmt::strtime::format(format, &now) {
        Ok(text) => u8::from(!os::line(&text)),
        Err(error) => os::fail(&format!("date: {error}")),
    }
}

/// Prints user and group.
pub(super) fn id(arguments: &[String]) -> u8 {
    let (user, group) = (getuid(), getgid());
    let text = match arguments.first().map(String::as_str) {
        Some("-u") => user.to_string(),
        Some("-g") => group.to_string(),
        _ if user.is_root() => format!("uid={user}(root) gid={group}(root)"),
        _ => format!("uid={user} gid={group}"),
    };
    u8::from(!os::line(&text))
}

/// Prints the user's name.
pub(super) fn whoami(_: &[String]) -> u8 {
    let user = getuid();
    u8::from(!os::line(&if user.is_root() {
        "root".to_owned()
    } else {
        user.to_string()
    }))
}

/// Prints the kernel's name; `-a`, `-r`, `-m`, `-n`.
pub(super) fn uname(arguments: &[String]) -> u8 {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let (release, version) = (read("osrelease"), read("version"));
    let (host, machine) = (os::hostname(), std::env::consts::ARCH);
    let text = match arguments.first().map(String::as_str) {
        Some("-a") => format!("Linux {host} {release} {version} {machine} GNU/Linux"),
        Some("-r") => release,
        Some("-m") => machine.to_owned(),
        Some("-n") => host,
        _ => "Linux".to_owned(),
    };
    u8::from(!os::line(&text))
}

/// Prints the machine's memory.
pub(super) fn free(arguments: &[String]) -> u8 {
    let (divisor, unit) = if arguments.iter().any(|word| word == "-m") {
        (1024, "MiB")
    } else {
        (1, "KiB")
    };
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let read = |wanted: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(wanted)?.strip_prefix(':'));
        let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        number.unwrap_or(0) / divisor
    };
    let (total, unused, available) = (read("MemTotal"), read("MemFree"), read("MemAvailable"));
    let used = total.saturating_sub(available);
    os::line(&format!(
        "{unit:<8}{:>12}{:>12}{:>12}{:>12}",
        "total", "used", "free", "available"
    ));
    u8::from(!os::line(&format!(
        "Mem:    {total:>12}{used:>12}{unused:>12}{available:>12}"
    )))
}

/// Prints the space on file systems.
pub(super) fn df(arguments: &[String]) -> u8 {
    let places: Vec<_> = arguments
        .iter()
        .filter(|word| !word.starts_with('-'))
        .cloned()
        .collect();
    let places = if places.is_empty() {
        vec!["/".to_owned()]
    } else {
        places
    };
    os::line("Filesystem           1K-blocks      Used Available Use% Mounted on");
    let mut code = 0;
    for place in places {
        match statvfs(place.as_str()) {
            Ok(about) => {
                let kilobytes = |blocks: u64| blocks * about.fragment_size() / 1024;
                let (all, left) = (
                    kilobytes(about.blocks()),
                    kilobytes(about.blocks_available()),
                );
                let used = all - kilobytes(about.blocks_free());
                let share = (used * 100).checked_div(used + left).unwrap_or(0);
                os::line(&format!(
                    "overlay {all:>22} {used:>9} {left:>9} {share:>3}% {place}"
                ));
            }
            Err(errno) => code = os::fail(&format!("df: {place}: {}", errno.desc())),
        }
    }
    code
}

/// Sends a signal: `kill [-SIGNAL] PID…`.
pub(super) fn kill(arguments: &[String]) -> u8 {
    let mut signal = Signal::SIGTERM;
    let mut code = 0;
    for word in arguments {
        if let Some(name) = word.strip_prefix('-') {
            match signal_of(name) {
                Some(found) => signal = found,
                None => return os::fail(&format!("kill: bad signal name '{name}'")),
            }
            continue;
        }
        let Ok(pid) = word.parse() else {
            code = os::fail(&format!("kill: invalid number '{word}'"));
            continue;
        };
        if let Err(errno) = send(Pid::from_raw(pid), signal) {
            code = os::fail(&format!("kill: can't kill pid {pid}: {}", errno.desc()));
        }
    }
    code
}

fn signal_of(name: &str) -> Option<Signal> {
    match name.parse::<i32>() {
        Ok(number) => Signal::try_from(number).ok(),
        Err(_) if name.starts_with("SIG") => Signal::from_str(name).ok(),
        Err(_) => Signal::from_str(&format!("SIG{name}")).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_numbers_and_names() {
        assert_eq!(signal_of("9"), Some(Signal::SIGKILL));
        assert_eq!(signal_of("TERM"), Some(Signal::SIGTERM));
        assert_eq!(signal_of("SIGSTOP"), Some(Signal::SIGSTOP));
        assert_eq!(signal_of("nope"), None);
    }
}
