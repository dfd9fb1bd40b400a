//! `format.…()`: the formats Kubernetes' names and labels have.

use super::{Cost, Pat, Row, global, method, regexes, time, url};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::types::OpaqueType;
use crate::value::{Opaque, Value};
use base64::Engine as _;
use std::sync::Arc;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const F: Pat = Pat::Lib(OpaqueType::Format);
const NAMES: &[&str] = &[
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

macro_rules! named {
    ($name:literal) => {
        global(&[], F, |_, _| Ok(Value::Opaque(Opaque::Format($name))))
    };
}

pub(super) const TABLE: &[Row] = &[
    ("format.dns1123Label", named!("dns1123Label")),
    ("format.dns1123Subdomain", named!("dns1123Subdomain")),
    ("format.dns1035Label", named!("dns1035Label")),
    ("format.qualifiedName", named!("qualifiedName")),
    ("format.dns1123LabelPrefix", named!("dns1123LabelPrefix")),
    (
        "format.dns1123SubdomainPrefix",
        named!("dns1123SubdomainPrefix"),
    ),
    ("format.dns1035LabelPrefix", named!("dns1035LabelPrefix")),
    ("format.labelValue", named!("labelValue")),
    ("format.uri", named!("uri")),
    ("format.uuid", named!("uuid")),
    ("format.byte", named!("byte")),
    ("format.date", named!("date")),
    ("format.datetime", named!("datetime")),
    ("format.named", global(&[Pat::Text], Pat::Opt(&F), by_name)),
    (
        "validate",
        method(&[F, Pat::Text], Pat::Opt(&Pat::List(&Pat::Text)), validate).cost(Cost::Member),
    ),
];

fn by_name<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::Text(name)] = args else {
        return super::mismatch();
    };
    let known = NAMES.iter().find(|known| **known == name.as_str());
    let format = known.map(|name| Arc::new(Value::Opaque(Opaque::Format(name))));
    Ok(Value::Optional(format))
}

fn validate<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::Opaque(Opaque::Format(format)), Value::Text(text)] = args else {
        return super::mismatch();
    };
    let problems = problems(format, text.as_str());
    if problems.is_empty() {
        return Ok(Value::Optional(None));
    }
    let list = problems.into_iter().map(Value::text).collect();
    Ok(Value::Optional(Some(Arc::new(Value::list(list)))))
}

const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_1123: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// What is wrong with a text, for a format.
fn problems(format: &str, text: &str) -> Vec<String> {
    // A prefix of a name may end in a dash, which the rest of the name follows.
    let masked = match text.strip_suffix('-') {
        Some(head) if format.ends_with("Prefix") && !head.is_empty() => format!("{head}a"),
        _ => text.to_owned(),
    };
    match format {
        "dns1123Label" | "dns1123LabelPrefix" => {
            checked(&masked, 63, (is_label(&masked), LABEL_1123))
        }
        "dns1123Subdomain" | "dns1123SubdomainPrefix" => checked(
            &masked,
            253,
            (masked.split('.').all(is_label), SUBDOMAIN_1123),
        ),
        "dns1035Label" | "dns1035LabelPrefix" => {
            let alphabetic = masked.starts_with(|c: char| c.is_ascii_lowercase());
            checked(&masked, 63, (alphabetic && is_label(&masked), LABEL_1035))
        }
        "labelValue" => checked(text, 63, (text.is_empty() || is_name(text), LABEL_VALUE)),
        "qualifiedName" => qualified(text),
        "uri" => said(url::Url::parse(text).is_some(), "invalid URI"),
        "uuid" => said(is_uuid(text), "does not match the UUID format"),
        "byte" => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            said(decoded.is_ok(), "invalid base64")
        }
        "date" => said(
            text.len() == 10 && time::timestamp(text).is_some(),
            "invalid date",
        ),
        "datetime" => said(
            text.len() > 10 && time::timestamp(text).is_some(),
            "invalid datetime",
        ),
        _ => Vec::new(),
    }
}

fn said(valid: bool, why: &str) -> Vec<String> {
    if valid {
        Vec::new()
    } else {
        vec![why.to_owned()]
    }
}

fn checked(text: &str, max: usize, (valid, why): (bool, &str)) -> Vec<String> {
    let mut problems = said(
        text.len() <= max,
        &format!("must be no more than {max} characters"),
    );
    problems.extend(said(valid, why));
    problems
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(inner) && text.ends_with(inner) && text.chars().all(|c| inner(c) || c == '-')
}

fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(inner)
        && text.ends_with(inner)
        && text.chars().all(|c| inner(c) || "-_.".contains(c))
}

fn qualified(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match text.split_once('/') {
        Some((prefix, name)) => {
            let valid = !prefix.is_empty() && prefix.split('.').all(is_label);
            problems.extend(said(!prefix.is_empty(), "prefix part must be non-empty"));
            problems.extend(said(valid, &format!("prefix part {SUBDOMAIN_1123}")));
            name
        }
        None => text,
    };
    problems.extend(said(!name.is_empty(), "name part must be non-empty"));
    problems.extend(said(
        name.len() <= 63,
        "name part must be no more than 63 characters",
    ));
    problems.extend(said(is_name(name), QUALIFIED));
    problems
}

fn is_uuid(text: &str) -> bool {
    let pattern = "^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$";
    regexes::compile(pattern).is_ok_and(|regex| regex.is_match(text))
}
