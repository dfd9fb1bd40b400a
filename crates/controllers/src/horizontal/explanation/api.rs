//! `explain.plimsoll.dev/v1alpha1`: explanations by kind of autoscaler, and decisions.

use super::Explanations;
use crate::explain::query::{DECISIONS, GROUP, cell, columns, list};
use crate::horizontal::key::{ScalerKey, ScalerKind};
use crate::runtime::ObjectKey;
use async_trait::async_trait;
use jiff::Timestamp;
use plimsoll_api::local::{LocalGroup, LocalRequest, LocalResource};
use plimsoll_api::print;
use plimsoll_api::selector::FieldSelector;
use plimsoll_api::status::ApiError;
use serde_json::Value;

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
        let listed = format!("{}List", explanation_kind(kind));
        Ok(list(&listed, &items, ""))
    }
}

/// The kind of explanations of such autoscalers: clients find a resource by its kind, so no two
/// share one.
pub(super) fn explanation_kind(kind: ScalerKind) -> &'static str {
    match kind {
        ScalerKind::Horizontal => "Explanation",
        ScalerKind::Pod => "PodAutoscalerExplanation",
    }
}

fn explanation_cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        cell(object, "/metadata/name"),
        cell(object, "/decision/replicas"),
        print::since(object.get("since"), now).into(),
        cell(object, "/summary"),
    ]
}

fn decision_cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let part = |pointer| {
        cell(object, pointer)
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (kind, name) = (part("/involvedObject/kind"), part("/involvedObject/name"));
    vec![
        cell(object, "/metadata/name"),
        format!("{kind}/{name}").into(),
        cell(object, "/from"),
        cell(object, "/to"),
        cell(object, "/passes"),
        print::since(object.get("firstTime"), now).into(),
        cell(object, "/summary"),
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
            kind: explanation_kind(kind),
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
            return self.0.decisions(&request).await;
        }
        let kind = kind_of(&request.resource).ok_or_else(ApiError::no_such_resource)?;
        self.read_explanations(kind, &request)
    }
}
