//! Jobs and CronJobs.

use super::object::{self, Lives, metadata};
use super::scope::{Errors, Scope};
use super::workload::template;
use crate::status::FieldError;
use crate::{meta, names};
use serde_json::{Value, json};

/// Suffixes of created objects must still fit into a label.
const MAX_CRON_JOB_NAME: usize = 52;

pub(super) fn job(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    if spec.at("selector").present() {
        object::selector(&spec.at("selector"), &mut errors);
        let labels = spec.path(&["template", "metadata", "labels"]);
        if !object::selects(spec.at("selector").value, labels.value) {
            errors.push(labels.invalid("`selector` does not match template `labels`"));
        }
    } else {
        errors.push(spec.at("selector").required(""));
    }
    job_spec(&spec, &mut errors);
    job_status(new, old, &mut errors);
    if let Some(old) = old {
        super::job_update::update(new, old, &mut errors);
    } else {
        generated_selector(new, &mut errors);
        host_name(new, &mut errors);
    }
    errors
}

/// The counters of a status that somebody writes.
fn job_status(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let status = Scope::root(new).at("status");
    if old.is_some_and(|old| Scope::root(old).at("status").value == status.value) {
        return;
    }
    for key in ["active", "ready", "terminating", "succeeded", "failed"] {
        status.at(key).not_negative(errors);
    }
}

/// A selector that the server makes must select by what it makes, and by nothing else.
fn generated_selector(job: &Value, errors: &mut Errors) {
    let selector = Scope::root(job).path(&["spec", "selector"]);
    let manual = Scope::root(job).path(&["spec", "manualSelector"]);
    let (name, uid) = (meta::name(job), meta::uid(job));
    if manual.value == &Value::Bool(true) || uid.is_empty() || !selector.present() {
        return;
    }
    let made = json!({
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
        "controller-uid": uid, "job-name": name,
    });
    if !object::selects(selector.value, &made) {
        errors.push(selector.invalid("`selector` not auto-generated"));
    }
}

/// Pods of an indexed Job are named after it and their index.
fn host_name(job: &Value, errors: &mut Errors) {
    let spec = Scope::root(job).at("spec");
    let completions = spec.at("completions").integer().unwrap_or_default();
    if spec.at("completionMode").text() != "Indexed" || completions < 1 {
        return;
    }
    let name = Scope::root(job).path(&["metadata", "name"]);
    let host = format!("{}-{}", name.text(), completions - 1);
    if !name.text().is_empty() && names::is_dns_label(&host).is_err() {
        let why = format!("will not able to create pod with invalid DNS label: {host}");
        errors.push(name.invalid(why));
    }
}

fn job_spec(spec: &Scope<'_>, errors: &mut Errors) {
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
        "ttlSecondsAfterFinished",
    ] {
        spec.at(key).not_negative(errors);
    }
    let mode = spec.at("completionMode");
    if mode.present() {
        mode.one_of(&["Indexed", "NonIndexed"], errors);
        if mode.text() == "Indexed" && !spec.at("completions").present() {
            let why = "when completion mode is Indexed";
            errors.push(spec.at("completions").required(why));
        }
    }
    super::job_policy::policies(spec, errors);
    template(&spec.at("template"), errors);
    let policy = spec.path(&["template", "spec", "restartPolicy"]);
    if policy.text() == "Always" {
        let shown = FieldError::required(
            policy.path.clone(),
            "valid values: \"OnFailure\", \"Never\"",
        );
        errors.push(shown);
    }
}

pub(super) fn cron_job(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    let name = root.at("metadata").at("name");
    if old.is_none() && name.text().len() > MAX_CRON_JOB_NAME {
        errors.push(name.invalid("must be no more than 52 characters"));
    }
    let spec = root.at("spec");
    let before = old.map(|old| Scope::root(old).at("spec"));
    super::schedule::schedule(&spec, before.as_ref(), &mut errors);
    spec.at("startingDeadlineSeconds").not_negative(&mut errors);
    spec.at("concurrencyPolicy")
        .one_of(&["Allow", "Forbid", "Replace"], &mut errors);
    spec.at("successfulJobsHistoryLimit")
        .not_negative(&mut errors);
    spec.at("failedJobsHistoryLimit").not_negative(&mut errors);
    let job_template = spec.at("jobTemplate").at("spec");
    job_spec(&job_template, &mut errors);
    let selector = job_template.at("selector");
    if selector.present() {
        errors.push(selector.invalid("`selector` will be auto-generated"));
    }
    let manual = job_template.at("manualSelector");
    if manual.value == &Value::Bool(true) {
        let path = manual.path.clone();
        errors.push(FieldError::not_supported(
            path,
            manual.value,
            &["nil", "false"],
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_a_written_status_are_not_negative() {
        let counters = ["active", "ready", "terminating", "succeeded", "failed"];
        for counter in counters {
            let old = json!({"status": {}});
            let new = json!({"status": {(counter): -1}});
            let mut errors = Errors::new();
            job_status(&new, Some(&old), &mut errors);
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            let want =
                format!("status.{counter}: Invalid value: -1: must be greater than or equal to 0");
            assert_eq!(texts, [want]);
            errors.clear();
            job_status(&new, Some(&new), &mut errors);
            assert!(
                errors.is_empty(),
                "what is stored does not hinder other changes"
            );
        }
    }
}
