//! Usage of nodes and pods: from who measures to who serves and who decides.
//!
//! ```text
//! node agents ─────────┐
//! kubelets ── Scraper ─┼─ publish ──► Pipeline ──► UsageStore ──► MetricsApi (metrics.k8s.io)
//! metrics.k8s.io ──────┘                 └──────► subscribers (the autoscalers)
//!        of others (Poller)
//! ```

mod api;
pub mod kubelet;
mod labels;
mod pipeline;
pub mod poll;
pub mod source;

pub use api::MetricsApi;
pub use pipeline::Pipeline;
