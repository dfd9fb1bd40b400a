//! Jobs and CronJobs.

use super::object::{self, Lives, metadata};
use super::scope::{Errors, Scope, same};
use super::workload::template;
use crate::names;
use serde_json::Value;

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
    if let Some(old) = old {
        let before = Scope::root(old).at("spec");
        for key in [
            "completions",
            "selector",
            "completionMode",
            "backoffLimitPerIndex",
            "managedBy",
            "podFailurePolicy",
            "successPolicy",
        ] {
            let elastic = key == "completions" && spec.at("completionMode").text() == "Indexed";
            if !elastic {
                spec.at(key).unchanged(&before.at(key), &mut errors);
            }
        }
        let suspended = before.at("suspend").value == &Value::Bool(true);
        if !suspended && !same(spec.at("template").value, before.at("template").value) {
            errors.push(spec.at("template").invalid("field is immutable"));
        }
    }
    errors
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
        let shown = crate::status::FieldError::required(
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
    let schedule = spec.at("schedule");
    if schedule.require(&mut errors) {
        let fields = schedule.text().split_whitespace().count();
        let is_macro = schedule.text().starts_with('@');
        if !is_macro && fields != 5 {
            let why = format!(
                "expected exactly 5 fields, found {fields}: {:?}",
                schedule.text()
            );
            errors.push(schedule.invalid(why));
        }
    }
    spec.at("startingDeadlineSeconds").not_negative(&mut errors);
    spec.at("concurrencyPolicy")
        .one_of(&["Allow", "Forbid", "Replace"], &mut errors);
    spec.at("successfulJobsHistoryLimit")
        .not_negative(&mut errors);
    spec.at("failedJobsHistoryLimit").not_negative(&mut errors);
    let job_template = spec.at("jobTemplate").at("spec");
    if job_template.at("manualSelector").value == &Value::Bool(true) {
        let why = "must be unset or false";
        errors.push(job_template.at("manualSelector").invalid(why));
    }
    job_spec(&job_template, &mut errors);
    errors
}
