//! The resources of `explain.plimsoll.dev/v1alpha1` that are about nodes.

use super::{Explanations, Inner};
use crate::explain::query::{DECISIONS, GROUP, cell, columns, list};
use jiff::Timestamp;
use plimsoll_api::local::{LocalRequest, LocalResource};
use plimsoll_api::print;
use plimsoll_api::selector::FieldSelector;
use plimsoll_api::status::ApiError;
use serde_json::Value;

const NODES: &str = "nodes";
const NODE_GROUPS: &str = "nodegroups";
const PODS: &str = "pods";

/// Whether the node autoscaler explains this resource.
pub fn explains(resource: &str) -> bool {
    [NODES, NODE_GROUPS, PODS].contains(&resource)
}

impl Explanations {
    /// What is served, decisions aside.
    pub fn resources(&self) -> Vec<LocalResource> {
        // Clients find a resource by its kind: no two may share one.
        let explained = |plural, kind, namespaced| LocalResource {
            plural,
            singular: "",
            kind,
            namespaced,
            verbs: &["get", "list"],
            columns: columns(&[
                ("Name", "string"),
                ("Verdict", "string"),
                ("Since", "string"),
                ("Why", "string"),
            ]),
            cells,
        };
        vec![
            explained(NODES, "NodeExplanation", false),
            explained(NODE_GROUPS, "NodeGroupExplanation", false),
            explained(PODS, "PodExplanation", true),
        ]
    }

    /// Answers a read of one of [`Explanations::resources`] or of decisions about them.
    ///
    /// # Errors
    /// There is no such object, or the request is wrong.
    pub async fn read(&self, request: LocalRequest) -> Result<Value, ApiError> {
        if request.resource == DECISIONS {
            return self.0.decisions(&request).await;
        }
        self.explained(&request)
    }

    fn explained(&self, request: &LocalRequest) -> Result<Value, ApiError> {
        let inner = self.0.read();
        let namespace = request.namespace.as_deref();
        let resource = request.resource.as_str();
        if let Some(name) = &request.name {
            let found = match resource {
                NODES => inner.node(name),
                NODE_GROUPS => inner.group(name),
                PODS => inner.pod(namespace.unwrap_or_default(), name),
                _ => return Err(ApiError::no_such_resource()),
            };
            return found.ok_or_else(|| ApiError::not_found(GROUP, resource, name));
        }
        let fields = FieldSelector::parse(&request.field_selector)?;
        let mut items = inner.all(resource, namespace)?;
        items.retain(|item| {
            fields.matches(|field| match field {
                "metadata.name" => text(item, "/metadata/name"),
                "metadata.namespace" => text(item, "/metadata/namespace"),
                _ => "",
            })
        });
        let kind = match resource {
            NODES => "NodeExplanationList",
            NODE_GROUPS => "NodeGroupExplanationList",
            _ => "PodExplanationList",
        };
        Ok(list(kind, &items, ""))
    }
}

impl Inner {
    fn all(&self, resource: &str, namespace: Option<&str>) -> Result<Vec<Value>, ApiError> {
        let Some(look) = &self.look else {
            return Ok(Vec::new());
        };
        match resource {
            NODES => Ok(look.nodes().keys().filter_map(|n| self.node(n)).collect()),
            NODE_GROUPS => {
                let groups = look.groups.iter();
                Ok(groups.filter_map(|group| self.group(&group.id)).collect())
            }
            PODS => Ok(self.pods(namespace)),
            _ => Err(ApiError::no_such_resource()),
        }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        cell(object, "/metadata/name"),
        cell(object, "/decision/verdict"),
        print::since(object.get("since"), now).into(),
        cell(object, "/summary"),
    ]
}
