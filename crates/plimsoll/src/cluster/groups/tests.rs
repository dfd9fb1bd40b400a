//! Address ranges, and what becomes of groups over a restart.

use super::{Embedded, Ranges, existing};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use plimsoll_api::nodegroup::NodeProvider;
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use plimsoll_node::agent::{self, Agents};
use plimsoll_node::proxy::table::{Directory, Table};
use plimsoll_node::runtime::Runtime;
use plimsoll_node::runtime::simulated::{Simulated, Steady};
use plimsoll_sources::nodes::fleet::{GroupConfig, Shape};
use plimsoll_sources::nodes::local::Local;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

struct Rig {
    client: Client,
    clock: Clock,
    _server: ApiServer,
}

impl Rig {
    async fn new() -> Self {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let server = ApiServer::new(Config {
            store: Store::open(Options::ephemeral()).unwrap(),
            clock,
            kinds: plimsoll_api::kinds::built_in(),
            seed: 7,
            cluster: ClusterSettings::default(),
            nodes: None,
            locals: Vec::new(),
            token_key: Pki::ephemeral(&[]).unwrap().token_key(),
        });
        server.bootstrap().await.unwrap();
        let client = Client::new(server.service(Identity::in_process("test")), "default");
        Self {
            client,
            clock,
            _server: server,
        }
    }

    /// Agents of one life of the cluster.
    async fn embedded(&self) -> Embedded {
        let (samples, _) = mpsc::channel(4);
        let agents = Agents::start_silent(agent::Config {
            client: self.client.clone(),
            clock: self.clock,
            seed: 7,
            nodes: Vec::new(),
            samples,
            services: Directory::fixed(Table::default()),
            cluster_dns: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
            cluster_domain: "cluster.local".to_owned(),
            state_dir: "unused".into(),
            sample_period: Duration::from_secs(1),
        });
        let runtime: Arc<dyn Runtime> =
            Arc::new(Simulated::new(self.clock, Arc::new(Steady::default())));
        Embedded::new(agents.await.unwrap(), runtime, self.clock)
    }

    async fn node(&self, name: &str) -> Value {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let there = |node: Option<&Node>| node.is_some_and(|node| node.status.is_some());
        let node = await_condition(nodes, name, there).await.unwrap();
        serde_json::to_value(node).unwrap()
    }
}

fn group() -> GroupConfig {
    let shape = Shape {
        cpu_milli: 1500,
        // Odd, so that it has one way to be written.
        memory_bytes: 3_000_001 << 10,
        pods: 17,
        ..Shape::default()
    };
    let shape = shape.with_gpus("nvidia.com/gpu", 2, "T4");
    GroupConfig::new("w", (1, 5), shape)
}

#[tokio::test(start_paused = true)]
async fn what_a_template_promises_is_what_registers() {
    let rig = Rig::new().await;
    let local = Local::new([group()], Arc::new(rig.embedded().await));
    local.start(&[]).await.unwrap();
    let node = rig.node("w-1").await;
    let template = local.template("w").await.unwrap().unwrap().node;
    for part in ["capacity", "allocatable"] {
        assert_eq!(node["status"][part], template["status"][part], "{part}");
    }
    let mut labels = template["metadata"]["labels"].clone();
    labels["kubernetes.io/hostname"] = json!("w-1");
    assert_eq!(node["metadata"]["labels"], labels);
    assert_eq!(node["spec"]["providerID"], "plimsoll://w/w-1");
}

#[tokio::test(start_paused = true)]
async fn nodes_of_a_group_outlive_a_restart_and_go_with_their_group() {
    let rig = Rig::new().await;
    let first = Local::new([group()], Arc::new(rig.embedded().await));
    first.start(&[]).await.unwrap();
    first.increase("w", 2).await.unwrap();
    for name in ["w-1", "w-2"] {
        rig.node(name).await;
    }
    let before = rig.node("w-3").await;
    drop(first);
    let again = rig.embedded().await;
    let names = ["w".into()].into();
    let mut found = existing(&rig.client, &names, &again).await.unwrap();
    found.sort();
    assert_eq!(found, ["w-1".into(), "w-2".into(), "w-3".into()]);
    let range = again.ranges.lock().take("w-3");
    assert_eq!(before["spec"]["podCIDR"], json!(range));
    let other = ["other".into()].into();
    assert!(
        existing(&rig.client, &other, &again)
            .await
            .unwrap()
            .is_empty()
    );
    let nodes: Api<Node> = Api::all(rig.client.clone());
    assert!(
        nodes
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[test]
fn ranges_are_never_shared_and_rest_before_they_are_used_again() {
    let mut ranges = Ranges::default();
    assert_eq!(ranges.take("a").as_deref(), Some("10.248.0.0/24"));
    assert_eq!(ranges.take("b").as_deref(), Some("10.248.1.0/24"));
    assert_eq!(ranges.take("a").as_deref(), Some("10.248.0.0/24"));
    ranges.taken.remove("a");
    assert_eq!(ranges.take("c").as_deref(), Some("10.248.2.0/24"));
    for number in 3..2048 {
        assert!(ranges.take(&format!("n{number}")).is_some(), "{number}");
    }
    assert_eq!(ranges.take("d").as_deref(), Some("10.248.0.0/24"));
    assert_eq!(ranges.take("e"), None);
}

#[test]
fn a_node_of_an_earlier_life_keeps_its_range() {
    let mut ranges = Ranges::default();
    ranges.reserve("old", "10.248.0.0/24");
    ranges.reserve("twin", "10.248.0.0/24");
    for odd in ["", "10.244.3.0/24", "10.4000000.1.0/24", "nonsense", "10.1"] {
        ranges.reserve("odd", odd);
    }
    assert_eq!(ranges.take("new").as_deref(), Some("10.248.1.0/24"));
    assert_eq!(ranges.take("old").as_deref(), Some("10.248.0.0/24"));
    assert_eq!(ranges.take("twin").as_deref(), Some("10.248.2.0/24"));
    assert_eq!(ranges.taken.get("odd"), None);
}
