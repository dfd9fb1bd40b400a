//! The calls the provider makes. One implementation uses the SDK, the one of the tests holds
//! groups in memory, so that caching and backing off are tested in virtual time.

use super::model::{Activity, LaunchFacts, Managed, ScalingGroup, Shape, TemplateRef};
use super::options::TagQuery;
use async_trait::async_trait;
use jiff::Timestamp;
use plimsoll_api::nodegroup::ProviderError;
use std::fmt::Debug;
use std::sync::Arc;

/// AWS, as far as it is needed here. Calls read all pages and try again what may pass.
#[async_trait]
pub(crate) trait Api: Send + Sync + Debug {
    /// `autoscaling:DescribeAutoScalingGroups` by name; those that do not exist are left out.
    async fn groups_by_name(&self, names: &[Arc<str>]) -> Result<Vec<ScalingGroup>, ProviderError>;

    /// `autoscaling:DescribeAutoScalingGroups` by tags.
    async fn groups_by_tags(&self, query: &TagQuery) -> Result<Vec<ScalingGroup>, ProviderError>;

    /// `autoscaling:DescribeScalingActivities`, newest first, those that began at `since` or later.
    async fn activities(
        &self,
        group: &str,
        since: Timestamp,
    ) -> Result<Vec<Activity>, ProviderError>;

    /// `autoscaling:DescribeLaunchConfigurations`.
    async fn launch_configuration(&self, name: &str) -> Result<Option<LaunchFacts>, ProviderError>;

    /// `ec2:DescribeLaunchTemplateVersions`.
    async fn launch_template(
        &self,
        template: &TemplateRef,
    ) -> Result<Option<LaunchFacts>, ProviderError>;

    /// `ec2:DescribeInstanceTypes`.
    async fn instance_type(&self, name: &str) -> Result<Option<Shape>, ProviderError>;

    /// `eks:DescribeNodegroup` of a cluster.
    async fn managed(&self, cluster: &str, name: &str) -> Result<Option<Managed>, ProviderError>;

    /// `autoscaling:SetDesiredCapacity`, without waiting for a cooldown.
    async fn set_desired(&self, group: &str, desired: usize) -> Result<(), ProviderError>;

    /// `autoscaling:TerminateInstanceInAutoScalingGroup` that lowers the desired capacity.
    async fn terminate(&self, instance: &str) -> Result<(), ProviderError>;

    /// The region, e.g. `us-east-1`.
    fn region(&self) -> &str;
}
