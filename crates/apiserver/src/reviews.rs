//! Questions about identity and permission: answered at once, never stored.

use crate::auth::{Attributes, Identity, authorize};
use crate::call::Call;
use crate::http::respond::{self, Response};
use crate::resource::decode;
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Map, Value, json};

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
        "TokenReview" => token_status(call, &review),
        "SelfSubjectRulesReview" => rules(&call.identity),
        "SelfSubjectAccessReview" => access(&call.identity, &review),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access(&subject(&review), &review),
        other => return Err(ApiError::not_yet(other)),
    };
    let root = meta::as_object(&mut review);
    root.entry("metadata").or_insert_with(|| json!({}));
    root.insert("status".into(), status);
    Ok(respond::value(201, &call.wanted, &review))
}

fn user_info(identity: &Identity) -> Value {
    let mut info = Map::new();
    info.insert("username".into(), identity.user.as_str().into());
    if !identity.uid.is_empty() {
        info.insert("uid".into(), identity.uid.as_str().into());
    }
    info.insert("groups".into(), json!(identity.groups));
    if !identity.extra.is_empty() {
        info.insert("extra".into(), json!(identity.extra));
    }
    Value::Object(info)
}

fn token_status(call: &Call, review: &Value) -> Value {
    let token = meta::text(review, &["spec", "token"]);
    let audiences = meta::list(review, &["spec", "audiences"]).iter();
    let audiences: Vec<String> = audiences
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    match call.server.tokens().verify(token, &audiences) {
        Ok(verified) => json!({
            "authenticated": true, "user": user_info(&verified.identity),
            "audiences": verified.audiences,
        }),
        Err(error) => json!({"authenticated": false, "user": {}, "error": error.to_string()}),
    }
}

/// Everything to those who may do everything; the rules by role come with RBAC.
fn rules(identity: &Identity) -> Value {
    let all = Attributes {
        verb: "*",
        group: "*",
        resource: "*",
        ..Attributes::default()
    };
    if authorize(identity, &all).is_err() {
        return json!({"resourceRules": [], "nonResourceRules": [], "incomplete": true});
    }
    json!({
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": false,
    })
}

fn subject(review: &Value) -> Identity {
    let groups = meta::list(review, &["spec", "groups"]).iter();
    let groups: Vec<&str> = groups.filter_map(Value::as_str).collect();
    Identity::new(meta::text(review, &["spec", "user"]), &groups)
}

fn access(identity: &Identity, review: &Value) -> Value {
    let field = |name: &str| meta::text(review, &["spec", "resourceAttributes", name]);
    let path = meta::text(review, &["spec", "nonResourceAttributes", "path"]);
    let attributes = if path.is_empty() {
        Attributes {
            verb: field("verb"),
            group: field("group"),
            resource: field("resource"),
            subresource: field("subresource"),
            namespace: field("namespace"),
            name: field("name"),
            path: "",
        }
    } else {
        let verb = meta::text(review, &["spec", "nonResourceAttributes", "verb"]);
        Attributes {
            verb,
            path,
            ..Attributes::default()
        }
    };
    match authorize(identity, &attributes) {
        Ok(()) => json!({"allowed": true}),
        Err(error) => json!({"allowed": false, "reason": error.message}),
    }
}
