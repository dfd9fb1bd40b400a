//! Providers of machines: each implements
//! [`NodeProvider`](plimsoll_api::nodegroup::NodeProvider).

pub mod aws;
pub mod catalog;
pub mod clusterapi;
pub mod externalgrpc;
pub mod fleet;
pub mod local;
pub mod simulated;
