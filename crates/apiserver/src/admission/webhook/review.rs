//! The words exchanged with a webhook: `AdmissionReview` of `admission.k8s.io/v1`.

use crate::outbound::{Answer, decode_base64};
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde::Serialize;
use serde_json::{Value, json};

/// A group, version and resource or kind.
pub(crate) type Names<'a> = (&'a str, &'a str, &'a str);

/// What a webhook is asked.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Question<'a> {
    pub(super) uid: &'a str,
    pub(super) kind: Value,
    pub(super) resource: Value,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) sub_resource: &'a str,
    pub(super) request_kind: Value,
    pub(super) request_resource: Value,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) request_sub_resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) namespace: &'a str,
    pub(super) operation: &'a str,
    pub(super) user_info: Value,
    pub(super) object: &'a Value,
    pub(super) old_object: &'a Value,
    pub(super) dry_run: bool,
    pub(super) options: Value,
}

/// `{group, version, kind}`.
pub(super) fn kind_names((group, version, kind): Names<'_>) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

/// `{group, version, resource}`.
pub(super) fn resource_names((group, version, resource): Names<'_>) -> Value {
    json!({"group": group, "version": version, "resource": resource})
}

impl Question<'_> {
    /// The body that is posted.
    pub(super) fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Review<'a> {
            kind: &'a str,
            api_version: &'a str,
            request: &'a Question<'a>,
        }
        let review = Review {
            kind: "AdmissionReview",
            api_version: "admission.k8s.io/v1",
            request: self,
        };
        serde_json::to_vec(&review).unwrap_or_default()
    }
}

/// What webhooks may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Change the object.
    Mutating,
    /// Agree or refuse.
    Validating,
}

/// What a webhook says.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// A Status that explains a refusal.
    pub(super) result: Value,
    /// A JSON patch.
    pub(super) patch: Option<Vec<u8>>,
    pub(super) warnings: Vec<String>,
    /// For the audit log: keys without the webhook's name, and values.
    pub(super) annotations: Vec<(String, String)>,
}

/// Understands an answer to the question `uid`.
///
/// # Errors
/// Why it is no answer, in upstream's words.
pub(super) fn understand(answer: &Answer, uid: &str, role: Role) -> Result<Verdict, String> {
    let failed = |why: String| format!("failed to call webhook: {why}");
    if !answer.code.is_success() {
        return Err(failed(rejected(answer)));
    }
    let review: Value = serde_json::from_slice(&answer.body).map_err(|error| {
        failed(format!(
            "couldn't get version/kind; json parse error: {error}"
        ))
    })?;
    let invalid = |why: String| Err(format!("received invalid webhook response: {why}"));
    let (version, kind) = (
        meta::text(&review, &["apiVersion"]),
        meta::text(&review, &["kind"]),
    );
    if (version, kind) != ("admission.k8s.io/v1", "AdmissionReview") {
        return invalid(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {version}, Kind={kind}"
        ));
    }
    let Some(response) = review.get("response").filter(|r| r.is_object()) else {
        return invalid("webhook response was absent".to_owned());
    };
    let said = meta::text(response, &["uid"]);
    if said != uid {
        return invalid(format!("expected response.uid={uid:?}, got {said:?}"));
    }
    let patch = match patch(response, role) {
        Ok(patch) => patch,
        Err(why) => return invalid(why),
    };
    let warnings = meta::list(response, &["warnings"]).iter();
    let annotations = response.get("auditAnnotations").and_then(Value::as_object);
    Ok(Verdict {
        allowed: response.get("allowed").and_then(Value::as_bool) == Some(true),
        result: response.get("status").cloned().unwrap_or_default(),
        patch,
        warnings: warnings
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        annotations: annotations
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    })
}

fn patch(response: &Value, role: Role) -> Result<Option<Vec<u8>>, String> {
    let (patch, kind) = (
        meta::text(response, &["patch"]),
        response.get("patchType").and_then(Value::as_str),
    );
    match (patch, kind, role) {
        ("", None, _) => Ok(None),
        (_, _, Role::Validating) => Err(if patch.is_empty() {
            "validating webhook may not return response.patchType".to_owned()
        } else {
            "validating webhook may not return response.patch".to_owned()
        }),
        ("", Some(_), _) => {
            Err("webhook returned response.patchType but not response.patch".to_owned())
        }
        (_, None, _) => {
            Err("webhook returned response.patch but not response.patchType".to_owned())
        }
        (_, Some("JSONPatch"), _) => decode_base64(patch)
            .map(Some)
            .ok_or_else(|| "response.patch is not base64".to_owned()),
        (_, Some(other), _) => Err(format!(
            "webhook returned invalid response.patchType of {other:?}"
        )),
    }
}

/// What Go's client says about an answer that is no success.
fn rejected(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let text: String = text.trim().chars().take(512).collect();
    match answer.code.as_u16() {
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => format!("forbidden: {text}"),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        413 => "the request entity is too large".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later"
            .to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        code if code >= 500 => {
            format!("an error on the server ({text:?}) has prevented the request from succeeding")
        }
        _ => "the server rejected our request for an unknown reason".to_owned(),
    }
}

/// Reasons that clients branch on. Departs: a webhook's own invention is not passed on as the
/// reason (it is in the message if there is no other).
const REASONS: [&str; 19] = [
    "AlreadyExists",
    "BadRequest",
    "Conflict",
    "Expired",
    "Forbidden",
    "Gone",
    "InternalError",
    "Invalid",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "RequestEntityTooLarge",
    "ServerTimeout",
    "ServiceUnavailable",
    "StoreReadError",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
];

fn known(reason: &str) -> &'static str {
    let mut known = REASONS.iter();
    known.find(|r| **r == reason).copied().unwrap_or_default()
}

/// The error that a refusal becomes: the webhook's code (403 if it gives none that is a failure),
/// reason, message and details.
pub(super) fn refusal(hook: &str, result: &Value) -> ApiError {
    let code = meta::integer(result, &["code"])
        .and_then(|code| u16::try_from(code).ok())
        .filter(|code| (400..600).contains(code))
        .unwrap_or(403);
    let (message, reason) = (
        meta::text(result, &["message"]),
        meta::text(result, &["reason"]),
    );
    let why = match (message, reason) {
        ("", "") => " without explanation".to_owned(),
        ("", reason) => format!(": {reason}"),
        (message, _) => format!(": {message}"),
    };
    let text = format!("admission webhook {hook:?} denied the request{why}");
    let mut error = ApiError::new(code, known(reason), text);
    if let Some(details) = result.get("details").filter(|d| d.is_object()) {
        error.details = details.clone();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn answer(code: u16, body: &Value) -> Answer {
        Answer {
            code: http::StatusCode::from_u16(code).unwrap(),
            body: body.to_string().into(),
        }
    }

    fn review(response: &Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }

    #[rstest]
    #[case::another_kind(json!({"kind": "Pod", "apiVersion": "v1"}), "expected webhook response of")]
    #[case::old_version(
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}),
        "got admission.k8s.io/v1beta1"
    )]
    #[case::no_response(review(&Value::Null), "webhook response was absent")]
    #[case::bad_uid(review(&json!({"uid": "x", "allowed": true})), "expected response.uid=\"u\", got \"x\"")]
    #[case::no_type(review(&json!({"uid": "u", "patch": "W10="})), "but not response.patchType")]
    #[case::no_patch(review(&json!({"uid": "u", "patchType": "JSONPatch"})), "but not response.patch")]
    #[case::other_type(
        review(&json!({"uid": "u", "patch": "W10=", "patchType": "Merge"})),
        "invalid response.patchType of \"Merge\""
    )]
    fn what_is_no_answer_is_told(#[case] body: Value, #[case] why: &str) {
        let error = understand(&answer(200, &body), "u", Role::Mutating).unwrap_err();
        assert!(error.contains(why), "{error}");
        assert!(
            error.starts_with("received invalid webhook response: "),
            "{error}"
        );
    }

    #[rstest]
    #[case(404, "the server could not find the requested resource")]
    #[case(
        500,
        "an error on the server (\"{}\") has prevented the request from succeeding"
    )]
    #[case(302, "the server rejected our request for an unknown reason")]
    fn failures_of_the_server_read_as_gos_client_tells_them(#[case] code: u16, #[case] why: &str) {
        let error = understand(&answer(code, &json!({})), "u", Role::Validating).unwrap_err();
        assert_eq!(error, format!("failed to call webhook: {why}"));
    }

    #[test]
    fn validating_webhooks_may_not_patch() {
        let body = review(&json!({"uid": "u", "patch": "W10=", "patchType": "JSONPatch"}));
        let error = understand(&answer(200, &body), "u", Role::Validating).unwrap_err();
        assert!(error.ends_with("validating webhook may not return response.patch"));
        let verdict = understand(&answer(200, &body), "u", Role::Mutating).unwrap();
        assert_eq!(verdict.patch.as_deref(), Some(&b"[]"[..]));
    }

    #[rstest]
    #[case(json!({"message": "no way"}), 403, "", ": no way")]
    #[case(json!({"code": 200, "message": "m"}), 403, "", ": m")]
    #[case(json!({"code": 422, "reason": "Invalid"}), 422, "Invalid", ": Invalid")]
    #[case(json!({"code": 418, "reason": "Teapot", "message": "m"}), 418, "", ": m")]
    #[case(Value::Null, 403, "", " without explanation")]
    fn refusals_carry_the_webhooks_words(
        #[case] result: Value,
        #[case] code: u16,
        #[case] reason: &str,
        #[case] end: &str,
    ) {
        let error = refusal("a.b.c", &result);
        assert_eq!(error.code, code);
        assert_eq!(error.reason, reason);
        assert_eq!(
            error.message,
            format!("admission webhook \"a.b.c\" denied the request{end}")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(0_u8.., 0..64)) {
            let answer = Answer { code: http::StatusCode::OK, body: bytes.into() };
            drop(understand(&answer, "u", Role::Mutating));
        }
    }
}
