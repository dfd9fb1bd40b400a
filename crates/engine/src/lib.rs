//! crate
pub use plimsoll_cron as cron;

pub mod cluster;
pub mod horizontal;
pub mod placement;
