//! Auto Scaling groups of AWS as node groups.
//!
//! Which groups: [`Options`]. The permissions `autoscaling:DescribeAutoScalingGroups`,
//! `SetDesiredCapacity` and `TerminateInstanceInAutoScalingGroup` are enough; with
//! `DescribeScalingActivities` failed launches are noticed at once, and with
//! `DescribeLaunchConfigurations`, `ec2:DescribeLaunchTemplateVersions` and
//! `ec2:DescribeInstanceTypes` groups that never had a node are known without tags.
//!
//! ```text
//! options ──▶ provider ──▶ state (cache, placeholders) ──▶ NodeGroup
//!                │  └────▶ launch ──▶ template (catalog, tags) ──▶ ProviderTemplate
//!                ▼
//!               api ◀── connect, sdk, convert (Auto Scaling) · ec2 (signed here)
//! ```
//!
//! Facts: reference/cluster-autoscaler.md §13.

mod api;
mod config;
mod connect;
mod convert;
mod ec2;
mod ec2_answer;
mod error;
#[cfg(test)]
mod fake;
mod launch;
mod model;
mod options;
mod provider;
mod reading;
mod sdk;
mod shortage;
mod state;
mod tags;
mod template;
#[cfg(test)]
mod tests;

pub use config::{CloudConfig, ConfigError, ServiceOverride};
pub use options::{NamedGroup, Options, SpecError, TagQuery};
pub use provider::AwsProvider;
