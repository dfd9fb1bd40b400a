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
    let seconds =
        meta::integer(&request, &["spec", "expirationSeconds"]).unwrap_or(DEFAULT_SECONDS);
    check(call, seconds)?;
    let audiences = meta::list(&request, &["spec", "audiences"]);
    let (pod, node) = bound(call, &request)?;
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
        pod,
        node,
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

/// A name and a uid.
type Bound = Option<(String, String)>;

/// The pod, and its node, that the token is bound to.
fn bound(call: &Call, request: &Value) -> Result<(Bound, Bound), ApiError> {
    let Some(reference) = meta::at(request, &["spec", "boundObjectRef"]).filter(|r| !r.is_null())
    else {
        return Ok((None, None));
    };
    let (kind, name) = (
        meta::text(reference, &["kind"]),
        meta::text(reference, &["name"]),
    );
    if kind != "Pod" {
        return Err(ApiError::not_yet(&format!("tokens bound to a {kind}")));
    }
    let missing = || ApiError::not_found("", "pods", name);
    let entry = call
        .server
        .find("", "pods", (call.namespace(), name))
        .ok_or_else(missing)?;
    let uid = meta::text(reference, &["uid"]);
    if !uid.is_empty() && uid != &*entry.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict("", "pods", name, &why));
    }
    let pod = parse(&entry.json)?;
    let node = meta::text(&pod, &["spec", "nodeName"]);
    let node = call
        .server
        .find("", "nodes", ("", node))
        .map(|found| (node.to_owned(), found.uid.to_string()));
    Ok((Some((name.to_owned(), entry.uid.to_string())), node))
}
