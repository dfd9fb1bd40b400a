//! `binding`: how the scheduler puts a pod on a node.

use crate::admission::webhook::Subject;
use crate::admission::{self, Operation};
use crate::call::Call;
use crate::http::respond::{self, Response};
use crate::resource::decode;
use crate::resource::managers::Tracking;
use crate::resource::metadata::whole_seconds;
use crate::resource::patch::Part;
use crate::resource::write::Writer;
use crate::server::key;
use plimsoll_api::meta;
use plimsoll_api::status::{ApiError, FieldError};
use serde_json::{Value, json};

/// Binds the pod that the path or, for `POST bindings`, the body names.
pub(crate) async fn create(call: &Call) -> Result<Response, ApiError> {
    let run = call.run()?;
    let binding = match call.path.subresource {
        Some(_) => decode::subresource(call, "binding")?,
        None => decode::object(call)?,
    };
    let named = meta::name(&binding);
    let pod = if call.name().is_empty() {
        named
    } else {
        call.name()
    }
    .to_owned();
    if !named.is_empty() && named != pod {
        return Err(ApiError::bad_request(
            "the name of the object does not match the name on the URL",
        ));
    }
    let (kind, node) = (meta::text(&binding, &["target", "kind"]), target(&binding));
    if !matches!(kind, "" | "Node") {
        let errors = [FieldError::not_supported(
            "target.kind",
            &json!(kind),
            &["Node"],
        )];
        return Err(ApiError::invalid("", "Binding", &pod, &errors));
    }
    if node.is_empty() {
        let errors = [FieldError::required("target.name", "")];
        return Err(ApiError::invalid("", "Binding", &pod, &errors));
    }
    let pods = call
        .server
        .stored_kind("", "pods")
        .ok_or_else(ApiError::no_such_resource)?;
    let writer = Writer {
        kind: &pods,
        tracking: Tracking::Off,
        ..Writer::of(call, run)
    };
    let mut binding = binding;
    let subject = Subject {
        kind: &pods,
        subresource: "binding",
        body: Some(("".into(), "v1".into(), "Binding".into())),
        name: &pod,
        ..Subject::of_call(call, run, Operation::Create)
    };
    admission::subresource(&subject, &mut binding, None).await?;
    let now = whole_seconds(call.server.now());
    let step = |old: &Value| bound(old, &binding, &now);
    writer
        .update(&key(&pods, call.namespace(), &pod), Part::Placement, &step)
        .await?;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    Ok(respond::value(201, &call.wanted, &status))
}

fn target(binding: &Value) -> &str {
    meta::text(binding, &["target", "name"])
}

fn bound(old: &Value, binding: &Value, now: &str) -> Result<Value, ApiError> {
    let (pod, node) = (meta::name(old), target(binding));
    let refuse = |why: &str| Err(ApiError::conflict("", "pods/binding", pod, why));
    let uid = meta::uid(binding);
    if !uid.is_empty() && uid != meta::uid(old) {
        let own = meta::uid(old);
        return refuse(&format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {own}"
        ));
    }
    if meta::is_deleting(old) {
        return refuse(&format!(
            "pod {pod} is being deleted, cannot be assigned to a host"
        ));
    }
    let assigned = meta::text(old, &["spec", "nodeName"]);
    if !assigned.is_empty() {
        return refuse(&format!(
            "pod {pod} is already assigned to node {assigned:?}"
        ));
    }
    if !meta::list(old, &["spec", "schedulingGates"]).is_empty() {
        return refuse(&format!("pod {pod} has non-empty .spec.schedulingGates"));
    }
    let mut new = old.clone();
    meta::object_mut(&mut new, &["spec"]).insert("nodeName".into(), node.into());
    let annotations = meta::at(binding, &["metadata", "annotations"]).and_then(Value::as_object);
    for (key, value) in annotations.into_iter().flatten() {
        meta::object_mut(&mut new, &["metadata", "annotations"]).insert(key.clone(), value.clone());
    }
    set_scheduled(&mut new, now);
    Ok(new)
}

fn set_scheduled(pod: &mut Value, now: &str) {
    let observed = meta::at(pod, &["metadata", "generation"]).cloned();
    let mut condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": now,
    });
    if let Some(generation) = observed {
        meta::as_object(&mut condition).insert("observedGeneration".into(), generation);
    }
    put_condition(pod, condition);
}

/// Adds a condition to an object, or replaces the one of the same type.
pub(super) fn put_condition(object: &mut Value, condition: Value) {
    let mut conditions = meta::list(object, &["status", "conditions"]).to_vec();
    let kind = meta::text(&condition, &["type"]).to_owned();
    match conditions
        .iter_mut()
        .find(|c| meta::text(c, &["type"]) == kind)
    {
        Some(same) => *same = condition,
        None => conditions.push(condition),
    }
    meta::object_mut(object, &["status"]).insert("conditions".into(), conditions.into());
}
