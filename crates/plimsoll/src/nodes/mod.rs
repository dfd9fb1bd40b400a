//! Nodes and node groups from the outside: why a node stays, what would happen without it or with
//! more pods, and what each costs. Works on any cluster; where Plimsoll's node autoscaler runs, what
//! it says is taken in.

mod groups;
mod judge;
mod limits;
mod money;
mod picture;
mod text;
pub(crate) mod top;
pub(crate) mod whatif;

pub(crate) use judge::{Given, NodeReport, judge};
pub(crate) use picture::{EXPLANATIONS, Picture};
pub(crate) use text::{group_lines, node_lines, overview};
