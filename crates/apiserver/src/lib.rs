//! The embedded API server.

mod admission;
mod aggregation;
pub mod audit;
pub mod auth;
mod bootstrap;
mod call;
mod certificates;
mod custom;
mod discovery;
mod dispatch;
pub mod extension;
mod flow;
mod http;
pub mod kubelet;
mod local;
mod maintenance;
mod metrics;
mod openapi;
pub mod outbound;
pub mod pki;
mod random;
mod remarks;
mod resource;
mod reviews;
pub mod serve;
mod server;
pub mod store;
mod streams;
mod system;

pub use crate::http::Body;
pub use server::{ApiServer, ClusterSettings, Config, InProcess};
