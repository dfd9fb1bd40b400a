//! Custom and external metrics out of Prometheus, by rules in prometheus-adapter's format.
//!
//! ```text
//! file ──► Config ──► Rules ──┐                    ┌──► discovery
//! Prometheus series ──────────┼──► Catalog ────────┤
//! API discovery ──► Mapper ───┘                    └──► question ──► query ──► values
//! ```

mod absent;
mod answer;
mod catalog;
mod config;
mod labels;
mod mapper;
mod query;
mod rule;
mod source;
mod template;
mod values;

pub use config::{Config, ConfigError};
pub use rule::{Fault, Rules};
pub use source::{PrometheusRules, Settings};
