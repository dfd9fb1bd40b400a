//! `pods/resize` and `pods/ephemeralcontainers`: the parts of a running pod's spec that may change.

use crate::call::Call;
use crate::http::respond::Response;
use crate::resource::apply;
use crate::resource::decode;
use crate::resource::managers::{self, Door, Tracking};
use crate::resource::patch::{self, Patch, is_apply};
use crate::resource::write::{Step, Writer};
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
    let mode = decode::field_validation(call)?;
    let writer = Writer::of(call, call.run()?);
    let schema = call.kind.schema;
    if is_apply(call) {
        let config = apply::Config::of(call)?;
        let door = (Door::of(call), patch::Part::Other);
        let writer = Writer {
            tracking: Tracking::Done,
            ..writer
        };
        let ask = |old: &Value| config.onto(&writer, door, Some(old));
        return write(call, part, (&writer, &ask)).await;
    }
    if verb == "update" {
        let sent = decode::object(call)?;
        return write(call, part, (&writer, &|_| Ok(sent.clone()))).await;
    }
    let change = Patch::of(call)?;
    let ask = |old: &Value| {
        let patched = change.apply(schema, old)?;
        Ok(plimsoll_api::decode::value(schema, patched, mode)?.object)
    };
    write(call, part, (&writer, &ask)).await
}

/// Takes the part from the object that `ask` makes of the stored one.
async fn write(
    call: &Call,
    part: Part,
    (writer, ask): (&Writer<'_>, &Step<'_>),
) -> Result<Response, ApiError> {
    let step = |old: &Value| {
        let asked = ask(old)?;
        super::named(&asked, call)?;
        let mut new = old.clone();
        if writer.tracking == Tracking::Done {
            managers::put(&mut new, managers::list(&asked).cloned());
        }
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
/// What is asked for the pod as a whole is taken over only to be judged.
fn resize(new: &mut Value, asked: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(whole) = meta::at(asked, &["spec", "resources"]) {
        meta::object_mut(new, &["spec"]).insert("resources".into(), whole.clone());
    }
    for list in ["containers", "initContainers"] {
        let wanted = meta::list(asked, &["spec", list]);
        let containers = meta::object_mut(new, &["spec"]).get_mut(list);
        let containers = containers
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten();
        for (index, container) in containers.enumerate() {
            let field = format!("spec.{list}[{index}]");
            resize_one(container, wanted, &field, &mut errors);
        }
    }
    errors
}

fn resize_one(container: &mut Value, wanted: &[Value], field: &str, errors: &mut Vec<FieldError>) {
    let name = meta::text(container, &["name"]).to_owned();
    let Some(other) = wanted.iter().find(|c| meta::text(c, &["name"]) == name) else {
        let why = "containers may not be removed by a resize";
        errors.push(FieldError::forbidden(field.to_owned(), why));
        return;
    };
    for side in ["requests", "limits"] {
        let lost = meta::at(container, &["resources", side])
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .any(|(resource, _)| meta::at(other, &["resources", side, resource]).is_none());
        if lost {
            let field = format!("{field}.resources.{side}");
            let why = format!("resource {side} cannot be removed");
            errors.push(FieldError::forbidden(field, why));
        }
    }
    let container = meta::as_object(container);
    for key in ["resources", "resizePolicy"] {
        if let Some(value) = other.get(key) {
            container.insert(key.into(), value.clone());
        }
    }
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
