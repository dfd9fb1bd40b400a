//! The node autoscaler's shell.

pub mod actuation;
mod explanation;

pub use explanation::{Explanations, GroupStanding, Look, explains};
