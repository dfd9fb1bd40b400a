//! crate
pub mod horizontal;
pub mod placement;
