//! Against an API server with the kinds of Cluster API.

use super::*;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, ResourceExt as _};
use plimsoll_api::nodegroup::{InstanceState, NodeProvider, OptionOverrides};
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use rstest::rstest;
use serde_json::{Value, json};

const SIZES: &str = "cluster.x-k8s.io/cluster-api-autoscaler-node-group";

pub(super) struct Rig {
    pub(super) client: Client,
    pub(super) provider: ClusterApi,
    pub(super) server: ApiServer,
}

pub(super) async fn rig() -> Rig {
    let rig = bare_rig().await;
    rig.define().await;
    rig
}

/// A server without the kinds.
pub(super) async fn bare_rig() -> Rig {
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
    Rig {
        provider: ClusterApi::new(client.clone(), clock, Settings::default()),
        client,
        server,
    }
}

fn definition(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_ascii_lowercase());
    let scale = json!({
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
    });
    let subresources = if kind == "Machine" {
        json!({"status": {}})
    } else {
        json!({"status": {}, "scale": scale})
    };
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.cluster.x-k8s.io")},
        "spec": {
            "group": "cluster.x-k8s.io", "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "singular": kind.to_ascii_lowercase()},
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true,
                "subresources": subresources,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {
                            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                            "properties": {"replicas": {"type": "integer"}},
                        },
                        "status": anything,
                    },
                }},
            }],
        },
    })
}

impl Rig {
    pub(super) async fn define(&self) {
        let definitions = self.all("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        for kind in ["MachineDeployment", "MachineSet", "MachinePool", "Machine"] {
            let object = serde_json::from_value(definition(kind)).unwrap();
            let made = definitions.create(&PostParams::default(), &object).await;
            made.unwrap();
        }
    }

    fn resource(api_version: &str, kind: &str) -> ApiResource {
        let (group, version) = api_version.split_once('/').unwrap();
        ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: api_version.into(),
            kind: kind.into(),
            plural: format!("{}s", kind.to_ascii_lowercase()),
        }
    }

    pub(super) fn all(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &Self::resource(api_version, kind))
    }

    pub(super) fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = Self::resource("cluster.x-k8s.io/v1beta1", kind);
        Api::namespaced_with(self.client.clone(), "default", &resource)
    }

    async fn create(&self, kind: &str, mut object: Value) {
        object["apiVersion"] = json!("cluster.x-k8s.io/v1beta1");
        object["kind"] = json!(kind);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let status = object["status"].take();
        let object = serde_json::from_value(object).unwrap();
        let api = self.api(kind);
        api.create(&PostParams::default(), &object).await.unwrap();
        if !status.is_null() {
            let patch = Patch::Merge(json!({"status": status}));
            api.patch_status(&name, &PatchParams::default(), &patch)
                .await
                .unwrap();
        }
    }

    /// A deployment of 1 to 5, and its set.
    pub(super) async fn deployment(&self, replicas: u64) {
        let annotations = json!({
            format!("{SIZES}-min-size"): "1", format!("{SIZES}-max-size"): "5",
            "capacity.cluster-autoscaler.kubernetes.io/cpu": "4",
            "capacity.cluster-autoscaler.kubernetes.io/memory": "16Gi",
            "capacity.cluster-autoscaler.kubernetes.io/gpu-count": "2",
            "capacity.cluster-autoscaler.kubernetes.io/labels": "a=b,c=d",
            "capacity.cluster-autoscaler.kubernetes.io/taints": "x=y:NoSchedule,nonsense",
            "cluster.x-k8s.io/autoscaling-options-scaledownunneededtime": "30s",
        });
        let labels = json!({"node.cluster.x-k8s.io/pool": "p", "not-propagated": "q"});
        let deployment = json!({
            "metadata": {"name": "md", "annotations": annotations, "labels": {"owner": "jim"}},
            "spec": {
                "clusterName": "purple", "replicas": replicas,
                "template": {"metadata": {"labels": labels}},
            },
        });
        self.create("MachineDeployment", deployment).await;
        let owner = owner("MachineDeployment", "md");
        let set = json!({
            "metadata": {"name": "ms", "annotations": annotations, "ownerReferences": [owner]},
            "spec": {"replicas": replicas},
        });
        self.create("MachineSet", set).await;
    }

    async fn machine(&self, name: &str, spec: Value, status: Value) {
        let owner = owner("MachineSet", "ms");
        let metadata = json!({"name": name, "ownerReferences": [owner]});
        let object = json!({"metadata": metadata, "spec": spec, "status": status});
        self.create("Machine", object).await;
    }

    pub(super) async fn running(&self, name: &str) {
        let spec = json!({"providerID": format!("cloud://{name}")});
        self.machine(name, spec, json!({"nodeRef": {"name": name}}))
            .await;
    }

    async fn replicas(&self) -> u64 {
        let deployment = self.api("MachineDeployment").get("md").await.unwrap();
        deployment.data["spec"]["replicas"].as_u64().unwrap()
    }

    async fn marked(&self, name: &str) -> bool {
        let machine = self.api("Machine").get(name).await.unwrap();
        let key = "cluster.x-k8s.io/delete-machine";
        machine.annotations().contains_key(key)
    }
}

fn owner(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta1", "kind": kind, "name": name,
        "uid": "00000000-0000-0000-0000-000000000001", "controller": true,
    })
}

fn node(name: &str) -> NodeRef {
    NodeRef {
        name: name.into(),
        provider_id: format!("cloud://{name}").into(),
        labels: Vec::new(),
        annotations: Vec::new(),
    }
}

pub(super) const GROUP: &str = "MachineDeployment/default/md";

#[tokio::test]
async fn a_deployment_is_a_group_and_its_set_is_not() {
    let rig = rig().await;
    rig.deployment(3).await;
    rig.running("a").await;
    rig.machine("b", json!({}), json!({"phase": "Provisioning"}))
        .await;
    let failed = json!({"phase": "Failed", "failureReason": "NoQuota", "failureMessage": "no"});
    rig.machine("c", json!({}), failed).await;
    let groups = rig.provider.groups().await.unwrap();
    let [group] = &*groups else {
        panic!("{groups:?}");
    };
    assert_eq!(&*group.id, GROUP);
    assert_eq!((group.min, group.max, group.target), (1, 5, 3));
    let unneeded = jiff::SignedDuration::from_secs(30);
    let own = OptionOverrides {
        scale_down_unneeded_time: Some(unneeded),
        ..OptionOverrides::default()
    };
    assert_eq!(group.options, own);
    let ids: Vec<&str> = group.instances.iter().map(|i| &*i.id).collect();
    assert_eq!(
        ids,
        [
            "cloud://a",
            "pending-machine-default_b",
            "failed-machine-default_c"
        ]
    );
    assert_eq!(group.instances[0].state, Some(InstanceState::Running));
    assert_eq!(group.instances[1].state, Some(InstanceState::Creating));
    let problem = group.instances[2].problem.as_ref().unwrap();
    assert_eq!((&*problem.code, &*problem.message), ("NoQuota", "no"));
    let ours = rig.provider.group_of(&node("a")).await.unwrap();
    assert_eq!(ours.as_deref(), Some(GROUP));
    assert_eq!(rig.provider.group_of(&node("z")).await, Ok(None));
}

#[tokio::test]
async fn a_node_names_its_machine_by_annotations() {
    let rig = rig().await;
    rig.deployment(1).await;
    rig.machine("a", json!({}), json!({"nodeRef": {"name": "n"}}))
        .await;
    let named = NodeRef {
        provider_id: "".into(),
        annotations: vec![
            ("cluster.x-k8s.io/machine".into(), "a".into()),
            (
                "cluster.x-k8s.io/cluster-namespace".into(),
                "default".into(),
            ),
        ],
        ..node("n")
    };
    let ours = rig.provider.group_of(&named).await.unwrap();
    assert_eq!(ours.as_deref(), Some(GROUP));
}

#[tokio::test]
async fn a_template_is_what_the_annotations_say() {
    let rig = rig().await;
    rig.deployment(0).await;
    let template = rig.provider.template(GROUP).await.unwrap().unwrap();
    let node = &template.node;
    let resources = json!({"cpu": "4", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "2"});
    assert_eq!(node["status"]["allocatable"], resources);
    let labels = &node["metadata"]["labels"];
    assert_eq!((&labels["a"], &labels["c"]), (&json!("b"), &json!("d")));
    assert_eq!(labels["node.cluster.x-k8s.io/pool"], "p");
    assert_eq!(labels.get("not-propagated"), None);
    assert_eq!(labels["kubernetes.io/arch"], "amd64");
    let taint = json!([{"key": "x", "value": "y", "effect": "NoSchedule"}]);
    assert_eq!(node["spec"]["taints"], taint);
}

#[tokio::test]
async fn growth_goes_through_the_scale() {
    let rig = rig().await;
    rig.deployment(3).await;
    rig.provider.increase(GROUP, 2).await.unwrap();
    assert_eq!(rig.replicas().await, 5);
    assert_eq!(rig.provider.groups().await.unwrap()[0].target, 5);
    let error = rig.provider.increase(GROUP, 1).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid);
    assert_eq!(
        error.message,
        "MachineDeployment/default/md cannot grow to 6: its maximum is 5"
    );
    assert_eq!(rig.replicas().await, 5);
}

#[tokio::test]
async fn a_node_that_goes_is_marked_and_counted_once() {
    let rig = rig().await;
    rig.deployment(3).await;
    for name in ["a", "b", "c"] {
        rig.running(name).await;
    }
    rig.provider.delete(GROUP, &[node("b")]).await.unwrap();
    assert_eq!(rig.replicas().await, 2);
    assert!(rig.marked("b").await && !rig.marked("a").await);
    rig.provider.delete(GROUP, &[node("b")]).await.unwrap();
    assert_eq!(rig.replicas().await, 2);
    let both = [node("a"), node("c")];
    let error = rig.provider.delete(GROUP, &both).await.unwrap_err();
    assert_eq!(
        error.message,
        "MachineDeployment/default/md cannot shrink to 0: its minimum is 1"
    );
    assert_eq!(rig.replicas().await, 2);
    assert!(!rig.marked("a").await && !rig.marked("c").await);
    rig.provider.force_delete(GROUP, &both).await.unwrap();
    assert_eq!(rig.replicas().await, 0);
}

#[tokio::test]
async fn only_machines_that_are_not_there_are_given_up() {
    let rig = rig().await;
    rig.deployment(4).await;
    rig.running("a").await;
    rig.machine("b", json!({}), json!({"phase": "Pending"}))
        .await;
    let error = rig.provider.decrease_target(GROUP, 4).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid);
    // One exists without a node, two have not been made.
    rig.provider.decrease_target(GROUP, 3).await.unwrap();
    assert_eq!(rig.replicas().await, 1);
    assert!(rig.marked("b").await && !rig.marked("a").await);
}

impl Rig {
    async fn pool(&self, spec: Value, status: Value) {
        let annotations = json!({
            format!("{SIZES}-min-size"): "1", format!("{SIZES}-max-size"): "9",
        });
        let metadata = json!({"name": "mp", "annotations": annotations});
        let object = json!({"metadata": metadata, "spec": spec, "status": status});
        self.create("MachinePool", object).await;
    }

    async fn note(&self, machine: &str, mark: &str) {
        let key = "cluster.x-k8s.io/delete-machine";
        let patch = Patch::Merge(json!({"metadata": {"annotations": {key: mark}}}));
        let api = self.api("Machine");
        let done = api.patch(machine, &PatchParams::default(), &patch).await;
        done.unwrap();
    }
}

const POOL: &str = "MachinePool/default/mp";

#[tokio::test]
async fn a_pool_without_machine_objects_keeps_the_members_it_lists() {
    let rig = rig().await;
    let spec = json!({"replicas": 5, "providerIDList": ["cloud://p1", "cloud://p2", "cloud://p3"]});
    rig.pool(spec, json!({"nodeRefs": [{"name": "p1"}]})).await;
    let groups = rig.provider.groups().await.unwrap();
    assert_eq!((groups[0].target, groups[0].instances.len()), (5, 3));
    assert_eq!(groups[0].min, 5, "no node of it is to be drained in vain");
    let ours = rig.provider.group_of(&node("p2")).await.unwrap();
    assert_eq!(ours.as_deref(), Some(POOL));
    let error = rig.provider.decrease_target(POOL, 3).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid);
    rig.provider.decrease_target(POOL, 2).await.unwrap();
    let pool = rig.api("MachinePool").get("mp").await.unwrap();
    assert_eq!(pool.data["spec"]["replicas"], 3);
    let error = rig.provider.delete(POOL, &[node("p1")]).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unsupported);
}

#[tokio::test]
async fn a_pool_whose_members_nobody_tells_is_left_alone() {
    let rig = rig().await;
    rig.pool(json!({"replicas": 5}), json!({"replicas": 5}))
        .await;
    assert_eq!(rig.provider.groups().await.unwrap(), []);
    let error = rig.provider.decrease_target(POOL, 5).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}

#[tokio::test]
async fn a_mark_that_was_left_over_does_not_keep_a_machine() {
    let rig = rig().await;
    rig.deployment(3).await;
    for name in ["a", "b", "c"] {
        rig.running(name).await;
    }
    rig.note("b", "by hand").await;
    rig.provider.delete(GROUP, &[node("b")]).await.unwrap();
    assert_eq!(rig.replicas().await, 2);
    rig.provider.delete(GROUP, &[node("b")]).await.unwrap();
    assert_eq!(rig.replicas().await, 2);
}

#[tokio::test]
async fn marks_of_an_earlier_process_are_taken_off_where_nothing_was_lowered() {
    let rig = rig().await;
    rig.deployment(2).await;
    rig.running("a").await;
    rig.running("b").await;
    rig.note("a", "2026-01-01T00:00:00Z").await;
    rig.note("b", "by hand").await;
    rig.provider.groups().await.unwrap();
    assert!(!rig.marked("a").await && rig.marked("b").await);
}

#[tokio::test]
async fn no_group_goes_below_its_minimum() {
    let rig = rig().await;
    rig.deployment(1).await;
    let error = rig.provider.decrease_target(GROUP, 1).await.unwrap_err();
    assert_eq!(
        error.message,
        "MachineDeployment/default/md cannot shrink to 0: its minimum is 1"
    );
    assert_eq!(rig.replicas().await, 1);
}

#[rstest]
#[case::refused(ErrorClass::Forbidden, "403", true)]
#[case::conflict(ErrorClass::Other, "409", true)]
#[case::lost(ErrorClass::Unreachable, "", false)]
#[case::broken(ErrorClass::Other, "500", false)]
fn only_refusals_are_certain(#[case] class: ErrorClass, #[case] code: &str, #[case] want: bool) {
    let error = ProviderError {
        class,
        code: code.to_owned(),
        message: String::new(),
    };
    assert_eq!(is_refusal(&error), want);
}

#[rstest]
#[case::namespace("clusterapi:namespace=default", true)]
#[case::elsewhere("clusterapi:namespace=staging", false)]
#[case::cluster("clusterapi:clusterName=purple,owner=jim", true)]
#[case::another("clusterapi:clusterName=blue", false)]
#[case::label("clusterapi:owner=ann", false)]
#[tokio::test]
async fn selections_choose_groups(#[case] selection: &str, #[case] chosen: bool) {
    let rig = rig().await;
    rig.deployment(1).await;
    let settings = Settings {
        discovery: vec![selection.parse().unwrap()],
        ..Settings::default()
    };
    let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
    let provider = ClusterApi::new(rig.client.clone(), clock, settings);
    assert_eq!(provider.groups().await.unwrap().len(), usize::from(chosen));
}

#[rstest]
#[case::other("asg:tag=a", "\"asg:tag=a\" does not begin with clusterapi:")]
#[case::pair("clusterapi:namespace", "\"namespace\" is not KEY=VALUE")]
#[case::empty(
    "clusterapi:",
    "a selection needs a namespace, a clusterName or a label"
)]
fn nonsense_selects_nothing(#[case] text: &str, #[case] says: &str) {
    assert_eq!(text.parse::<Discovery>().unwrap_err().to_string(), says);
}
