//! Where signals come from (the metrics pipeline and the metrics APIs) and where nodes come from
//! (node-group providers).

pub mod custom;
pub mod metrics;
pub mod nodes;
pub mod prometheus;
pub mod rules;
