//! An autoscaler as the API server would store it.

use super::documents::Document;
use super::files::{decode, refused};
use anyhow::{Context, Result};
use plimsoll_api::kind::Kinds;
use plimsoll_api::status::ApiError;
use plimsoll_api::{meta, pod_autoscaler};
use plimsoll_engine::horizontal::{Spec, Status};
use serde_json::{Value, json};
use std::sync::Arc;

/// One autoscaler.
#[derive(Debug, Clone)]
pub(super) struct Autoscaler {
    /// `hpa` or `podautoscaler`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) spec: Arc<Spec>,
    pub(super) status: Status,
}

impl Autoscaler {
    /// Decodes, converts, defaults and validates, in the API server's order.
    ///
    /// # Errors
    /// Names the document and the fields at fault.
    pub(super) fn read(kinds: &Kinds, document: &Document, fallback: &str) -> Result<Self> {
        let (served, mut object) = decode(kinds, document)?;
        let (plural, name) = (&served.plural, document.name());
        let stored = kinds.find(&served.group, "v2", plural).unwrap_or(&served);
        let empty_status =
            |status: &Value| status.as_object().is_none_or(serde_json::Map::is_empty);
        if object.get("status").is_none_or(empty_status) {
            meta::as_object(&mut object).shift_remove("status");
        }
        meta::default_at(&mut object, &["metadata"], "namespace", fallback);
        if let Some(conversion) = &served.conversion {
            object = (conversion.to_stored)(object);
            stored.default(&mut object);
        }
        let is_own = served.kind == "PodAutoscaler";
        if is_own {
            pod_autoscaler::complete(&mut object);
        }
        (stored.strategy.drop_disabled)(&mut object, None);
        let errors = stored.validate(&object, None);
        if !errors.is_empty() {
            let error = ApiError::invalid(&stored.group, &stored.kind, name, &errors);
            return Err(refused(document, &error));
        }
        let part = |key: &str| object.get(key).cloned().unwrap_or_else(|| json!({}));
        let place = || document.place.to_string();
        Ok(Self {
            kind: if is_own { "podautoscaler" } else { "hpa" },
            name: name.to_owned(),
            namespace: meta::namespace(&object).to_owned(),
            spec: serde_json::from_value(part("spec")).with_context(place)?,
            status: serde_json::from_value(part("status")).with_context(place)?,
        })
    }
}
