//! Structural schemas: validation messages, pruning, defaulting, and what makes them structural.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets something unexpected should stop there"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "builders read best with literals"
)]

use plimsoll_api::custom::{Schema, check, fill, prune};
use plimsoll_api::kinds;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn spec(schema: Value) -> Schema {
    Schema::parse(&json!({"type": "object", "properties": {"spec": schema}}))
}

fn said(schema: Value, value: Value, old: Option<Value>) -> Vec<String> {
    let old = old.map(|old| json!({"spec": old}));
    let errors = check(&spec(schema), &json!({"spec": value}), old.as_ref());
    errors.iter().map(ToString::to_string).collect()
}

#[rstest]
#[case::type_of_text(json!({"type": "string"}), json!(1),
    r#"spec: Invalid value: "integer": spec in body must be of type string: "integer""#)]
#[case::type_of_number(json!({"type": "integer"}), json!(1.5),
    r#"spec: Invalid value: "number": spec in body must be of type integer: "number""#)]
#[case::null(json!({"type": "string"}), json!(null),
    r#"spec: Invalid value: "null": spec in body must be of type string: "null""#)]
#[case::int_or_string(json!({"x-kubernetes-int-or-string": true}), json!(true),
    r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#)]
#[case::allowed(json!({"type": "string", "enum": ["Auto", "Off"]}), json!("xx"),
    r#"spec: Unsupported value: "xx": supported values: "Auto", "Off""#)]
#[case::pattern(json!({"type": "string", "pattern": "^a+$"}), json!("b"),
    r#"spec: Invalid value: "b": spec in body should match '^a+$'"#)]
#[case::min_length(json!({"type": "string", "minLength": 1}), json!(""),
    r#"spec: Invalid value: "": spec in body should be at least 1 chars long"#)]
#[case::max_length(json!({"type": "string", "maxLength": 2}), json!("abc"),
    "spec: Too long: may not be more than 2 bytes")]
#[case::maximum(json!({"type": "integer", "maximum": 10}), json!(15),
    "spec: Invalid value: 15: spec in body should be less than or equal to 10")]
#[case::exclusive_maximum(json!({"type": "number", "maximum": 10, "exclusiveMaximum": true}), json!(10),
    "spec: Invalid value: 10: spec in body should be less than 10")]
#[case::minimum(json!({"type": "integer", "minimum": 1}), json!(0),
    "spec: Invalid value: 0: spec in body should be greater than or equal to 1")]
#[case::multiple(json!({"type": "integer", "multipleOf": 5}), json!(7),
    "spec: Invalid value: 7: spec in body should be a multiple of 5")]
#[case::format(json!({"type": "string", "format": "date-time"}), json!("soon"),
    r#"spec: Invalid value: "soon": spec in body must be of type date-time: "soon""#)]
#[case::min_items(json!({"type": "array", "items": {"type": "string"}, "minItems": 1}), json!([]),
    "spec: Invalid value: 0: spec in body should have at least 1 items")]
#[case::max_items(json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}), json!(["a", "b"]),
    "spec: Too many: 2: must have at most 1 items")]
#[case::items(json!({"type": "array", "items": {"type": "string"}}), json!(["a", 2]),
    r#"spec[1]: Invalid value: "integer": spec[1] in body must be of type string: "integer""#)]
#[case::required(json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}), json!({}),
    "spec.a: Required value")]
#[case::min_properties(json!({"type": "object", "minProperties": 1}), json!({}),
    "spec: Invalid value: 0: spec in body should have at least 1 properties")]
#[case::set(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}), json!(["a", "a"]),
    r#"spec[1]: Duplicate value: "a""#)]
#[case::map(json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
    "items": {"type": "object", "properties": {"name": {"type": "string"}}}}), json!([{"name": "a"}, {"name": "a"}]),
    r#"spec[1]: Duplicate value: {"name":"a"}"#)]
#[case::one_of_none(json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}), json!({}),
    r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#)]
#[case::one_of_many(json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}), json!({"a": 1, "b": 1}),
    r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#)]
#[case::any_of(json!({"type": "object", "anyOf": [{"required": ["a"]}]}), json!({}),
    r#"<nil>: Invalid value: "": "spec" must validate at least one schema (anyOf)"#)]
#[case::not(json!({"type": "object", "not": {"required": ["a"]}}), json!({"a": 1}),
    r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#)]
#[case::embedded(json!({"type": "object", "x-kubernetes-embedded-resource": true,
    "x-kubernetes-preserve-unknown-fields": true}), json!({"kind": "Pod"}),
    "spec.apiVersion: Required value: must not be empty")]
fn values_are_refused_in_upstream_words(
    #[case] schema: Value,
    #[case] value: Value,
    #[case] want: &str,
) {
    assert_eq!(
        said(schema, value, None).first().map(String::as_str),
        Some(want)
    );
}

#[rstest]
#[case::whole_number(json!({"type": "integer"}), json!(2.0))]
#[case::number(json!({"type": "number"}), json!(2))]
#[case::nullable(json!({"type": "string", "nullable": true}), json!(null))]
#[case::int_or_string(json!({"x-kubernetes-int-or-string": true,
    "anyOf": [{"type": "integer"}, {"type": "string"}]}), json!("50%"))]
#[case::one_of(json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}), json!({"b": 1}))]
#[case::atomic_lists_may_repeat(json!({"type": "array", "items": {"type": "string"}}), json!(["a", "a"]))]
fn values_are_accepted(#[case] schema: Value, #[case] value: Value) {
    assert_eq!(said(schema, value, None), Vec::<String>::new());
}

#[test]
fn what_did_not_change_is_not_checked_again() {
    let schema = json!({"type": "object", "properties": {
        "old": {"type": "integer", "maximum": 1},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
            "items": {"type": "object", "properties": {
                "n": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
    }});
    let old = json!({"old": 9, "list": [{"n": "a", "v": 9}]});
    let mut new = json!({"old": 9, "list": [{"n": "b", "v": 1}, {"n": "a", "v": 9}]});
    assert_eq!(
        said(schema.clone(), new.clone(), Some(old.clone())),
        Vec::<String>::new()
    );
    new["old"] = json!(8);
    let wanted = "spec.old: Invalid value: 8: spec.old in body should be less than or equal to 1";
    assert_eq!(said(schema, new, Some(old)), [wanted]);
}

#[test]
fn unknown_fields_go_and_defaults_come() {
    let schema = spec(json!({"type": "object", "properties": {
        "a": {"type": "integer", "default": 1},
        "deep": {"type": "object", "default": {}, "properties": {"b": {"type": "string", "default": "x"}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "boolean", "default": true}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    }}));
    let mut object = json!({
        "apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "other": 1,
        "spec": {"a": null, "list": [{"d": 1}], "free": {"x": {"y": 1}}, "labels": {"k": "v"}},
    });
    assert_eq!(prune(&schema, &mut object), ["other", "spec.list[0].d"]);
    fill(&schema, &mut object);
    assert_eq!(
        object["spec"],
        json!({
            "list": [{"c": true}], "free": {"x": {"y": 1}}, "labels": {"k": "v"},
            "a": 1, "deep": {"b": "x"},
        })
    );
}

fn definition(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn refusals(mut definition: Value) -> Vec<String> {
    let kinds = kinds::built_in();
    let kind = kinds
        .find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        .unwrap();
    kind.default(&mut definition);
    kind.prepare_create(&mut definition);
    kind.validate(&definition, None)
        .iter()
        .map(ToString::to_string)
        .collect()
}

const ROOT: &str = "spec.versions[0].schema.openAPIV3Schema";

#[rstest]
#[case::no_type(json!({"properties": {}}), "type: Required value: must not be empty at the root")]
#[case::root_list(json!({"type": "array", "items": {"type": "string"}}),
    "type: Invalid value: \"array\": must be object at the root")]
#[case::field_without_type(json!({"type": "object", "properties": {"spec": {}}}),
    "properties[spec].type: Required value: must not be empty for specified object fields")]
#[case::item_without_type(json!({"type": "object", "properties": {"l": {"type": "array", "items": {}}}}),
    "properties[l].items.type: Required value: must not be empty for specified array items")]
#[case::unique(json!({"type": "object", "properties": {"l": {"type": "array", "uniqueItems": true, "items": {"type": "string"}}}}),
    "properties[l].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic")]
#[case::closed(json!({"type": "object", "additionalProperties": false}),
    "additionalProperties: Forbidden: additionalProperties cannot be set to false")]
#[case::both(json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": {"a": {"type": "string"}}}),
    "additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive")]
#[case::nested_type(json!({"type": "object", "anyOf": [{"type": "object"}]}),
    "anyOf[0].type: Forbidden: must be empty to be structural")]
#[case::incomplete(json!({"type": "object", "allOf": [{"properties": {"a": {"minLength": 1}}}]}),
    "properties[a]: Required value: because it is defined in spec.versions[0].schema.openAPIV3Schema.allOf[0].properties[a]")]
#[case::keys(json!({"type": "object", "properties": {"l": {"type": "array", "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["n"], "items": {"type": "object", "properties": {"n": {"type": "string"}}}}}}),
    "properties[l].items.properties[n].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property")]
#[case::bad_default(json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
    "properties[a].default: Invalid value: \"string\": spec.versions[0].schema.openAPIV3Schema.properties[a].default in body must be of type integer: \"string\"")]
#[case::unpruned_default(json!({"type": "object", "properties": {"a": {"type": "object", "default": {"b": 1}}}}),
    "properties[a].default: Invalid value: {\"b\":1}: must not have unknown fields")]
#[case::preserve(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false}),
    "x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined")]
fn schemas_must_be_structural(#[case] schema: Value, #[case] want: &str) {
    assert_eq!(refusals(definition(schema)), [format!("{ROOT}.{want}")]);
}

#[rstest]
#[case("/metadata/name", json!("x.example.com"),
    "metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group")]
#[case("/spec/scope", json!("Everywhere"),
    "spec.scope: Unsupported value: \"Everywhere\": supported values: \"Cluster\", \"Namespaced\"")]
#[case("/spec/versions/0/storage", json!(false), "must have exactly one version marked as storage version")]
#[case("/spec/names/kind", json!("foo_"), "may have mixed case, but should otherwise match")]
#[case("/spec/versions/0/name", json!("V1"), "spec.versions[0].name: Invalid value: \"V1\"")]
#[case("/spec/versions/0/schema", json!({}), "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required")]
fn definitions_are_checked(#[case] path: &str, #[case] value: Value, #[case] want: &str) {
    let mut wrong = definition(json!({"type": "object"}));
    *wrong.pointer_mut(path).unwrap() = value;
    let said = refusals(wrong);
    assert!(said.iter().any(|s| s.contains(want)), "{said:?}");
}

#[test]
fn the_int_or_string_pattern_is_structural() {
    let pair = json!([{"type": "integer"}, {"type": "string"}]);
    let schema = json!({"type": "object", "properties": {
        "port": {"x-kubernetes-int-or-string": true, "anyOf": pair},
        "size": {"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": pair}, {"pattern": "^[0-9]+%?$"}]},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
        "nested": {"type": "object", "properties": {"a": {"type": "string"}},
                   "oneOf": [{"required": ["a"]}, {"not": {"required": ["a"]}}]},
    }});
    assert_eq!(refusals(definition(schema)), Vec::<String>::new());
}

/// Schemas and values over few names, so that they meet.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "string", "default": "d"})),
        Just(json!({"type": "integer", "default": 3, "minimum": 0})),
        Just(json!({"type": "boolean", "nullable": true})),
        Just(json!({"x-kubernetes-int-or-string": true})),
        Just(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})),
    ];
    leaf.prop_recursive(3, 20, 3, |inner| {
        prop_oneof![
            prop::collection::btree_map("[abc]", inner.clone(), 0..3)
                .prop_map(|p| json!({"type": "object", "properties": p})),
            inner
                .clone()
                .prop_map(|i| json!({"type": "object", "additionalProperties": i})),
            inner.prop_map(|i| json!({"type": "array", "items": i})),
        ]
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..5).prop_map(Value::from),
        "[xy]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        prop_oneof![
            prop::collection::btree_map("[abcd]", inner.clone(), 0..4).prop_map(|m| json!(m)),
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}

proptest! {
    #[test]
    fn pruning_and_defaulting_are_idempotent_and_keep_what_is_valid(schema in schema(), value in value()) {
        let schema = spec(schema);
        let mut object = json!({"spec": value});
        prune(&schema, &mut object);
        let once = object.clone();
        prop_assert!(prune(&schema, &mut object).is_empty());
        prop_assert_eq!(&object, &once);
        fill(&schema, &mut object);
        let filled = object.clone();
        fill(&schema, &mut object);
        prop_assert_eq!(&object, &filled);
        prop_assert!(prune(&schema, &mut object).is_empty());
        if check(&schema, &once, None).is_empty() {
            let errors = check(&schema, &filled, None);
            prop_assert!(errors.is_empty(), "{:?}", errors);
        }
    }

    #[test]
    fn no_definition_and_no_value_panics(schema in value(), object in value()) {
        let written = definition(schema.clone());
        drop(refusals(written));
        let schema = Schema::parse(&schema);
        drop(check(&schema, &object, None));
    }
}
