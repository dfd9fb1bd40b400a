//! The schema tables hold together.

use plimsoll_api::schema::{self, FieldType, Item, ListType, Shape};
use rstest::rstest;

#[rstest]
#[case("", "v1", "Pod", "io.k8s.api.core.v1.Pod")]
#[case("apps", "v1", "DeploymentList", "io.k8s.api.apps.v1.DeploymentList")]
#[case("autoscaling", "v1", "Scale", "io.k8s.api.autoscaling.v1.Scale")]
#[case("policy", "v1", "Eviction", "io.k8s.api.policy.v1.Eviction")]
#[case("", "v1", "Binding", "io.k8s.api.core.v1.Binding")]
#[case("", "v1", "Status", "io.k8s.apimachinery.pkg.apis.meta.v1.Status")]
#[case(
    "authentication.k8s.io",
    "v1",
    "TokenRequest",
    "io.k8s.api.authentication.v1.TokenRequest"
)]
#[case(
    "",
    "v1",
    "DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
)]
#[case(
    "apps",
    "v1",
    "DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
)]
fn finds_a_kind(
    #[case] group: &str,
    #[case] version: &str,
    #[case] kind: &str,
    #[case] name: &str,
) {
    let id = schema::by_kind(group, version, kind).unwrap();
    assert_eq!(schema::get(id).name, name);
    assert_eq!(schema::by_name(name), Some(id));
}

#[test]
fn an_unknown_kind_has_no_type() {
    assert_eq!(schema::by_kind("apps", "v2", "Deployment"), None);
    assert_eq!(schema::by_name("Pod"), None);
}

#[test]
fn names_and_fields_are_sorted_and_every_reference_exists() {
    let count = schema::all().count();
    let mut before = "";
    for (_, row) in schema::all() {
        assert!(before < row.name);
        before = row.name;
        assert!(
            row.fields.is_sorted_by(|a, b| a.name < b.name),
            "{}",
            row.name
        );
        assert!(
            row.shape == Shape::Object || row.fields.is_empty(),
            "{}",
            row.name
        );
        for field in row.fields {
            let (FieldType::One(item)
            | FieldType::List(item)
            | FieldType::Map(item)
            | FieldType::MapOfLists(item)) = field.ty;
            if let Item::Type(id) = item {
                assert!(usize::from(id.0) < count);
            }
        }
    }
}

#[test]
fn every_field_has_its_place_on_the_protobuf_wire() {
    for (_, row) in schema::all().filter(|(_, row)| !row.name.contains(".version.")) {
        for (index, field) in row.fields.iter().enumerate() {
            if matches!(field.name, "apiVersion" | "kind") && row.gvk.is_some() {
                continue;
            }
            let known = field.number != 0 || matches!(field.name, "apiVersion" | "kind");
            assert!(known, "{}.{}", row.name, field.name);
            let same = |other: &schema::FieldDef| {
                other.number == field.number && other.embedded() == field.embedded()
            };
            let rest = &row.fields[index + 1..];
            assert!(
                field.number == 0 || !rest.iter().any(same),
                "{}.{}",
                row.name,
                field.name
            );
        }
    }
}

#[test]
fn lists_know_how_they_merge() {
    let container = schema::get(schema::by_name("io.k8s.api.core.v1.Container").unwrap());
    let ports = container.field("ports").unwrap();
    assert_eq!(ports.list_type(), Some(ListType::Map));
    assert_eq!(ports.list_map_keys(), ["containerPort", "protocol"]);
    assert_eq!(ports.patch_merge_key(), Some("containerPort"));
    assert!(ports.patch_merges());
    let command = container.field("command").unwrap();
    assert_eq!(command.list_type(), Some(ListType::Atomic));
    assert!(!command.patch_merges());
    assert!(container.field("nope").is_none());
}

#[test]
fn every_resource_has_a_type() {
    let resources = schema::resources();
    assert!(resources.is_sorted_by_key(|r| (r.group, r.version, r.plural)));
    for resource in resources {
        let found = schema::by_kind(resource.group, resource.version, resource.kind);
        assert!(found.is_some(), "{}", resource.kind);
    }
    let pods = resources.iter().find(|r| r.plural == "pods").unwrap();
    let eviction = pods
        .subresources
        .iter()
        .find(|s| s.name == "eviction")
        .unwrap();
    assert_eq!(eviction.gvk, ("policy", "v1", "Eviction"));
}

/// Names that share a beginning, are a beginning, or are too short for one.
#[test]
fn every_field_is_found_by_its_name_and_by_no_other() {
    for (_, row) in schema::all() {
        for field in row.fields {
            let found = row.field(field.name);
            assert_eq!(found.map(|f| f.name), Some(field.name), "{}", row.name);
            for other in [
                format!("{}x", field.name),
                field.name.chars().skip(1).collect(),
                String::new(),
            ] {
                let listed = row.fields.iter().any(|f| f.name == other);
                assert_eq!(row.field(&other).is_some(), listed, "{}.{other}", row.name);
            }
        }
    }
}
