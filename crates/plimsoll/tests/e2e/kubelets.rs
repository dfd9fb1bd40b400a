//! Nodes' own servers, read over TLS by our own scraper, as on any cluster.

use crate::cluster::Cluster;
use crate::kubectl::wait;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use libtest_mimic::Failed;
use plimsoll_api::usage::PodName;
use plimsoll_clock::Clock;
use plimsoll_sources::metrics::Pipeline;
use plimsoll_sources::metrics::kubelet::{
    KubeletTls, Reach, ScrapeOptions, Scraper, ScraperConfig, kubelet_client,
};
use std::time::Duration;

/// Usage of nodes and pods arrives from the nodes themselves, and only for those who may read it.
pub(crate) fn scraped() -> Result<(), Failed> {
    let cluster = Cluster::start(&[
        "--nodes=2",
        "--runtime=simulated",
        "--without=metrics,horizontal",
    ])?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let text = Kubeconfig::read_from(cluster.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(text, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config.clone())?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
        let pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "app", "image": "nginx"}]},
        }))?;
        pods.create(&PostParams::default(), &pod).await?;
        let mut stranger = config.clone();
        stranger.auth_info = AuthInfo::default();
        let (known, unknown) = (follow(&client, &config)?, follow(&client, &stranger)?);
        let web: PodName = ("default".into(), "web".into());
        let measured = || {
            let usage = &known.usage;
            usage.pod(&web).is_some()
                && usage.node("node-1").is_some()
                && usage.node("node-2").is_some()
        };
        let refused = || {
            let why = unknown.usage.silent("node-1");
            why.is_some_and(|why| why.contains("403") && why.contains("nodes/metrics"))
        };
        let both = tokio::task::block_in_place(|| wait(60, || measured() && refused()));
        let (why, stranger) = (known.usage.silent("node-1"), unknown.usage.silent("node-1"));
        both.map_err(|()| Failed::from(format!("not measured: {why:?}; stranger: {stranger:?}")))
    })
}

/// Scrapes every second with the credentials of `config`.
fn follow(client: &Client, config: &Config) -> Result<Pipeline, Failed> {
    let pipeline = Pipeline::new();
    let scraper = Scraper::new(ScraperConfig {
        api: client.clone(),
        kubelets: kubelet_client(config, &KubeletTls::default())?,
        clock: Clock::system(),
        seed: 1,
        options: ScrapeOptions {
            resolution: Duration::from_secs(1),
            max_age: Some(Duration::from_secs(10)),
            reach: Reach {
                address_types: vec!["ExternalIP".to_owned()],
                node_status_port: true,
                ..Reach::default()
            },
            ..ScrapeOptions::default()
        },
        pipeline: pipeline.clone(),
    });
    drop(tokio::spawn(scraper.run()));
    Ok(pipeline)
}
