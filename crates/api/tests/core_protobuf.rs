//! Protobuf bodies.
#![expect(clippy::unwrap_used, reason = "builders of test data")]

use plimsoll_api::protobuf;
use plimsoll_api::schema::{self, FieldType, Item, Shape, TypeId};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Map, Value, json};

fn ty(group: &str, version: &str, kind: &str) -> TypeId {
    schema::by_kind(group, version, kind).unwrap()
}

/// What upstream's encoder would send: it writes zeros too.
#[rstest]
#[case::zero_replicas_survive(("apps", "v1", "Deployment"),
    json!({"spec": {"replicas": 0, "paused": false, "minReadySeconds": 0}, "status": {"replicas": 0}}),
    json!({"spec": {"replicas": 0}, "status": {}}))]
#[case::unset_ports_and_names_go(("", "v1", "Service"),
    json!({"metadata": {"name": "a", "namespace": "", "generateName": ""}, "spec": {"clusterIP": "", "healthCheckNodePort": 0,
        "ports": [{"name": "", "port": 80, "nodePort": 0, "targetPort": 0}]}}),
    json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}))]
#[case::probes_keep_what_was_set(("", "v1", "Pod"),
    json!({"spec": {"terminationGracePeriodSeconds": 0, "hostNetwork": false, "containers": [
        {"name": "c", "image": "", "stdin": false, "resources": {},
         "livenessProbe": {"timeoutSeconds": 0, "httpGet": {"path": "/", "port": "http", "host": ""}},
         "securityContext": {"privileged": false, "runAsUser": 0}}],
        "volumes": [{"name": "v", "emptyDir": {}}]}}),
    json!({"spec": {"terminationGracePeriodSeconds": 0, "containers": [
        {"name": "c", "resources": {}, "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
         "securityContext": {"privileged": false, "runAsUser": 0}}],
        "volumes": [{"name": "v", "emptyDir": {}}]}}))]
#[case::options_survive(("", "v1", "DeleteOptions"),
    json!({"gracePeriodSeconds": 0, "orphanDependents": false, "propagationPolicy": "Background"}),
    json!({"gracePeriodSeconds": 0, "orphanDependents": false, "propagationPolicy": "Background"}))]
#[case::no_storage_class_is_not_the_default_one(("", "v1", "PersistentVolumeClaim"),
    json!({"spec": {"storageClassName": "", "volumeName": "", "accessModes": ["ReadWriteOnce"]}}),
    json!({"spec": {"storageClassName": "", "accessModes": ["ReadWriteOnce"]}}))]
#[case::surge_of_zero_survives(("apps", "v1", "Deployment"),
    json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}}}),
    json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}}}))]
#[case::extra_values_are_lists(("authorization.k8s.io", "v1", "SubjectAccessReview"),
    json!({"spec": {"user": "u", "extra": {"k": ["a", "b"]}, "groups": ["g"]}}),
    json!({"spec": {"user": "u", "extra": {"k": ["a", "b"]}, "groups": ["g"]}}))]
#[case::bytes_and_quantities(("", "v1", "Secret"),
    json!({"data": {"a": "aGk=", "b": ""}, "stringData": {"c": ""}, "type": ""}),
    json!({"data": {"a": "aGk=", "b": ""}, "stringData": {"c": ""}}))]
#[case::embedded_twice(("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"),
    json!({"webhooks": [{"name": "w", "rules": [{"operations": ["CREATE"], "apiGroups": [""]}]}]}),
    json!({"webhooks": [{"name": "w", "rules": [{"operations": ["CREATE"], "apiGroups": [""]}]}]}))]
fn decodes_as_json_would_have_come(
    #[case] gvk: (&str, &str, &str),
    #[case] sent: Value,
    #[case] got: Value,
) {
    let id = ty(gvk.0, gvk.1, gvk.2);
    let raw = protobuf::encode(id, &sent).unwrap();
    let mut result = protobuf::decode(id, &raw).unwrap();
    sort(&mut result);
    let mut got = got;
    sort(&mut got);
    assert_eq!(result, got);
}

fn sort(value: &mut Value) {
    if let Value::Object(map) = value {
        map.sort_keys();
        map.values_mut().for_each(sort);
    } else if let Value::Array(list) = value {
        list.iter_mut().for_each(sort);
    }
}

#[test]
fn opens_an_envelope() {
    let id = ty("", "v1", "Namespace");
    let raw = protobuf::encode(id, &json!({"metadata": {"name": "a"}, "spec": {}})).unwrap();
    let body = protobuf::encode_envelope("v1", "Namespace", &raw);
    let envelope = protobuf::decode_envelope(&body).unwrap();
    assert_eq!(
        (envelope.api_version.as_str(), envelope.kind.as_str()),
        ("v1", "Namespace")
    );
    let object = protobuf::decode_object(id, &envelope).unwrap();
    let text = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"},"spec":{}}"#;
    assert_eq!(object.to_string(), text);
}

/// Bytes written by hand from the protobuf rules, not by our own encoder.
#[test]
fn reads_foreign_bytes() {
    let body = [
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12".as_slice(),
        // metadata {name "a", creationTimestamp {0, 0}}, data {"k": "v"}, unknown field 100
        b"\x16\x0a\x09\x0a\x01a\x42\x04\x08\x00\x10\x00\x12\x06\x0a\x01k\x12\x01v\xa0\x06\x01",
        b"\x1a\x00\x22\x00",
    ]
    .concat();
    let envelope = protobuf::decode_envelope(&body).unwrap();
    assert_eq!(envelope.kind, "ConfigMap");
    let object = protobuf::decode(ty("", "v1", "ConfigMap"), envelope.raw).unwrap();
    assert_eq!(
        object,
        json!({"metadata": {"name": "a"}, "data": {"k": "v"}})
    );
}

#[rstest]
#[case(b"")]
#[case(b"{}")]
#[case(b"k8s\0\xff")]
#[case(b"k8s\0\x0a\x7f")]
#[case(b"k8s\0\x0a\x02\x0a\x05")]
#[case(b"k8s\0\x0f")]
#[case(b"k8s\0\x00\x00")]
fn refuses_a_bad_envelope(#[case] body: &[u8]) {
    assert_eq!(protobuf::decode_envelope(body).unwrap_err().code, 400);
}

#[test]
fn endless_nesting_is_refused() {
    let id =
        schema::by_name("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
            .unwrap();
    let number = schema::get(id).field("not").unwrap().number;
    let mut nested = json!({});
    for _ in 0..60 {
        nested = json!({"not": nested});
    }
    let mut raw = protobuf::encode(id, &nested).unwrap();
    assert!(protobuf::decode(id, &raw).is_ok());
    for _ in 0..80 {
        let mut outer = varint(usize::from(number) << 3 | 2);
        outer.extend(varint(raw.len()));
        outer.extend(raw);
        raw = outer;
    }
    assert_eq!(protobuf::decode(id, &raw).unwrap_err().code, 400);
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// Upstream's order of map entries is by key, whatever order they came in.
#[test]
fn maps_are_sorted_and_nulls_are_nothing() {
    let id = ty("", "v1", "ConfigMap");
    let one = protobuf::encode(id, &json!({"data": {"b": "2", "a": "1"}})).unwrap();
    let other = protobuf::encode(
        id,
        &json!({"data": {"a": "1", "b": "2"}, "immutable": null}),
    )
    .unwrap();
    assert_eq!(one, other);
    assert_eq!(one, b"\x12\x06\x0a\x01a\x12\x011\x12\x06\x0a\x01b\x12\x012");
}

#[rstest]
#[case(0)]
#[case(126)]
#[case(127)]
#[case(128)]
#[case(16_383)]
#[case(16_384)]
#[case(2_097_152)]
fn lengths_of_any_size_are_right(#[case] size: usize) {
    let id = ty("", "v1", "Pod");
    let pod = json!({"spec": {"containers": [{"name": "x".repeat(size)}]}});
    let raw = protobuf::encode(id, &pod).unwrap();
    let read = protobuf::decode(id, &raw).unwrap();
    assert_eq!(
        read["spec"]["containers"][0]["name"]
            .as_str()
            .unwrap_or_default()
            .len(),
        size
    );
}

#[test]
fn lists_and_frames_are_put_together_from_parts() {
    let id = ty("", "v1", "ConfigMapList");
    let item = json!({"data": {"a": "1"}});
    let mut items = Vec::new();
    for _ in 0..2 {
        let write = |out: &mut Vec<u8>| {
            protobuf::transcode(ty("", "v1", "ConfigMap"), item.to_string().as_bytes(), out)
        };
        protobuf::put_item(&mut items, write).unwrap();
    }
    let meta = schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta").unwrap();
    let meta = protobuf::encode(meta, &json!({"resourceVersion": "7"})).unwrap();
    let (head, tail) = protobuf::list_envelope("v1", "ConfigMapList", &meta, items.len());
    let body = [head.as_slice(), &items, tail].concat();
    let list = json!({"metadata": {"resourceVersion": "7"}, "items": [item, item]});
    let whole =
        protobuf::encode_envelope("v1", "ConfigMapList", &protobuf::encode(id, &list).unwrap());
    let read = |body: &[u8]| {
        let envelope = protobuf::decode_envelope(body).unwrap();
        protobuf::decode_object(id, &envelope).unwrap()
    };
    assert_eq!(read(&body), read(&whole));
    let frame = protobuf::watch_frame("ADDED", &body);
    let (length, event) = frame.split_first_chunk::<4>().unwrap();
    assert_eq!(
        usize::try_from(u32::from_be_bytes(*length)).unwrap(),
        event.len()
    );
    let event = protobuf::decode(ty("", "v1", "WatchEvent"), event).unwrap();
    assert_eq!(
        (&event["type"], &event["object"]),
        (&json!("ADDED"), &read(&whole))
    );
}

#[test]
fn a_map_entry_without_a_value_has_the_zero_one() {
    let id = ty("", "v1", "ConfigMap");
    let object = protobuf::decode(id, b"\x12\x03\x0a\x01k").unwrap();
    assert_eq!(object, json!({"data": {"k": ""}}));
}

/// An object of the type with every field set to something that is not zero.
fn sample(id: TypeId, seed: u32, depth: u32) -> Value {
    let row = schema::get(id);
    match row.shape {
        Shape::Object => {
            let mut map = Map::new();
            for (index, field) in row.fields.iter().enumerate() {
                let pick = seed
                    .wrapping_mul(31)
                    .wrapping_add(u32::try_from(index).unwrap());
                if field.number == 0 || (depth > 2 && !pick.is_multiple_of(3)) || depth > 5 {
                    continue;
                }
                let one = |item| item_sample(item, pick, depth + 1);
                let value = match field.ty {
                    FieldType::One(item) => one(item),
                    FieldType::List(item) => json!([one(item), one(item)]),
                    FieldType::Map(item) => json!({"a": one(item), "b.c/d": one(item)}),
                    FieldType::MapOfLists(item) => json!({"a": [one(item)]}),
                };
                map.insert(field.name.to_owned(), value);
            }
            Value::Object(map)
        }
        Shape::Quantity => json!(format!("{}m", 1 + seed % 999)),
        Shape::IntOrString if seed.is_multiple_of(2) => json!(1 + seed % 99),
        Shape::IntOrString => json!("25%"),
        Shape::Time => json!("2026-01-02T03:04:05Z"),
        Shape::MicroTime => json!("2026-01-02T03:04:05.678901Z"),
        Shape::RawExtension | Shape::FieldsV1 | Shape::Json => json!({"any": [seed]}),
        Shape::JsonSchemaOrArray => json!([{"type": "x"}]),
        Shape::JsonSchemaOrBool => json!(true),
        Shape::JsonSchemaOrStrings => json!(["a"]),
    }
}

fn item_sample(item: Item, seed: u32, depth: u32) -> Value {
    match item {
        Item::String => json!(format!("s{seed}")),
        Item::Int32 => json!(-1 - i64::from(seed % 1000)),
        Item::Int64 => json!(i64::MIN + i64::from(seed)),
        Item::Double => json!(f64::from(seed) + 0.5),
        Item::Bool => json!(true),
        Item::Bytes => json!("aGk="),
        Item::Type(id) => sample(id, seed, depth),
    }
}

#[test]
fn every_type_round_trips() {
    for (id, row) in schema::all() {
        let object = sample(id, 7, 0);
        let raw = protobuf::encode(id, &object).unwrap();
        assert_eq!(protobuf::decode(id, &raw).unwrap(), object, "{}", row.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn kinds_round_trip(seed in any::<u32>(), index in 0..700_u16) {
        let object = sample(TypeId(index), seed, 0);
        let raw = protobuf::encode(TypeId(index), &object).unwrap();
        prop_assert_eq!(protobuf::decode(TypeId(index), &raw).unwrap(), object);
    }

    /// From text and from values the same bytes come out, and they read back.
    #[test]
    fn text_is_transcoded_as_values_are(seed in any::<u32>(), index in 0..700_u16) {
        let object = sample(TypeId(index), seed, 0);
        let mut raw = Vec::new();
        protobuf::transcode(TypeId(index), object.to_string().as_bytes(), &mut raw).unwrap();
        prop_assert_eq!(&raw, &protobuf::encode(TypeId(index), &object).unwrap());
    }

    #[test]
    fn never_panics_on_any_text(text in "\\PC{0,60}", index in 0..700_u16) {
        drop(protobuf::transcode(TypeId(index), text.as_bytes(), &mut Vec::new()));
    }

    #[test]
    fn never_panics_on_damaged_bytes(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let id = ty("", "v1", "Pod");
        let mut raw = protobuf::encode(id, &sample(id, 3, 0)).unwrap();
        let at = at.index(raw.len());
        raw[at] = byte;
        drop(protobuf::decode(id, &raw));
        drop(protobuf::decode(id, &raw[..at]));
        drop(protobuf::decode_envelope(&[b"k8s\0".as_slice(), &raw].concat()));
    }

    #[test]
    fn never_panics_on_any_bytes(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(protobuf::decode(ty("apps", "v1", "Deployment"), &raw));
    }
}
