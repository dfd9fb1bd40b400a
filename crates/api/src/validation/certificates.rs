//! CertificateSigningRequests.

use super::object::{Lives, metadata, path_segment};
use super::scope::{Errors, Scope};
use crate::names;
use crate::status::FieldError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The shortest lifetime a certificate may be asked for, in seconds.
const SHORTEST: i64 = 600;
/// The longest signer name: a host name of 253 characters and a path.
const LONGEST_NAME: usize = 571;

/// What a certificate may be good for, in Kubernetes' words.
const USAGES: [&str; 23] = [
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

pub(super) fn signing_request(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, path_segment);
    let root = Scope::root(new);
    if old.is_none() {
        spec(&root.at("spec"), &mut errors);
    }
    conditions(&root, old, &mut errors);
    errors
}

fn spec(spec: &Scope<'_>, errors: &mut Errors) {
    let request = spec.at("request");
    if let Err(why) = is_pem_request(request.text()) {
        errors.push(request.invalid(why));
    }
    let usages = spec.items("usages");
    if usages.is_empty() {
        errors.push(spec.at("usages").required("usages must be specified"));
    }
    let mut seen = BTreeSet::new();
    for usage in usages {
        usage.one_of(&USAGES, errors);
        if !seen.insert(usage.text()) {
            errors.push(usage.duplicate());
        }
    }
    signer_name(&spec.at("signerName"), errors);
    let lifetime = spec.at("expirationSeconds");
    if lifetime.integer().is_some_and(|seconds| seconds < SHORTEST) {
        errors.push(
            lifetime.invalid("may not specify a duration less than 600 seconds (10 minutes)"),
        );
    }
}

fn signer_name(name: &Scope<'_>, errors: &mut Errors) {
    let text = name.text();
    if text.is_empty() {
        errors.push(name.required(""));
        return;
    }
    if text == "kubernetes.io/legacy-unknown" {
        errors.push(name.invalid("the legacy signerName is not allowed via this API version"));
        return;
    }
    let form = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    let Some((domain, path)) = text.split_once('/') else {
        errors.push(name.invalid(form));
        return;
    };
    if !domain.contains('.') {
        errors
            .push(name.invalid("should be a domain with at least two segments separated by dots"));
    }
    let parts = path.split('.').map(names::is_dns_label);
    for outcome in std::iter::once(names::is_dns_subdomain(domain)).chain(parts) {
        if let Err(why) = outcome {
            errors.push(name.invalid(why));
        }
    }
    if text.len() > LONGEST_NAME {
        errors.push(name.invalid(format!("must be no more than {LONGEST_NAME} characters")));
    }
}

/// Base64 of one PEM block of the right type.
fn is_pem_request(text: &str) -> Result<(), &'static str> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
    const END: &str = "-----END CERTIFICATE REQUEST-----";
    let decoded = STANDARD.decode(text).unwrap_or_default();
    let pem = std::str::from_utf8(&decoded).unwrap_or_default().trim();
    let body = pem
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END))
        .ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    let packed: String = body.split_whitespace().collect();
    let der = STANDARD.decode(&packed).unwrap_or_default();
    if der.is_empty() {
        return Err("the PEM block holds no certificate request");
    }
    Ok(())
}

/// Decisions are true, of one kind, and final.
fn conditions(root: &Scope<'_>, old: Option<&Value>, errors: &mut Errors) {
    let list = root.at("status").items("conditions");
    let mut seen = BTreeSet::new();
    for condition in &list {
        let kind = condition.at("type");
        if kind.is_empty() {
            errors.push(kind.required(""));
            continue;
        }
        if matches!(kind.text(), "Approved" | "Denied" | "Failed") {
            condition.at("status").one_of(&["True"], errors);
        }
        let other = match kind.text() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if seen.contains(other) {
            errors.push(kind.invalid("Approved and Denied conditions are mutually exclusive"));
        }
        if !seen.insert(kind.text()) {
            errors.push(kind.duplicate());
        }
    }
    let Some(old) = old else { return };
    for before in Scope::root(old).at("status").items("conditions") {
        let kind = before.at("type").text();
        if matches!(kind, "Approved" | "Denied" | "Failed") && !seen.contains(kind) {
            let why = format!("updates may not remove a condition of type {}", json!(kind));
            errors.push(FieldError::forbidden("status.conditions", why));
        }
    }
    let issued = |object| {
        let status = Scope::root(object).at("status");
        status.at("certificate").text().to_owned()
    };
    let held = issued(old);
    if !held.is_empty() && held != issued(root.value) {
        let why = "updates may not set existing certificate content";
        errors.push(FieldError::forbidden("status.certificate", why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn request(change: impl FnOnce(&mut Value)) -> Value {
        let pem = "-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n";
        let mut request = json!({
            "metadata": {"name": "jane"},
            "spec": {"request": STANDARD.encode(pem), "usages": ["client auth"],
                     "signerName": "kubernetes.io/kube-apiserver-client"},
        });
        change(&mut request);
        request
    }

    #[rstest]
    #[case::whole(|_: &mut Value| {}, "")]
    #[case::no_pem(|r: &mut Value| r["spec"]["request"] = "AAAA".into(), "spec.request: Invalid value")]
    #[case::no_usages(|r: &mut Value| r["spec"]["usages"] = json!([]), "spec.usages: Required value")]
    #[case::strange(|r: &mut Value| r["spec"]["usages"] = json!(["x"]), "spec.usages[0]: Unsupported")]
    #[case::twice(|r: &mut Value| r["spec"]["usages"] = json!(["any", "any"]), "spec.usages[1]: Duplicate")]
    #[case::signer(|r: &mut Value| r["spec"]["signerName"] = "x".into(), "must be a fully qualified domain")]
    #[case::short(|r: &mut Value| r["spec"]["expirationSeconds"] = json!(599), "less than 600 seconds")]
    fn requests_are_checked(#[case] change: fn(&mut Value), #[case] why: &str) {
        let errors = signing_request(&request(change), None);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said.is_empty(), why.is_empty(), "{said:?}");
        assert!(said.join("\n").contains(why), "{said:?}");
    }

    #[test]
    fn decisions_are_exclusive_and_final() {
        let decided = |kinds: &[&str]| {
            let list: Vec<Value> = kinds
                .iter()
                .map(|k| json!({"type": k, "status": "True"}))
                .collect();
            request(|r| r["status"] = json!({"conditions": list}))
        };
        let errors =
            |new: &[&str], old: &[&str]| signing_request(&decided(new), Some(&decided(old)));
        assert!(errors(&["Approved"], &[]).is_empty());
        assert_eq!(errors(&["Approved", "Denied"], &["Approved"]).len(), 1);
        assert_eq!(errors(&[], &["Approved"]).len(), 1);
    }
}
