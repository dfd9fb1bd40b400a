//! Requests for certificates: who asked, who may approve, who may sign.

use super::{Operation, Request};
use crate::auth::Attributes;
use crate::resource::patch::Part;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const GROUP: &str = "certificates.k8s.io";

fn is_request(request: &Request<'_>) -> bool {
    let kind = request.writer.kind;
    kind.group == GROUP && kind.kind == "CertificateSigningRequest"
}

/// Notes who asks for a certificate: whatever the body says of it does not count.
#[expect(clippy::unnecessary_wraps, reason = "one signature for every step")]
pub(super) fn sign_in(
    request: &Request<'_>,
    object: &mut Value,
    _: Option<&Value>,
) -> Result<(), ApiError> {
    if !is_request(request) || request.operation != Operation::Create {
        return Ok(());
    }
    let who = request.writer.identity;
    let spec = meta::object_mut(object, &["spec"]);
    for key in ["username", "uid", "groups", "extra"] {
        spec.shift_remove(key);
    }
    spec.insert("username".into(), who.user.as_str().into());
    if !who.uid.is_empty() {
        spec.insert("uid".into(), who.uid.as_str().into());
    }
    if !who.groups.is_empty() {
        spec.insert("groups".into(), json!(who.groups));
    }
    if !who.extra.is_empty() {
        spec.insert("extra".into(), json!(who.extra));
    }
    Ok(())
}

/// Refuses who may not approve or sign for the request's signer.
pub(super) fn check(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let Some(old) = old else { return Ok(()) };
    if !is_request(request) || request.part != Part::Status {
        return Ok(());
    }
    if verdicts(object, &["Approved", "Denied"]) != verdicts(old, &["Approved", "Denied"]) {
        permitted(request, old, "approve")?;
    }
    let certificate = ["status", "certificate"];
    let signed = meta::at(object, &certificate) != meta::at(old, &certificate);
    if signed || verdicts(object, &["Failed"]) != verdicts(old, &["Failed"]) {
        permitted(request, old, "sign")?;
    }
    Ok(())
}

/// The conditions of these types.
fn verdicts<'a>(object: &'a Value, types: &[&str]) -> BTreeMap<&'a str, &'a str> {
    meta::list(object, &["status", "conditions"])
        .iter()
        .map(|condition| {
            (
                meta::text(condition, &["type"]),
                meta::text(condition, &["status"]),
            )
        })
        .filter(|(kind, _)| types.contains(kind))
        .collect()
}

fn permitted(request: &Request<'_>, object: &Value, verb: &str) -> Result<(), ApiError> {
    let signer = meta::text(object, &["spec", "signerName"]);
    let domain = signer.split('/').next().unwrap_or_default();
    let all_of_domain = format!("{domain}/*");
    let may = |name: &str| {
        let asked = Attributes {
            verb,
            group: GROUP,
            resource: "signers",
            name,
            ..Attributes::default()
        };
        let server = request.writer.server;
        server.demand(request.writer.identity, &asked).is_ok()
    };
    if may(signer) || may(&all_of_domain) {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "user not permitted to {verb} requests with signerName {signer:?}"
    )))
}
