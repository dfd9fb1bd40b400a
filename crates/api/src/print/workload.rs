//! Controllers of pods.

use super::duration::{duration, seconds_between};
use super::selector::cell as selector_cell;
use super::{AGE, NAME, age, bool_text, containers, count, labels_text, number, or_none, since};
use super::{text, wide};
use crate::kind::Column;
use crate::meta;
use jiff::Timestamp;
use serde_json::Value;

pub(super) const DEPLOYMENT: &[Column] = &[
    NAME,
    text("Ready"),
    number("Up-to-date"),
    number("Available"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

/// Name … Age, then the three wide columns of pod templates.
fn with_template(mut cells: Vec<Value>, object: &Value) -> Vec<Value> {
    cells.extend(containers(meta::at(object, &["spec", "template", "spec"])));
    cells.push(selector_cell(meta::at(object, &["spec", "selector"])));
    cells
}

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = count(object, &["status", "readyReplicas"]);
    let desired = count(object, &["spec", "replicas"]);
    let cells = vec![
        meta::name(object).into(),
        format!("{ready}/{desired}").into(),
        count(object, &["status", "updatedReplicas"]).into(),
        count(object, &["status", "availableReplicas"]).into(),
        age(object, now),
    ];
    with_template(cells, object)
}

pub(super) const REPLICA_SET: &[Column] = &[
    NAME,
    number("Desired"),
    number("Current"),
    number("Ready"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let cells = vec![
        meta::name(object).into(),
        count(object, &["spec", "replicas"]).into(),
        count(object, &["status", "replicas"]).into(),
        count(object, &["status", "readyReplicas"]).into(),
        age(object, now),
    ];
    with_template(cells, object)
}

pub(super) const STATEFUL_SET: &[Column] =
    &[NAME, text("Ready"), AGE, wide("Containers"), wide("Images")];

pub(super) fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = count(object, &["status", "readyReplicas"]);
    let mut cells = vec![
        meta::name(object).into(),
        format!("{ready}/{}", count(object, &["spec", "replicas"])).into(),
        age(object, now),
    ];
    cells.extend(containers(meta::at(object, &["spec", "template", "spec"])));
    cells
}

pub(super) const DAEMON_SET: &[Column] = &[
    NAME,
    number("Desired"),
    number("Current"),
    number("Ready"),
    number("Up-to-date"),
    number("Available"),
    text("Node Selector"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let nodes = labels_text(meta::at(
        object,
        &["spec", "template", "spec", "nodeSelector"],
    ));
    let cells = vec![
        meta::name(object).into(),
        count(object, &["status", "desiredNumberScheduled"]).into(),
        count(object, &["status", "currentNumberScheduled"]).into(),
        count(object, &["status", "numberReady"]).into(),
        count(object, &["status", "updatedNumberScheduled"]).into(),
        count(object, &["status", "numberAvailable"]).into(),
        or_none(&nodes),
        age(object, now),
    ];
    with_template(cells, object)
}

pub(super) const REVISION: &[Column] = &[NAME, text("Controller"), number("Revision"), AGE];

pub(super) fn revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owner = meta::list(object, &["metadata", "ownerReferences"])
        .iter()
        .find(|reference| reference.get("controller") == Some(&Value::Bool(true)));
    let controller = owner.map_or_else(
        || "<none>".to_owned(),
        |owner| {
            let group = meta::text(owner, &["apiVersion"])
                .split_once('/')
                .map_or("", |(g, _)| g);
            let kind = meta::text(owner, &["kind"]).to_lowercase();
            let dot = if group.is_empty() { "" } else { "." };
            format!("{kind}{dot}{group}/{}", meta::text(owner, &["name"]))
        },
    );
    vec![
        meta::name(object).into(),
        controller.into(),
        count(object, &["revision"]).into(),
        age(object, now),
    ]
}

pub(super) const JOB: &[Column] = &[
    NAME,
    text("Status"),
    text("Completions"),
    text("Duration"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub(super) fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let succeeded = count(object, &["status", "succeeded"]);
    let completions = match meta::integer(object, &["spec", "completions"]) {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None => match count(object, &["spec", "parallelism"]) {
            parallel if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
            _ => format!("{succeeded}/1"),
        },
    };
    let time = |key: &str| {
        meta::text(object, &["status", key])
            .parse::<Timestamp>()
            .ok()
    };
    let took = time("startTime").map_or(String::new(), |start| {
        duration(seconds_between(
            start,
            time("completionTime").unwrap_or(now),
        ))
    });
    let cells = vec![
        meta::name(object).into(),
        job_status(object).into(),
        completions.into(),
        took.into(),
        age(object, now),
    ];
    with_template(cells, object)
}

fn job_status(object: &Value) -> &'static str {
    let is = |kind: &str| {
        meta::list(object, &["status", "conditions"])
            .iter()
            .any(|condition| {
                condition.get("type").is_some_and(|found| found == kind)
                    && condition
                        .get("status")
                        .is_some_and(|status| status == "True")
            })
    };
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if meta::is_deleting(object) {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

pub(super) const CRON_JOB: &[Column] = &[
    NAME,
    text("Schedule"),
    text("Timezone"),
    text("Suspend"),
    number("Active"),
    text("Last Schedule"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub(super) fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let last = meta::at(object, &["status", "lastScheduleTime"]);
    let suspended = bool_text(object, &["spec", "suspend"]);
    let mut cells = vec![
        meta::name(object).into(),
        meta::text(object, &["spec", "schedule"]).into(),
        or_none(meta::text(object, &["spec", "timeZone"])),
        if suspended == "true" {
            "True".into()
        } else {
            "False".into()
        },
        meta::list(object, &["status", "active"]).len().into(),
        if last.is_some() {
            since(last, now).into()
        } else {
            "<none>".into()
        },
        age(object, now),
    ];
    let job = ["spec", "jobTemplate", "spec"];
    cells.extend(containers(meta::at(
        object,
        &[&job[..], &["template", "spec"]].concat(),
    )));
    cells.push(selector_cell(meta::at(
        object,
        &[&job[..], &["selector"]].concat(),
    )));
    cells
}
