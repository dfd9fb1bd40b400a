//! Questions about identity and permission: answered at once, never stored.

use crate::auth::{Attributes, Identity};
use crate::call::Call;
use crate::http::respond::{self, Response};
use crate::resource::decode;
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::rbac::Rule;
use plimsoll_api::status::{ApiError, FieldError};
use serde_json::{Map, Value, json};

const RESOURCE: [&str; 2] = ["spec", "resourceAttributes"];
const PATH: [&str; 2] = ["spec", "nonResourceAttributes"];

/// Whether a kind is a question.
pub(crate) fn is_review(kind: &Kind) -> bool {
    matches!(
        kind.group.as_ref(),
        "authentication.k8s.io" | "authorization.k8s.io"
    )
}

/// Answers a question.
pub(crate) fn create(call: &Call) -> Result<Response, ApiError> {
    let mut review = decode::object(call)?;
    let status = match call.kind.kind.as_ref() {
        "SelfSubjectReview" => json!({"userInfo": user_info(&call.identity)}),
        "TokenReview" => token_status(call, &review)?,
        "SelfSubjectRulesReview" => rules(call, &review)?,
        "SelfSubjectAccessReview" => {
            check_access(call, &review)?;
            access(call, &call.identity, &review)
        }
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            check_access(call, &review)?;
            access(call, &subject(&review), &review)
        }
        other => return Err(ApiError::not_yet(other)),
    };
    let root = meta::as_object(&mut review);
    root.entry("metadata").or_insert_with(|| json!({}));
    root.insert("status".into(), status);
    Ok(respond::value(201, &call.wanted, &review))
}

/// A `UserInfo`.
pub(crate) fn user_info(identity: &Identity) -> Value {
    let mut info = Map::new();
    info.insert("username".into(), identity.user.as_str().into());
    if !identity.uid.is_empty() {
        info.insert("uid".into(), identity.uid.as_str().into());
    }
    if !identity.groups.is_empty() {
        info.insert("groups".into(), json!(identity.groups));
    }
    if !identity.extra.is_empty() {
        info.insert("extra".into(), json!(identity.extra));
    }
    Value::Object(info)
}

fn token_status(call: &Call, review: &Value) -> Result<Value, ApiError> {
    let token = meta::text(review, &["spec", "token"]);
    if token.is_empty() {
        let message = "token is required for TokenReview in authentication";
        return Err(ApiError::bad_request(message));
    }
    let audiences = strings(review, &["spec", "audiences"]);
    Ok(match call.server.0.authenticator.check(token, &audiences) {
        Ok(verified) => json!({
            "authenticated": true, "user": user_info(&verified.identity),
            "audiences": verified.audiences,
        }),
        Err(error) => json!({"authenticated": false, "user": {}, "error": error.to_string()}),
    })
}

/// Everything the caller may do in a namespace, by their bindings.
fn rules(call: &Call, review: &Value) -> Result<Value, ApiError> {
    let namespace = meta::text(review, &["spec", "namespace"]);
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let (rules, broken) = call.server.0.rbac.rules(&call.identity, namespace);
    let resources: Vec<Value> = rules
        .iter()
        .filter(|rule| !rule.resources.is_empty())
        .map(Rule::to_value)
        .collect();
    let urls: Vec<Value> = rules
        .iter()
        .filter(|rule| !rule.urls.is_empty())
        .map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.urls}))
        .collect();
    let mut status =
        json!({"resourceRules": resources, "nonResourceRules": urls, "incomplete": false});
    if !broken.is_empty() {
        meta::as_object(&mut status).insert("evaluationError".into(), broken.join(", ").into());
    }
    Ok(status)
}

/// Whom a review asks about.
fn subject(review: &Value) -> Identity {
    let mut identity = Identity::new(meta::text(review, &["spec", "user"]), &[]);
    identity.groups = strings(review, &["spec", "groups"]);
    meta::text(review, &["spec", "uid"]).clone_into(&mut identity.uid);
    identity
}

fn strings(object: &Value, path: &[&str]) -> Vec<String> {
    let items = meta::list(object, path).iter();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn access(call: &Call, identity: &Identity, review: &Value) -> Value {
    let at = |parent: [&str; 2], name: &str| meta::text(review, &[parent[0], parent[1], name]);
    let field = |name: &str| at(RESOURCE, name);
    let attributes = if is_set(review, PATH) {
        Attributes {
            verb: at(PATH, "verb"),
            path: at(PATH, "path"),
            ..Attributes::default()
        }
    } else {
        Attributes {
            verb: field("verb"),
            group: field("group"),
            resource: field("resource"),
            subresource: field("subresource"),
            namespace: field("namespace"),
            name: field("name"),
            path: "",
        }
    };
    let decision = call.server.authorize(identity, &attributes);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        meta::as_object(&mut status).insert("reason".into(), decision.reason.into());
    }
    status
}

fn is_set(review: &Value, path: [&str; 2]) -> bool {
    meta::at(review, &path).is_some_and(|value| !value.is_null())
}

/// 422 or 400 for an access review that asks nothing, or too much.
fn check_access(call: &Call, review: &Value) -> Result<(), ApiError> {
    let (resource, path) = (is_set(review, RESOURCE), is_set(review, PATH));
    let value = |at: &[&str]| meta::at(review, at).cloned().unwrap_or(Value::Null);
    let mut errors = Vec::new();
    if resource && path {
        let why = "cannot be specified in combination with resourceAttributes";
        errors.push(FieldError::invalid(PATH.join("."), &value(&PATH), why));
    }
    if !resource && !path {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid(RESOURCE.join("."), &Value::Null, why));
    }
    let kind = call.kind.kind.as_ref();
    let nobody = meta::text(review, &["spec", "user"]).is_empty()
        && meta::list(review, &["spec", "groups"]).is_empty();
    if kind != "SelfSubjectAccessReview" && nobody {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid("spec.user", &json!(""), why));
    }
    for selector in ["fieldSelector", "labelSelector"] {
        check_selector(review, selector, &mut errors);
    }
    let metadata = meta::at(review, &["metadata"]).and_then(Value::as_object);
    let local = kind == "LocalSubjectAccessReview";
    let unexpected =
        |(key, value): (&String, &Value)| !(value.is_null() || local && key == "namespace");
    if metadata.is_some_and(|m| m.iter().any(unexpected)) {
        errors.push(FieldError::invalid(
            "metadata",
            &value(&["metadata"]),
            "must be empty",
        ));
    }
    if local {
        check_local(call, review, &mut errors)?;
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(&call.kind.group, kind, "", &errors))
}

/// A local review is about the namespace it is made in.
fn check_local(call: &Call, review: &Value, errors: &mut Vec<FieldError>) -> Result<(), ApiError> {
    let namespace = meta::text(review, &["spec", "resourceAttributes", "namespace"]);
    if is_set(review, RESOURCE) && namespace != call.namespace() {
        let here = call.namespace();
        return Err(ApiError::bad_request(format!(
            "spec.resourceAttributes.namespace must match namespace: {here}"
        )));
    }
    if let Some(path) = meta::at(review, &PATH).filter(|path| !path.is_null()) {
        let why = "disallowed on this kind of request";
        errors.push(FieldError::invalid(PATH.join("."), path, why));
    }
    Ok(())
}

/// A selector is given as text or as requirements, each with a key and an operator.
fn check_selector(review: &Value, name: &str, errors: &mut Vec<FieldError>) {
    let selector = meta::at(review, &[RESOURCE[0], RESOURCE[1], name]);
    let Some(selector) = selector.filter(|selector| !selector.is_null()) else {
        return;
    };
    let path = format!("{}.{name}", RESOURCE.join("."));
    let raw = meta::text(selector, &["rawSelector"]);
    let requirements = meta::list(selector, &["requirements"]);
    if !raw.is_empty() && !requirements.is_empty() {
        let why = "may not specified at the same time as requirements";
        errors.push(FieldError::invalid(
            format!("{path}.rawSelector"),
            &json!(raw),
            why,
        ));
    }
    if raw.is_empty() && requirements.is_empty() {
        let why = format!("when {path} is specified, requirements or rawSelector is required");
        errors.push(FieldError::required(format!("{path}.requirements"), &why));
    }
    for (index, requirement) in requirements.iter().enumerate() {
        let path = format!("{path}.requirements[{index}]");
        if meta::text(requirement, &["key"]).is_empty() {
            errors.push(FieldError::required(
                format!("{path}.key"),
                "must be specified",
            ));
        }
        let values = meta::list(requirement, &["values"]);
        match meta::text(requirement, &["operator"]) {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(format!("{path}.values"), why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(format!("{path}.values"), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                &json!(other),
                "not a valid selector operator",
            )),
        }
    }
}
