//! Which nodes are not needed: rules, what-ifs, timers and budgets.

mod cast;
mod consolidation;
mod drain;
mod planner;
mod properties;
mod utilization;
mod waiting;
