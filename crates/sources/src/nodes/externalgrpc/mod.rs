//! The external gRPC provider of Cluster Autoscaler, from both sides: [`ExternalGrpc`] asks a
//! plug-in that exists, [`serve`] lets a stock autoscaler resize groups of ours. [`GrpcExpander`] asks
//! a service which group to grow.
//!
//! Facts: reference/cluster-autoscaler.md §13.

mod calls;
mod client;
mod config;
mod convert;
mod expander;
mod server;
mod wire;

#[cfg(test)]
mod expander_tests;
#[cfg(test)]
mod tests;

pub use client::ExternalGrpc;
pub use config::{ConfigError, Settings};
pub use expander::{ExpanderError, GrpcExpander};
pub use server::{ServeError, Tls, serve};

/// The service's full name.
const SERVICE: &str = "clusterautoscaler.cloudprovider.v1.externalgrpc.CloudProvider";
