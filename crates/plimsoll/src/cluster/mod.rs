//! A whole cluster in this process: control plane, listener, nodes, Service proxy, DNS.

pub(crate) mod health;
mod kubeconfig;
mod machine;
mod nodes;
mod running;

pub(crate) use kubeconfig::Written;
pub(crate) use running::{Running, Settings};

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Mutex;

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

/// Sends the log to a file; `PLIMSOLL_LOG` filters it (`info` by default).
pub(crate) fn log_to(path: &Path) -> Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))?;
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var("PLIMSOLL_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init()
        .map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}
