//! Requests for certificates: who asked, who may approve, who may sign.

use super::{Operation, Request};
use crate::auth::Attributes;
use crate::resource::patch::Part;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_api::meta;
use plimsoll_api::status::{ApiError, FieldError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

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
    if !is_request(request) {
        return Ok(());
    }
    let Some(old) = old else {
        return check_subject(request, object);
    };
    if request.part != Part::Status {
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

/// Nobody becomes a member of `system:masters` by a certificate of the client signer.
fn check_subject(request: &Request<'_>, object: &Value) -> Result<(), ApiError> {
    const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
    if meta::text(object, &["spec", "signerName"]) != SIGNER {
        return Ok(());
    }
    let text = meta::text(object, &["spec", "request"]);
    let pem = STANDARD.decode(text).unwrap_or_default();
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&pem) else {
        return Ok(());
    };
    let Ok((_, asked)) = X509CertificationRequest::from_der(&pem.contents) else {
        let why = "asn1: structure error: not a certificate request";
        let field = FieldError::invalid("spec.request", &text.into(), why);
        let kind = "CertificateSigningRequest";
        return Err(ApiError::invalid(GROUP, kind, request.name, &[field]));
    };
    let subject = &asked.certification_request_info.subject;
    let mut groups = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok());
    if groups.any(|group| group == "system:masters") {
        return Err(request.forbidden(&format!(
            "use of {SIGNER} signer with system:masters group is not allowed"
        )));
    }
    Ok(())
}
