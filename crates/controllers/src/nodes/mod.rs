//! The node autoscaler's shell.

pub mod actuation;
mod explanation;
pub mod priorities;

pub use explanation::{Explanations, GroupStanding, Look, explains};
