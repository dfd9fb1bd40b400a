//! Watch semantics.

use crate::rig::{Bound, CONFIG_MAPS, PODS, Rig};
use plimsoll_apiserver::store::Options;
use rstest::rstest;
use serde_json::json;

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    let mut lines = rig
        .watch(&format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=5"))
        .await;
    assert_eq!(lines.step().await, pair("ADDED", "a"));
    rig.config_map("b", &json!({})).await;
    assert_eq!(lines.step().await, pair("ADDED", "b"));
    rig.patch(
        &format!("{CONFIG_MAPS}/a"),
        "merge",
        &json!({"data": {"x": "1"}}),
    )
    .await
    .expect(200);
    assert_eq!(lines.step().await, pair("MODIFIED", "a"));
    rig.delete(&format!("{CONFIG_MAPS}/b"), None)
        .await
        .expect(200);
    assert_eq!(lines.step().await, pair("DELETED", "b"));
    assert!(lines.next().await.is_none(), "ends after timeoutSeconds");
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_version_shows_only_what_came_after() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    let list = rig.get(CONFIG_MAPS).await.expect(200);
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    rig.config_map("b", &json!({})).await;
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={version}&timeoutSeconds=1");
    let mut lines = rig.watch(&path).await;
    assert_eq!(lines.step().await, pair("ADDED", "b"));
    assert!(lines.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn leaving_the_selection_is_a_deletion_and_entering_an_addition() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({"on": "yes"})).await;
    let path = format!("{CONFIG_MAPS}?watch=true&labelSelector=on%3Dyes&timeoutSeconds=9");
    let mut lines = rig.watch(&path).await;
    assert_eq!(lines.step().await, pair("ADDED", "a"));
    let off = json!({"metadata": {"labels": {"on": "no"}}});
    let changed = rig
        .patch(&format!("{CONFIG_MAPS}/a"), "merge", &off)
        .await
        .expect(200);
    let left = lines.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["metadata"]["labels"]["on"], "yes");
    let (seen, now) = (&left["object"]["metadata"], &changed["metadata"]);
    assert_eq!(seen["resourceVersion"], now["resourceVersion"]);
    let on = json!({"metadata": {"labels": {"on": "yes"}}});
    rig.patch(&format!("{CONFIG_MAPS}/a"), "merge", &on)
        .await
        .expect(200);
    assert_eq!(lines.step().await, pair("ADDED", "a"));
}

#[tokio::test(start_paused = true)]
async fn field_selectors_follow_a_pod_onto_its_node() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let path = "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn1&timeoutSeconds=9";
    let mut lines = rig.watch(path).await;
    rig.pod("p", Bound::Yes).await;
    assert_eq!(lines.step().await, pair("ADDED", "p"));
}

#[tokio::test(start_paused = true)]
async fn initial_events_end_with_a_marked_bookmark() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    let options = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&timeoutSeconds=100";
    let bad = rig.get(&format!("{CONFIG_MAPS}?{options}")).await;
    bad.expect_failure(422, "Invalid", "NotOlderThan");
    let path = format!("{CONFIG_MAPS}?{options}&resourceVersionMatch=NotOlderThan");
    let mut lines = rig.watch(&path).await;
    assert_eq!(lines.step().await, pair("ADDED", "a"));
    let mark = lines.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(
        mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    // One bookmark a minute, one shortly before the end.
    for _ in 0..2 {
        let bookmark = lines.next().await.unwrap();
        assert_eq!(
            (&bookmark["type"], &bookmark["object"]["kind"]),
            (&json!("BOOKMARK"), &json!("ConfigMap"))
        );
    }
    assert!(lines.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn table_watches_define_their_columns_once() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    rig.config_map("b", &json!({})).await;
    let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1");
    let answer = rig
        .get_as(&path, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .await;
    let lines: Vec<serde_json::Value> = answer
        .text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines[0]["object"]["kind"], "Table");
    assert!(lines[0]["object"]["columnDefinitions"].is_array());
    assert!(lines[1]["object"]["columnDefinitions"].is_null());
    assert_eq!(lines[1]["object"]["rows"][0]["cells"][0], "b");
    assert!(rig.get(PODS).await.code.is_success());
}

#[rstest]
#[case::match_alone(
    "resourceVersionMatch=NotOlderThan",
    "unless sendInitialEvents is provided"
)]
#[case::initial_alone(
    "sendInitialEvents=true",
    "setting resourceVersionMatch to NotOlderThan"
)]
#[case::exact(
    "sendInitialEvents=true&resourceVersionMatch=Exact",
    "Unsupported value: \"Exact\""
)]
#[case::continued(
    "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x",
    "forbidden when continue is provided"
)]
#[tokio::test(start_paused = true)]
async fn watch_options_that_mean_nothing_are_refused(#[case] query: &str, #[case] said: &str) {
    let rig = Rig::new().await;
    let answer = rig.get(&format!("{CONFIG_MAPS}?watch=true&{query}")).await;
    answer.expect_failure(422, "Invalid", said);
}

/// Which watches begin with the state, and which of them mark its end.
#[rstest]
#[case::unset("", true, true)]
#[case::zero("&resourceVersion=0", true, true)]
#[case::asked(
    "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
    true,
    true
)]
#[case::asked_at_zero(
    "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0",
    true,
    true
)]
#[case::asked_not_older(
    "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=2",
    true,
    true
)]
#[case::declined(
    "&sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
    false,
    false
)]
#[tokio::test(start_paused = true)]
async fn initial_events_follow_the_options(
    #[case] query: &str,
    #[case] state: bool,
    #[case] marked: bool,
) {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    for bookmarks in [false, true] {
        let path = format!(
            "{CONFIG_MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks={bookmarks}{query}"
        );
        let mut lines = rig.watch(&path).await;
        let (mut added, mut ends) = (0, 0);
        while let Some(event) = lines.next().await {
            let mark = "k8s.io/initial-events-end";
            added += usize::from(event["type"] == "ADDED");
            ends += usize::from(event["object"]["metadata"]["annotations"][mark] == "true");
        }
        assert_eq!(
            (added, ends),
            (usize::from(state), usize::from(marked && bookmarks))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_before_history_ends_with_an_error() {
    let mut options = Options::ephemeral();
    options.history_events = 3;
    let rig = Rig::with_history(options).await;
    for name in ["a", "b", "c", "d", "e"] {
        rig.config_map(name, &json!({})).await;
    }
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion=2");
    let mut lines = rig.watch(&path).await;
    let event = lines.next().await.unwrap();
    let status = &event["object"];
    assert_eq!(
        (&event["type"], &status["code"]),
        (&json!("ERROR"), &json!(410))
    );
    let message = status["message"].as_str().unwrap();
    assert!(
        message.starts_with("too old resource version: 2 ("),
        "{message}"
    );
    assert!(lines.next().await.is_none());
    let ahead = rig
        .get(&format!("{CONFIG_MAPS}?watch=true&resourceVersion=9999"))
        .await;
    ahead.expect_failure(504, "Timeout", "Too large resource version");
}

#[tokio::test(start_paused = true)]
async fn one_object_can_be_watched_by_name_and_by_the_older_paths() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    rig.config_map("b", &json!({})).await;
    for path in [
        format!("{CONFIG_MAPS}/a?watch=true&timeoutSeconds=1"),
        format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Da"),
        "/api/v1/watch/namespaces/default/configmaps/a?timeoutSeconds=1".to_owned(),
    ] {
        let mut lines = rig.watch(&path).await;
        assert_eq!(lines.step().await, pair("ADDED", "a"), "{path}");
        assert!(lines.next().await.is_none(), "{path}");
    }
    let all = "/api/v1/watch/configmaps?timeoutSeconds=1&labelSelector=none";
    assert!(rig.watch(all).await.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_carries_its_own_version_and_the_last_state() {
    let rig = Rig::new().await;
    let made = rig.config_map("a", &json!({})).await;
    let from = made["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    rig.delete(&format!("{CONFIG_MAPS}/a"), None)
        .await
        .expect(200);
    let list = rig.get(CONFIG_MAPS).await.expect(200);
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={from}&timeoutSeconds=1");
    let event = rig.watch(&path).await.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["data"], made["data"]);
    let version = &event["object"]["metadata"]["resourceVersion"];
    assert_eq!(version, &list["metadata"]["resourceVersion"]);
    assert_ne!(version, from.as_str());
}

#[tokio::test(start_paused = true)]
async fn watchers_see_the_same_events_in_the_same_order() {
    let rig = Rig::new().await;
    let path = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=2");
    let mut watchers = [rig.watch(&path).await, rig.watch(&path).await];
    for n in 0..7 {
        rig.config_map(&format!("c{n}"), &json!({})).await;
    }
    let [one, other] = &mut watchers;
    for _ in 0..7 {
        assert_eq!(one.next().await.unwrap(), other.next().await.unwrap());
    }
}
