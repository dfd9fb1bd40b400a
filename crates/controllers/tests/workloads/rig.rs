//! An API server with controllers, and a stand-in for the node agents.

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
use std::cell::Cell;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::task::JoinSet;

/// The longest a test waits, in virtual time.
const PATIENCE: Duration = Duration::from_secs(1200);

pub(crate) struct Rig {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) clock: Clock,
    pub(crate) tasks: JoinSet<()>,
    addresses: Cell<u16>,
    pub(crate) server: ApiServer,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options {
            node_grace: None,
            root_ca: Some("certificate".into()),
            load_balancers: Some(Ipv4Addr::LOCALHOST),
            ..Options::default()
        })
        .await
    }

    pub(crate) async fn start_with(settings: Options) -> Self {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let options = StoreOptions {
            dir: None,
            history_events: 100_000,
            history_bytes: 64 << 20,
            sealing: None,
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
        let context = Context::start(client.clone(), clock, 7, settings);
        let tasks = start_all(&context);
        Self {
            client,
            context,
            clock,
            tasks,
            addresses: Cell::new(0),
            server,
        }
    }

    fn resource(group: &str, version: &str, plural: &str, kind: &str) -> ApiResource {
        let api_version = if group.is_empty() {
            version.into()
        } else {
            format!("{group}/{version}")
        };
        ApiResource {
            group: group.into(),
            version: version.into(),
            api_version,
            kind: kind.into(),
            plural: plural.into(),
        }
    }

    pub(crate) fn cluster(&self, plural: &str, kind: &str) -> Api<DynamicObject> {
        self.cluster_of(("", "v1"), plural, kind)
    }

    pub(crate) fn cluster_of(
        &self,
        (group, version): (&str, &str),
        plural: &str,
        kind: &str,
    ) -> Api<DynamicObject> {
        let resource = Self::resource(group, version, plural, kind);
        Api::all_with(self.client.clone(), &resource)
    }

    pub(crate) fn api(
        &self,
        namespace: &str,
        (group, version): (&str, &str),
        plural: &str,
        kind: &str,
    ) -> Api<DynamicObject> {
        let resource = Self::resource(group, version, plural, kind);
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    pub(crate) fn deployments(&self) -> Api<DynamicObject> {
        self.api("default", ("apps", "v1"), "deployments", "Deployment")
    }

    pub(crate) fn replica_sets(&self) -> Api<DynamicObject> {
        self.api("default", ("apps", "v1"), "replicasets", "ReplicaSet")
    }

    pub(crate) fn pods(&self) -> Api<DynamicObject> {
        self.core("default", "pods", "Pod")
    }

    pub(crate) fn core(&self, namespace: &str, plural: &str, kind: &str) -> Api<DynamicObject> {
        self.api(namespace, ("", "v1"), plural, kind)
    }

    pub(crate) async fn create(&self, api: &Api<DynamicObject>, body: Value) {
        let object = serde_json::from_value(body).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    pub(crate) async fn patch(&self, api: &Api<DynamicObject>, name: &str, patch: Value) {
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// What node agents do in one look: pods that end are gone, the others run and are ready.
    pub(crate) async fn tend_pods(&self) {
        let pods = self.pods();
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            let name = pod.metadata.name.unwrap();
            if pod.metadata.deletion_timestamp.is_some() {
                drop(
                    pods.delete(&name, &DeleteParams::default().grace_period(0))
                        .await,
                );
            } else if !pod.data["status"]["podIP"].is_string() {
                self.set_ready(&name, true).await;
            }
        }
    }

    /// Marks a pod as running with an address, ready or not.
    pub(crate) async fn set_ready(&self, name: &str, ready: bool) {
        let pods = self.pods();
        let pod = pods.get(name).await.unwrap();
        let ip = pod.data["status"]["podIP"].as_str().map(str::to_owned);
        let ip = ip.unwrap_or_else(|| {
            self.addresses.set(self.addresses.get() + 1);
            format!("10.1.0.{}", self.addresses.get())
        });
        let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let started = pod.data["status"]["startTime"].as_str().unwrap_or(&now);
        let holds = if ready { "True" } else { "False" };
        let patch = json!({"status": {
            "phase": "Running", "podIP": ip, "startTime": started,
            "conditions": [{"type": "Ready", "status": holds, "lastTransitionTime": now}],
        }});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Waits (in virtual time) until `check` holds; returns how long it took.
    pub(crate) async fn until(&self, what: &str, mut check: impl AsyncFnMut() -> bool) -> Duration {
        let start = tokio::time::Instant::now();
        while !check().await {
            assert!(start.elapsed() < PATIENCE, "never: {what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        start.elapsed()
    }

    pub(crate) async fn list(&self, api: &Api<DynamicObject>) -> Vec<DynamicObject> {
        api.list(&ListParams::default()).await.unwrap().items
    }

    pub(crate) async fn count(&self, api: &Api<DynamicObject>) -> usize {
        self.list(api).await.len()
    }

    /// A deployment named `web` that has all its pods ready.
    pub(crate) async fn deploy(&self, replicas: i32) {
        let deployments = self.deployments();
        self.create(&deployments, deployment("a", replicas)).await;
        self.settle(replicas).await;
    }

    /// Tends the pods until the deployment `web` has rolled out `replicas`.
    pub(crate) async fn settle(&self, replicas: i32) {
        let deployments = self.deployments();
        self.until("rolled out", async || {
            self.tend_pods().await;
            let deployment = deployments.get("web").await.unwrap();
            let status = &deployment.data["status"];
            let generation = deployment.metadata.generation;
            status["observedGeneration"].as_i64() == generation
                && ["replicas", "updatedReplicas", "availableReplicas"]
                    .iter()
                    .all(|field| status[*field].as_i64().unwrap_or_default() == i64::from(replicas))
        })
        .await;
    }

    /// The messages of the events with this reason, sorted.
    pub(crate) async fn events(&self, reason: &str) -> Vec<String> {
        let mut events = self.list(&self.core("default", "events", "Event")).await;
        events.retain(|event| event.data["reason"] == reason);
        let text = |event: &DynamicObject| event.data["message"].as_str().unwrap().to_owned();
        let mut messages: Vec<_> = events.iter().map(text).collect();
        messages.sort();
        messages
    }
}

/// A deployment named `web` whose pods have the label `app=web` and ask for 100m.
pub(crate) fn deployment(image: &str, replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": image,
                "resources": {"requests": {"cpu": "100m"}}}]}}},
    })
}

/// A condition of an object's status, as (status, reason, message).
pub(crate) fn condition(object: &DynamicObject, kind: &str) -> (String, String, String) {
    let conditions = object.data["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|c| c["type"] == kind);
    let text = |key: &str| {
        let value = found.and_then(|condition| condition[key].as_str());
        value.unwrap_or_default().to_owned()
    };
    (text("status"), text("reason"), text("message"))
}
