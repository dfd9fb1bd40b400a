//! `pods/resize` and `pods/ephemeralcontainers`: the parts of a running pod's spec that may change.

use crate::call::Call;
use crate::http::respond::Response;
use crate::resource::decode;
use crate::resource::patch::{self, Patch};
use crate::resource::write::Writer;
use plimsoll_api::status::{ApiError, FieldError};
use plimsoll_api::{meta, validation};
use serde_json::Value;

/// Which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// CPU and memory of containers.
    Resources,
    /// `spec.ephemeralContainers`, which only grows.
    Ephemeral,
}

/// Updates or patches that part.
pub(super) async fn serve(call: &Call, verb: &str, part: Part) -> Result<Response, ApiError> {
    let run = call.run()?;
    let mode = decode::field_validation(call)?;
    let sent = if verb == "update" {
        Some(decode::object(call)?)
    } else {
        None
    };
    let change = if sent.is_none() {
        Some(Patch::of(call)?)
    } else {
        None
    };
    let step = |old: &Value| {
        let asked = match (&sent, &change) {
            (Some(sent), _) => sent.clone(),
            (None, Some(change)) => {
                let patched = change.apply(call.kind.schema, old)?;
                plimsoll_api::decode::value(call.kind.schema, patched, mode)?.object
            }
            (None, None) => old.clone(),
        };
        super::named(&asked, call)?;
        let mut new = old.clone();
        copy_version(&mut new, &asked);
        let mut errors = match part {
            Part::Resources => resize(&mut new, &asked),
            Part::Ephemeral => add_ephemeral(&mut new, &asked),
        };
        (call.kind.strategy.default)(&mut new);
        errors.extend(match part {
            Part::Resources => validation::resize(&new, old),
            Part::Ephemeral => validation::ephemeral(&new, old),
        });
        errors.extend(unchanged_qos(&new, old));
        if errors.is_empty() {
            return Ok(new);
        }
        Err(ApiError::invalid("", "Pod", call.name(), &errors))
    };
    let writer = Writer::of(call, run);
    let written = writer
        .update(&call.key(), patch::Part::Other, &step)
        .await?;
    call.object(200, &written)
}

fn copy_version(new: &mut Value, asked: &Value) {
    let version = meta::at(asked, &["metadata", "resourceVersion"]).cloned();
    let metadata = meta::object_mut(new, &["metadata"]);
    metadata.shift_remove("resourceVersion");
    if let Some(version) = version {
        metadata.insert("resourceVersion".into(), version);
    }
}

/// Takes over `resources` and `resizePolicy` container by container.
fn resize(new: &mut Value, asked: &Value) -> Vec<FieldError> {
    let wanted = meta::list(asked, &["spec", "containers"]).to_vec();
    let containers = meta::object_mut(new, &["spec"]).get_mut("containers");
    let mut errors = Vec::new();
    let containers = containers
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    for (index, container) in containers.enumerate() {
        let name = meta::text(container, &["name"]).to_owned();
        let Some(other) = wanted.iter().find(|c| meta::text(c, &["name"]) == name) else {
            let field = format!("spec.containers[{index}]");
            errors.push(FieldError::forbidden(
                field,
                "containers may not be removed by a resize",
            ));
            continue;
        };
        for list in ["requests", "limits"] {
            let lost = meta::at(container, &["resources", list])
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .any(|(resource, _)| meta::at(other, &["resources", list, resource]).is_none());
            if lost {
                let field = format!("spec.containers[{index}].resources.{list}");
                errors.push(FieldError::forbidden(
                    field,
                    format!("resource {list} cannot be removed"),
                ));
            }
        }
        let container = meta::as_object(container);
        for key in ["resources", "resizePolicy"] {
            if let Some(value) = other.get(key) {
                container.insert(key.into(), value.clone());
            }
        }
    }
    errors
}

fn add_ephemeral(new: &mut Value, asked: &Value) -> Vec<FieldError> {
    let before = meta::list(new, &["spec", "ephemeralContainers"]).to_vec();
    let after = meta::list(asked, &["spec", "ephemeralContainers"]).to_vec();
    let name = |container: &Value| meta::text(container, &["name"]).to_owned();
    let kept = before
        .iter()
        .all(|old| after.iter().any(|c| name(c) == name(old)));
    if !kept {
        let why = "existing ephemeral containers may not be removed or changed";
        return vec![FieldError::forbidden("spec.ephemeralContainers", why)];
    }
    if !after.is_empty() {
        meta::object_mut(new, &["spec"]).insert("ephemeralContainers".into(), after.into());
    }
    Vec::new()
}

fn unchanged_qos(new: &Value, old: &Value) -> Option<FieldError> {
    let (now, before) = (
        plimsoll_api::print::pod_qos(new),
        plimsoll_api::print::pod_qos(old),
    );
    (now != before).then(|| {
        FieldError::invalid(
            "metadata",
            &now.into(),
            "Pod QOS Class may not change as a result of resizing",
        )
    })
}
