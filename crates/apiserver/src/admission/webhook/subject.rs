//! What is about to happen, and which webhooks care.

use super::config::{Hook, Selector};
use super::review::Names;
use super::rules::{Target, is_exempt};
use crate::admission::Operation;
use crate::auth::Identity;
use crate::call::{Call, Run};
use crate::remarks::Remarks;
use crate::server::ApiServer;
use crate::store::Entry;
use plimsoll_api::decode::{self, FieldValidation};
use plimsoll_api::kind::{Kind, Text};
use plimsoll_api::status::ApiError;
use plimsoll_api::{meta, schema};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Who the server itself is when it looks after its own objects. It asks nobody: a webhook that
/// cannot be reached must not keep a cluster from starting.
const SELF: &str = "system:apiserver";

/// A request that webhooks may be asked about.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) identity: &'a Identity,
    pub(crate) run: Run,
    pub(crate) remarks: &'a Remarks,
    /// The resource, in the version the caller speaks.
    pub(crate) kind: &'a Arc<Kind>,
    /// Or empty.
    pub(crate) subresource: &'a str,
    /// Group, version and kind of the object where it is not the resource's own (Scale, Binding …).
    pub(crate) body: Option<(Text, Text, Text)>,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) operation: Operation,
}

/// The form in which a webhook wants to see a request.
#[derive(Debug, Clone)]
pub(crate) struct Matched(pub(super) Arc<Kind>);

impl Matched {
    /// The resource in that form.
    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }
}

impl<'a> Subject<'a> {
    /// A request for a subresource whose body is of a kind of its own.
    pub(crate) fn of_call(call: &'a Call, run: Run, operation: Operation) -> Self {
        let subresource = call.path.subresource.as_deref().unwrap_or_default();
        let body = call
            .kind
            .subresource(subresource)
            .map(|s| s.response.clone());
        Self {
            server: &call.server,
            identity: &call.identity,
            run,
            remarks: &call.remarks,
            kind: &call.kind,
            subresource,
            body,
            namespace: call.namespace(),
            name: call.name(),
            operation,
        }
    }

    /// Whether no webhook is ever asked.
    pub(super) fn is_exempt(&self) -> bool {
        is_exempt(&self.kind.group, &self.kind.plural) || self.is_own()
    }

    /// Whether the server looks after its own objects.
    pub(crate) fn is_own(&self) -> bool {
        self.identity.user == SELF
    }

    /// Whether the object can be changed at all.
    pub(super) fn is_mutable(&self) -> bool {
        matches!(self.operation, Operation::Create | Operation::Update)
    }

    /// The form in which `hook` wants to hear of the request; `None` if it does not.
    ///
    /// # Errors
    /// Its selectors cannot be understood.
    pub(super) fn matched(
        &self,
        hook: &Hook,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<Option<Matched>, ApiError> {
        let covers = |target: &Target<'_>| hook.rules.iter().any(|rule| rule.covers(target));
        let Some(matched) = self.by_rules(hook.equivalent, covers) else {
            return Ok(None);
        };
        let selected = self.selected((&hook.namespaces, &hook.objects), object, old)?;
        Ok(selected.then_some(matched))
    }

    /// Whether the request's namespace and its object are selected.
    ///
    /// # Errors
    /// The selectors cannot be understood.
    pub(crate) fn selected(
        &self,
        (namespaces, objects): (&Selector, &Selector),
        object: &Value,
        old: Option<&Value>,
    ) -> Result<bool, ApiError> {
        Ok(self.in_namespaces(namespaces, object, old)? && in_objects(objects, object, old)?)
    }

    /// The form in which rules cover the request: the caller's own, else, if they mean `equivalent`
    /// ones too, another version of the resource.
    pub(crate) fn by_rules(
        &self,
        equivalent: bool,
        covers: impl Fn(&Target<'_>) -> bool,
    ) -> Option<Matched> {
        let covered = |kind: &Kind| covers(&self.target(kind));
        if covered(self.kind) {
            return Some(Matched(Arc::clone(self.kind)));
        }
        if !equivalent {
            return None;
        }
        let kinds = self.server.kinds();
        let mut same = kinds
            .iter()
            .filter(|other| other.storage == self.kind.storage && covered(other));
        same.next().map(|other| Matched(Arc::clone(other)))
    }

    fn target<'t>(&'t self, kind: &'t Kind) -> Target<'t> {
        Target {
            group: &kind.group,
            version: &kind.version,
            resource: &kind.plural,
            subresource: self.subresource,
            namespaced: kind.namespaced,
            operation: self.operation.text(),
        }
    }

    /// Objects outside namespaces are not selected by them; a namespace is selected by its own
    /// labels.
    fn in_namespaces(
        &self,
        selector: &Selector,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<bool, ApiError> {
        if matches!(selector, Selector::Everything) {
            return Ok(true);
        }
        let is_namespace = self.kind.group.is_empty() && self.kind.plural == "namespaces";
        if is_namespace {
            let whole = self.subresource.is_empty() && !object.is_null();
            let subject = if whole { Some(object) } else { old };
            return match subject {
                Some(namespace) => selects(selector, namespace),
                None => self.namespace_selected(selector, self.name),
            };
        }
        if !self.kind.namespaced {
            return Ok(true);
        }
        self.namespace_selected(selector, self.namespace)
    }

    fn namespace_selected(&self, selector: &Selector, name: &str) -> Result<bool, ApiError> {
        let entry = self.server.find("", "namespaces", ("", name));
        matches_labels(selector, |key| label(entry.as_deref(), key))
    }

    /// The object as `matched` shows it.
    pub(crate) fn shown<'v>(&self, matched: &Matched, object: &'v Value) -> Cow<'v, Value> {
        let kind = &matched.0;
        let is_shown = self.body.is_some() || object.is_null() || {
            let version = meta::text(object, &["apiVersion"]);
            kind.conversion.is_none() && (version.is_empty() || version == kind.api_version())
        };
        if is_shown {
            return Cow::Borrowed(object);
        }
        Cow::Owned(kind.to_served(object.clone()))
    }

    /// An object in the form of `matched` back in the form that is written.
    pub(super) fn written(&self, matched: &Matched, shown: Value) -> Value {
        let kind = &matched.0;
        match &kind.conversion {
            _ if self.body.is_some() => shown,
            Some(conversion) => (conversion.to_stored)(shown),
            None if self.kind.custom.is_some() && kind.version != self.kind.version => {
                self.kind.to_served(shown)
            }
            None => shown,
        }
    }

    /// Group, version and kind of an object in the form of `kind`.
    pub(crate) fn kind_names<'t>(&'t self, kind: &'t Kind) -> Names<'t> {
        match &self.body {
            Some((group, version, kind)) => (group, version, kind),
            None => (&kind.group, &kind.version, &kind.kind),
        }
    }

    /// Drops unknown fields of an object in the form of `matched`, and refuses those of a wrong
    /// type, as for a body.
    ///
    /// # Errors
    /// As for a body.
    pub(super) fn conform(&self, matched: &Matched, shown: Value) -> Result<Value, ApiError> {
        let mode = FieldValidation::Ignore;
        let decoded = match &self.body {
            None => matched.0.decode_value(shown, mode)?,
            Some((group, version, kind)) => match schema::by_kind(group, version, kind) {
                Some(schema) => decode::value(schema, shown, mode)?,
                None => return Ok(shown),
            },
        };
        Ok(decoded.object)
    }
}

fn label<'e>(entry: Option<&'e Entry>, key: &str) -> Option<&'e str> {
    let labels = &entry?.index.labels;
    let found = labels.iter().find(|(k, _)| &**k == key)?;
    Some(&found.1)
}

/// Whether the new or the old object is selected.
fn in_objects(selector: &Selector, object: &Value, old: Option<&Value>) -> Result<bool, ApiError> {
    if matches!(selector, Selector::Everything) {
        return Ok(true);
    }
    let has_metadata = |value: &Value| value.get("metadata").is_some();
    for candidate in [Some(object), old].into_iter().flatten() {
        if has_metadata(candidate) && selects(selector, candidate)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn selects(selector: &Selector, object: &Value) -> Result<bool, ApiError> {
    let labels = meta::at(object, &["metadata", "labels"]);
    matches_labels(selector, |key| labels?.get(key)?.as_str())
}

fn matches_labels<'l>(
    selector: &Selector,
    labels: impl Fn(&str) -> Option<&'l str>,
) -> Result<bool, ApiError> {
    match selector {
        Selector::Everything => Ok(true),
        Selector::Labels(selector) => Ok(selector.matches(|key| labels(key))),
        Selector::Bad(why) => Err(ApiError::internal(why)),
    }
}
