//! crate
pub mod cron;
pub mod horizontal;
pub mod placement;
