//! `serviceaccounts/token`: TokenRequest.

use crate::admission::webhook::Subject;
use crate::admission::{self, Operation};
use crate::auth::TokenSpec;
use crate::call::Call;
use crate::http::respond::{self, Response};
use crate::resource::decode;
use crate::resource::metadata::whole_seconds;
use crate::resource::present::parse;
use plimsoll_api::meta;
use plimsoll_api::status::{ApiError, FieldError};
use serde_json::{Value, json};
use std::time::Duration;

/// Seconds a token is good for when the request does not say.
const DEFAULT_SECONDS: i64 = 3600;
/// The shortest lifetime, in seconds.
const SHORTEST_SECONDS: i64 = 600;
/// The longest lifetime, in seconds (2³²).
const LONGEST_SECONDS: i64 = 1 << 32;

/// Issues a token for the account the path names.
pub(super) async fn create(call: &Call) -> Result<Response, ApiError> {
    let mut request = decode::subresource(call, "token")?;
    let subject = Subject::of_call(call, call.run()?, Operation::Create);
    admission::subresource(&subject, &mut request, None).await?;
    let account = call
        .server
        .store()
        .get(&call.key())
        .ok_or_else(|| call.not_found())?;
    named(call, &request)?;
    let seconds =
        meta::integer(&request, &["spec", "expirationSeconds"]).unwrap_or(DEFAULT_SECONDS);
    check(call, seconds)?;
    let audiences = meta::list(&request, &["spec", "audiences"]);
    let bound = bound(call, &request)?;
    let issued = call.server.tokens().issue(&TokenSpec {
        namespace: call.namespace().to_owned(),
        account: call.name().to_owned(),
        account_uid: account.uid.to_string(),
        audiences: audiences
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        lifetime: Duration::from_secs(seconds.unsigned_abs()),
        pod: bound.pod,
        node: bound.node,
        secret: bound.secret,
    });
    let metadata = json!({
        "name": call.name(), "namespace": call.namespace(),
        "creationTimestamp": whole_seconds(call.server.now()),
    });
    let spec = meta::object_mut(&mut request, &["spec"]);
    spec.insert("audiences".into(), json!(issued.audiences));
    spec.insert("expirationSeconds".into(), seconds.into());
    let root = meta::as_object(&mut request);
    root.insert("metadata".into(), metadata);
    root.insert(
        "status".into(),
        json!({"token": issued.token, "expirationTimestamp": whole_seconds(issued.expires)}),
    );
    Ok(respond::value(201, &call.wanted, &request))
}

fn check(call: &Call, seconds: i64) -> Result<(), ApiError> {
    let why = match seconds {
        s if s < SHORTEST_SECONDS => "may not specify a duration less than 10 minutes",
        s if s > LONGEST_SECONDS => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(()),
    };
    let errors = [FieldError::invalid(
        "spec.expirationSeconds",
        &json!(seconds),
        why,
    )];
    Err(ApiError::invalid(
        "authentication.k8s.io",
        "TokenRequest",
        call.name(),
        &errors,
    ))
}

/// The body must be about the account the path names.
fn named(call: &Call, request: &Value) -> Result<(), ApiError> {
    let (name, namespace) = (meta::name(request), meta::namespace(request));
    if !name.is_empty() && name != call.name() {
        let path = call.name();
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({path})"
        )));
    }
    if !namespace.is_empty() && namespace != call.namespace() {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// A name and a uid.
type Reference = (String, String);

/// What a token is bound to.
#[derive(Debug, Default)]
struct Bound {
    pod: Option<Reference>,
    node: Option<Reference>,
    secret: Option<Reference>,
}

/// What the request wants the token bound to; for a pod its node too.
fn bound(call: &Call, request: &Value) -> Result<Bound, ApiError> {
    let Some(reference) = meta::at(request, &["spec", "boundObjectRef"]).filter(|r| !r.is_null())
    else {
        return Ok(Bound::default());
    };
    let field = |name: &str| meta::text(reference, &[name]);
    let (kind, name) = (field("kind"), field("name"));
    let plural = match (field("apiVersion"), kind) {
        ("v1", "Pod") => "pods",
        ("v1", "Secret") => "secrets",
        ("v1", "Node") => "nodes",
        (version, kind) => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(ApiError::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let namespace = if plural == "nodes" {
        ""
    } else {
        call.namespace()
    };
    let entry = call.server.find("", plural, (namespace, name));
    let entry = entry.ok_or_else(|| ApiError::not_found("", plural, name))?;
    let uid = field("uid");
    if !uid.is_empty() && uid != &*entry.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict("", kind, name, &why));
    }
    let found = Some((name.to_owned(), entry.uid.to_string()));
    let mut bound = Bound::default();
    match plural {
        "secrets" => bound.secret = found,
        "nodes" => bound.node = found,
        _ => {
            let pod = parse(&entry.json)?;
            bound.node = node_of(call, &pod)?;
            bound.pod = found;
        }
    }
    Ok(bound)
}

/// The node a pod is on; 400 if the pod runs as another account.
fn node_of(call: &Call, pod: &Value) -> Result<Option<Reference>, ApiError> {
    let account = call.name();
    if meta::text(pod, &["spec", "serviceAccountName"]) != account {
        return Err(ApiError::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    let node = meta::text(pod, &["spec", "nodeName"]);
    let found = call.server.find("", "nodes", ("", node));
    Ok(found.map(|found| (node.to_owned(), found.uid.to_string())))
}
