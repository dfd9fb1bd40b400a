//! A whole cluster in this process: control plane, listener, nodes, Service proxy, DNS.

mod doors;
mod groups;
pub(crate) mod health;
mod kubeconfig;
mod machine;
mod nodes;
mod plugin;
mod reach;
mod running;

pub(crate) use kubeconfig::Written;
pub(crate) use running::{Running, Settings, store_options};

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Mutex;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The runtime of everything that is not simulated.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("plimsoll")
        .build()
        .context("starting the runtime")
}

/// A seed for a cluster that need not be repeatable.
pub(crate) fn fresh_seed() -> u64 {
    StdRng::from_os_rng().random()
}

/// Sends the log to a file; `PLIMSOLL_LOG` filters it (`info` by default, or per module:
/// `info,plimsoll_controllers=debug`).
pub(crate) fn log_to(path: &Path) -> Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    let wanted = std::env::var_os("PLIMSOLL_LOG").and_then(|text| text.into_string().ok());
    let filter: Targets = match wanted.filter(|text| !text.is_empty()) {
        Some(text) => text.parse().context("PLIMSOLL_LOG")?,
        None => Targets::new().with_default(tracing::Level::INFO),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Mutex::new(file));
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}
