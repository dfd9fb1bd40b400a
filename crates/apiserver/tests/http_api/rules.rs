//! `x-kubernetes-validations`: what definitions may say and what objects must obey.

use crate::rig::Rig;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const SHIPS: &str = "/apis/example.com/v1/namespaces/default/ships";

fn definition(spec: &Value) -> Value {
    json!({
        "metadata": {"name": "ships.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "ships", "singular": "ship", "kind": "Ship"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
        },
    })
}

fn ship_schema() -> Value {
    let text = json!({"type": "string", "maxLength": 20});
    json!({
        "type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.min <= self.max", "message": "min must not exceed max"},
            {"rule": "self.max < 1000"},
            {"rule": "!has(self.flag) || self.flag == oldSelf.flag", "message": "flag is immutable"},
            {"rule": "self.min >= 0", "messageExpression": "'min is ' + string(self.min)", "fieldPath": ".min", "reason": "FieldValueForbidden"},
            {"rule": "oldSelf.hasValue() || self.min < 50", "optionalOldSelf": true, "message": "new ships are small"},
        ],
        "required": ["min", "max"],
        "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"}, "flag": text,
            "until": {"type": "string", "format": "date-time"},
            "crew": {
                "type": "array", "maxItems": 10,
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object", "required": ["name"],
                    "properties": {"name": text, "age": {"type": "integer"}},
                    "x-kubernetes-validations": [
                        {"rule": "self.age >= 16", "message": "too young"},
                        {"rule": "self.age >= oldSelf.age", "message": "nobody grows younger"},
                    ],
                },
            },
            "cargo": {
                "type": "object", "maxProperties": 10,
                "additionalProperties": {
                    "type": "string", "maxLength": 10,
                    "x-kubernetes-validations": [{"rule": "self.matches('^[0-9]+t$')"}],
                },
            },
        },
    })
}

async fn with_ships() -> Rig {
    let rig = Rig::new().await;
    rig.post(DEFINITIONS, &definition(&ship_schema()))
        .await
        .expect(201);
    rig
}

fn ship(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Ship", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn violations_name_the_field_and_the_rule() {
    let rig = with_ships().await;
    let spec = json!({
        "min": 5, "max": 3, "crew": [{"name": "a", "age": 30}, {"name": "b", "age": 7}],
        "cargo": {"coal": "12t", "tea": "lots"},
    });
    let refused = rig.post(SHIPS, &ship("a", &spec)).await;
    let status = refused.expect_failure(422, "Invalid", "Ship.example.com \"a\" is invalid: [");
    let message = status["message"].as_str().unwrap();
    for part in [
        "spec: Invalid value: \"object\": min must not exceed max",
        "spec.crew[1]: Invalid value: \"object\": too young",
        "spec.cargo[tea]: Invalid value: \"string\": failed rule: self.matches('^[0-9]+t$')",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(
        status["details"]["causes"].as_array().unwrap().len(),
        3,
        "{message}"
    );
    let large = rig
        .post(SHIPS, &ship("a", &json!({"min": 1, "max": 2000})))
        .await;
    large.expect_failure(
        422,
        "Invalid",
        "spec: Invalid value: \"object\": failed rule: self.max < 1000",
    );
    let negative = rig
        .post(SHIPS, &ship("a", &json!({"min": -2, "max": 2})))
        .await;
    negative.expect_failure(422, "Invalid", "spec.min: Forbidden: min is -2");
    let new = rig
        .post(SHIPS, &ship("a", &json!({"min": 60, "max": 70})))
        .await;
    new.expect_failure(422, "Invalid", "new ships are small");
    rig.post(SHIPS, &ship("a", &json!({"min": 1, "max": 2})))
        .await
        .expect(201);
}

#[tokio::test]
async fn transition_rules_compare_with_the_object_before() {
    let rig = with_ships().await;
    let crew = json!([{"name": "a", "age": 30}, {"name": "b", "age": 20}]);
    let spec = json!({"min": 1, "max": 3, "flag": "pa", "crew": crew});
    rig.post(SHIPS, &ship("a", &spec)).await.expect(201);
    let path = format!("{SHIPS}/a");
    let repainted = json!({"spec": {"flag": "gr"}});
    let refused = rig.patch(&path, "merge", &repainted).await;
    refused.expect_failure(
        422,
        "Invalid",
        "spec: Invalid value: \"object\": flag is immutable",
    );
    // Found again by its key, although it moved.
    let moved = json!({"spec": {"crew": [{"name": "b", "age": 19}, {"name": "a", "age": 31}]}});
    let refused = rig.patch(&path, "merge", &moved).await;
    refused.expect_failure(
        422,
        "Invalid",
        "spec.crew[0]: Invalid value: \"object\": nobody grows younger",
    );
    let grown = json!({"spec": {"min": 60, "max": 70}});
    rig.patch(&path, "merge", &grown).await.expect(200);
}

#[tokio::test]
async fn rules_are_not_asked_about_objects_of_a_wrong_shape() {
    let rig = with_ships().await;
    let spec = json!({"min": 5, "max": "three"});
    let refused = rig.post(SHIPS, &ship("a", &spec)).await;
    let said = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
    refused.expect_failure(422, "Invalid", said);
}

#[tokio::test]
async fn broken_rules_are_refused_with_their_place() {
    let rig = Rig::new().await;
    let schema = json!({
        "type": "object",
        "properties": {
            "replicas": {"type": "integer"}, "name": {"type": "string"},
            "items": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.x == oldSelf.x"}]}},
        },
        "x-kubernetes-validations": [
            {"rule": "self.replica > 1"},
            {"rule": "self.replicas + 1"},
            {"rule": "self.replicas > 'a'", "reason": "Nonsense"},
            {"rule": "self.items.all(a, self.items.all(b, a.x != b.x || self.name.contains('x')))"},
            {"rule": "self.replicas > 1", "message": " ", "fieldPath": ".nope"},
        ],
    });
    let refused = rig.post(DEFINITIONS, &definition(&schema)).await;
    let status = refused.expect_failure(
        422,
        "Invalid",
        "CustomResourceDefinition.apiextensions.k8s.io \"ships.example.com\" is invalid",
    );
    let message = status["message"].as_str().unwrap();
    let root = "spec.versions[0].schema.openAPIV3Schema.properties[spec]";
    for part in [
        format!(
            "{root}.x-kubernetes-validations[0].rule: Invalid value: \"self.replica > 1\": compilation failed: ERROR: <input>:1:5: undefined field 'replica'\n | self.replica > 1\n | ....^"
        ),
        format!(
            "{root}.x-kubernetes-validations[1].rule: Invalid value: \"self.replicas + 1\": cel expression must evaluate to a bool"
        ),
        format!("{root}.x-kubernetes-validations[2].reason: Unsupported value: \"Nonsense\""),
        format!(
            "{root}.x-kubernetes-validations[3].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x"
        ),
        format!(
            "{root}.x-kubernetes-validations[4].message: Invalid value: \" \": message must be non-empty if specified"
        ),
        format!("{root}.x-kubernetes-validations[4].fieldPath: Invalid value: \".nope\""),
        format!(
            "{root}.properties[items].items.x-kubernetes-validations[0].rule: Invalid value: \"self.x == oldSelf.x\": oldSelf cannot be used on the uncorrelatable portion of the schema within"
        ),
    ] {
        assert!(message.contains(&part), "{part}\nnot in\n{message}");
    }
}

#[tokio::test]
async fn what_was_stored_before_a_rule_may_stay() {
    let rig = with_ships().await;
    rig.post(SHIPS, &ship("old", &json!({"min": 1, "max": 900})))
        .await
        .expect(201);
    let mut stricter = ship_schema();
    stricter["x-kubernetes-validations"][1] = json!({"rule": "self.max < 100"});
    let path = format!("{DEFINITIONS}/ships.example.com");
    let mut object = rig.get(&path).await.expect(200);
    object["spec"] = definition(&stricter)["spec"].clone();
    rig.put(&path, &object).await.expect(200);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    rig.patch(&format!("{SHIPS}/old"), "merge", &label)
        .await
        .expect(200);
    let change = json!({"spec": {"min": 2}});
    let refused = rig.patch(&format!("{SHIPS}/old"), "merge", &change).await;
    refused.expect_failure(422, "Invalid", "failed rule: self.max < 100");
    let new = rig
        .post(SHIPS, &ship("new", &json!({"min": 1, "max": 900})))
        .await;
    new.expect_failure(422, "Invalid", "failed rule: self.max < 100");
}
