//! One question to one webhook.

use super::config::{FailurePolicy, Hook};
use super::counters::Outcome;
use super::review::{self, Question, Role, Verdict};
use super::subject::{Matched, Subject};
use crate::auth::Identity;
use crate::call::Run;
use crate::outbound::Limits;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};

/// Most bytes of an answer: the patch of the largest object, in base64, and some words.
const MOST_BYTES: usize = 8 << 20;
/// What webhooks see as the client.
const AGENT: &str = "kube-apiserver-admission";

/// Asks `hook`; `None` if it could not be asked and may be ignored. A refusal is an error.
///
/// # Errors
/// The refusal; 400 for a dry run that the webhook takes no part in; 500 if it could not be asked.
pub(super) async fn ask(
    subject: &Subject<'_>,
    hook: &Hook,
    role: Role,
    (matched, object, old): (&Matched, &Value, Option<&Value>),
) -> Result<Option<Verdict>, ApiError> {
    match hook.conditions.hold(subject, matched, (object, old)) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(why) if hook.on_failure == FailurePolicy::Ignore => {
            tracing::warn!(webhook = hook.name, "{why}; going on without it");
            return Ok(None);
        }
        Err(why) => {
            let kind = subject.kind;
            let refused = ApiError::forbidden(&kind.group, &kind.plural, subject.name, &why);
            return Err(refused);
        }
    }
    if subject.run == Run::Dry && !hook.dry_runs {
        let name = &hook.name;
        return Err(ApiError::bad_request(format!(
            "admission webhook {name:?} does not support dry run"
        )));
    }
    let counters = &subject.server.0.webhooks.counters;
    let begun = subject.server.now();
    let about = (hook.name.as_str(), role, subject.operation.text());
    let answered = call(subject, hook, role, (matched, object, old)).await;
    let took = subject.server.now().duration_since(begun).as_secs_f64();
    match answered {
        Ok(verdict) => {
            subject.remarks.warn(verdict.warnings.iter().cloned());
            for (key, value) in &verdict.annotations {
                let key = format!("{}/{key}", hook.name);
                subject.remarks.annotate(key, value.as_str());
            }
            if verdict.allowed {
                counters.asked(about, took, Outcome::Allowed);
                return Ok(Some(verdict));
            }
            let error = review::refusal(&hook.name, &verdict.result);
            counters.asked(about, took, Outcome::Refused(error.code));
            Err(error)
        }
        Err(why) => {
            let name = &hook.name;
            let why = format!("failed calling webhook {name:?}: {why}");
            if hook.on_failure == FailurePolicy::Ignore {
                tracing::warn!(webhook = name, "{why}; going on without it");
                counters.asked(about, took, Outcome::Ignored);
                return Ok(None);
            }
            counters.asked(about, took, Outcome::Failed);
            Err(ApiError::internal(why))
        }
    }
}

async fn call(
    subject: &Subject<'_>,
    hook: &Hook,
    role: Role,
    (matched, object, old): (&Matched, &Value, Option<&Value>),
) -> Result<Verdict, String> {
    let client = hook.client.as_ref().map_err(String::clone)?;
    let uid = subject.server.0.random.audit_id();
    let body = question(subject, &uid, (matched, object, old));
    let limits = Limits {
        timeout: hook.timeout,
        body_bytes: MOST_BYTES,
    };
    let query = format!("timeout={}s", hook.timeout.as_secs());
    let outbound = &subject.server.0.outbound;
    let answer = outbound
        .post(client, (&query, AGENT), body.into(), limits)
        .await
        .map_err(|error| {
            let url = client.url(&query);
            format!("failed to call webhook: Post {url:?}: {error}")
        })?;
    review::understand(&answer, &uid, role)
}

fn question(
    subject: &Subject<'_>,
    uid: &str,
    (matched, object, old): (&Matched, &Value, Option<&Value>),
) -> Vec<u8> {
    let (asked, shown) = (subject.kind, &matched.0);
    let object = subject.shown(matched, object);
    let old = old.map(|old| subject.shown(matched, old));
    let names = |kind: &plimsoll_api::kind::Kind| {
        review::resource_names((&kind.group, &kind.version, &kind.plural))
    };
    let question = Question {
        uid,
        kind: review::kind_names(subject.kind_names(shown)),
        resource: names(shown),
        sub_resource: subject.subresource,
        request_kind: review::kind_names(subject.kind_names(asked)),
        request_resource: names(asked),
        request_sub_resource: subject.subresource,
        name: subject.name,
        namespace: namespace(subject),
        operation: subject.operation.text(),
        user_info: user(subject.identity),
        object: &object,
        old_object: old.as_deref().unwrap_or(&Value::Null),
        dry_run: subject.run == Run::Dry,
        options: options(subject),
    };
    question.body()
}

/// Requests for a namespace are in that namespace.
fn namespace<'s>(subject: &'s Subject<'_>) -> &'s str {
    let is_namespace = subject.kind.group.is_empty() && subject.kind.plural == "namespaces";
    if is_namespace {
        subject.name
    } else {
        subject.namespace
    }
}

fn user(identity: &Identity) -> Value {
    let mut user = json!({"username": identity.user, "groups": identity.groups});
    let map = plimsoll_api::meta::as_object(&mut user);
    if !identity.uid.is_empty() {
        map.insert("uid".into(), identity.uid.as_str().into());
    }
    if !identity.extra.is_empty() {
        map.insert("extra".into(), json!(identity.extra));
    }
    user
}

fn options(subject: &Subject<'_>) -> Value {
    let Some(kind) = subject.operation.options() else {
        return Value::Null;
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if subject.run == Run::Dry {
        plimsoll_api::meta::as_object(&mut options).insert("dryRun".into(), json!(["All"]));
    }
    options
}
