//! What the server refuses of claims, volumes, storage classes and the volumes of pods, with the
//! exact messages.

#![expect(
    clippy::needless_pass_by_value,
    reason = "builders read best with literals"
)]
#![expect(clippy::indexing_slicing, reason = "setting a member makes it")]

use plimsoll_api::kinds;
use rstest::rstest;
use serde_json::{Value, json};

/// All messages about a new object, or about its update.
fn told(resource: &str, new: Value, old: Option<Value>) -> String {
    let (group, plural) = resource.rsplit_once('/').unwrap_or(("", resource));
    let kinds = kinds::built_in();
    let kind = kinds.find(group, "v1", plural).expect("a built-in kind");
    let complete = |mut object: Value| {
        (kind.strategy.default)(&mut object);
        object
    };
    let (new, old) = (complete(new), old.map(complete));
    let errors = (kind.strategy.validate)(&new, old.as_ref());
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("|")
}

fn object(namespace: Option<&str>, base: Value, change: Value) -> Value {
    let mut object = base;
    object["metadata"] = json!({"name": "x"});
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = namespace.into();
    }
    json_patch::merge(&mut object, &change);
    object
}

fn claim(change: Value) -> Value {
    let base = json!({"spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    object(Some("n"), base, change)
}

#[rstest]
#[case::fine(json!({}), "")]
#[case::no_mode(json!({"spec": {"accessModes": []}}),
    "spec.accessModes: Required value: at least 1 access mode is required")]
#[case::unknown_mode(json!({"spec": {"accessModes": ["Write"]}}),
    "spec.accessModes[0]: Unsupported value: \"Write\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"")]
#[case::exclusive_mode(json!({"spec": {"accessModes": ["ReadWriteOncePod", "ReadWriteMany"]}}),
    "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes")]
#[case::no_size(json!({"spec": {"resources": null}}), "spec.resources[storage]: Required value")]
#[case::class_name(json!({"spec": {"storageClassName": "Fast"}}),
    "spec.storageClassName: Invalid value: \"Fast\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")]
#[case::volume_mode(json!({"spec": {"volumeMode": "Tape"}}),
    "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\"")]
fn claims(#[case] change: Value, #[case] want: &str) {
    assert_eq!(told("persistentvolumeclaims", claim(change), None), want);
}

const FIXED: &str = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

#[rstest]
#[case::bound_by_the_binder(json!({"spec": {"volumeName": "v", "storageClassName": "c"}}), "")]
#[case::another_mode(json!({"spec": {"accessModes": ["ReadWriteMany"]}}), FIXED)]
#[case::larger_before_it_is_bound(
    json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}), FIXED)]
#[case::larger(json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    "spec": {"resources": {"requests": {"storage": "2Gi"}}}}), "")]
#[case::smaller(json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    "spec": {"resources": {"requests": {"storage": "1Mi"}}}}),
    "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity")]
fn updates_of_claims(#[case] change: Value, #[case] want: &str) {
    let status = json!({"status": change.get("status").cloned().unwrap_or_default()});
    let old = claim(status);
    assert_eq!(
        told("persistentvolumeclaims", claim(change), Some(old)),
        want
    );
}

#[test]
fn a_claim_may_ask_for_less_than_it_asked_for_in_vain() {
    let sized = |size: &str| {
        claim(
            json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
            "spec": {"resources": {"requests": {"storage": size}}}}),
        )
    };
    assert_eq!(
        told("persistentvolumeclaims", sized("2Gi"), Some(sized("9Gi"))),
        ""
    );
}

fn volume(change: Value) -> Value {
    let base = json!({"spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/srv/x"},
    }});
    object(None, base, change)
}

#[rstest]
#[case::fine(json!({}), "")]
#[case::no_capacity(json!({"spec": {"capacity": null}}), "spec.capacity: Required value")]
#[case::other_capacity(json!({"spec": {"capacity": {"storage": null, "cpu": "1"}}}),
    "spec.capacity: Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\"")]
#[case::empty_capacity(json!({"spec": {"capacity": {"storage": "0"}}}),
    "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero")]
#[case::two_sources(json!({"spec": {"nfs": {"server": "s", "path": "/"}}}),
    "spec.nfs: Forbidden: may not specify more than 1 volume type")]
#[case::back_step(json!({"spec": {"hostPath": {"path": "/srv/../etc"}}}),
    "spec.hostPath.path: Invalid value: \"/srv/../etc\": must not contain '..'")]
#[case::local_anywhere(json!({"spec": {"hostPath": null, "local": {"path": "/srv"}}}),
    "spec.nodeAffinity: Required value: Local volume requires node affinity")]
#[case::affinity_of_nothing(json!({"spec": {"nodeAffinity": {}}}),
    "spec.nodeAffinity.required: Required value: must specify required node constraints")]
#[case::policy(json!({"spec": {"persistentVolumeReclaimPolicy": "Burn"}}),
    "spec.persistentVolumeReclaimPolicy: Unsupported value: \"Burn\": supported values: \"Delete\", \"Recycle\", \"Retain\"")]
#[case::recycled_root(json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle", "hostPath": {"path": "/"}}}),
    "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'")]
#[case::driver(json!({"spec": {"hostPath": null, "csi": {"driver": "d"}}}),
    "spec.csi.volumeHandle: Required value")]
fn volumes(#[case] change: Value, #[case] want: &str) {
    assert_eq!(told("persistentvolumes", volume(change), None), want);
}

#[rstest]
#[case::larger(json!({"spec": {"capacity": {"storage": "2Gi"}}}), "")]
#[case::elsewhere(json!({"spec": {"hostPath": {"path": "/srv/y"}}}),
    "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation")]
#[case::another_mode(json!({"spec": {"volumeMode": "Block"}}),
    "spec.volumeMode: Invalid value: \"Block\": field is immutable")]
fn updates_of_volumes(#[case] change: Value, #[case] want: &str) {
    let old = volume(json!({}));
    assert_eq!(told("persistentvolumes", volume(change), Some(old)), want);
}

fn class(change: Value) -> Value {
    object(None, json!({"provisioner": "example.com/disk"}), change)
}

#[rstest]
#[case::fine(json!({}), "")]
#[case::no_provisioner(json!({"provisioner": ""}), "provisioner: Required value")]
#[case::policy(json!({"reclaimPolicy": "Recycle"}),
    "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"")]
#[case::mode(json!({"volumeBindingMode": "Later"}),
    "volumeBindingMode: Unsupported value: \"Later\": supported values: \"Immediate\", \"WaitForFirstConsumer\"")]
#[case::parameter(json!({"parameters": {"": "x"}}),
    "parameters: Invalid value: \"\": field can not be empty.")]
fn classes(#[case] change: Value, #[case] want: &str) {
    assert_eq!(
        told("storage.k8s.io/storageclasses", class(change), None),
        want
    );
}

#[rstest]
#[case::grows_from_now_on(json!({"allowVolumeExpansion": true}), "")]
#[case::provisioner(json!({"provisioner": "example.com/tape"}),
    "provisioner: Forbidden: updates to provisioner are forbidden.")]
#[case::mode(json!({"volumeBindingMode": "WaitForFirstConsumer"}),
    "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable")]
fn updates_of_classes(#[case] change: Value, #[case] want: &str) {
    let old = class(json!({}));
    assert_eq!(
        told("storage.k8s.io/storageclasses", class(change), Some(old)),
        want
    );
}

#[rstest]
#[case::fine(json!({"emptyDir": {}}), "")]
#[case::host_path_type(json!({"hostPath": {"path": "/x", "type": "Dir"}}),
    "spec.volumes[0].hostPath.type: Unsupported value: \"Dir\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"")]
#[case::host_path_back_step(json!({"hostPath": {"path": "/x/../y"}}),
    "spec.volumes[0].hostPath.path: Invalid value: \"/x/../y\": must not contain '..'")]
#[case::size_limit(json!({"emptyDir": {"sizeLimit": "-1"}}),
    "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity")]
#[case::default_mode(json!({"configMap": {"name": "c", "defaultMode": 1000}}),
    "spec.volumes[0].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive")]
#[case::hidden_path(json!({"secret": {"secretName": "s", "items": [{"key": "k", "path": "..data"}]}}),
    "spec.volumes[0].secret.items[0].path: Invalid value: \"..data\": must not start with '..'")]
#[case::no_field(json!({"downwardAPI": {"items": [{"path": "p"}]}}),
    "spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required")]
#[case::short_token(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 60}}]}}),
    "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes")]
#[case::two_projected(json!({"projected": {"sources": [{"secret": {"name": "s"}, "configMap": {"name": "c"}}]}}),
    "spec.volumes[0].projected.sources[0].configMap: Forbidden: may not specify more than 1 volume type")]
fn volumes_of_pods(#[case] source: Value, #[case] want: &str) {
    let mut source = source;
    source["name"] = "v".into();
    let pod = object(
        Some("n"),
        json!({"spec": {"containers": [{"name": "c", "image": "i"}], "volumes": [source]}}),
        json!({}),
    );
    assert_eq!(told("pods", pod, None), want);
}

#[rstest]
#[case::fine(json!({"subPath": "a/b"}), "")]
#[case::absolute(json!({"subPath": "/a"}),
    "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"/a\": must be a relative path")]
#[case::back_step(json!({"subPathExpr": "$(A)/../b"}),
    "spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"$(A)/../b\": must not contain '..'")]
#[case::both(json!({"subPath": "a", "subPathExpr": "b"}),
    "spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive")]
fn mounts_of_containers(#[case] change: Value, #[case] want: &str) {
    let mut mount = json!({"name": "v", "mountPath": "/v"});
    json_patch::merge(&mut mount, &change);
    let pod = object(
        Some("n"),
        json!({"spec": {
            "containers": [{"name": "c", "image": "i", "volumeMounts": [mount]}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }}),
        json!({}),
    );
    assert_eq!(told("pods", pod, None), want);
}
