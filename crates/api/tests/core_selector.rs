//! Selectors and names.

use plimsoll_api::names;
use plimsoll_api::selector::{FieldSelector, LabelSelector};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

#[rstest]
#[case("", "")]
#[case("tier in (b, a),app==web", "app=web,tier in (a,b)")]
#[case(" x , !y ,z!=1 ", "x,!y,z!=1")]
#[case("a notin (x),b=,c in (,d)", "a notin (x),b=,c in (,d)")]
#[case("n>5,m<7", "m<7,n>5")]
#[case("example.com/app=web", "example.com/app=web")]
#[case("in in (in)", "in in (in)")]
fn prints_canonically(#[case] text: &str, #[case] canonical: &str) {
    let selector = LabelSelector::parse(text).unwrap();
    assert_eq!(selector.to_string(), canonical);
    assert_eq!(LabelSelector::parse(canonical).unwrap(), selector);
}

#[rstest]
#[case("=web", "found '=', expected: identifier")]
#[case("!", "found '', expected: identifier")]
#[case("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt")]
#[case("a=b c", "found 'c', expected: ',' or 'end of string'")]
#[case("a=b,", "found '', expected: identifier after ','")]
#[case("a in b", "found 'b' expected: '('")]
#[case("a in (b", "found '', expected: ',', or ')'")]
#[case("a==(", "found '(', expected: identifier")]
fn refuses_bad_label_selectors(#[case] text: &str, #[case] why: &str) {
    let error = LabelSelector::parse(text).unwrap_err();
    assert_eq!(error.code, 400);
    assert_eq!(error.message, format!("unable to parse requirement: {why}"));
}

#[rstest]
#[case("app=web", true)]
#[case("app!=web", false)]
#[case("nope!=web", true)]
#[case("app in (api,web),n", true)]
#[case("app notin (api)", true)]
#[case("!app", false)]
#[case("!nope", true)]
#[case("n>4,n<6", true)]
#[case("n>5", false)]
#[case("app>5", false)]
fn matches_labels(#[case] text: &str, #[case] wanted: bool) {
    let object = json!({"metadata": {"labels": {"app": "web", "n": "5"}}});
    assert_eq!(
        LabelSelector::parse(text).unwrap().matches_object(&object),
        wanted
    );
}

#[rstest]
#[case(json!({"matchLabels": {"b": "1", "a": "2"}}), "a=2,b=1")]
#[case(json!({"matchLabels": {"b": "1"}, "matchExpressions": [
    {"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "c", "operator": "DoesNotExist"}]}),
    "a in (x,y),b=1,!c")]
fn reads_selector_objects(#[case] object: Value, #[case] canonical: &str) {
    assert_eq!(
        LabelSelector::from_object(&object).unwrap().to_string(),
        canonical
    );
}

#[test]
fn a_null_selector_selects_nothing_and_an_empty_one_everything() {
    let none = LabelSelector::from_object(&Value::Null).unwrap();
    assert!(!none.is_empty() && !none.matches(|_| None));
    let all = LabelSelector::from_object(&json!({})).unwrap();
    assert!(all.is_empty() && all.matches(|_| None));
    let bad = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
    let error = LabelSelector::from_object(&bad).unwrap_err();
    assert_eq!(
        error.message,
        "\"Is\" is not a valid label selector operator"
    );
    let bad = json!({"matchExpressions": [{"key": "a", "operator": "In"}]});
    assert!(LabelSelector::from_object(&bad).is_err());
}

#[test]
fn field_selectors_compare_all_their_fields() {
    let selector = FieldSelector::parse(r"metadata.name=a\,b,status.phase!=Running,x==y").unwrap();
    let list: Vec<_> = selector
        .iter()
        .map(|r| (&*r.field, &*r.value, r.negated))
        .collect();
    let wanted = [
        ("metadata.name", "a,b", false),
        ("status.phase", "Running", true),
        ("x", "y", false),
    ];
    assert_eq!(list, wanted);
    assert_eq!(
        selector.to_string(),
        r"metadata.name=a\,b,status.phase!=Running,x=y"
    );
    let value = |field: &str| match field {
        "metadata.name" => "a,b",
        "x" => "y",
        _ => "",
    };
    assert!(selector.matches(value));
    assert!(
        !FieldSelector::parse("status.phase=Running")
            .unwrap()
            .matches(value)
    );
    assert!(FieldSelector::parse("").unwrap().is_empty());
    assert!(FieldSelector::parse("a").is_err());
    assert!(FieldSelector::parse(r"a=\x").is_err());
}

#[rstest]
#[case("a", true)]
#[case("a-b.c", true)]
#[case("A", false)]
#[case("-a", false)]
#[case("a..b", false)]
#[case("a_b", false)]
#[case("", false)]
fn subdomains(#[case] text: &str, #[case] valid: bool) {
    assert_eq!(names::is_dns_subdomain(text).is_ok(), valid);
}

#[test]
fn names_have_their_lengths_and_forms() {
    assert!(names::is_dns_label("a-1").is_ok());
    assert!(names::is_dns_label("a.b").is_err());
    assert_eq!(
        names::is_dns_label(&"a".repeat(64)).unwrap_err(),
        "must be no more than 63 characters"
    );
    assert!(names::is_dns_1035_label("1a").is_err());
    assert!(names::is_qualified_name("example.com/My_Name.1").is_ok());
    assert!(names::is_qualified_name("a/b/c").is_err());
    assert_eq!(
        names::is_qualified_name("/a").unwrap_err(),
        "prefix part must be non-empty"
    );
    assert_eq!(
        names::is_qualified_name("a/").unwrap_err(),
        "name part must be non-empty"
    );
    assert!(names::is_label_value("").is_ok());
    assert!(names::is_label_value("a b").is_err());
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,30}") {
        drop(LabelSelector::parse(&text));
        drop(FieldSelector::parse(&text));
        drop(names::is_qualified_name(&text));
    }

    #[test]
    fn what_prints_parses_again(text in "[a-c!=(),<> ]{0,14}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
        }
    }
}
