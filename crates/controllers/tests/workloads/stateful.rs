//! StatefulSets: order, names, revisions, claims.

use crate::rig::Rig;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use std::time::Duration;

fn stateful_set(replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "serviceName": "db", "replicas": replicas, "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                // A pod without a node would be gone as soon as it is deleted.
                "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

fn with(mut set: Value, spec: &Value) -> Value {
    for (key, value) in spec.as_object().unwrap() {
        set["spec"][key] = value.clone();
    }
    set
}

fn claim_template() -> Value {
    json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }}])
}

/// A set and what a test asks about it.
struct Set {
    rig: Rig,
    sets: Api<DynamicObject>,
    pods: Api<DynamicObject>,
}

impl Set {
    async fn create(body: Value) -> Self {
        let rig = Rig::start().await;
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
        rig.create(&rig.cluster("nodes", "Node"), node).await;
        let sets = rig.api("default", ("apps", "v1"), "statefulsets", "StatefulSet");
        let pods = rig.pods();
        rig.create(&sets, body).await;
        Self { rig, sets, pods }
    }

    async fn patch(&self, spec: Value) {
        self.rig
            .patch(&self.sets, "db", json!({"spec": spec}))
            .await;
    }

    async fn image(&self, image: &str) {
        let containers = json!([{"name": "c", "image": image}]);
        self.patch(json!({"template": {"spec": {"containers": containers}}}))
            .await;
    }

    async fn get(&self) -> DynamicObject {
        self.sets.get("db").await.unwrap()
    }

    async fn status(&self, field: &str) -> Value {
        self.get().await.data["status"][field].clone()
    }

    async fn pod(&self, name: &str) -> DynamicObject {
        self.pods.get(name).await.unwrap()
    }

    /// Names of the pods, those that end in brackets.
    async fn names(&self) -> Vec<String> {
        let pods = self.rig.list(&self.pods).await;
        let name = |pod: DynamicObject| {
            let name = pod.metadata.name.unwrap();
            match pod.metadata.deletion_timestamp {
                Some(_) => format!("({name})"),
                None => name,
            }
        };
        pods.into_iter().map(name).collect()
    }

    /// Waits until there are exactly these pods.
    async fn shows(&self, names: &[&str]) {
        self.rig
            .until(&format!("{names:?}"), async || self.names().await == names)
            .await;
    }

    /// Gives the controller time; nothing may change.
    async fn stays(&self, names: &[&str]) {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(self.names().await, names);
    }

    async fn gone(&self, name: &str) {
        let at_once = DeleteParams::default().grace_period(0);
        self.pods.delete(name, &at_once).await.unwrap();
    }

    /// Tends the pods until the status says that the rollout is finished.
    async fn settle(&self) {
        self.rig
            .until("rolled out", async || {
                self.rig.tend_pods().await;
                let set = self.get().await;
                let (wanted, status) = (&set.data["spec"]["replicas"], &set.data["status"]);
                status["observedGeneration"].as_i64() == set.metadata.generation
                    && status["currentRevision"] == status["updateRevision"]
                    && count(&status["replicas"]) == count(wanted)
                    && count(&status["availableReplicas"]) == count(wanted)
            })
            .await;
    }

    async fn revisions(&self) -> Vec<DynamicObject> {
        let api = self.rig.api(
            "default",
            ("apps", "v1"),
            "controllerrevisions",
            "ControllerRevision",
        );
        let mut revisions = self.rig.list(&api).await;
        revisions.sort_by_key(|revision| revision.data["revision"].as_i64());
        revisions
    }

    fn claims(&self) -> Api<DynamicObject> {
        self.rig
            .core("default", "persistentvolumeclaims", "PersistentVolumeClaim")
    }

    async fn claim_names(&self) -> Vec<String> {
        let claims = self.rig.list(&self.claims()).await;
        claims.into_iter().filter_map(|c| c.metadata.name).collect()
    }
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn image_of(pod: &DynamicObject) -> &str {
    pod.data["spec"]["containers"][0]["image"].as_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn pods_come_and_go_one_after_another() {
    let set = Set::create(stateful_set(3, "a")).await;
    set.shows(&["db-0"]).await;
    set.stays(&["db-0"]).await;
    set.rig.set_ready("db-0", true).await;
    set.shows(&["db-0", "db-1"]).await;
    set.stays(&["db-0", "db-1"]).await;
    set.rig.set_ready("db-1", true).await;
    set.shows(&["db-0", "db-1", "db-2"]).await;
    set.rig.set_ready("db-2", true).await;
    set.settle().await;
    set.patch(json!({"replicas": 1})).await;
    set.shows(&["db-0", "db-1", "(db-2)"]).await;
    set.stays(&["db-0", "db-1", "(db-2)"]).await;
    set.gone("db-2").await;
    set.shows(&["db-0", "(db-1)"]).await;
    set.gone("db-1").await;
    set.shows(&["db-0"]).await;
    set.settle().await;
    let told = set.rig.events("SuccessfulCreate").await;
    let created = |n: i32| format!("create Pod db-{n} in StatefulSet db successful");
    assert_eq!(told, [created(0), created(1), created(2)]);
    let told = set.rig.events("SuccessfulDelete").await;
    let deleted = |n: i32| format!("delete Pod db-{n} in StatefulSet db successful");
    assert_eq!(told, [deleted(1), deleted(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_knows_who_it_is() {
    let ordinals = json!({"ordinals": {"start": 5}});
    let set = Set::create(with(stateful_set(1, "a"), &ordinals)).await;
    set.shows(&["db-5"]).await;
    let pod = set.pod("db-5").await;
    let labels = pod.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "db-5");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "5");
    let revision = &set.revisions().await[0];
    let name = revision.metadata.name.as_ref().unwrap();
    assert_eq!(&labels["controller-revision-hash"], name);
    assert_eq!(pod.data["spec"]["hostname"], "db-5");
    assert_eq!(pod.data["spec"]["subdomain"], "db");
    let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (&*owner.kind, owner.controller),
        ("StatefulSet", Some(true))
    );
    // Who takes the labels away gets them back.
    let none = json!({"metadata": {"labels": {"statefulset.kubernetes.io/pod-name": null}}});
    set.rig.set_ready("db-5", true).await;
    set.rig.patch(&set.pods, "db-5", none).await;
    set.rig
        .until("labelled", async || {
            let pod = set.pod("db-5").await;
            let labels = pod.metadata.labels.unwrap();
            labels.contains_key("statefulset.kubernetes.io/pod-name")
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn in_parallel_all_come_and_go_at_once() {
    let parallel = json!({"podManagementPolicy": "Parallel"});
    let set = Set::create(with(stateful_set(3, "a"), &parallel)).await;
    set.shows(&["db-0", "db-1", "db-2"]).await;
    set.patch(json!({"replicas": 0})).await;
    set.shows(&["(db-0)", "(db-1)", "(db-2)"]).await;
    set.settle().await;
    assert_eq!(set.names().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_returns_with_its_name() {
    let set = Set::create(stateful_set(2, "a")).await;
    set.settle().await;
    let before = set.pod("db-0").await.metadata.uid;
    set.pods
        .delete("db-0", &DeleteParams::default())
        .await
        .unwrap();
    set.stays(&["(db-0)", "db-1"]).await;
    set.gone("db-0").await;
    set.shows(&["db-0", "db-1"]).await;
    assert_ne!(set.pod("db-0").await.metadata.uid, before);
}

#[tokio::test(start_paused = true)]
async fn pods_that_ended_are_made_anew() {
    let set = Set::create(stateful_set(2, "a")).await;
    set.settle().await;
    for (pod, phase) in [("db-1", "Failed"), ("db-0", "Succeeded")] {
        let before = set.pod(pod).await.metadata.uid;
        let status = json!({"status": {"phase": phase, "conditions": []}});
        let patch = Patch::Merge(&status);
        let params = PatchParams::default();
        set.pods.patch_status(pod, &params, &patch).await.unwrap();
        set.rig
            .until("made anew", async || {
                set.rig.tend_pods().await;
                let pod = set.pods.get_opt(pod).await.unwrap();
                pod.is_some_and(|pod| pod.metadata.uid != before)
            })
            .await;
        set.settle().await;
    }
    let failed = "StatefulSet default/db is recreating failed Pod db-1";
    assert_eq!(set.rig.events("RecreatingFailedPod").await, [failed]);
    let ended = "StatefulSet default/db is recreating terminated Pod db-0";
    assert_eq!(set.rig.events("RecreatingTerminatedPod").await, [ended]);
}

#[tokio::test(start_paused = true)]
async fn a_new_template_rolls_from_the_highest_down() {
    let set = Set::create(stateful_set(3, "a")).await;
    set.settle().await;
    set.image("b").await;
    let mut order = Vec::new();
    set.rig
        .until("rolled out", async || {
            for name in set.names().await {
                if name.starts_with('(') && order.last() != Some(&name) {
                    order.push(name);
                }
            }
            set.rig.tend_pods().await;
            let status = set.get().await.data["status"].clone();
            status["currentRevision"] == status["updateRevision"]
                && count(&status["updatedReplicas"]) == 3
        })
        .await;
    assert_eq!(order, ["(db-2)", "(db-1)", "(db-0)"]);
    for n in 0..3 {
        assert_eq!(image_of(&set.pod(&format!("db-{n}")).await), "b");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_keeps_the_pods_below_it() {
    let partition = |n: i32| json!({"updateStrategy": {"rollingUpdate": {"partition": n}}});
    let set = Set::create(with(stateful_set(3, "a"), &partition(2))).await;
    set.settle().await;
    set.image("b").await;
    set.rig
        .until("the last is updated", async || {
            set.rig.tend_pods().await;
            set.status("updatedReplicas").await == 1 && set.status("readyReplicas").await == 3
        })
        .await;
    let status = set.get().await.data["status"].clone();
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(status["currentReplicas"], 2);
    // A pod below it that is lost comes back as it was.
    set.gone("db-0").await;
    set.rig
        .until("back", async || {
            set.rig.tend_pods().await;
            set.status("readyReplicas").await == 3
        })
        .await;
    let images = [
        set.pod("db-0").await,
        set.pod("db-1").await,
        set.pod("db-2").await,
    ];
    assert_eq!(images.each_ref().map(image_of), ["a", "a", "b"]);
    set.patch(partition(0)).await;
    set.settle().await;
    assert_eq!(image_of(&set.pod("db-0").await), "b");
}

#[tokio::test(start_paused = true)]
async fn by_hand_only_a_deleted_pod_is_updated() {
    let by_hand = json!({"updateStrategy": {"type": "OnDelete"}});
    let set = Set::create(with(stateful_set(2, "a"), &by_hand)).await;
    set.rig
        .until("ready", async || {
            set.rig.tend_pods().await;
            set.status("readyReplicas").await == 2
        })
        .await;
    set.image("b").await;
    set.stays(&["db-0", "db-1"]).await;
    set.gone("db-1").await;
    set.shows(&["db-0", "db-1"]).await;
    assert_eq!(image_of(&set.pod("db-0").await), "a");
    assert_eq!(image_of(&set.pod("db-1").await), "b");
}

#[tokio::test(start_paused = true)]
async fn min_ready_seconds_hold_up_the_next_pod() {
    let slow = json!({"minReadySeconds": 30});
    let set = Set::create(with(stateful_set(2, "a"), &slow)).await;
    set.shows(&["db-0"]).await;
    set.rig.set_ready("db-0", true).await;
    let took = set
        .rig
        .until("the second", async || set.names().await.len() == 2)
        .await;
    assert!((28..=31).contains(&took.as_secs()), "{took:?}");
    assert_eq!(set.status("availableReplicas").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_takes_the_old_revision_up_again() {
    let limit = json!({"revisionHistoryLimit": 1});
    let set = Set::create(with(stateful_set(1, "a"), &limit)).await;
    set.settle().await;
    let first = set.revisions().await[0].metadata.name.clone();
    set.image("b").await;
    set.settle().await;
    set.image("a").await;
    set.settle().await;
    let revisions = set.revisions().await;
    let numbers: Vec<i64> = revisions
        .iter()
        .map(|r| count(&r.data["revision"]))
        .collect();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(revisions[1].metadata.name, first);
    assert_eq!(set.status("currentRevision").await, json!(first));
    // The limit is about those that nothing uses.
    set.image("c").await;
    set.settle().await;
    let revisions = set.revisions().await;
    let numbers: Vec<i64> = revisions
        .iter()
        .map(|r| count(&r.data["revision"]))
        .collect();
    assert_eq!(numbers, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_template_must_be_taken_back_and_its_pod_deleted() {
    let set = Set::create(stateful_set(2, "a")).await;
    set.settle().await;
    set.image("broken").await;
    set.shows(&["db-0", "(db-1)"]).await;
    set.gone("db-1").await;
    set.shows(&["db-0", "db-1"]).await;
    set.image("a").await;
    // Parity: the pod that never becomes ready holds up the way back.
    set.stays(&["db-0", "db-1"]).await;
    assert_eq!(image_of(&set.pod("db-1").await), "broken");
    set.gone("db-1").await;
    set.settle().await;
    assert_eq!(image_of(&set.pod("db-1").await), "a");
}

#[tokio::test(start_paused = true)]
async fn claims_are_made_first_and_kept() {
    let claims = json!({"volumeClaimTemplates": claim_template()});
    let set = Set::create(with(stateful_set(2, "a"), &claims)).await;
    set.settle().await;
    assert_eq!(set.claim_names().await, ["data-db-0", "data-db-1"]);
    let claim = set.claims().get("data-db-0").await.unwrap();
    assert_eq!(claim.metadata.labels.unwrap()["app"], "db");
    assert_eq!(claim.metadata.owner_references, None);
    let volumes = &set.pod("db-1").await.data["spec"]["volumes"];
    let source = &volumes[0]["persistentVolumeClaim"];
    assert_eq!(source["claimName"], "data-db-1");
    let uid = claim.metadata.uid;
    set.patch(json!({"replicas": 0})).await;
    set.settle().await;
    set.patch(json!({"replicas": 2})).await;
    set.settle().await;
    let claim = set.claims().get("data-db-0").await.unwrap();
    assert_eq!(claim.metadata.uid, uid, "the same claim");
    let told = set.rig.events("SuccessfulCreate").await;
    let of_claim = "create Claim data-db-0 Pod db-0 in StatefulSet db success";
    assert!(told.iter().any(|text| text == of_claim), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn claims_go_with_pods_or_with_the_set_if_they_should() {
    let policy = json!({"whenScaled": "Delete", "whenDeleted": "Delete"});
    let spec = json!({
        "volumeClaimTemplates": claim_template(),
        "persistentVolumeClaimRetentionPolicy": policy,
    });
    let set = Set::create(with(stateful_set(2, "a"), &spec)).await;
    set.settle().await;
    set.patch(json!({"replicas": 1})).await;
    set.rig
        .until("the claim is gone", async || {
            set.rig.tend_pods().await;
            set.claim_names().await == ["data-db-0"]
        })
        .await;
    set.patch(json!({"replicas": 2})).await;
    set.settle().await;
    assert_eq!(set.claim_names().await.len(), 2);
    let params = DeleteParams::default();
    set.sets.delete("db", &params).await.unwrap();
    set.rig
        .until("all gone", async || {
            set.rig.tend_pods().await;
            set.claim_names().await.is_empty() && set.names().await.is_empty()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_policy_reaches_claims_there_are() {
    let claims = json!({"volumeClaimTemplates": claim_template()});
    let set = Set::create(with(stateful_set(1, "a"), &claims)).await;
    set.settle().await;
    let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}});
    set.patch(policy).await;
    set.rig
        .until("owned", async || {
            let claim = set.claims().get("data-db-0").await.unwrap();
            claim.metadata.owner_references.is_some()
        })
        .await;
    let policy = json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}});
    set.patch(policy).await;
    set.rig
        .until("free", async || {
            let claim = set.claims().get("data-db-0").await.unwrap();
            claim.metadata.owner_references.is_none()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn orphans_of_the_name_are_adopted_and_strangers_are_not() {
    let set = Set::create(stateful_set(0, "a")).await;
    set.settle().await;
    let pod = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "db"}},
            "spec": {"containers": [{"name": "c", "image": "a"}]},
        })
    };
    set.rig.create(&set.pods, pod("db-0")).await;
    set.rig.create(&set.pods, pod("db-extra")).await;
    set.rig
        .until("db-0 is surplus", async || {
            set.names().await == ["db-extra"]
        })
        .await;
    set.stays(&["db-extra"]).await;
    let stranger = set.pod("db-extra").await;
    assert_eq!(stranger.metadata.owner_references, None);
}

#[tokio::test(start_paused = true)]
async fn a_relabelled_pod_is_released_and_its_name_is_taken() {
    let set = Set::create(stateful_set(1, "a")).await;
    set.settle().await;
    let other = json!({"metadata": {"labels": {"app": "other"}}});
    set.rig.patch(&set.pods, "db-0", other).await;
    set.rig
        .until("released", async || {
            set.pod("db-0").await.metadata.owner_references.is_none()
        })
        .await;
    // The name is in use: no pod, no news, and another try when it is free.
    set.stays(&["db-0"]).await;
    assert_eq!(set.rig.events("FailedCreate").await, Vec::<String>::new());
    set.gone("db-0").await;
    set.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_pod_is_told_about() {
    let account =
        json!({"serviceAccountName": "nobody", "containers": [{"name": "c", "image": "a"}]});
    let mut body = stateful_set(1, "a");
    body["spec"]["template"]["spec"] = account;
    let set = Set::create(body).await;
    set.rig
        .until("told", async || {
            let told = set.rig.events("FailedCreate").await;
            told.iter().any(|text| {
                text.starts_with("create Pod db-0 in StatefulSet db failed error: ")
                    && text.contains("\"nobody\" not found")
            })
        })
        .await;
    assert_eq!(set.status("replicas").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_taken_revision_name_is_passed_over() {
    let set = Set::create(stateful_set(1, "a")).await;
    set.settle().await;
    let (sets, revisions) = (&set.sets, set.revisions().await);
    let orphan = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    sets.delete("db", &orphan).await.unwrap();
    set.rig
        .until("gone", async || sets.get_opt("db").await.unwrap().is_none())
        .await;
    // Another template under the name that the next set would take.
    let api = set.rig.api(
        "default",
        ("apps", "v1"),
        "controllerrevisions",
        "ControllerRevision",
    );
    let name = revisions[0].metadata.name.clone().unwrap();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    let foreign = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"name": name, "namespace": "default"}, "revision": 1,
        "data": {"spec": {"template": {"spec": {}}}},
    });
    set.rig.create(&api, foreign).await;
    set.rig.create(sets, stateful_set(1, "a")).await;
    set.rig
        .until("another name", async || {
            set.rig.tend_pods().await;
            set.status("collisionCount").await == 1
        })
        .await;
    set.settle().await;
    assert_ne!(set.status("updateRevision").await, json!(name));
}
