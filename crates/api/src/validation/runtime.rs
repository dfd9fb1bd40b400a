//! Runtime classes, controller revisions and certificate requests.

use super::object::{self, Lives, metadata};
use super::scope::{Errors, Scope};
use crate::names;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The shortest life of a certificate, in seconds.
const SHORTEST: i64 = 600;

/// What a certificate may be for.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub(super) fn certificate_request(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, object::path_segment);
    let spec = Scope::root(new).at("spec");
    let request = spec.at("request");
    let pem = STANDARD.decode(request.text()).unwrap_or_default();
    let text = String::from_utf8_lossy(&pem);
    if !text.contains("-----BEGIN CERTIFICATE REQUEST-----")
        && !text.contains("-----BEGIN NEW CERTIFICATE REQUEST-----")
    {
        errors.push(request.invalid("PEM block type must be CERTIFICATE REQUEST"));
    }
    if spec.items("usages").is_empty() {
        errors.push(spec.at("usages").required("usages must be specified"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for usage in spec.items("usages") {
        usage.one_of(USAGES, &mut errors);
        if !seen.insert(usage.text()) {
            errors.push(usage.duplicate());
        }
    }
    let signer = spec.at("signerName");
    if signer.text() == "kubernetes.io/legacy-unknown" {
        errors.push(signer.invalid("the legacy signerName is not allowed via this API version"));
    } else if signer.require(&mut errors) {
        let parts = signer.text().split_once('/');
        if !parts.is_some_and(|(domain, path)| domain.contains('.') && !path.is_empty()) {
            let why =
                "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            errors.push(signer.invalid(why));
        }
    }
    let lasts = spec.at("expirationSeconds");
    if lasts.integer().is_some_and(|seconds| seconds < SHORTEST) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(lasts.invalid(why));
    }
    errors
}

pub(super) fn runtime_class(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let root = Scope::root(new);
    let handler = root.at("handler");
    handler.name(names::is_dns_label, &mut errors);
    super::container::resources(
        &Scope {
            path: "overhead.podFixed".into(),
            value: &serde_json::json!({"requests": root.path(&["overhead", "podFixed"]).value}),
        },
        &mut errors,
    );
    object::labels(&root.path(&["scheduling", "nodeSelector"]), &mut errors);
    super::pod::tolerations(&root.at("scheduling"), &mut errors);
    if let Some(old) = old {
        handler.unchanged(&Scope::root(old).at("handler"), &mut errors);
    }
    errors
}

pub(super) fn controller_revision(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    root.at("revision").not_negative(&mut errors);
    if !root.at("data").present() {
        errors.push(root.at("data").required("data is mandatory"));
    }
    if let Some(old) = old {
        root.at("data")
            .unchanged(&Scope::root(old).at("data"), &mut errors);
    }
    errors
}
