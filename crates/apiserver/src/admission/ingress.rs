//! DefaultIngressClass.

use super::{Operation, Request, classes};
use crate::resource::patch::Part;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::Value;

/// Gives an ingress that names no class the default one.
#[expect(clippy::unnecessary_wraps, reason = "one signature for every step")]
pub(super) fn default_class(
    request: &Request<'_>,
    ingress: &mut Value,
    _: Option<&Value>,
) -> Result<(), ApiError> {
    let kind = request.writer.kind;
    let is_ingress = kind.group == "networking.k8s.io" && kind.kind == "Ingress";
    if !is_ingress || request.operation != Operation::Create || request.part != Part::Main {
        return Ok(());
    }
    let annotation = ["metadata", "annotations", "kubernetes.io/ingress.class"];
    let named = meta::at(ingress, &["spec", "ingressClassName"]).is_some_and(|n| !n.is_null());
    if named || meta::at(ingress, &annotation).is_some() {
        return Ok(());
    }
    let known = &request.writer.server.0.admission.ingress_classes;
    let marks = ["ingressclass.kubernetes.io/is-default-class"];
    if let Some(name) = classes::default(known, &marks) {
        meta::object_mut(ingress, &["spec"]).insert("ingressClassName".into(), name.into());
    }
    Ok(())
}
