//! `explain.plimsoll.dev/v1alpha1` as a whole: what the horizontal autoscaler and what the node
//! autoscaler did, and why.

pub(crate) mod board;
pub(crate) mod journal;
pub(crate) mod query;

use crate::{horizontal, nodes};
use async_trait::async_trait;
use plimsoll_api::local::{LocalGroup, LocalRequest, LocalResource};
use plimsoll_api::selector::FieldSelector;
use plimsoll_api::status::ApiError;
use query::{DECISIONS, GROUP, cell, list};
use serde_json::Value;

/// The API, served from what each autoscaler tells. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ExplainApi {
    /// Told by the horizontal autoscaler.
    pub scalers: horizontal::Explanations,
    /// Told by the node autoscaler.
    pub nodes: nodes::Explanations,
}

/// Who told a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Teller {
    Scalers,
    Nodes,
    Both,
}

/// Who tells about the kind that the selector asks for.
fn teller(fields: &FieldSelector) -> Teller {
    let mut asked = fields.iter();
    let kind = asked.find(|term| term.field == "involvedObject.kind" && !term.negated);
    match kind.map(|term| term.value.as_str()) {
        None => Teller::Both,
        Some("Node" | "NodeGroup") => Teller::Nodes,
        Some(_) => Teller::Scalers,
    }
}

impl ExplainApi {
    async fn decisions(&self, request: LocalRequest) -> Result<Value, ApiError> {
        let teller = teller(&FieldSelector::parse(&request.field_selector)?);
        // What is about nodes is in no namespace.
        if teller == Teller::Scalers || request.namespace.is_some() {
            return self.scalers.read(request).await;
        }
        if teller == Teller::Nodes {
            return self.nodes.read(request).await;
        }
        let found = self.all(&request).await?;
        let some = found.get("items").and_then(Value::as_array);
        let some = some.is_some_and(|items| !items.is_empty());
        if some || query::wait(&request)?.is_zero() {
            return Ok(found);
        }
        // Whoever has news first ends the wait; both are asked again.
        let (one, other) = (request.clone(), request.clone());
        tokio::select! {
            biased;
            told = self.scalers.read(one) => told?,
            told = self.nodes.read(other) => told?,
        };
        self.all(&request).await
    }

    /// The decisions of both as they are now, oldest first.
    async fn all(&self, request: &LocalRequest) -> Result<Value, ApiError> {
        let mut now = request.clone();
        now.parameters.retain(|(name, _)| name != "timeoutSeconds");
        let mut items = Vec::new();
        let mut newest = 0;
        for mut told in [
            self.scalers.read(now.clone()).await?,
            self.nodes.read(now).await?,
        ] {
            newest = newest.max(version(&told));
            if let Some(Value::Array(some)) = told.get_mut("items").map(Value::take) {
                items.extend(some);
            }
        }
        items.sort_by_key(version);
        Ok(list("DecisionList", &items, &newest.to_string()))
    }
}

fn version(object: &Value) -> u64 {
    let text = cell(object, "/metadata/resourceVersion");
    text.as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

#[async_trait]
impl LocalGroup for ExplainApi {
    fn group(&self) -> &'static str {
        GROUP
    }

    fn version(&self) -> &'static str {
        "v1alpha1"
    }

    fn resources(&self) -> Vec<LocalResource> {
        let mut resources = self.scalers.resources();
        resources.extend(self.nodes.resources());
        resources
    }

    async fn read(&self, request: LocalRequest) -> Result<Value, ApiError> {
        match request.resource.as_str() {
            DECISIONS => match (&request.name, &request.namespace) {
                (Some(_), None) => self.nodes.read(request).await,
                (Some(_), Some(_)) => self.scalers.read(request).await,
                (None, _) => self.decisions(request).await,
            },
            resource if nodes::explains(resource) => self.nodes.read(request).await,
            _ => self.scalers.read(request).await,
        }
    }
}

#[cfg(test)]
mod tests;
