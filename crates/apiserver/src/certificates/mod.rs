//! CertificateSigningRequests: what may be asked for, and the cluster's authority, which signs what
//! is approved.

mod constraints;
mod signer;

use crate::admission::Request;
use crate::auth::MASTERS;
use crate::resource::metadata::whole_seconds;
use crate::resource::patch::Part;
use constraints::Wanted;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Map, Value};

const GROUP: &str = "certificates.k8s.io";
const KIND: &str = "CertificateSigningRequest";
/// Certificates for people and programs that call the API server.
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Certificates by which node agents call the API server.
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Certificates that node agents serve with.
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

/// Keeps what was asked for, dates decisions, and refuses certificates for administrators. `old` is
/// absent on create.
pub(crate) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let kind = &request.writer.kind;
    if kind.group != GROUP || kind.kind != KIND {
        return Ok(());
    }
    match (old, request.part) {
        (None, _) => return restrict_subject(request, object),
        (Some(_), Part::Status) => {
            let now = whole_seconds(request.writer.server.now());
            let status = meta::object_mut(object, &["status"]);
            let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
            for condition in conditions.into_iter().flatten() {
                stamp(meta::as_object(condition), &now);
            }
        }
        (Some(old), _) => {
            let spec = old.get("spec").cloned().unwrap_or_default();
            meta::as_object(object).insert("spec".into(), spec);
        }
    }
    Ok(())
}

/// Nobody becomes an administrator by a certificate.
fn restrict_subject(request: &Request<'_>, object: &Value) -> Result<(), ApiError> {
    if meta::text(object, &["spec", "signerName"]) != CLIENT {
        return Ok(());
    }
    let masters = Wanted::of(object).is_ok_and(|w| w.organizations.iter().any(|o| o == MASTERS));
    if masters {
        return Err(request.forbidden(&format!(
            "use of {CLIENT} signer with {MASTERS} group is not allowed"
        )));
    }
    Ok(())
}

fn stamp(condition: &mut Map<String, Value>, now: &str) {
    for field in ["lastUpdateTime", "lastTransitionTime"] {
        if condition.get(field).is_none_or(Value::is_null) {
            condition.insert(field.into(), now.into());
        }
    }
}
