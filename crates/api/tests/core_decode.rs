//! Request bodies against the schema.
#![expect(clippy::unwrap_used, reason = "builders of test data")]

use plimsoll_api::decode::{self, FieldValidation};
use plimsoll_api::schema::{self, TypeId};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn ty(group: &str, kind: &str) -> TypeId {
    schema::by_kind(group, "v1", kind).unwrap()
}

fn deployment(body: &str, mode: FieldValidation) -> Result<decode::Decoded, String> {
    decode::json(ty("apps", "Deployment"), body.as_bytes(), mode).map_err(|e| {
        assert_eq!((e.code, e.reason), (400, "BadRequest"));
        e.message
    })
}

const REFUSED: &str = r#"Deployment in version "v1" cannot be handled as a Deployment: "#;

#[rstest]
#[case::text_for_a_number(
    r#"{"spec":{"replicas":"3"}}"#,
    "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
)]
#[case::number_for_text(
    r#"{"spec":{"template":{"spec":{"containers":[{"image":5}]}}}}"#,
    "json: cannot unmarshal number 5 into Go struct field Container.spec.template.spec.containers.image of type string"
)]
#[case::fraction_for_an_integer(
    r#"{"spec":{"replicas":1.5}}"#,
    "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
)]
#[case::integer_out_of_range(
    r#"{"spec":{"replicas":3000000000}}"#,
    "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"
)]
#[case::object_for_a_list(
    r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
    "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"
)]
#[case::list_for_an_object(
    r#"{"spec":[]}"#,
    "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"
)]
#[case::number_for_a_label(
    r#"{"metadata":{"labels":{"a":true}}}"#,
    "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels.a of type string"
)]
#[case::not_an_object(
    "[]",
    "json: cannot unmarshal array into Go value of type v1.Deployment"
)]
#[case::bad_quantity(
    r#"{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"1 x"}}}]}}}}"#,
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
#[case::bad_time(
    r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
    "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\""
)]
fn refuses_wrong_types_whatever_the_mode(#[case] body: &str, #[case] why: &str) {
    for mode in [
        FieldValidation::Strict,
        FieldValidation::Warn,
        FieldValidation::Ignore,
    ] {
        assert_eq!(
            deployment(body, mode).unwrap_err(),
            format!("{REFUSED}{why}")
        );
    }
}

#[rstest]
#[case("")]
#[case("{")]
#[case(r#"{"spec":{"replicas":3}"#)]
#[case("{} x")]
#[case("\u{0}")]
fn refuses_malformed_json(#[case] body: &str) {
    let message = deployment(body, FieldValidation::Ignore).unwrap_err();
    assert!(
        message.contains("(must be of type Deployment)"),
        "{message}"
    );
}

#[test]
fn endless_nesting_is_refused() {
    for open in [
        "[",
        r#"{"spec":"#,
        r#"{"metadata":{"managedFields":[{"fieldsV1":{"a":"#,
    ] {
        assert!(deployment(&open.repeat(100_000), FieldValidation::Ignore).is_err());
    }
    let mut nested = json!({});
    for _ in 0..500 {
        nested = json!({"a": nested});
    }
    let status = decode::value(ty("", "Status"), nested, FieldValidation::Ignore);
    assert_eq!(status.unwrap_err().code, 400);
}

const ODD: &str = r#"{"spec":{"foo":{"deep":[1]},"replicas":1,"replicas":2,
    "template":{"spec":{"containers":[{"name":"a"},{"name":"b","imgae":"x"}]}}},
    "kind":"Deployment","metadata":{"labels":{"a":"1","a":"2"}},"apiVersion":"apps/v1"}"#;

#[test]
fn unknown_and_duplicate_fields_are_errors_when_strict() {
    let message = deployment(ODD, FieldValidation::Strict).unwrap_err();
    let list = r#"strict decoding error: unknown field "spec.foo", duplicate field "spec.replicas", unknown field "spec.template.spec.containers[1].imgae", duplicate field "metadata.labels.a""#;
    assert_eq!(message, format!("{REFUSED}{list}"));
}

#[test]
fn unknown_fields_are_dropped_with_warnings() {
    let decoded = deployment(ODD, FieldValidation::Warn).unwrap();
    assert_eq!(
        decoded.warnings,
        [
            r#"unknown field "spec.foo""#,
            r#"duplicate field "spec.replicas""#,
            r#"unknown field "spec.template.spec.containers[1].imgae""#,
            r#"duplicate field "metadata.labels.a""#,
        ]
    );
    let keys: Vec<_> = decoded
        .object
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys, ["apiVersion", "kind", "spec", "metadata"]);
    assert_eq!(decoded.object["spec"]["replicas"], 2);
    assert!(decoded.object["spec"].get("foo").is_none());
    assert!(
        deployment(ODD, FieldValidation::Ignore)
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[rstest]
#[case::nulls_disappear("", "Pod",
    json!({"metadata": {"creationTimestamp": null, "labels": {"a": null}}, "spec": null}),
    json!({"metadata": {"labels": {"a": ""}}}))]
#[case::quantities_are_canonical("", "Pod",
    json!({"spec": {"overhead": {"cpu": 0.5, "memory": "1024Mi", "n": 2}}}),
    json!({"spec": {"overhead": {"cpu": "500m", "memory": "1Gi", "n": "2"}}}))]
#[case::times_are_whole_seconds_in_utc("", "Pod",
    json!({"metadata": {"creationTimestamp": "2026-01-02T03:04:05.678+01:00"}}),
    json!({"metadata": {"creationTimestamp": "2026-01-02T02:04:05Z"}}))]
#[case::micro_times_have_six_digits("", "Event",
    json!({"eventTime": "2026-01-02T03:04:05.5Z"}),
    json!({"eventTime": "2026-01-02T03:04:05.500000Z"}))]
#[case::bytes_stay_base64("", "Secret",
    json!({"data": {"a": "aGk=", "b": "", "c": "aG\nk="}}),
    json!({"data": {"a": "aGk=", "b": "", "c": "aGk="}}))]
#[case::ports_are_numbers_or_names("", "Service",
    json!({"spec": {"ports": [{"targetPort": 80}, {"targetPort": "http"}]}}),
    json!({"spec": {"ports": [{"targetPort": 80}, {"targetPort": "http"}]}}))]
#[case::field_sets_stay_as_they_are("", "Pod",
    json!({"metadata": {"managedFields": [{"fieldsV1": {"f:spec": {"f:x": {".": {}}}}}]}}),
    json!({"metadata": {"managedFields": [{"fieldsV1": {"f:spec": {"f:x": {".": {}}}}}]}}))]
fn normalises(#[case] group: &str, #[case] kind: &str, #[case] sent: Value, #[case] kept: Value) {
    let id = ty(group, kind);
    let decoded = decode::json(id, sent.to_string().as_bytes(), FieldValidation::Strict).unwrap();
    assert_eq!(decoded.object, kept);
    let parsed = decode::value(id, sent, FieldValidation::Strict).unwrap();
    assert_eq!(parsed.object, kept);
}

#[test]
fn bad_base64_is_refused() {
    let body = json!({"data": {"a": "a$"}}).to_string();
    let error = decode::json(ty("", "Secret"), body.as_bytes(), FieldValidation::Warn);
    assert_eq!(
        error.unwrap_err().message,
        "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 1"
    );
}

proptest! {
    #[test]
    fn never_panics_on_a_damaged_body(at in 0..ODD.len(), byte in any::<u8>(), cut in 0..ODD.len()) {
        let mut body = ODD.as_bytes().to_vec();
        body[at] = byte;
        drop(decode::json(ty("apps", "Deployment"), &body, FieldValidation::Warn));
        drop(decode::json(ty("apps", "Deployment"), &body[..cut], FieldValidation::Warn));
    }
}
