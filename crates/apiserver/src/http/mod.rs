//! The wire: paths, queries, media types and answers.

pub(crate) mod body;
pub(crate) mod negotiate;
pub(crate) mod query;
pub(crate) mod respond;
pub(crate) mod route;
pub(crate) mod yaml;

pub use body::Body;
