//! The controllers against the in-process API server, on paused time.

use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options as StoreOptions, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use plimsoll_controllers::supervisor::{Context, Options, start_all};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;

struct Rig {
    client: Client,
    _server: ApiServer,
    _tasks: JoinSet<()>,
}

impl Rig {
    async fn start() -> Self {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let options = StoreOptions {
            dir: None,
            history_events: 100_000,
            history_bytes: 64 << 20,
        };
        let server = ApiServer::new(Config {
            store: Store::open(options).unwrap(),
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
        let options = Options {
            node_grace: None,
            root_ca: Some("certificate".into()),
            ..Options::default()
        };
        let context = Context::start(client.clone(), clock, 7, options);
        let tasks = start_all(&context);
        Self {
            client,
            _server: server,
            _tasks: tasks,
        }
    }

    fn resource(group: &str, plural: &str, kind: &str) -> ApiResource {
        let api_version = if group.is_empty() {
            "v1".into()
        } else {
            format!("{group}/v1")
        };
        ApiResource {
            group: group.into(),
            version: "v1".into(),
            api_version,
            kind: kind.into(),
            plural: plural.into(),
        }
    }

    fn cluster(&self, group: &str, plural: &str, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &Self::resource(group, plural, kind))
    }

    fn api(&self, namespace: &str, group: &str, plural: &str, kind: &str) -> Api<DynamicObject> {
        let resource = Self::resource(group, plural, kind);
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    fn deployments(&self) -> Api<DynamicObject> {
        self.api("default", "apps", "deployments", "Deployment")
    }

    fn pods(&self, namespace: &str) -> Api<DynamicObject> {
        self.api(namespace, "", "pods", "Pod")
    }

    async fn create_cluster(&self, group: &str, plural: &str, kind: &str, mut body: Value) {
        let resource = Self::resource(group, plural, kind);
        body["apiVersion"] = resource.api_version.into();
        body["kind"] = kind.into();
        let object = serde_json::from_value(body).unwrap();
        let api = self.cluster(group, plural, kind);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn create(&self, api: &Api<DynamicObject>, body: Value) {
        let object = serde_json::from_value(body).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Marks every pod as running and ready with an address, as a node agent would.
    async fn make_ready(&self, namespace: &str) {
        let pods = self.pods(namespace);
        for (n, pod) in pods
            .list(&ListParams::default())
            .await
            .unwrap()
            .into_iter()
            .enumerate()
        {
            if pod.data["status"]["podIP"].is_string() {
                continue;
            }
            let name = pod.metadata.name.unwrap();
            let patch = json!({"status": {
                "phase": "Running", "podIP": format!("10.1.0.{}", n + 1),
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}],
            }});
            pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))
                .await
                .unwrap();
        }
    }

    /// Waits (in virtual time) until `check` holds; returns how long it took.
    async fn until(&self, what: &str, mut check: impl AsyncFnMut() -> bool) -> Duration {
        let start = tokio::time::Instant::now();
        while !check().await {
            assert!(start.elapsed() < Duration::from_secs(120), "never: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        start.elapsed()
    }

    async fn count(&self, api: &Api<DynamicObject>) -> usize {
        api.list(&ListParams::default()).await.unwrap().items.len()
    }
}

fn deployment(image: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": image}]}}},
    })
}

async fn status(api: &Api<DynamicObject>, field: &str) -> i64 {
    api.get("web").await.unwrap().data["status"][field]
        .as_i64()
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_gets_pods_scales_and_cascades_when_deleted() {
    let rig = Rig::start().await;
    let (deployments, pods) = (rig.deployments(), rig.pods("default"));
    rig.create(&deployments, deployment("a", 1)).await;
    rig.until("one pod", async || rig.count(&pods).await == 1)
        .await;
    rig.make_ready("default").await;
    rig.until("available", async || {
        status(&deployments, "availableReplicas").await == 1
    })
    .await;

    let patch = json!({"spec": {"replicas": 10}});
    deployments
        .patch("web", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    let took = rig
        .until("ten pods", async || rig.count(&pods).await == 10)
        .await;
    assert!(took < Duration::from_millis(10), "{took:?}");
    let sets = rig.api("default", "apps", "replicasets", "ReplicaSet");
    assert_eq!(rig.count(&sets).await, 1);
    rig.make_ready("default").await;
    rig.until("ten ready", async || {
        status(&deployments, "readyReplicas").await == 10
    })
    .await;

    deployments
        .delete("web", &DeleteParams::background())
        .await
        .unwrap();
    rig.until("nothing left", async || {
        rig.count(&sets).await == 0 && rig.count(&pods).await == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_template_rolls_out_within_bounds_and_keeps_the_old_set() {
    let rig = Rig::start().await;
    let (deployments, pods) = (rig.deployments(), rig.pods("default"));
    rig.create(&deployments, deployment("a", 4)).await;
    rig.until("four pods", async || rig.count(&pods).await == 4)
        .await;
    rig.make_ready("default").await;
    rig.until("available", async || {
        status(&deployments, "availableReplicas").await == 4
    })
    .await;

    let template = json!({"spec": {"containers": [{"name": "c", "image": "b"}]}});
    let patch = json!({"spec": {"template": template}});
    deployments
        .patch("web", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    rig.until("rolled out", async || {
        let count = rig.count(&pods).await;
        assert!(count <= 5, "{count} pods");
        rig.make_ready("default").await;
        let object = deployments.get("web").await.unwrap();
        let status = &object.data["status"];
        status["updatedReplicas"] == 4
            && status["availableReplicas"] == 4
            && status["replicas"] == 4
    })
    .await;
    let sets = rig.api("default", "apps", "replicasets", "ReplicaSet");
    let sets = sets.list(&ListParams::default()).await.unwrap();
    let mut sizes: Vec<_> = sets
        .into_iter()
        .map(|set| set.data["spec"]["replicas"].as_i64().unwrap())
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 4]);
    let revision = deployments
        .get("web")
        .await
        .unwrap()
        .metadata
        .annotations
        .unwrap();
    assert_eq!(revision["deployment.kubernetes.io/revision"], "2");
}

#[tokio::test(start_paused = true)]
async fn a_service_finds_its_ready_pods() {
    let rig = Rig::start().await;
    rig.create(&rig.deployments(), deployment("a", 2)).await;
    let services = rig.api("default", "", "services", "Service");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    rig.create(&services, service).await;
    rig.until("two pods", async || {
        rig.count(&rig.pods("default")).await == 2
    })
    .await;
    rig.make_ready("default").await;
    let slices = rig.api(
        "default",
        "discovery.k8s.io",
        "endpointslices",
        "EndpointSlice",
    );
    rig.until("two endpoints", async || {
        let slices = slices.list(&ListParams::default()).await.unwrap();
        let mut endpoints = slices
            .iter()
            .flat_map(|s| s.data["endpoints"].as_array().unwrap());
        let ready = endpoints
            .by_ref()
            .filter(|e| e["conditions"]["ready"] == true)
            .count();
        ready == 2
    })
    .await;
    let endpoints = rig.api("default", "", "endpoints", "Endpoints");
    rig.until("endpoints", async || {
        let Some(object) = endpoints.get_opt("web").await.unwrap() else {
            return false;
        };
        object.data["subsets"][0]["addresses"]
            .as_array()
            .is_some_and(|a| a.len() == 2)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_furnished_and_emptied() {
    let rig = Rig::start().await;
    let body = json!({"metadata": {"name": "team"}});
    rig.create_cluster("", "namespaces", "Namespace", body)
        .await;
    let accounts = rig.api("team", "", "serviceaccounts", "ServiceAccount");
    let maps = rig.api("team", "", "configmaps", "ConfigMap");
    rig.until("furnished", async || {
        rig.count(&accounts).await == 1 && rig.count(&maps).await == 1
    })
    .await;
    let namespaces = rig.cluster("", "namespaces", "Namespace");
    namespaces
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    rig.until("gone", async || {
        namespaces.get_opt("team").await.unwrap().is_none()
    })
    .await;
}
