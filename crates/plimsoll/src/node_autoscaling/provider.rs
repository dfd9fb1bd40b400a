//! Flags about who has the machines.

use anyhow::{Context, Result, bail, ensure};
use clap::{ArgAction, Args};
use kube::Client;
use plimsoll_api::nodegroup::{NodeProvider, OptionOverrides};
use plimsoll_clock::Clock;
use plimsoll_engine::cluster::GroupOptions;
use plimsoll_sources::nodes::aws::{self, AwsProvider, CloudConfig, NamedGroup, TagQuery};
use plimsoll_sources::nodes::clusterapi::{self, ClusterApi, Discovery};
use plimsoll_sources::nodes::externalgrpc::{self, ExternalGrpc};
use std::path::PathBuf;
use std::sync::Arc;

/// Who has the machines of `plimsoll run`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Node autoscaling")]
pub(crate) struct ProviderArgs {
    /// Who has the machines: aws, clusterapi, or externalgrpc for a plug-in. Without it, nodes are
    /// left alone
    #[arg(long, value_name = "NAME")]
    cloud_provider: Option<String>,
    /// How the provider is reached, in the provider's own form; for clusterapi the kubeconfig of
    /// the management cluster, where that is another
    #[arg(long, value_name = "FILE", requires = "cloud_provider")]
    cloud_config: Option<PathBuf>,
    /// A node group with its smallest and its largest size; may be given several times
    #[arg(long, value_name = "MIN:MAX:NAME", requires = "cloud_provider")]
    nodes: Vec<String>,
    /// Which groups to find at the provider, e.g. asg:tag=k8s.io/cluster-autoscaler/enabled; may be
    /// given several times
    #[arg(long, value_name = "DISCOVERER:KEY=VALUE", requires = "cloud_provider")]
    node_group_auto_discovery: Vec<String>,
    /// Take what instance types are from the built-in table alone
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    aws_use_static_instance_list: bool,
}

impl ProviderArgs {
    /// Whether nodes are to be added and removed.
    pub(crate) fn is_given(&self) -> bool {
        self.cloud_provider.is_some()
    }

    /// Whether the flags make sense together.
    ///
    /// # Errors
    /// They do not.
    pub(crate) fn check(&self) -> Result<()> {
        match self.cloud_provider.as_deref() {
            None => Ok(()),
            Some("aws") => self.aws().map(drop),
            Some("externalgrpc") => self.plugin().map(drop),
            Some("clusterapi") => self.cluster_api().map(drop),
            Some(other) => bail!(
                "--cloud-provider: {other:?} is not known; there are aws, clusterapi and \
                 externalgrpc"
            ),
        }
    }

    /// The provider, if one is named. Nothing is asked of it yet.
    ///
    /// # Errors
    /// The flags make no sense, or nothing says how to reach it.
    pub(crate) async fn provider(
        &self,
        client: &Client,
        usual: &GroupOptions,
        clock: Clock,
    ) -> Result<Option<Arc<dyn NodeProvider>>> {
        self.check()?;
        Ok(match self.cloud_provider.as_deref() {
            None => None,
            Some("externalgrpc") => {
                let settings = self.plugin()?;
                let plugin = ExternalGrpc::connect(&settings, every(usual), clock).await;
                Some(Arc::new(plugin.context("--cloud-provider=externalgrpc")?))
            }
            Some("clusterapi") => {
                let client = match &self.cloud_config {
                    Some(kubeconfig) => crate::cluster::health::client(kubeconfig).await?,
                    None => client.clone(),
                };
                Some(Arc::new(ClusterApi::new(
                    client,
                    clock,
                    self.cluster_api()?,
                )))
            }
            Some(_) => {
                let provider = AwsProvider::new(self.aws()?, clock).await;
                Some(Arc::new(provider.context("--cloud-provider=aws")?))
            }
        })
    }

    fn plugin(&self) -> Result<externalgrpc::Settings> {
        ensure!(
            self.nodes.is_empty() && self.node_group_auto_discovery.is_empty(),
            "--cloud-provider=externalgrpc: the plug-in says which groups there are; leave out \
             --nodes and --node-group-auto-discovery"
        );
        let file = self.cloud_config.as_deref();
        let file = file.context("--cloud-provider=externalgrpc needs --cloud-config")?;
        externalgrpc::Settings::read(file)
            .with_context(|| format!("--cloud-config {}", file.display()))
    }

    /// Group, version and architecture come from the environment, as upstream.
    fn cluster_api(&self) -> Result<clusterapi::Settings> {
        ensure!(
            self.nodes.is_empty(),
            "--cloud-provider=clusterapi: sizes come from annotations; leave out --nodes"
        );
        let said = |name: &str| {
            let text = std::env::var_os(name).and_then(|text| text.into_string().ok());
            text.filter(|text| !text.is_empty())
        };
        let discovery = self.node_group_auto_discovery.iter();
        let discovery: Result<Vec<Discovery>, _> = discovery.map(|text| text.parse()).collect();
        let usual = clusterapi::Settings::default();
        Ok(clusterapi::Settings {
            group: said("CAPI_GROUP").unwrap_or(usual.group),
            version: said("CAPI_VERSION"),
            discovery: discovery.context("--node-group-auto-discovery")?,
            architecture: said("CAPI_SCALE_ZERO_DEFAULT_ARCH").unwrap_or(usual.architecture),
        })
    }

    fn aws(&self) -> Result<aws::Options> {
        let groups = self.nodes.iter().map(|text| text.parse::<NamedGroup>());
        let groups: Result<Vec<_>, _> = groups.collect();
        let discovery = self.node_group_auto_discovery.iter();
        let discovery: Result<Vec<TagQuery>, _> = discovery.map(|text| text.parse()).collect();
        let options = aws::Options {
            groups: groups.context("--nodes")?,
            discovery: discovery.context("--node-group-auto-discovery")?,
            cloud_config: self.cloud_config()?,
            static_types: self.aws_use_static_instance_list,
        };
        ensure!(
            !options.groups.is_empty() || !options.discovery.is_empty(),
            "--cloud-provider=aws: name groups with --nodes or --node-group-auto-discovery"
        );
        Ok(options)
    }

    fn cloud_config(&self) -> Result<CloudConfig> {
        let Some(file) = &self.cloud_config else {
            return Ok(CloudConfig::default());
        };
        let shown = || format!("--cloud-config {}", file.display());
        let text = std::fs::read_to_string(file).with_context(shown)?;
        text.parse().with_context(shown)
    }
}

/// The flags' values, for a plug-in to overlay.
fn every(usual: &GroupOptions) -> OptionOverrides {
    OptionOverrides {
        scale_down_utilization_threshold: Some(usual.scale_down_utilization_threshold),
        scale_down_gpu_utilization_threshold: Some(usual.scale_down_gpu_utilization_threshold),
        scale_down_unneeded_time: Some(usual.scale_down_unneeded_time),
        scale_down_unready_time: Some(usual.scale_down_unready_time),
        max_node_provision_time: Some(usual.max_node_provision_time),
        max_node_startup_time: Some(usual.max_node_startup_time),
        zero_or_max_node_scaling: Some(usual.zero_or_max_node_scaling),
        ignore_daemonsets_utilization: Some(usual.ignore_daemonsets_utilization),
    }
}

#[cfg(test)]
mod tests {
    use super::ProviderArgs;
    use clap::Parser;
    use rstest::rstest;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: ProviderArgs,
    }

    #[rstest]
    #[case::left_alone("")]
    #[case::named("--cloud-provider=aws --nodes=3:6:workers --nodes=0:2:spot")]
    #[case::found("--cloud-provider aws --node-group-auto-discovery=asg:tag=a,b=c")]
    #[case::with_a_table("--cloud-provider=aws --nodes=3:6:w --aws-use-static-instance-list")]
    #[case::cluster_api("--cloud-provider=clusterapi")]
    #[case::some_of_it(
        "--cloud-provider clusterapi --node-group-auto-discovery=clusterapi:namespace=a,b=c"
    )]
    fn upstreams_command_lines_are_understood(#[case] flags: &str) {
        checked(flags).unwrap();
    }

    #[rstest]
    #[case::no_groups("--cloud-provider=aws")]
    #[case::unknown("--cloud-provider=ours --nodes=1:2:a")]
    #[case::nobody("--nodes=1:2:a")]
    #[case::sizes("--cloud-provider=aws --nodes=2:1:a")]
    #[case::query("--cloud-provider=aws --node-group-auto-discovery=mig:name=a")]
    #[case::no_file("--cloud-provider=aws --nodes=1:2:a --cloud-config=/nowhere/at/all")]
    #[case::sizes_twice("--cloud-provider=clusterapi --nodes=1:2:a")]
    #[case::anothers("--cloud-provider=clusterapi --node-group-auto-discovery=asg:tag=a")]
    #[case::where_is_it("--cloud-provider=externalgrpc")]
    fn others_are_refused(#[case] flags: &str) {
        assert!(checked(flags).is_err());
    }

    fn checked(flags: &str) -> anyhow::Result<()> {
        let words = std::iter::once("command").chain(flags.split_whitespace());
        Command::try_parse_from(words)?.args.check()
    }
}
