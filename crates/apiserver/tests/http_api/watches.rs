//! Watch semantics.

use crate::rig::{Bound, CONFIG_MAPS, PODS, Rig};
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
