//! Controllers of pods.

use super::{Fields, child, ensure, is_set, items, pod_spec, set, set_text};
use crate::meta;
use serde_json::{Value, json};

fn template(spec: &mut Fields) {
    let template = ensure(spec, "template");
    ensure(template, "metadata");
    pod_spec(ensure(template, "spec"));
}

pub(super) fn pod_template(object: &mut Value) {
    template(meta::as_object(object));
}

pub(super) fn deployment(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    set(spec, "replicas", 1);
    template(spec);
    let strategy = ensure(spec, "strategy");
    set_text(strategy, "type", "RollingUpdate");
    if strategy
        .get("type")
        .is_some_and(|kind| kind == "RollingUpdate")
    {
        let rolling = ensure(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", "25%");
        set(rolling, "maxSurge", "25%");
    }
    set(spec, "revisionHistoryLimit", 10);
    set(spec, "progressDeadlineSeconds", 600);
}

pub(super) fn replica_set(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    set(spec, "replicas", 1);
    template(spec);
}

pub(super) fn replication_controller(object: &mut Value) {
    let labels = meta::at(object, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels.filter(|l| l.as_object().is_some_and(|map| !map.is_empty())) {
        let spec = meta::object_mut(object, &["spec"]);
        if !is_set(spec, "selector") {
            spec.insert("selector".into(), labels.clone());
        }
        let metadata = meta::object_mut(object, &["metadata"]);
        if !is_set(metadata, "labels") {
            metadata.insert("labels".into(), labels);
        }
    }
    replica_set(object);
}

pub(super) fn stateful_set(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    set(spec, "replicas", 1);
    template(spec);
    set_text(spec, "podManagementPolicy", "OrderedReady");
    let strategy = ensure(spec, "updateStrategy");
    set_text(strategy, "type", "RollingUpdate");
    if strategy
        .get("type")
        .is_some_and(|kind| kind == "RollingUpdate")
    {
        set(ensure(strategy, "rollingUpdate"), "partition", 0);
    }
    set(spec, "revisionHistoryLimit", 10);
    let retention = ensure(spec, "persistentVolumeClaimRetentionPolicy");
    set_text(retention, "whenDeleted", "Retain");
    set_text(retention, "whenScaled", "Retain");
    for claim in items(spec, "volumeClaimTemplates") {
        set_text(claim, "apiVersion", "v1");
        set_text(claim, "kind", "PersistentVolumeClaim");
        set_text(ensure(claim, "spec"), "volumeMode", "Filesystem");
        set_text(ensure(claim, "status"), "phase", "Pending");
    }
}

pub(super) fn daemon_set(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    template(spec);
    let strategy = ensure(spec, "updateStrategy");
    set_text(strategy, "type", "RollingUpdate");
    if strategy
        .get("type")
        .is_some_and(|kind| kind == "RollingUpdate")
    {
        let rolling = ensure(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", 1);
        set(rolling, "maxSurge", 0);
    }
    set(spec, "revisionHistoryLimit", 10);
}

pub(super) fn job(object: &mut Value) {
    let labels = meta::at(object, &["spec", "template", "metadata", "labels"]).cloned();
    job_spec(meta::object_mut(object, &["spec"]));
    if let Some(labels) = labels.filter(|l| l.as_object().is_some_and(|map| !map.is_empty())) {
        let metadata = meta::object_mut(object, &["metadata"]);
        if !is_set(metadata, "labels") {
            metadata.insert("labels".into(), labels);
        }
    }
}

fn job_spec(spec: &mut Fields) {
    if !is_set(spec, "completions") && !is_set(spec, "parallelism") {
        spec.insert("completions".into(), json!(1));
        spec.insert("parallelism".into(), json!(1));
    }
    set(spec, "parallelism", 1);
    let per_index = is_set(spec, "backoffLimitPerIndex");
    set(
        spec,
        "backoffLimit",
        if per_index { i64::from(i32::MAX) } else { 6 },
    );
    set_text(spec, "completionMode", "NonIndexed");
    set(spec, "suspend", false);
    let failure_policy = spec
        .get("podFailurePolicy")
        .is_some_and(|policy| !policy.is_null());
    let replacement = if failure_policy {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    set_text(spec, "podReplacementPolicy", replacement);
    if let Some(policy) = child(spec, "podFailurePolicy") {
        for rule in items(policy, "rules") {
            for condition in items(rule, "onPodConditions") {
                set_text(condition, "status", "True");
            }
        }
    }
    template(spec);
}

pub(super) fn cron_job(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    set_text(spec, "concurrencyPolicy", "Allow");
    set(spec, "suspend", false);
    set(spec, "successfulJobsHistoryLimit", 3);
    set(spec, "failedJobsHistoryLimit", 1);
    // The template of a CronJob gets a pod's defaults, not a Job's: those come with each Job.
    let job_template = ensure(spec, "jobTemplate");
    ensure(job_template, "metadata");
    template(ensure(job_template, "spec"));
}
