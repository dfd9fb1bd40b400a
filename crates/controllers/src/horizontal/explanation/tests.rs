//! What the store of explanations answers.

use super::Explanations;
use crate::horizontal::key::{ScalerKey, ScalerKind};
use crate::runtime::ObjectKey;
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::local::{LocalGroup, LocalRequest};
use plimsoll_engine::horizontal::{Observed, Scale, Selection, Settings, Spec, Status, decide};
use rstest::rstest;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

fn key(kind: ScalerKind, name: &str) -> ScalerKey {
    let object = ObjectKey::new("default", name);
    ScalerKey { kind, object }
}

/// A pass `seconds` after the epoch with `replicas` of at most 5 and no metric.
fn tell(to: &Explanations, scaler: &ScalerKey, seconds: i64, replicas: i32) {
    let observed = observed(seconds, replicas);
    let decision = decide(&observed);
    to.tell(scaler, observed, decision, Vec::new());
}

fn observed(seconds: i64, replicas: i32) -> Observed {
    let spec = Spec {
        max_replicas: 5,
        ..Spec::default()
    };
    Observed {
        now: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds),
        settings: Settings::default(),
        namespace: "default".into(),
        spec: Arc::new(spec),
        status: Status::default(),
        scale: Ok(Scale {
            spec_replicas: replicas,
            status_replicas: replicas,
            selector: Selection::Missing,
        }),
        pods: Vec::new(),
        rivals: Vec::new(),
        readings: Vec::new(),
        memory: None,
    }
}

async fn read(from: &Explanations, parameters: &[(&str, &str)], fields: &str) -> Value {
    let request = LocalRequest {
        resource: "decisions".into(),
        namespace: Some("default".into()),
        field_selector: fields.into(),
        parameters: parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..LocalRequest::default()
    };
    from.read(request).await.unwrap()
}

fn seen(list: &Value) -> Vec<(&str, u64)> {
    let items = list["items"].as_array().unwrap();
    let passes = |item: &Value| item["passes"].as_u64().unwrap();
    items
        .iter()
        .map(|item| (item["summary"].as_str().unwrap(), passes(item)))
        .collect()
}

const HELD: &str = "held: the HPA target's scale is missing a selector";
const MOVED: &str = "9 -> 5 replicas: it was above the maximum";

#[tokio::test(start_paused = true)]
async fn equal_passes_are_one_decision_and_changes_are_each_their_own() {
    let explanations = Explanations::default();
    let web = key(ScalerKind::Horizontal, "web");
    for (second, replicas) in [3, 3, 3, 9, 9, 3].into_iter().enumerate() {
        tell(
            &explanations,
            &web,
            i64::try_from(second).unwrap() * 15,
            replicas,
        );
    }
    let list = read(&explanations, &[], "").await;
    assert_eq!(seen(&list), [(HELD, 3), (MOVED, 1), (MOVED, 1), (HELD, 1)]);
    assert_eq!(list["items"][0]["firstTime"], "1970-01-01T00:00:00Z");
    assert_eq!(list["items"][0]["lastTime"], "1970-01-01T00:00:30Z");
}

#[rstest]
#[case::all(&[], "", 4)]
#[case::lately(&[("since", "40s")], "", 3)]
#[case::since_a_time(&[("since", "1970-01-01T00:01:00Z")], "", 2)]
#[case::of_one(&[], "involvedObject.name=web", 3)]
#[case::of_one_kind(&[], "involvedObject.kind=PodAutoscaler", 1)]
#[case::after_all(&[("after", "18446744073709551615")], "", 0)]
#[tokio::test(start_paused = true)]
async fn decisions_are_chosen(
    #[case] parameters: &[(&str, &str)],
    #[case] fields: &str,
    #[case] want: usize,
) {
    let explanations = Explanations::default();
    let web = key(ScalerKind::Horizontal, "web");
    tell(&explanations, &web, 0, 3);
    tell(&explanations, &web, 30, 9);
    tell(&explanations, &web, 60, 3);
    tell(&explanations, &key(ScalerKind::Pod, "api"), 60, 3);
    let list = read(&explanations, parameters, fields).await;
    assert_eq!(seen(&list).len(), want, "{list:#}");
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_for_the_next_decision() {
    let explanations = Explanations::default();
    let web = key(ScalerKind::Horizontal, "web");
    tell(&explanations, &web, 0, 3);
    let list = read(&explanations, &[], "").await;
    let after = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let parameters = [("after", after.as_str()), ("timeoutSeconds", "30")];

    let told = explanations.clone();
    let later = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        tell(&told, &web, 5, 3);
        tell(&told, &web, 6, 9);
    };
    let began = tokio::time::Instant::now();
    let (list, ()) = tokio::join!(read(&explanations, &parameters, ""), later);
    assert_eq!(seen(&list), [(MOVED, 1)]);
    assert_eq!(began.elapsed().as_secs(), 5);

    let after = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let parameters = [("after", after.as_str()), ("timeoutSeconds", "30")];
    let began = tokio::time::Instant::now();
    assert!(seen(&read(&explanations, &parameters, "").await).is_empty());
    assert_eq!(began.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_refused() {
    let explanations = Explanations::default();
    for parameter in [
        ("since", "yesterday"),
        ("after", "-1"),
        ("timeoutSeconds", "x"),
    ] {
        let request = LocalRequest {
            resource: "decisions".into(),
            parameters: vec![(parameter.0.into(), parameter.1.into())],
            ..LocalRequest::default()
        };
        assert_eq!(explanations.read(request).await.unwrap_err().code, 400);
    }
}

#[test]
fn what_is_forgotten_takes_no_room() {
    let explanations = Explanations::default();
    let web = key(ScalerKind::Horizontal, "web");
    for second in 0..10 {
        tell(&explanations, &web, second, 9);
    }
    assert!(explanations.0.read().bytes > 0);
    explanations.forget(&web);
    assert_eq!(explanations.0.read().bytes, 0);
}

#[test]
fn a_line_is_news_once_however_often_it_is_decided() {
    let explanations = Explanations::default();
    let web = key(ScalerKind::Horizontal, "web");
    let lines: Vec<_> = [9, 9, 3, 3, 9]
        .into_iter()
        .zip(0..)
        .map(|(replicas, pass)| {
            let decision = decide(&observed(pass * 15, replicas));
            let line = explanations.news(&web, &decision);
            tell(&explanations, &web, pass * 15, replicas);
            line
        })
        .collect();
    let lines: Vec<_> = lines.iter().map(Option::as_deref).collect();
    assert_eq!(lines, [Some(MOVED), None, Some(HELD), None, Some(MOVED)]);
}
