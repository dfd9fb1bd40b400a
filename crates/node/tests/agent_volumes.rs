//! What containers get to see of volumes: node agents with a runtime that only notes what it is told
//! to start, against the real API server in virtual time.

#![cfg(test)]

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use plimsoll_api::node::Session;
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use plimsoll_node::agent::{self, Agents, Cluster, NodeSpec};
use plimsoll_node::proxy::table::Directory;
use plimsoll_node::runtime::simulated::{Simulated, Steady};
use plimsoll_node::runtime::{
    ContainerSpec, Limits, Mount, Network, NodeSlice, Runtime, RuntimeCounters, RuntimeError,
    SandboxSpec, Started,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";

/// Starts nothing, and keeps the mounts it was given by pod uid and container.
#[derive(Debug)]
struct Noting {
    inner: Simulated,
    mounts: Mutex<BTreeMap<String, Vec<Mount>>>,
}

#[async_trait]
impl Runtime for Noting {
    fn name(&self) -> &'static str {
        "noting"
    }

    fn describe(&self) -> String {
        "notes".to_owned()
    }

    async fn add_node(&self, slice: NodeSlice) -> Result<(), RuntimeError> {
        self.inner.add_node(slice).await
    }

    async fn remove_node(&self, node: &str) -> Result<(), RuntimeError> {
        self.inner.remove_node(node).await
    }

    async fn prepare_image(&self, image: &str) -> Result<String, RuntimeError> {
        self.inner.prepare_image(image).await
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<(), RuntimeError> {
        self.inner.create_sandbox(spec).await
    }

    async fn remove_sandbox(&self, pod_uid: &str) -> Result<(), RuntimeError> {
        self.inner.remove_sandbox(pod_uid).await
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Started, RuntimeError> {
        let mounts = spec.mounts.clone();
        self.mounts.lock().insert(spec.pod_uid.clone(), mounts);
        self.inner.start(spec).await
    }

    async fn signal(&self, container_id: &str, signal: i32) -> Result<(), RuntimeError> {
        self.inner.signal(container_id, signal).await
    }

    async fn remove(&self, container_id: &str) -> Result<(), RuntimeError> {
        self.inner.remove(container_id).await
    }

    async fn exec(
        &self,
        container_id: &str,
        command: Vec<String>,
        tty: bool,
        stdin: bool,
    ) -> Result<Session, RuntimeError> {
        self.inner.exec(container_id, command, tty, stdin).await
    }

    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session, RuntimeError> {
        self.inner.attach(container_id, stdin).await
    }

    async fn counters(&self) -> Result<RuntimeCounters, RuntimeError> {
        self.inner.counters().await
    }

    async fn resize(&self, container_id: &str, limits: Limits) -> Result<(), RuntimeError> {
        self.inner.resize(container_id, limits).await
    }

    fn network(&self) -> Arc<dyn Network> {
        self.inner.network()
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}

struct World {
    api: Cluster,
    runtime: Arc<Noting>,
    scratch: tempfile::TempDir,
    _agents: Agents,
}

fn node(name: &str, pod_cidr: &str, runtime: &Arc<Noting>) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        cpu_milli: 4000,
        memory_bytes: 8 << 30,
        pods: 110,
        extended: BTreeMap::new(),
        provider_id: None,
        labels: BTreeMap::new(),
        taints: Vec::new(),
        runtime: Arc::<Noting>::clone(runtime),
        pod_cidr: pod_cidr.to_owned(),
        address: None,
        server: None,
    }
}

impl World {
    async fn start() -> Self {
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
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        api.create(accounts, &account).await.unwrap();
        let runtime = Arc::new(Noting {
            inner: Simulated::new(clock, Arc::new(Steady::default())),
            mounts: Mutex::default(),
        });
        let (samples, mut rounds) = mpsc::channel(4);
        tokio::spawn(async move { while rounds.recv().await.is_some() {} });
        let scratch = tempfile::tempdir().unwrap();
        let agents = Agents::start(agent::Config {
            client: client.clone(),
            clock,
            seed: 1,
            nodes: vec![
                node("n1", "10.244.1.0/24", &runtime),
                node("n2", "10.244.2.0/24", &runtime),
            ],
            samples,
            services: Directory::start(client),
            cluster_dns: "10.96.0.10".parse().unwrap(),
            cluster_domain: "cluster.local".to_owned(),
            state_dir: scratch.path().join("pods"),
            sample_period: Duration::from_secs(1),
        })
        .await
        .unwrap();
        Self {
            api,
            runtime,
            scratch,
            _agents: agents,
        }
    }

    /// A pod with these volumes, each mounted at `/NAME`.
    async fn pod(&self, name: &str, node: &str, volumes: Value) {
        let mounts: Vec<Value> = volumes
            .as_array()
            .unwrap()
            .iter()
            .map(|volume| {
                let name = volume["name"].as_str().unwrap();
                json!({"name": name, "mountPath": format!("/{name}")})
            })
            .collect();
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"mood": "calm"}},
            "spec": {
                "nodeName": node, "volumes": volumes, "automountServiceAccountToken": false,
                "containers": [{"name": "c", "image": "nginx", "volumeMounts": mounts}],
            },
        });
        self.api.create(PODS, &pod).await.unwrap();
    }

    async fn config_map(&self, name: &str, data: Value) {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data,
        });
        self.api.create(CONFIG_MAPS, &object).await.unwrap();
    }

    /// A bound claim and its volume, in a directory of its own.
    async fn bound_claim(&self, name: &str, modes: Value) -> PathBuf {
        let path = self.scratch.path().join(name);
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {
                "accessModes": modes, "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "", "volumeName": format!("pv-{name}"),
            },
        });
        let claim = self.api.create(CLAIMS, &claim).await.unwrap();
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {
                "name": format!("pv-{name}"),
                "annotations": {"pv.kubernetes.io/provisioned-by": "plimsoll.dev/local"},
            },
            "spec": {
                "accessModes": modes, "capacity": {"storage": "1Gi"},
                "hostPath": {"path": path.display().to_string(), "type": "DirectoryOrCreate"},
                "claimRef": {
                    "namespace": "default", "name": name, "uid": claim["metadata"]["uid"],
                },
            },
        });
        self.api.create(VOLUMES, &volume).await.unwrap();
        let status = json!({"status": {"phase": "Bound"}});
        let at = format!("{CLAIMS}/{name}/status");
        self.api.merge(&at, &status).await.unwrap();
        path
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..100_000 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }

    /// Where a running pod's mount of this name leads.
    async fn mounted(&self, pod: &str, target: &str) -> Mount {
        let object: Value = self.api.get(&format!("{PODS}/{pod}")).await.unwrap();
        let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
        self.until("the container starts", async || {
            self.runtime.mounts.lock().contains_key(&uid)
        })
        .await;
        let mounts = self.runtime.mounts.lock();
        let mut all = mounts[&uid].iter();
        let found = all.find(|mount| mount.target == Path::new(target));
        found.cloned().unwrap()
    }

    /// The messages of a pod's events with this reason.
    async fn events(&self, pod: &str, reason: &str) -> Vec<String> {
        let path = "/api/v1/namespaces/default/events";
        let list: Value = self.api.get(path).await.unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items
            .filter(|event| event["involvedObject"]["name"] == pod && event["reason"] == reason)
            .map(|event| event["message"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn told(&self, pod: &str, reason: &str) -> String {
        self.until(reason, async || !self.events(pod, reason).await.is_empty())
            .await;
        self.events(pod, reason).await.remove(0)
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn mounted_configuration_follows_its_source() {
    let world = World::start().await;
    world
        .config_map("settings", json!({"colour": "red", "old": "x"}))
        .await;
    let volumes = json!([
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "about", "downwardAPI": {"items":
            [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]);
    world.pod("web", "n1", volumes).await;
    let settings = world.mounted("web", "/settings").await;
    assert!(settings.read_only);
    assert_eq!(text(&settings.source.join("colour")), "red");
    let about = world.mounted("web", "/about").await.source.join("labels");
    assert_eq!(text(&about), "mood=\"calm\"");
    let change = json!({"data": {"colour": "blue", "new": "y", "old": null}});
    world
        .api
        .merge(&format!("{CONFIG_MAPS}/settings"), &change)
        .await
        .unwrap();
    let colour = settings.source.join("colour");
    world
        .until("the new colour", async || text(&colour) == "blue")
        .await;
    assert_eq!(text(&settings.source.join("new")), "y");
    assert!(fs::symlink_metadata(settings.source.join("old")).is_err());
    let change = json!({"metadata": {"labels": {"mood": "busy"}}});
    world
        .api
        .merge(&format!("{PODS}/web"), &change)
        .await
        .unwrap();
    world
        .until("the new label", async || text(&about) == "mood=\"busy\"")
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_said_until_it_is_there() {
    let world = World::start().await;
    let volumes = json!([
        {"name": "some", "configMap": {"name": "absent", "optional": true}},
        {"name": "settings", "configMap": {"name": "late", "items": [{"key": "k", "path": "p"}]}},
    ]);
    world.pod("web", "n1", volumes).await;
    assert_eq!(
        world.told("web", "FailedMount").await,
        "MountVolume.SetUp failed for volume \"settings\" : configmap \"late\" not found"
    );
    world.config_map("late", json!({"other": "x"})).await;
    let no_key = "MountVolume.SetUp failed for volume \"settings\" : references non-existent \
                  config key: k";
    world
        .until("the key is missed", async || {
            world
                .events("web", "FailedMount")
                .await
                .iter()
                .any(|said| said == no_key)
        })
        .await;
    let change = json!({"data": {"k": "v"}});
    world
        .api
        .merge(&format!("{CONFIG_MAPS}/late"), &change)
        .await
        .unwrap();
    let settings = world.mounted("web", "/settings").await;
    assert_eq!(text(&settings.source.join("p")), "v");
    // An optional source that comes later comes to the pod, too.
    let some = world.mounted("web", "/some").await.source;
    world.config_map("absent", json!({"a": "b"})).await;
    world
        .until("it has come", async || text(&some.join("a")) == "b")
        .await;
}

#[tokio::test(start_paused = true)]
async fn data_of_a_claim_outlives_its_pods() {
    let world = World::start().await;
    let claim = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    world.pod("early", "n1", claim.clone()).await;
    assert_eq!(
        world.told("early", "FailedMount").await,
        "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], \
         failed to process volumes=[data]: error processing PVC default/data: failed to fetch PVC \
         from API server: persistentvolumeclaims \"data\" not found"
    );
    let path = world.bound_claim("data", json!(["ReadWriteOnce"])).await;
    let mount = world.mounted("early", "/data").await;
    assert!(!mount.read_only);
    fs::write(mount.source.join("file"), "kept").unwrap();
    assert_eq!(text(&path.join("file")), "kept");
    // Used on one node, it is not to be had on the other.
    world.pod("other", "n2", claim).await;
    assert_eq!(
        world.told("other", "FailedAttachVolume").await,
        "Multi-Attach error for volume \"pv-data\" Volume is already used by pod(s) early"
    );
    let now = json!({"gracePeriodSeconds": 0});
    world
        .api
        .delete(&format!("{PODS}/early"), &now)
        .await
        .unwrap();
    let mount = world.mounted("other", "/data").await;
    assert_eq!(text(&mount.source.join("file")), "kept");
}

#[tokio::test(start_paused = true)]
async fn a_volume_in_memory_is_the_runtimes_and_bounded() {
    let world = World::start().await;
    let volumes = json!([
        {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "large", "emptyDir": {"medium": "Memory"}},
        {"name": "disk", "emptyDir": {}},
    ]);
    world.pod("web", "n1", volumes).await;
    let size = async |target: &str| {
        let mount = world.mounted("web", target).await;
        mount.memory.and_then(|memory| memory.size_bytes)
    };
    assert_eq!(size("/small").await, Some(1 << 20));
    assert_eq!(size("/large").await, Some(8 << 30));
    assert_eq!(size("/disk").await, None);
}
