//! Auto Scaling groups of AWS as node groups.
//!
//! Which groups: [`Options`]. The permissions `autoscaling:DescribeAutoScalingGroups`,
//! `SetDesiredCapacity` and `TerminateInstanceInAutoScalingGroup` are enough; with
//! `DescribeScalingActivities` failed launches are noticed at once, and with
//! `DescribeLaunchConfigurations`, `ec2:DescribeLaunchTemplateVersions` and
//! `ec2:DescribeInstanceTypes` groups that never had a node are known without tags, and with
//! `eks:DescribeNodegroup` labels and taints of EKS's managed ones.
//!
//! ```text
//! options ──▶ provider ──▶ state (cache, placeholders) ──▶ NodeGroup
//!                │  └────▶ launch ──▶ template (catalog, tags) ──▶ ProviderTemplate
//!                ▼
//!               api ◀── connect, sdk, convert (Auto Scaling) · ec2, eks (signed here)
//! ```
//!
//! Facts: reference/cluster-autoscaler.md §13.

mod api;
mod config;
mod connect;
mod convert;
mod ec2;
mod ec2_answer;
mod eks;
mod eks_answer;
mod ending;
mod error;
#[cfg(test)]
mod fake;
mod labels;
mod launch;
mod model;
mod options;
mod provider;
mod reading;
mod sdk;
mod shortage;
mod signed;
mod sizes;
mod state;
mod tags;
mod template;
#[cfg(test)]
mod tests;
mod weighing;
mod weights;
#[cfg(test)]
mod weights_tests;

pub use config::{CloudConfig, ConfigError, ServiceOverride};
pub use options::{NamedGroup, Options, SpecError, TagQuery};
pub use provider::AwsProvider;
