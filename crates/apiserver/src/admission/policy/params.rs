//! The parameters that a binding hands to its policy.

use super::definition::{ParamKind, ParamRef};
use crate::admission::webhook::Subject;
use crate::resource::present::{parse, to_served};
use crate::server::key;
use crate::store::{Entry, ListQuery};
use plimsoll_api::kind::Kind;
use plimsoll_api::selector::LabelSelector;
use serde_json::Value;
use std::sync::Arc;

/// The parameters, one evaluation each; none at all if they may be absent and are.
///
/// # Errors
/// Why they cannot be found, in upstream's words.
pub(super) fn find(
    subject: &Subject<'_>,
    wanted: &ParamKind,
    reference: &ParamRef,
) -> Result<Vec<Value>, String> {
    let kinds = subject.server.kinds();
    let mut served = kinds.iter();
    let kind = served.find(|k| k.kind == wanted.kind && k.api_version() == wanted.api_version);
    let Some(kind) = kind else {
        let (group, version) = wanted
            .api_version
            .split_once('/')
            .unwrap_or(("", &wanted.api_version));
        let named = format!("{group}/{version}, Kind={}", wanted.kind);
        return Err(format!(
            "failed to find resource referenced by paramKind: '{named}'"
        ));
    };
    let namespace = namespace(subject, kind, reference)?;
    let entries = if let Some(selector) = &reference.selector {
        selected(subject, kind, (namespace, selector))?
    } else {
        let at = key(kind, namespace, &reference.name);
        subject.server.store().get(&at).into_iter().collect()
    };
    if entries.is_empty() && !reference.may_be_absent {
        return Err(
            "no params found for policy binding with `Deny` parameterNotFoundAction".into(),
        );
    }
    let objects = entries.iter().map(|entry| parse(&entry.json));
    let objects = objects.map(|object| object.map(|object| to_served(kind, object)));
    objects
        .collect::<Result<_, _>>()
        .map_err(|error| error.message)
}

/// The namespace the parameters are in: the one that is named, else the request's.
fn namespace<'s>(
    subject: &'s Subject<'_>,
    kind: &Kind,
    reference: &'s ParamRef,
) -> Result<&'s str, String> {
    match (kind.namespaced, reference.namespace.as_str()) {
        (false, "") => Ok(""),
        (false, _) => Err(
            "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned(),
        ),
        (true, "") if subject.namespace.is_empty() => Err(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                .to_owned(),
        ),
        (true, "") => Ok(subject.namespace),
        (true, named) => Ok(named),
    }
}

fn selected(
    subject: &Subject<'_>,
    kind: &Kind,
    (namespace, selector): (&str, &Value),
) -> Result<Vec<Arc<Entry>>, String> {
    let selector = LabelSelector::from_object(selector).map_err(|error| error.message)?;
    let query = ListQuery {
        resource: Arc::clone(&kind.storage),
        namespace: kind.namespaced.then(|| namespace.into()),
        ..ListQuery::default()
    };
    let page = subject
        .server
        .store()
        .list(&query)
        .map_err(|error| error.to_string())?;
    let matches = |entry: &Arc<Entry>| {
        let labels = &entry.index.labels;
        selector.matches(|key| {
            let found = labels.iter().find(|(k, _)| &**k == key);
            found.map(|(_, value)| &**value)
        })
    };
    Ok(page.entries.into_iter().filter(matches).collect())
}
