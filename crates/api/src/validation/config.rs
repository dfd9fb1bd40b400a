//! ConfigMaps and Secrets.

use super::object::{self, Lives, too_long};
use super::scope::{Errors, Scope, same};
use crate::names;
use crate::status::FieldError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const MAX_BYTES: usize = 1024 * 1024;

/// Types of Secrets that hold a JSON document, and where.
const DOCKER: [(&str, &str); 2] = [
    ("kubernetes.io/dockercfg", ".dockercfg"),
    ("kubernetes.io/dockerconfigjson", ".dockerconfigjson"),
];

pub(super) fn config_map(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = object::metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    let mut bytes = 0;
    for (key, value) in root.at("data").entries() {
        config_key(&value, key, &mut errors);
        if root.at("binaryData").value.get(key).is_some() {
            let why = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(value.path.clone(), &key.into(), why));
        }
        bytes += value.text().len();
    }
    for (key, value) in root.at("binaryData").entries() {
        config_key(&value, key, &mut errors);
        bytes += decoded_len(value.text());
    }
    if bytes > MAX_BYTES {
        let whole = Scope {
            path: String::new(),
            value: new,
        };
        errors.push(too_long(&whole, MAX_BYTES));
    }
    frozen(new, old, &["data", "binaryData"], &mut errors);
    errors
}

pub(super) fn secret(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = object::metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    let mut bytes = 0;
    for (key, value) in root.at("data").entries() {
        config_key(&value, key, &mut errors);
        bytes += decoded_len(value.text());
    }
    if bytes > MAX_BYTES {
        errors.push(too_long(&root.at("data"), MAX_BYTES));
    }
    let required: &[&str] = match root.at("type").text() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required {
        if root.at("data").value.get(*key).is_none() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
    let data = root.at("data");
    if root.at("type").text() == "kubernetes.io/basic-auth"
        && data.at("username").value.is_null()
        && data.at("password").value.is_null()
    {
        for key in ["username", "password"] {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
    for (kind, key) in DOCKER {
        if root.at("type").text() == kind && data.value.get(key).is_some_and(|v| !is_json(v)) {
            let shown = "<secret contents redacted>".into();
            let why = "invalid character in the document";
            errors.push(FieldError::invalid(format!("data[{key}]"), &shown, why));
        }
    }
    if root.at("type").text() == "kubernetes.io/service-account-token" {
        let annotation = "kubernetes.io/service-account.name";
        if root
            .path(&["metadata", "annotations", annotation])
            .is_empty()
        {
            let field = format!("metadata.annotations[{annotation}]");
            errors.push(FieldError::required(field, ""));
        }
    }
    if let Some(old) = old {
        root.at("type")
            .unchanged(&Scope::root(old).at("type"), &mut errors);
    }
    frozen(new, old, &["data"], &mut errors);
    errors
}

fn frozen(new: &Value, old: Option<&Value>, fields: &[&str], errors: &mut Errors) {
    let Some(old) = old.map(Scope::root) else {
        return;
    };
    if old.at("immutable").value != &Value::Bool(true) {
        return;
    }
    let new = Scope::root(new);
    if new.at("immutable").value != &Value::Bool(true) {
        errors.push(
            new.at("immutable")
                .forbidden("field is immutable when `immutable` is set"),
        );
    }
    for field in fields {
        if !same(new.at(field).value, old.at(field).value) {
            errors.push(
                new.at(field)
                    .forbidden("field is immutable when `immutable` is set"),
            );
        }
    }
}

fn config_key(entry: &Scope<'_>, key: &str, errors: &mut Errors) {
    let mut refuse = |why: &str| {
        errors.push(FieldError::invalid(entry.path.clone(), &key.into(), why));
    };
    if key.len() > 253 {
        refuse("must be no more than 253 bytes");
    }
    if key.is_empty()
        || !key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    {
        refuse(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
        );
    }
    if key == "." || key == ".." {
        refuse(&format!("must not be '{key}'"));
    } else if key.starts_with("..") {
        refuse("must not start with '..'");
    }
}

/// Bytes that padded base64 text stands for.
fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Whether base64 text holds a JSON document.
fn is_json(value: &Value) -> bool {
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default());
    bytes.is_ok_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok())
}
