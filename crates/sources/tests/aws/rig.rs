//! What the cases share.

use super::Outcome;
use super::cases::Case;
use super::moto::Moto;
use super::proxy::Proxy;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use plimsoll_api::nodegroup::{NodeGroup, NodeProvider, NodeRef};
use plimsoll_clock::Clock;
use plimsoll_sources::nodes::aws::{AwsProvider, Options, ServiceOverride};

/// The server, and a proxy before it.
#[derive(Debug)]
pub(crate) struct Rig<'a> {
    pub(crate) moto: &'a Moto,
    pub(crate) proxy: Proxy,
}

/// Runs one case.
pub(crate) fn run(moto: &Moto, case: Case) -> Outcome {
    moto.launch_template("small", "t3.medium").ok();
    let proxy = Proxy::before(moto.port)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(case(Rig { moto, proxy }))
}

impl Rig<'_> {
    /// A provider of groups by `--nodes`.
    pub(crate) async fn of(
        &self,
        nodes: &[&str],
    ) -> Result<AwsProvider, Box<dyn std::error::Error>> {
        let groups: Result<_, _> = nodes.iter().map(|spec| spec.parse()).collect();
        self.with(Options {
            groups: groups?,
            ..Options::default()
        })
        .await
    }

    /// A provider with these options, which goes through the proxy.
    pub(crate) async fn with(
        &self,
        options: Options,
    ) -> Result<AwsProvider, Box<dyn std::error::Error>> {
        let credentials = Credentials::new("test", "test", None, None, "test");
        self.as_whom(options, credentials).await
    }

    /// The same, with these credentials.
    pub(crate) async fn as_whom(
        &self,
        mut options: Options,
        credentials: impl ProvideCredentials + 'static,
    ) -> Result<AwsProvider, Box<dyn std::error::Error>> {
        options.cloud_config.overrides = ["autoscaling", "ec2", "eks"]
            .map(|service| ServiceOverride {
                service: service.to_owned(),
                url: self.proxy.url.clone(),
                signing_region: String::new(),
            })
            .to_vec();
        let loader = aws_config::defaults(BehaviorVersion::latest());
        let loader = loader
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials);
        Ok(AwsProvider::connected(loader, options, Clock::system()).await?)
    }
}

/// The only group.
pub(crate) async fn only(provider: &AwsProvider) -> Result<NodeGroup, Box<dyn std::error::Error>> {
    let mut groups = provider.groups().await?;
    assert_eq!(groups.len(), 1, "{groups:?}");
    Ok(groups.remove(0))
}

/// The node that an instance, or a place, is to become.
pub(crate) fn node(provider_id: &str) -> NodeRef {
    NodeRef {
        name: provider_id.into(),
        provider_id: provider_id.into(),
        labels: Vec::new(),
        annotations: Vec::new(),
    }
}
