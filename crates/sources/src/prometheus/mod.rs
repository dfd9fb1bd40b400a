//! Asking a Prometheus server (or what speaks its HTTP API: Thanos, Mimir, VictoriaMetrics).

mod access;
mod answer;
mod client;

pub use access::{Access, AccessError, Place};
pub use answer::{Sample, Series};
pub use client::{Prometheus, PrometheusError, Verb};
pub(crate) use client::{escape, innermost};
