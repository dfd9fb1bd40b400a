//! `explain.plimsoll.dev/v1alpha1`: explanations by kind of autoscaler, and decisions.

use super::show::API_VERSION;
use super::{Explanations, Wanted};
use crate::horizontal::key::{ScalerKey, ScalerKind};
use crate::runtime::ObjectKey;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::kind::Column;
use plimsoll_api::local::{LocalGroup, LocalRequest, LocalResource};
use plimsoll_api::print;
use plimsoll_api::selector::FieldSelector;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::time::Duration;

const GROUP: &str = "explain.plimsoll.dev";
const DECISIONS: &str = "decisions";
/// The longest that a read may wait for something new.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The plural of a kind of autoscaler.
fn plural(kind: ScalerKind) -> &'static str {
    match kind {
        ScalerKind::Horizontal => "horizontalpodautoscalers",
        ScalerKind::Pod => "podautoscalers",
    }
}

fn kind_of(plural_name: &str) -> Option<ScalerKind> {
    let kinds = [ScalerKind::Horizontal, ScalerKind::Pod];
    kinds.into_iter().find(|kind| plural(*kind) == plural_name)
}

impl Explanations {
    fn read_explanations(
        &self,
        kind: ScalerKind,
        request: &LocalRequest,
    ) -> Result<Value, ApiError> {
        let namespace = request.namespace.as_deref();
        if let Some(name) = &request.name {
            let object = ObjectKey::new(namespace.unwrap_or_default(), name);
            let found = self.get(&ScalerKey { kind, object });
            return found.ok_or_else(|| ApiError::not_found(GROUP, plural(kind), name));
        }
        let fields = FieldSelector::parse(&request.field_selector)?;
        let items = self.list(|key| {
            let within = namespace.is_none_or(|wanted| *key.object.namespace == *wanted);
            within
                && key.kind == kind
                && fields.matches(|field| match field {
                    "metadata.name" => &*key.object.name,
                    "metadata.namespace" => &*key.object.namespace,
                    _ => "",
                })
        });
        Ok(list("ExplanationList", &items, ""))
    }

    /// The decisions asked for; with `after` and `timeoutSeconds`, waits until there is one.
    async fn read_decisions(&self, request: &LocalRequest) -> Result<Value, ApiError> {
        let wanted = self.wanted(request)?;
        if let Some(name) = &request.name {
            let (found, _) = self.decisions(&wanted);
            let mut named = found.into_iter();
            let found =
                named.find(|decision| decision.pointer("/metadata/name") == Some(&json!(name)));
            return found.ok_or_else(|| ApiError::not_found(GROUP, DECISIONS, name));
        }
        let wait = number(request, "timeoutSeconds")?.unwrap_or(0);
        let wait = Duration::from_secs(wait).min(LONGEST_WAIT);
        let mut newest = self.0.newest.subscribe();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            newest.mark_unchanged();
            let (items, last) = self.decisions(&wanted);
            let over = wait.is_zero() || !items.is_empty();
            if over
                || tokio::time::timeout_at(deadline, newest.changed())
                    .await
                    .is_err()
            {
                return Ok(list("DecisionList", &items, &last.to_string()));
            }
        }
    }

    fn wanted(&self, request: &LocalRequest) -> Result<Wanted, ApiError> {
        let since = request.parameter("since").filter(|text| !text.is_empty());
        let since = since.map(|text| self.time(text)).transpose()?;
        Ok(Wanted {
            namespace: request.namespace.clone(),
            fields: FieldSelector::parse(&request.field_selector)?,
            since,
            after: number(request, "after")?.unwrap_or_default(),
        })
    }

    /// A time, or how long ago: `2026-01-01T12:00:00Z`, `1h`.
    fn time(&self, text: &str) -> Result<Timestamp, ApiError> {
        if let Ok(time) = text.parse() {
            return Ok(time);
        }
        let span: SignedDuration = text.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "since is neither a time like 2026-01-31T12:00:00Z nor a duration like 1h: {text:?}"
            ))
        })?;
        let then = self.latest().checked_sub(span.abs());
        Ok(then.unwrap_or(Timestamp::MIN))
    }
}

fn number(request: &LocalRequest, name: &str) -> Result<Option<u64>, ApiError> {
    let text = request.parameter(name).filter(|text| !text.is_empty());
    text.map(str::parse).transpose().map_err(|_| {
        let text = text.unwrap_or_default();
        ApiError::bad_request(format!("{name} is not a whole number: {text:?}"))
    })
}

fn list(kind: &str, items: &[Value], version: &str) -> Value {
    json!({
        "kind": kind, "apiVersion": API_VERSION,
        "metadata": { "resourceVersion": version }, "items": items,
    })
}

fn columns(shown: &[(&'static str, &'static str)]) -> Vec<Column> {
    let column = |&(name, kind): &(&'static str, &'static str)| Column {
        name: name.into(),
        kind: kind.into(),
        format: if name == "Name" { "name" } else { "" }.into(),
        priority: 0,
        description: "".into(),
    };
    shown.iter().map(column).collect()
}

fn text(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).cloned().unwrap_or_default()
}

fn explanation_cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        text(object, "/metadata/name"),
        text(object, "/decision/replicas"),
        print::since(object.get("since"), now).into(),
        text(object, "/summary"),
    ]
}

fn decision_cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let part = |pointer| {
        text(object, pointer)
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (kind, name) = (part("/involvedObject/kind"), part("/involvedObject/name"));
    vec![
        text(object, "/metadata/name"),
        format!("{kind}/{name}").into(),
        text(object, "/from"),
        text(object, "/to"),
        text(object, "/passes"),
        print::since(object.get("firstTime"), now).into(),
        text(object, "/summary"),
    ]
}

#[async_trait]
impl LocalGroup for Explanations {
    fn group(&self) -> &'static str {
        GROUP
    }

    fn version(&self) -> &'static str {
        "v1alpha1"
    }

    fn resources(&self) -> Vec<LocalResource> {
        let explained = |kind| LocalResource {
            plural: plural(kind),
            singular: "",
            kind: "Explanation",
            namespaced: true,
            verbs: &["get", "list"],
            columns: columns(&[
                ("Name", "string"),
                ("Replicas", "integer"),
                ("Since", "string"),
                ("Why", "string"),
            ]),
            cells: explanation_cells,
        };
        let decisions = LocalResource {
            plural: DECISIONS,
            singular: "decision",
            kind: "Decision",
            namespaced: true,
            verbs: &["get", "list"],
            columns: columns(&[
                ("Name", "string"),
                ("Autoscaler", "string"),
                ("From", "integer"),
                ("To", "integer"),
                ("Passes", "integer"),
                ("Age", "string"),
                ("Why", "string"),
            ]),
            cells: decision_cells,
        };
        vec![
            explained(ScalerKind::Horizontal),
            explained(ScalerKind::Pod),
            decisions,
        ]
    }

    async fn read(&self, request: LocalRequest) -> Result<Value, ApiError> {
        if request.resource == DECISIONS {
            return self.read_decisions(&request).await;
        }
        let kind = kind_of(&request.resource).ok_or_else(ApiError::no_such_resource)?;
        self.read_explanations(kind, &request)
    }
}
