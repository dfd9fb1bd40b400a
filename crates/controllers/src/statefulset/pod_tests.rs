//! What pods and claims of a StatefulSet look like.

use super::*;
use crate::runtime::Cached;
use rstest::rstest;

fn set(extra: &Value) -> StatefulSetView {
    let mut wire = json!({
        "metadata": {"name": "db", "namespace": "ns", "uid": "set-uid"},
        "spec": {"serviceName": "db-svc", "selector": {"matchLabels": {"app": "db"}}},
    });
    for (key, value) in extra.as_object().unwrap() {
        wire["spec"][key] = value.clone();
    }
    StatefulSetView::from_wire(serde_json::from_str(&wire.to_string()).unwrap())
}

fn meta(name: &str, uid: &str, owners: &Value) -> Meta {
    let metadata = json!({"name": name, "namespace": "ns", "uid": uid, "ownerReferences": owners});
    let metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta =
        serde_json::from_value(metadata).unwrap();
    Meta::from(metadata)
}

#[rstest]
#[case::its_own("db-0", Some(0))]
#[case::with_many_digits("db-2147483647", Some(i32::MAX))]
#[case::of_another_set("db-x-0", None)]
#[case::with_a_zero_in_front("db-01", None)]
#[case::with_a_sign("db-+1", None)]
#[case::too_large("db-2147483648", None)]
#[case::without_a_number("db-", None)]
#[case::of_a_replica_set("db-6d4cf56db6", None)]
#[case::the_set_itself("db", None)]
fn a_name_tells_the_number(#[case] name: &str, #[case] want: Option<i32>) {
    assert_eq!(ordinal("db", name), want);
}

#[test]
fn a_pod_has_its_name_its_labels_and_its_claims() {
    let set = set(&json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}));
    let template = json!({
        "metadata": {"labels": {"app": "db"}, "annotations": {"a": "b"}},
        "spec": {
            "hostname": "mine", "terminationGracePeriodSeconds": 10,
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
        },
    });
    let pod = pod_body(&set, 2, template, "db-abc");
    let want = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "db-2", "namespace": "ns",
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "set-uid",
                "controller": true, "blockOwnerDeletion": true,
            }],
            "labels": {
                "app": "db", "statefulset.kubernetes.io/pod-name": "db-2",
                "apps.kubernetes.io/pod-index": "2", "controller-revision-hash": "db-abc",
            },
            "annotations": {"a": "b"},
        },
        "spec": {
            "hostname": "db-2", "subdomain": "db-svc", "terminationGracePeriodSeconds": 10,
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-2"}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
    });
    assert_eq!(pod, want);
}

#[test]
fn a_claim_has_the_labels_of_its_template_and_of_the_selector() {
    let template = json!({
        "metadata": {"name": "data", "labels": {"x": "y"}, "annotations": {"a": "b"}},
        "spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Pending"},
    });
    let claim = claim_body(&set(&json!({})), 0, &template);
    let want = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "data-db-0", "namespace": "ns", "labels": {"x": "y", "app": "db"},
            "annotations": {"a": "b"},
        },
        "spec": {"accessModes": ["ReadWriteOnce"]},
    });
    assert_eq!(claim, want);
}

/// Owners of the claim of a pod: (whenDeleted, whenScaled, the set still wants the pod).
#[rstest]
#[case::kept("Retain", "Retain", true, &[])]
#[case::kept_after_scaling("Retain", "Retain", false, &[])]
#[case::goes_with_the_set("Delete", "Retain", true, &["StatefulSet"])]
#[case::goes_with_the_set_even_after_scaling("Delete", "Retain", false, &["StatefulSet"])]
#[case::scaling_is_not_yet("Retain", "Delete", true, &[])]
#[case::goes_with_the_pod("Retain", "Delete", false, &["Pod"])]
#[case::both_before_scaling("Delete", "Delete", true, &["StatefulSet"])]
#[case::both_after_scaling("Delete", "Delete", false, &["Pod"])]
fn the_retention_policy_says_who_owns_a_claim(
    #[case] deleted: &str,
    #[case] scaled: &str,
    #[case] wanted: bool,
    #[case] want: &[&str],
) {
    let policy = json!({"whenDeleted": deleted, "whenScaled": scaled});
    let set = set(&json!({"persistentVolumeClaimRetentionPolicy": policy}));
    let pod = meta("db-0", "pod-uid", &json!([]));
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c"});
    let old = json!({"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "pod-uid"});
    let claim = meta("data-db-0", "claim", &json!([other, old]));
    let owners = claim_owners(&claim, &set, &pod, wanted);
    let kinds: Vec<&str> = owners.iter().map(|owner| &*owner.kind).collect();
    assert_eq!(kinds, [&["ConfigMap"], want].concat());
    assert!(owners.iter().skip(1).all(|owner| owner.controller));
}

#[test]
fn a_claim_that_somebody_else_manages_is_left_to_them() {
    let policy = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
    let set = set(&json!({"persistentVolumeClaimRetentionPolicy": policy}));
    let other = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c", "controller": true}]);
    let claim = meta("data-db-0", "claim", &other);
    let pod = meta("db-0", "pod-uid", &json!([]));
    assert_eq!(
        claim_owners(&claim, &set, &pod, true),
        claim.owners.to_vec()
    );
}

#[test]
fn a_claim_of_a_pod_that_is_gone_is_recognized() {
    let pod = json!([{"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "gone"}]);
    let claim = meta("data-db-0", "claim", &pod);
    assert!(goes_with(&claim, "db-0"));
    assert!(!goes_with(&claim, "db-1"));
}
