//! Images. Without a registry, a built-in catalogue stands in for what the labs use: this very
//! program under other names, in a small root directory with the host's shell.

mod catalogue;
mod reference;

pub use catalogue::{Image, all, find};
pub use reference::{Reference, ReferenceError};
