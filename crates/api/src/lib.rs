//! Kubernetes wire types as data.
//!
//! The core is schema-driven: one table per type (fields, list types, merge keys, protobuf
//! numbers) and one engine that decodes, checks strictly, defaults, validates, patches and prints.
//! Objects travel as [`serde_json::Value`] while they are being changed and as bytes otherwise.
//! Nothing here does I/O.

pub mod apply;
pub mod capacity_buffer;
pub mod capacity_quota;
pub mod convert;
pub mod custom;
pub mod decode;
pub mod defaults;
pub(crate) mod definition;
pub mod discovery;
pub mod exposition;
pub mod gates;
pub mod kind;
pub mod kinds;
pub mod local;
pub mod meta;
pub mod names;
pub mod node;
pub mod nodegroup;
pub mod openapi;
pub mod patch;
pub mod pod_autoscaler;
pub mod print;
pub mod protobuf;
pub mod provisioning_request;
pub mod rbac;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod status;
pub mod storage;
pub mod usage;
pub mod validation;
