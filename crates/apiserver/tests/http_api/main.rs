//! The API over its in-process service: what clients send and what they get back.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected should stop there"
)]

mod admission;
mod aggregated_locals;
mod aggregation;
mod apply;
mod audit;
mod autoscaling;
mod balancing;
mod capacity_quota;
mod conversion;
mod credentials;
mod custom;
mod deletion;
mod discovery;
mod evictions;
mod extension;
mod failures;
mod flow;
mod fuzz;
mod kube_client;
mod lists;
mod openapi;
mod pod_autoscaler;
mod pod_security;
mod policies;
mod portforward;
mod protobuf;
mod proxy;
mod quota;
mod rbac;
mod reads;
mod rig;
mod rules;
mod sockets;
mod spdy;
mod streams;
mod targets;
mod watches;
mod webhook_server;
mod webhooks;
mod writes;
