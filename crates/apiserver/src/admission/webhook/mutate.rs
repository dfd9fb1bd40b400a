//! Webhooks that may change the object, one after another.

use super::ask::ask;
use super::config::Hook;
use super::review::Role;
use super::subject::{Matched, Subject};
use plimsoll_api::status::ApiError;
use plimsoll_api::{meta, patch};
use serde_json::Value;
use std::collections::BTreeSet;

/// What of the metadata is the server's own: a webhook's change of it is undone.
const OWN: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "resourceVersion",
];

/// A webhook, across configurations.
type HookId = (String, String);

/// What happened in the rounds so far: webhooks that ask for it (`reinvocationPolicy: IfNeeded`)
/// see the object once more if it was changed after they had seen it.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    asked_before: BTreeSet<HookId>,
    again: BTreeSet<HookId>,
    /// The object as the first round left it, if any webhook changed it.
    changed: Option<Value>,
}

impl Rounds {
    /// Whether a second round, of built-in steps too, is due.
    pub(crate) fn another(&self) -> bool {
        self.changed.is_some()
    }

    fn saw_a_change(&mut self) {
        self.again.append(&mut self.asked_before);
    }
}

/// Asks the mutating webhooks and changes `object` as they say. The first call for a request is
/// its first round; a second one is its second.
///
/// # Errors
/// A refusal, or a webhook that could not be asked.
pub(crate) async fn mutate(
    subject: &Subject<'_>,
    object: &mut Value,
    old: Option<&Value>,
    rounds: &mut Rounds,
) -> Result<(), ApiError> {
    let hooks = subject.server.0.webhooks.mutating();
    if hooks.is_empty() || subject.is_exempt() {
        return Ok(());
    }
    let first = rounds.changed.take();
    if first.as_ref().is_some_and(|left| left != object) {
        rounds.saw_a_change();
    }
    let mut changed = false;
    for hook in &hooks {
        let id = (hook.configuration.clone(), hook.name.clone());
        if first.is_some() && !rounds.again.contains(&id) {
            continue;
        }
        let Some(matched) = subject.matched(hook, object, old)? else {
            continue;
        };
        let verdict = ask(subject, hook, Role::Mutating, (&matched, object, old)).await?;
        let patch = verdict.and_then(|verdict| verdict.patch);
        if let Some(patch) = patch
            && apply(subject, hook, &matched, (&patch, object))?
        {
            changed = true;
            rounds.saw_a_change();
        }
        if hook.reinvocable {
            rounds.asked_before.insert(id);
        }
    }
    if changed && first.is_none() {
        rounds.changed = Some(object.clone());
    }
    Ok(())
}

/// Applies a webhook's patch to the object, in the version the webhook saw; whether it changed.
fn apply(
    subject: &Subject<'_>,
    hook: &Hook,
    matched: &Matched,
    (changes, object): (&[u8], &mut Value),
) -> Result<bool, ApiError> {
    let operations: Vec<Value> = serde_json::from_slice(changes).map_err(ApiError::internal)?;
    if operations.is_empty() {
        return Ok(false);
    }
    if !subject.is_mutable() {
        let name = &hook.name;
        return Err(ApiError::internal(format!(
            "admission webhook {name:?} attempted to modify the object, which is not supported for this operation"
        )));
    }
    let before = subject.shown(matched, object).into_owned();
    let patched = patch::json(&before, changes).map_err(|e| ApiError::internal(e.message))?;
    replace(subject, matched, (patched, object)).map_err(|e| ApiError::internal(e.message))
}

/// Puts a changed object, in the form in which it matched, in the place of `object`: without
/// unknown fields, with what is the server's own as it was, defaulted; whether anything changed.
///
/// # Errors
/// A field of a wrong type.
pub(crate) fn replace(
    subject: &Subject<'_>,
    matched: &Matched,
    (changed, object): (Value, &mut Value),
) -> Result<bool, ApiError> {
    let before = subject.shown(matched, object).into_owned();
    let mut after = subject.conform(matched, changed)?;
    keep_own(&mut after, &before);
    if after == before {
        return Ok(false);
    }
    *object = subject.written(matched, after);
    if subject.body.is_none() {
        subject.kind.default(object);
    }
    Ok(true)
}

fn keep_own(after: &mut Value, before: &Value) {
    for key in ["apiVersion", "kind"] {
        if let Some(value) = before.get(key) {
            meta::as_object(after).insert(key.into(), value.clone());
        }
    }
    let Some(own) = before.get("metadata").and_then(Value::as_object) else {
        return;
    };
    let metadata = meta::object_mut(after, &["metadata"]);
    for key in OWN {
        match own.get(key) {
            Some(value) => drop(metadata.insert(key.into(), value.clone())),
            None => drop(metadata.shift_remove(key)),
        }
    }
}
