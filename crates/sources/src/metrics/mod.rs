//! Usage of nodes and pods: from who measures to who serves and who decides.
//!
//! ```text
//! node agents ── publish ──► Pipeline ──► UsageStore ──► MetricsApi (metrics.k8s.io)
//!                               └──────► subscribers (the autoscalers)
//! ```

mod api;
mod labels;
mod pipeline;

pub use api::MetricsApi;
pub use pipeline::Pipeline;
