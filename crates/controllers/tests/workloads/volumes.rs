//! Claims find volumes, volumes are made for claims, and go with them.

use crate::rig::Rig;
use kube::api::{Api, DeleteParams, DynamicObject};
use serde_json::{Value, json};
use std::time::Duration;

struct Storage {
    rig: Rig,
    claims: Api<DynamicObject>,
    volumes: Api<DynamicObject>,
}

impl Storage {
    /// With classes `fast` (made at once), `standard` (made for the first pod) and `manual`.
    async fn start() -> Self {
        let rig = Rig::start().await;
        let classes = rig.cluster_of(("storage.k8s.io", "v1"), "storageclasses", "StorageClass");
        for (name, provisioner, mode) in [
            ("fast", "plimsoll.dev/local", "Immediate"),
            ("standard", "plimsoll.dev/local", "WaitForFirstConsumer"),
            (
                "manual",
                "kubernetes.io/no-provisioner",
                "WaitForFirstConsumer",
            ),
            ("foreign", "example.com/disk", "Immediate"),
        ] {
            let class = json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                "metadata": {"name": name}, "provisioner": provisioner,
                "volumeBindingMode": mode, "allowVolumeExpansion": true,
                "parameters": {"topologyKeys": "kubernetes.io/hostname"},
            });
            rig.create(&classes, class).await;
        }
        Self {
            claims: rig.core("default", "persistentvolumeclaims", "PersistentVolumeClaim"),
            volumes: rig.cluster("persistentvolumes", "PersistentVolume"),
            rig,
        }
    }

    async fn claim(&self, name: &str, class: &str, size: &str) {
        self.rig
            .create(&self.claims, claim(name, class, size))
            .await;
    }

    async fn volume(&self, name: &str, spec: Value) {
        let mut volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                "hostPath": {"path": format!("/srv/{name}")}, "storageClassName": "manual",
            },
        });
        for (key, value) in spec.as_object().unwrap() {
            volume["spec"][key] = value.clone();
        }
        self.rig.create(&self.volumes, volume).await;
    }

    async fn node(&self, name: &str) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        });
        self.rig
            .create(&self.rig.cluster("nodes", "Node"), node)
            .await;
    }

    async fn phase(&self, api: &Api<DynamicObject>, name: &str) -> String {
        let object = api.get_opt(name).await.unwrap();
        let phase = object.map(|object| object.data["status"]["phase"].clone());
        let phase = phase.and_then(|phase| phase.as_str().map(str::to_owned));
        phase.unwrap_or_default()
    }

    async fn until_claim(&self, name: &str, phase: &str) {
        let what = format!("claim {name} is {phase}");
        let reached = async || self.phase(&self.claims, name).await == phase;
        self.rig.until(&what, reached).await;
    }

    async fn until_volume(&self, name: &str, phase: &str) {
        let what = format!("volume {name} is {phase}");
        let reached = async || self.phase(&self.volumes, name).await == phase;
        self.rig.until(&what, reached).await;
    }

    /// The name of the volume of a bound claim.
    async fn bound(&self, name: &str) -> String {
        self.until_claim(name, "Bound").await;
        let claim = self.claims.get(name).await.unwrap();
        claim.data["spec"]["volumeName"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn rest(&self) {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }

    async fn delete(&self, api: &Api<DynamicObject>, name: &str) {
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

fn claim(name: &str, class: &str, size: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "storageClassName": class, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
        },
    })
}

fn pod(name: &str, node: Option<&str>, volume: &Value) -> Value {
    let mut volume = volume.clone();
    volume["name"] = "data".into();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": node, "containers": [{"name": "c", "image": "i"}], "volumes": [volume],
        },
    })
}

fn mounts(claim: &str) -> Value {
    json!({"persistentVolumeClaim": {"claimName": claim}})
}

#[tokio::test(start_paused = true)]
async fn an_immediate_claim_gets_a_volume_that_goes_with_it() {
    let storage = Storage::start().await;
    storage.claim("data", "fast", "1G").await;
    let name = storage.bound("data").await;
    let claim = storage.claims.get("data").await.unwrap();
    let uid = claim.metadata.uid.clone().unwrap();
    assert_eq!(name, format!("pvc-{uid}"));
    let want = json!({
        "phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1G"},
    });
    assert_eq!(claim.data["status"], want);
    let annotations = claim.metadata.annotations.unwrap();
    for (key, value) in [
        ("pv.kubernetes.io/bind-completed", "yes"),
        ("pv.kubernetes.io/bound-by-controller", "yes"),
        (
            "volume.kubernetes.io/storage-provisioner",
            "plimsoll.dev/local",
        ),
        (
            "volume.beta.kubernetes.io/storage-provisioner",
            "plimsoll.dev/local",
        ),
    ] {
        assert_eq!(
            annotations.get(key).map(String::as_str),
            Some(value),
            "{key}"
        );
    }
    let volume = storage.volumes.get(&name).await.unwrap();
    assert_eq!(volume.data["status"]["phase"], "Bound");
    assert_eq!(volume.data["spec"]["claimRef"]["uid"], json!(uid));
    assert_eq!(
        volume.data["spec"]["persistentVolumeReclaimPolicy"],
        "Delete"
    );
    let made_by = volume.metadata.annotations.unwrap();
    assert_eq!(
        made_by["pv.kubernetes.io/provisioned-by"],
        "plimsoll.dev/local"
    );
    let told = storage.rig.events("ProvisioningSucceeded").await;
    assert_eq!(told, [format!("Successfully provisioned volume {name}")]);
    storage.delete(&storage.claims, "data").await;
    let gone = async || storage.volumes.get_opt(&name).await.unwrap().is_none();
    storage.rig.until("the volume goes", gone).await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_claim_gets_its_volume_where_its_first_pod_runs() {
    let storage = Storage::start().await;
    storage.node("a").await;
    storage.claim("data", "standard", "1Gi").await;
    storage.rest().await;
    assert_eq!(storage.phase(&storage.claims, "data").await, "Pending");
    let told = storage.rig.events("WaitForFirstConsumer").await;
    assert_eq!(
        told,
        ["waiting for first consumer to be created before binding"]
    );
    let waiting = pod("user", None, &mounts("data"));
    storage.rig.create(&storage.rig.pods(), waiting).await;
    storage.rest().await;
    let told = storage.rig.events("WaitForPodScheduled").await;
    assert_eq!(told, ["waiting for pod user to be scheduled"]);
    let selected = json!({"metadata": {"annotations":
        {"volume.kubernetes.io/selected-node": "a"}}});
    storage.rig.patch(&storage.claims, "data", selected).await;
    let name = storage.bound("data").await;
    let volume = storage.volumes.get(&name).await.unwrap();
    let terms = &volume.data["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
    let want = json!([{"matchExpressions":
        [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}]}]);
    assert_eq!(*terms, want);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_names_its_node_is_a_consumer_too() {
    let storage = Storage::start().await;
    storage.node("a").await;
    storage.claim("data", "standard", "1Gi").await;
    let placed = pod("user", Some("a"), &mounts("data"));
    storage.rig.create(&storage.rig.pods(), placed).await;
    storage.bound("data").await;
}

#[tokio::test(start_paused = true)]
async fn a_chosen_node_that_is_gone_is_chosen_anew() {
    let storage = Storage::start().await;
    let mut wanted = claim("data", "standard", "1Gi");
    wanted["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "gone"});
    storage.rig.create(&storage.claims, wanted).await;
    let unselected = async || {
        let claim = storage.claims.get("data").await.unwrap();
        let annotations = claim.metadata.annotations.unwrap_or_default();
        !annotations.contains_key("volume.kubernetes.io/selected-node")
    };
    storage
        .rig
        .until("the choice is withdrawn", unselected)
        .await;
    let told = storage.rig.events("ProvisioningFailed").await;
    assert!(told[0].contains("node \"gone\" not found"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_smallest_volume_that_fits_is_taken_and_released() {
    let storage = Storage::start().await;
    storage
        .volume("large", json!({"capacity": {"storage": "9Gi"}}))
        .await;
    storage
        .volume("small", json!({"capacity": {"storage": "1Mi"}}))
        .await;
    storage
        .volume("fits", json!({"capacity": {"storage": "2Gi"}}))
        .await;
    storage
        .volume("other", json!({"storageClassName": "fast"}))
        .await;
    for name in ["large", "small", "fits", "other"] {
        storage.until_volume(name, "Available").await;
    }
    let mut wanted = claim("data", "manual", "1Gi");
    wanted["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "a"});
    storage.node("a").await;
    storage.rig.create(&storage.claims, wanted).await;
    assert_eq!(storage.bound("data").await, "fits");
    let claim = storage.claims.get("data").await.unwrap();
    assert_eq!(claim.data["status"]["capacity"]["storage"], "2Gi");
    storage.delete(&storage.claims, "data").await;
    storage.until_volume("fits", "Released").await;
    storage.rest().await;
    assert_eq!(storage.phase(&storage.volumes, "fits").await, "Released");
    // Somebody who has looked after the data may offer it again.
    storage
        .rig
        .patch(
            &storage.volumes,
            "fits",
            json!({"spec": {"claimRef": null}}),
        )
        .await;
    storage.until_volume("fits", "Available").await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_waits_for_the_volume_it_names() {
    let storage = Storage::start().await;
    let mut wanted = claim("data", "manual", "1Gi");
    wanted["spec"]["volumeName"] = "disk".into();
    storage.rig.create(&storage.claims, wanted).await;
    storage.rest().await;
    assert_eq!(storage.phase(&storage.claims, "data").await, "Pending");
    storage
        .volume("disk", json!({"capacity": {"storage": "1Mi"}}))
        .await;
    let told = async || !storage.rig.events("VolumeMismatch").await.is_empty();
    storage.rig.until("the mismatch is told", told).await;
    let told = storage.rig.events("VolumeMismatch").await;
    assert_eq!(
        told,
        ["Cannot bind to requested volume \"disk\": requested PV is too small"]
    );
    let larger = json!({"spec": {"capacity": {"storage": "3Gi"}}});
    storage.rig.patch(&storage.volumes, "disk", larger).await;
    assert_eq!(storage.bound("data").await, "disk");
    let claim = storage.claims.get("data").await.unwrap();
    let annotations = claim.metadata.annotations.unwrap();
    assert!(!annotations.contains_key("pv.kubernetes.io/bound-by-controller"));
}

#[tokio::test(start_paused = true)]
async fn a_volume_set_aside_waits_for_its_claim_and_keeps_the_name() {
    let storage = Storage::start().await;
    let own = json!({"claimRef": {"namespace": "default", "name": "data"}});
    storage.volume("disk", own).await;
    storage.until_volume("disk", "Available").await;
    storage.claim("other", "manual", "1Gi").await;
    storage.claim("data", "manual", "1Gi").await;
    assert_eq!(storage.bound("data").await, "disk");
    assert_eq!(storage.phase(&storage.claims, "other").await, "Pending");
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_volume_is_gone_is_lost() {
    let storage = Storage::start().await;
    storage
        .volume("disk", json!({"storageClassName": "fast"}))
        .await;
    storage.until_volume("disk", "Available").await;
    storage.claim("data", "fast", "1Gi").await;
    assert_eq!(storage.bound("data").await, "disk");
    storage.delete(&storage.volumes, "disk").await;
    storage.rest().await;
    assert_eq!(storage.phase(&storage.claims, "data").await, "Bound");
    let finalizers = json!({"metadata": {"finalizers": null}});
    storage
        .rig
        .patch(&storage.volumes, "disk", finalizers)
        .await;
    storage.until_claim("data", "Lost").await;
    let told = storage.rig.events("ClaimLost").await;
    assert_eq!(
        told,
        ["Bound claim has lost its PersistentVolume. Data on the volume is lost!"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_make_is_said() {
    let storage = Storage::start().await;
    storage.claim("nothing", "", "1Gi").await;
    storage.claim("unknown", "absent", "1Gi").await;
    storage.claim("foreign", "foreign", "1Gi").await;
    let mut chosen = claim("chosen", "fast", "1Gi");
    chosen["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
    storage.rig.create(&storage.claims, chosen).await;
    storage.rest().await;
    for name in ["nothing", "unknown", "foreign", "chosen"] {
        assert_eq!(
            storage.phase(&storage.claims, name).await,
            "Pending",
            "{name}"
        );
    }
    assert_eq!(
        storage.rig.events("FailedBinding").await,
        ["no persistent volumes available for this claim and no storage class is set"]
    );
    assert_eq!(
        storage.rig.events("ProvisioningFailed").await,
        [
            "failed to provision volume with StorageClass \"fast\": claim Selector is not supported",
            "storageclass.storage.k8s.io \"absent\" not found",
        ]
    );
    let told = storage.rig.events("ExternalProvisioning").await;
    assert!(
        told[0].contains("external provisioner 'example.com/disk'"),
        "{told:?}"
    );
    let foreign = storage.claims.get("foreign").await.unwrap();
    let provisioner =
        &foreign.metadata.annotations.unwrap()["volume.kubernetes.io/storage-provisioner"];
    assert_eq!(provisioner, "example.com/disk");
}

#[tokio::test(start_paused = true)]
async fn a_claim_grows() {
    let storage = Storage::start().await;
    storage.claim("data", "fast", "1Gi").await;
    let name = storage.bound("data").await;
    let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    storage.rig.patch(&storage.claims, "data", larger).await;
    let grown = async || {
        let claim = storage.claims.get("data").await.unwrap();
        claim.data["status"]["capacity"]["storage"] == "2Gi"
    };
    storage.rig.until("it has grown", grown).await;
    let volume = storage.volumes.get(&name).await.unwrap();
    assert_eq!(volume.data["spec"]["capacity"]["storage"], "2Gi");
    let told = async || {
        !storage
            .rig
            .events("VolumeResizeSuccessful")
            .await
            .is_empty()
    };
    storage.rig.until("it is told", told).await;
}

#[tokio::test(start_paused = true)]
async fn a_retained_volume_outlives_its_claim() {
    let storage = Storage::start().await;
    storage.claim("data", "fast", "1Gi").await;
    let name = storage.bound("data").await;
    let retain = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
    storage.rig.patch(&storage.volumes, &name, retain).await;
    storage.delete(&storage.claims, "data").await;
    storage.until_volume(&name, "Released").await;
    storage.rest().await;
    assert_eq!(storage.phase(&storage.volumes, &name).await, "Released");
    storage.delete(&storage.volumes, &name).await;
    let gone = async || storage.volumes.get_opt(&name).await.unwrap().is_none();
    storage.rig.until("the volume goes", gone).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_deletes_what_nobody_here_made() {
    let storage = Storage::start().await;
    let spec = json!({"storageClassName": "fast", "persistentVolumeReclaimPolicy": "Delete"});
    storage.volume("disk", spec).await;
    storage.until_volume("disk", "Available").await;
    storage.claim("data", "fast", "1Gi").await;
    storage.bound("data").await;
    storage.delete(&storage.claims, "data").await;
    storage.until_volume("disk", "Failed").await;
    let told = async || !storage.rig.events("VolumeFailedDelete").await.is_empty();
    storage.rig.until("it is told", told).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_a_class_gets_the_default_when_there_is_one() {
    let storage = Storage::start().await;
    let mut wanted = claim("data", "", "1Gi");
    wanted["spec"]["storageClassName"] = Value::Null;
    storage.rig.create(&storage.claims, wanted).await;
    storage.rest().await;
    assert_eq!(storage.phase(&storage.claims, "data").await, "Pending");
    let classes = ("storage.k8s.io", "v1");
    let classes = storage
        .rig
        .cluster_of(classes, "storageclasses", "StorageClass");
    let default = json!({"metadata": {"annotations":
        {"storageclass.kubernetes.io/is-default-class": "true"}}});
    storage.rig.patch(&classes, "fast", default).await;
    storage.bound("data").await;
    let claim = storage.claims.get("data").await.unwrap();
    assert_eq!(claim.data["spec"]["storageClassName"], "fast");
}

#[tokio::test(start_paused = true)]
async fn a_pods_own_claim_comes_and_goes_with_it() {
    let storage = Storage::start().await;
    let template = json!({"ephemeral": {"volumeClaimTemplate": {
        "metadata": {"labels": {"for": "user"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }}});
    storage
        .rig
        .create(&storage.rig.pods(), pod("user", None, &template))
        .await;
    storage.bound("user-data").await;
    let claim = storage.claims.get("user-data").await.unwrap();
    assert_eq!(claim.metadata.labels.unwrap()["for"], "user");
    assert_eq!(claim.metadata.owner_references.unwrap()[0].kind, "Pod");
    let now = DeleteParams::default().grace_period(0);
    storage.rig.pods().delete("user", &now).await.unwrap();
    let gone = async || storage.claims.get_opt("user-data").await.unwrap().is_none();
    storage.rig.until("the claim goes", gone).await;
}

#[tokio::test(start_paused = true)]
async fn who_must_enlarge_a_foreign_volume_is_told_once() {
    let storage = Storage::start().await;
    let class = json!({"storageClassName": "foreign"});
    storage.volume("disk", class).await;
    storage.until_volume("disk", "Available").await;
    storage.claim("data", "foreign", "1Gi").await;
    assert_eq!(storage.bound("data").await, "disk");
    let larger = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    storage.rig.patch(&storage.claims, "data", larger).await;
    for look in 0..4 {
        storage.rest().await;
        let label = json!({"metadata": {"labels": {"look": look.to_string()}}});
        storage.rig.patch(&storage.claims, "data", label).await;
    }
    storage.rest().await;
    let events = storage.rig.core("default", "events", "Event");
    let mut told = storage.rig.list(&events).await;
    told.retain(|event| event.data["reason"] == "ExternalExpanding");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].data["count"], 1);
}
