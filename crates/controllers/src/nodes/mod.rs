//! The node autoscaler's shell.

mod explanation;

pub use explanation::{Explanations, GroupStanding, Look, explains};
