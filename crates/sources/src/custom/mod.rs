//! `custom.metrics.k8s.io` and `external.metrics.k8s.io`: one server for many sources.
//!
//! ```text
//! CustomSource, ExternalSource ── rules over Prometheus ──┐
//!                              ── event sources           ├──► Router ──► the two APIs
//!                              ── other adapters ─────────┘
//! ```
//!
//! A cluster can have one server for each of these APIs. So this one asks several sources, in
//! order, until one knows the metric.

mod adapter;
mod api;
mod render;
mod router;
mod source;

pub use adapter::Adapter;
pub use api::{CustomMetricsApi, ExternalMetricsApi};
pub use router::Router;
pub use source::{
    CustomAsk, CustomInfo, CustomSource, CustomValue, ExternalAsk, ExternalSource, ExternalValue,
    GroupResource, Objects, SourceError,
};
