//! Label and field selectors.

mod field;
mod label;
mod lexer;
mod parse;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{LabelRequirement, LabelSelector, Operator};
