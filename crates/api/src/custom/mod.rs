//! Custom resources: what a CustomResourceDefinition says, in the form every request needs it.
//!
//! A definition is parsed once when it is written ([`Definition`]); each of its versions becomes a
//! [`crate::kind::Kind`] that carries a [`Custom`] instead of tables.

pub mod accept;
mod check;
mod composite;
mod decode;
mod default;
mod definition;
mod formats;
mod jsonpath;
mod kind;
mod path;
mod prune;
pub(crate) mod publish;
mod scale;
mod schema;
pub(crate) mod strategy;
mod table;
pub(crate) mod validate;

pub use accept::Taken;
pub use check::check;
pub use default::fill;
pub use definition::{Definition, Names, ScalePaths, Version};
pub use jsonpath::{JsonPath, JsonPathError};
pub use kind::{Conversion, Custom};
pub use prune::prune;
pub use schema::{Limits, ListKind, Schema, Type};

pub(crate) use decode::{json as decode_json, value as decode_value};
