//! The log, on standard error.

use super::flags::{LogFormat, LoggingArgs};
use anyhow::{Context, Result, anyhow};
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log. `PLIMSOLL_LOG` (e.g. `info,plimsoll_controllers=debug`) wins over `-v`.
pub(super) fn start(args: &LoggingArgs) -> Result<()> {
    let wanted = std::env::var_os("PLIMSOLL_LOG").and_then(|text| text.into_string().ok());
    let filter = match wanted.filter(|text| !text.is_empty()) {
        Some(text) => text.parse().context("PLIMSOLL_LOG")?,
        None => verbosity(args.v),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    let started = match args.logging_format {
        LogFormat::Text => registry.with(lines.with_filter(filter)).try_init(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            registry.with(lines.with_filter(filter)).try_init()
        }
    };
    started.map_err(|error| anyhow!("starting the log: {error}"))
}

/// Other people's crates are a level quieter than ours. What follows objects warns of every watch
/// that fails, for ever; our caches say it once.
fn verbosity(level: u8) -> Targets {
    let (ours, others) = match level {
        0..=3 => (Level::INFO, Level::WARN),
        4..=5 => (Level::DEBUG, Level::INFO),
        _ => (Level::TRACE, Level::DEBUG),
    };
    let watches = if others == Level::WARN {
        Level::ERROR
    } else {
        others
    };
    Targets::new()
        .with_default(others)
        .with_target("kube_runtime", watches)
        .with_target("plimsoll", ours)
}

#[cfg(test)]
mod tests {
    use super::verbosity;
    use tracing::Level;

    #[test]
    fn watches_that_fail_are_heard_of_from_level_four_on() {
        let hears = |level: u8, target: &str| verbosity(level).would_enable(target, &Level::WARN);
        assert!(!hears(0, "kube_runtime::watcher"));
        assert!(hears(0, "kube_client::client"));
        assert!(hears(4, "kube_runtime::watcher"));
    }
}
