//! `scale`: an autoscaling/v1 Scale as a window on replicas.

use crate::admission::webhook::Subject;
use crate::admission::{self, Operation};
use crate::call::Call;
use crate::http::negotiate::Shape;
use crate::http::respond::{self, Response};
use crate::resource::apply::Config;
use crate::resource::decode;
use crate::resource::managers::{Door, Tracking};
use crate::resource::patch::{Part, Patch, is_apply};
use crate::resource::present::{parse, to_served};
use crate::resource::write::Writer;
use plimsoll_api::status::{ApiError, FieldError};
use plimsoll_api::{kinds, meta, schema};
use serde_json::{Value, json};

/// Reads or writes a Scale.
pub(super) async fn serve(call: &Call, verb: &str) -> Result<Response, ApiError> {
    let written = match verb {
        "update" => {
            let sent = decode::subresource(call, "scale")?;
            super::named(&sent, call)?;
            write(call, &|_| Ok(sent.clone())).await?
        }
        "patch" if is_apply(call) => apply_scale(call).await?,
        "patch" => {
            let schema = schema::by_kind("autoscaling", "v1", "Scale")
                .ok_or_else(|| ApiError::internal("no schema for Scale"))?;
            let patch = Patch::of(call)?;
            let mode = decode::field_validation(call)?;
            let change = |scale: &Value| {
                let patched = patch.apply(schema, scale)?;
                Ok(plimsoll_api::decode::value(schema, patched, mode)?.object)
            };
            write(call, &change).await?
        }
        _ => call
            .server
            .store()
            .get(&call.key())
            .ok_or_else(|| call.not_found())?
            .json
            .clone(),
    };
    let scale = view(call, &parse(&written)?)?;
    let mut wanted = call.wanted.clone();
    wanted.shape = Shape::Object;
    Ok(respond::value(200, &wanted, &scale))
}

/// Applies a Scale: to its workload, as a configuration of the replicas alone.
async fn apply_scale(call: &Call) -> Result<bytes::Bytes, ApiError> {
    let config = Config::of(call)?;
    let sent = config.object();
    let given = (
        meta::text(sent, &["apiVersion"]),
        meta::text(sent, &["kind"]),
    );
    if given != ("autoscaling/v1", "Scale") {
        return Err(ApiError::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: autoscaling/v1",
            given.0
        )));
    }
    super::named(sent, call)?;
    check(call, sent)?;
    let asked = |scale: &Value| {
        let mut scale = scale.clone();
        if let Some(replicas) = meta::integer(sent, &["spec", "replicas"]) {
            meta::object_mut(&mut scale, &["spec"]).insert("replicas".into(), replicas.into());
        }
        Ok(scale)
    };
    let admitted = admit(call, &asked).await?;
    let sent = admitted.as_ref().unwrap_or(sent);
    let mut wanted = json!({});
    if meta::integer(sent, &["spec", "replicas"]).is_some() {
        kinds::apply_scale(&call.kind, &mut wanted, sent);
    }
    for key in ["resourceVersion", "uid"] {
        if let Some(value) = meta::at(sent, &["metadata", key]).filter(|v| **v != "") {
            meta::object_mut(&mut wanted, &["metadata"]).insert(key.into(), value.clone());
        }
    }
    let config = config.about(wanted);
    let writer = Writer {
        tracking: Tracking::Done,
        ..Writer::of(call, call.run()?)
    };
    let door = Door::of(call);
    let step = |old: &Value| config.onto(&writer, (door, Part::Other), Some(old));
    writer.update(&call.key(), Part::Other, &step).await
}

async fn write(
    call: &Call,
    change: &(dyn Fn(&Value) -> Result<Value, ApiError> + Sync),
) -> Result<bytes::Bytes, ApiError> {
    let writer = Writer::of(call, call.run()?);
    let admitted = admit(call, change).await?;
    let step = |old: &Value| {
        let scale = match &admitted {
            Some(scale) => scale.clone(),
            None => change(&view(call, old)?)?,
        };
        check(call, &scale)?;
        let mut object = old.clone();
        kinds::apply_scale(&call.kind, &mut object, &scale);
        // A Scale without a resourceVersion is unconditional; one with it must match.
        let metadata = meta::object_mut(&mut object, &["metadata"]);
        for key in ["resourceVersion", "uid"] {
            match meta::at(&scale, &["metadata", key]).filter(|v| **v != "") {
                Some(value) => drop(metadata.insert(key.into(), value.clone())),
                None => drop(metadata.shift_remove(key)),
            }
        }
        Ok(object)
    };
    writer.update(&call.key(), Part::Other, &step).await
}

/// Asks about the Scale as it is to be; the new one if it was changed on the way.
async fn admit(
    call: &Call,
    change: &(dyn Fn(&Value) -> Result<Value, ApiError> + Sync),
) -> Result<Option<Value>, ApiError> {
    let entry = call.server.store().get(&call.key());
    let entry = entry.ok_or_else(|| call.not_found())?;
    let old = view(call, &parse(&entry.json)?)?;
    let asked = change(&old)?;
    let mut admitted = asked.clone();
    let subject = Subject::of_call(call, call.run()?, Operation::Update);
    admission::subresource(&subject, &mut admitted, Some(&old)).await?;
    Ok((admitted != asked).then_some(admitted))
}

fn check(call: &Call, scale: &Value) -> Result<(), ApiError> {
    let replicas = meta::integer(scale, &["spec", "replicas"]).unwrap_or(0);
    if replicas >= 0 {
        return Ok(());
    }
    let why = "must be greater than or equal to 0";
    let errors = [FieldError::invalid("spec.replicas", &json!(replicas), why)];
    Err(ApiError::invalid(
        "autoscaling",
        "Scale",
        call.name(),
        &errors,
    ))
}

fn view(call: &Call, stored: &Value) -> Result<Value, ApiError> {
    let object = to_served(&call.kind, stored.clone());
    kinds::scale(&call.kind, &object)
}
