//! A cluster of one API server and simulated nodes, in virtual time.

use jiff::Timestamp;
use plimsoll_api::usage::{Samples, UsageStore};
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use plimsoll_node::agent::{self, Agents, Cluster, NodeSpec};
use plimsoll_node::proxy::table::Directory;
use plimsoll_node::runtime::Runtime;
use plimsoll_node::runtime::simulated::{Simulated, UsageModel};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub(crate) struct World {
    pub(crate) api: Cluster,
    pub(crate) agents: Agents,
    pub(crate) runtime: Arc<Simulated>,
    pub(crate) clock: Clock,
    pub(crate) usage: UsageStore,
}

pub(crate) const POD: &str = "/api/v1/namespaces/default/pods/web";

impl World {
    pub(crate) async fn start(model: Arc<dyn UsageModel>) -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
        let server = ApiServer::new(Config {
            store: Store::open(Options::ephemeral()).unwrap(),
            clock,
            kinds: plimsoll_api::kinds::built_in(),
            seed: 1,
            cluster: ClusterSettings::default(),
            nodes: None,
            locals: Vec::new(),
            token_key: Pki::ephemeral(&[]).unwrap().token_key(),
        });
        server.bootstrap().await.unwrap();
        let client = kube::Client::new(server.service(Identity::in_process("node")), "default");
        let api = Cluster::new(client.clone());
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        api.create("/api/v1/namespaces/default/serviceaccounts", &account)
            .await
            .unwrap();
        let runtime = Arc::new(Simulated::new(clock, model));
        let (samples, mut rounds) = mpsc::channel::<Samples>(4);
        let usage = UsageStore::default();
        let store = usage.clone();
        tokio::spawn(async move {
            while let Some(round) = rounds.recv().await {
                store.apply(&round);
            }
        });
        let agents = Agents::start(agent::Config {
            client: client.clone(),
            clock,
            seed: 1,
            nodes: vec![node(
                "n1",
                "10.244.1.0/24",
                Arc::<Simulated>::clone(&runtime),
            )],
            samples,
            services: Directory::start(client),
            cluster_dns: "10.96.0.10".parse().unwrap(),
            cluster_domain: "cluster.local".to_owned(),
            state_dir: "unused".into(),
            sample_period: Duration::from_secs(1),
        })
        .await
        .unwrap();
        Self {
            api,
            agents,
            runtime,
            clock,
            usage,
        }
    }

    pub(crate) async fn create(&self, spec: Value) {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {
            "nodeName": "n1", "containers": [{"name": "app", "image": "nginx"}],
        }});
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        self.api
            .create("/api/v1/namespaces/default/pods", &pod)
            .await
            .unwrap();
    }

    /// Waits (in virtual time) until the pod satisfies a condition.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..100_000 {
            last = self.api.get(POD).await.unwrap_or(Value::Null);
            if holds(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never {what}: {last:#}");
    }

    /// Reasons of the pod's events with their counts.
    pub(crate) async fn events(&self) -> Vec<(String, u64)> {
        let list: Value = self
            .api
            .get("/api/v1/namespaces/default/events")
            .await
            .unwrap();
        let items = list["items"].as_array().unwrap().iter();
        let pods = items.filter(|e| e["involvedObject"]["kind"] == "Pod");
        pods.map(|e| {
            (
                e["reason"].as_str().unwrap().to_owned(),
                e["count"].as_u64().unwrap(),
            )
        })
        .collect()
    }

    /// Seconds of virtual time since a moment.
    pub(crate) fn since(&self, start: Timestamp) -> f64 {
        self.clock.now().duration_since(start).as_secs_f64()
    }

    /// The same, rounded.
    pub(crate) fn whole_seconds_since(&self, start: Timestamp) -> i64 {
        self.clock
            .now()
            .duration_since(start)
            .round(jiff::Unit::Second)
            .unwrap()
            .as_secs()
    }

    /// Ends the pod's one running container.
    pub(crate) fn crash(&self, code: i32) {
        let id = self.runtime.container_ids().pop().unwrap();
        let exit = plimsoll_node::runtime::Exit {
            code,
            signal: None,
            oom_killed: false,
        };
        self.runtime.end(&id, exit);
    }
}

pub(crate) fn node(name: &str, cidr: &str, runtime: Arc<dyn Runtime>) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        cpu_milli: 4000,
        memory_bytes: 8 << 30,
        pods: 110,
        extended: [].into(),
        provider_id: None,
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        taints: Vec::new(),
        runtime,
        pod_cidr: cidr.to_owned(),
        address: None,
        server: None,
    }
}

pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let list = object["status"]["conditions"].as_array();
    list.and_then(|l| l.iter().find(|c| c["type"] == kind))
        .unwrap_or(&Value::Null)
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready")["status"] == "True"
}
