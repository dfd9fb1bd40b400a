//! RuntimeClass: what a pod's runtime costs, and where it is.

use super::{Operation, Request};
use crate::resource::patch::Part;
use plimsoll_api::meta;
use plimsoll_api::resources::amounts;
use plimsoll_api::status::ApiError;
use serde_json::{Map, Value};

/// Adds the class's overhead, node selector and tolerations to a new pod.
pub(super) fn apply(
    request: &Request<'_>,
    pod: &mut Value,
    _: Option<&Value>,
) -> Result<(), ApiError> {
    let is_new = request.operation == Operation::Create && request.part == Part::Main;
    if !request.is_core("Pod") || !is_new {
        return Ok(());
    }
    let name = meta::text(pod, &["spec", "runtimeClassName"]).to_owned();
    let overhead = meta::at(pod, &["spec", "overhead"]).filter(|o| !o.is_null());
    if name.is_empty() {
        return match overhead {
            None => Ok(()),
            Some(_) => Err(request.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            )),
        };
    }
    let classes = &request.writer.server.0.admission.runtime_classes;
    let class = classes.get("", &name).ok_or_else(|| {
        request.forbidden(&format!("pod rejected: RuntimeClass {name:?} not found"))
    })?;
    let fixed = meta::at(&class, &["overhead", "podFixed"]);
    match (fixed, overhead) {
        (Some(fixed), Some(own)) if amounts(Some(fixed)) != amounts(Some(own)) => {
            return Err(request.forbidden(
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
            ));
        }
        (Some(fixed), None) => {
            meta::object_mut(pod, &["spec"]).insert("overhead".into(), fixed.clone());
        }
        (None, Some(_)) => {
            return Err(request.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            ));
        }
        (_, _) => {}
    }
    place(request, pod, &class)
}

fn place(request: &Request<'_>, pod: &mut Value, class: &Value) -> Result<(), ApiError> {
    let selector = meta::at(class, &["scheduling", "nodeSelector"]).and_then(Value::as_object);
    let none = Map::new();
    let wanted = selector.unwrap_or(&none);
    for (key, value) in wanted {
        let own = meta::at(pod, &["spec", "nodeSelector", key]);
        if let Some(own) = own.filter(|own| *own != value) {
            let (value, own) = (plain(value), plain(own));
            return Err(request.forbidden(&format!(
                "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
            )));
        }
    }
    if !wanted.is_empty() {
        meta::object_mut(pod, &["spec", "nodeSelector"]).extend(wanted.clone());
    }
    let tolerations = meta::list(class, &["scheduling", "tolerations"]);
    if !tolerations.is_empty() {
        let mut own = meta::list(pod, &["spec", "tolerations"]).to_vec();
        for toleration in tolerations {
            if !own.contains(toleration) {
                own.push(toleration.clone());
            }
        }
        meta::object_mut(pod, &["spec"]).insert("tolerations".into(), own.into());
    }
    Ok(())
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
