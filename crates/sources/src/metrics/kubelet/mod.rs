//! Usage from kubelets, as metrics-server gets it: `/metrics/resource` of every node, twice, and
//! the difference.
//!
//! ```text
//! nodes (watch) ─► one task a node ─► text ─► ledger ─► owners ─► Pipeline
//! ```
//!
//! Departs: metrics-server reads all nodes in one round and then publishes; here each node is
//! published as it answers, and nodes are spread over the period.

mod access;
mod follower;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod options;
mod owners;
mod round;
mod scraper;
mod stats;
#[cfg(test)]
mod tests;
mod text;
mod track;

pub use access::{AccessError, kubelet_client};
pub use options::{KubeletTls, Reach, ScrapeOptions};
pub use scraper::{Scraper, ScraperConfig};
pub use stats::ScrapeStats;
