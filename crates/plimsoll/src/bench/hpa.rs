//! `plimsoll bench hpa`: what a decision costs, how the cost grows with the number of autoscalers
//! and of other pods, and how long a changed metric takes to become a written scale.
//!
//! Without `--server` the autoscaler and an API server are started in this process. With it, any
//! server and whatever autoscaler works there are measured from outside.

mod fake;
mod inside;
mod objects;
mod outside;
mod process;

use crate::output::say;
use anyhow::{Context as _, Result};
use clap::Args;
use objects::MetricType;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

pub(super) use process::rss_mebibytes;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct HpaArgs {
    /// Numbers of autoscalers to measure, one run each
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    autoscalers: Vec<usize>,
    /// Pods per autoscaler
    #[arg(long, default_value_t = 10)]
    pods: usize,
    /// Pods of other workloads, in a namespace of their own; each run is made without and with them
    #[arg(long, default_value_t = 0, value_name = "N")]
    other_pods: usize,
    /// Rounds of samples per run
    #[arg(long, default_value_t = 5, conflicts_with = "server")]
    rounds: u32,
    /// Write the results to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    foreign: Foreign,
}

/// A server that is not started here, and the autoscaler that works on it.
#[derive(Debug, Clone, Args)]
struct Foreign {
    /// Measure the autoscaler that works on the server at URL; everything made there is removed
    #[arg(
        long,
        value_name = "URL",
        requires = "token",
        conflicts_with = "kubeconfig"
    )]
    server: Option<String>,
    /// Bearer token for --server
    #[arg(long, value_name = "TOKEN", requires = "server")]
    token: Option<String>,
    /// Do not check the certificate of --server
    #[arg(long, requires = "server")]
    insecure_skip_tls_verify: bool,
    /// Check the certificate of --server against the authority in FILE
    #[arg(long, value_name = "FILE", requires = "server")]
    certificate_authority: Option<PathBuf>,
    /// Measure the autoscaler that works on the server of FILE's current context
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Process of that autoscaler, if it runs on this machine: its CPU time and memory are measured
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// How that autoscaler's metrics APIs reach this process
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    advertise: String,
    /// Kinds of metrics, in turns
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [MetricType::Resource])]
    metric_types: Vec<MetricType>,
    /// How long to watch it with nothing to do
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
}

impl Foreign {
    fn is_meant(&self) -> bool {
        self.server.is_some() || self.kubeconfig.is_some()
    }
}

/// How long each of several changes took to become a written scale.
#[derive(Debug, Clone, Copy, Serialize)]
struct Latency {
    #[serde(rename = "p50Seconds")]
    p50: f64,
    #[serde(rename = "p99Seconds")]
    p99: f64,
    #[serde(rename = "worstSeconds")]
    worst: f64,
}

impl Latency {
    fn of(mut taken: Vec<Duration>) -> Option<Self> {
        taken.sort_unstable();
        let at = |percent: usize| {
            let place = (taken.len() * percent).div_ceil(100).max(1) - 1;
            taken.get(place).map(Duration::as_secs_f64)
        };
        Some(Self {
            p50: at(50)?,
            p99: at(99)?,
            worst: at(100)?,
        })
    }

    fn say(self, what: &str) {
        let Self { p50, p99, worst } = self;
        say(format!(
            "{what}: p50 {p50:.3} s, p99 {p99:.3} s, worst {worst:.3} s"
        ));
    }
}

/// Measures and prints.
pub(crate) async fn run(args: HpaArgs) -> Result<()> {
    let results = if args.foreign.is_meant() {
        json!({ "benchmark": "hpa", "foreign": outside::run(&args).await? })
    } else {
        let runs = inside::run(&args).await?;
        let growth = inside::growth(&runs);
        json!({ "benchmark": "hpa", "runs": runs, "growth": growth })
    };
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_vec_pretty(&results)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Latency;
    use std::time::Duration;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        assert!(Latency::of(Vec::new()).is_none());
        let one = Latency::of(vec![Duration::from_secs(3)]).unwrap();
        assert_eq!((one.p50, one.p99), (3.0, 3.0));
        let many = (1..=200).rev().map(Duration::from_secs).collect();
        let many = Latency::of(many).unwrap();
        assert_eq!((many.p50, many.p99, many.worst), (100.0, 198.0, 200.0));
    }
}
