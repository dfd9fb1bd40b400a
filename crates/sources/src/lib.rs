//! Where signals come from: the metrics pipeline and the metrics APIs.

pub mod custom;
pub mod metrics;
pub mod prometheus;
pub mod rules;
