//! LIST to the letter: which options go together, what they mean, pages and their tokens.

use crate::rig::{CONFIG_MAPS, Rig};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plimsoll_apiserver::store::Options;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    let name = |i: &Value| i["metadata"]["name"].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

fn version(list: &Value) -> String {
    list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[rstest]
#[case::match_without_version(
    "resourceVersionMatch=Exact",
    422,
    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
)]
#[case::exact_zero(
    "resourceVersionMatch=Exact&resourceVersion=0",
    422,
    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""
)]
#[case::unknown_match(
    "resourceVersionMatch=Newest&resourceVersion=1",
    422,
    "Unsupported value: \"Newest\": supported values: \"\", \"Exact\", \"NotOlderThan\""
)]
#[case::initial_events(
    "sendInitialEvents=true",
    422,
    "sendInitialEvents is forbidden for list"
)]
#[case::match_with_continue(
    "resourceVersionMatch=NotOlderThan&resourceVersion=0&continue=x",
    422,
    "resourceVersionMatch is forbidden when continue is provided"
)]
#[case::version_with_continue(
    "resourceVersion=5&continue=x",
    400,
    "specifying resource version is not allowed when using continue"
)]
#[case::garbage_token("continue=garbage", 400, "continue key is not valid")]
#[case::not_a_number("limit=ten", 400, "strconv.ParseInt: parsing \"ten\": invalid syntax")]
#[case::version_is_text("resourceVersion=new", 422, "resourceVersion: Invalid value: \"new\"")]
#[case::bad_label("labelSelector=a=%3D%3Db", 400, "unable to parse requirement")]
#[case::bad_field("fieldSelector=spec.x%3D1", 400, "is not a known field selector")]
#[tokio::test(start_paused = true)]
async fn options_that_mean_nothing_are_refused(
    #[case] query: &str,
    #[case] code: u16,
    #[case] said: &str,
) {
    let rig = Rig::new().await;
    let reason = if code == 422 { "Invalid" } else { "BadRequest" };
    let answer = rig.get(&format!("{CONFIG_MAPS}?{query}")).await;
    answer.expect_failure(code, reason, said);
}

#[rstest]
#[case::negative("limit=-1", 3)]
#[case::zero("limit=0", 3)]
#[case::two("limit=2", 2)]
#[case::any_version("resourceVersion=0&limit=2", 2)]
#[case::not_older("resourceVersion=1&resourceVersionMatch=NotOlderThan", 3)]
#[tokio::test(start_paused = true)]
async fn limits_below_one_are_none(#[case] query: &str, #[case] count: usize) {
    let rig = Rig::new().await;
    for name in ["a", "b", "c"] {
        rig.config_map(name, &json!({})).await;
    }
    let list = rig.get(&format!("{CONFIG_MAPS}?{query}")).await.expect(200);
    assert_eq!(names(&list).len(), count);
}

#[tokio::test(start_paused = true)]
async fn an_exact_list_shows_the_past() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    let before = rig.get(CONFIG_MAPS).await.expect(200);
    rig.config_map("b", &json!({})).await;
    rig.delete(&format!("{CONFIG_MAPS}/a"), None)
        .await
        .expect(200);
    let at = version(&before);
    let path = format!("{CONFIG_MAPS}?resourceVersion={at}&resourceVersionMatch=Exact");
    assert_eq!(rig.get(&path).await.expect(200), before);
    let path = format!("{CONFIG_MAPS}?resourceVersion={at}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&rig.get(&path).await.expect(200)), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_moment_before_history_is_gone() {
    let mut options = Options::ephemeral();
    options.history_events = 2;
    let rig = Rig::with_history(options).await;
    let first = version(&rig.get(CONFIG_MAPS).await.expect(200));
    for name in ["a", "b", "c", "d"] {
        rig.config_map(name, &json!({})).await;
    }
    let path = format!("{CONFIG_MAPS}?resourceVersion={first}&resourceVersionMatch=Exact");
    let status = rig
        .get(&path)
        .await
        .expect_failure(410, "Expired", "is too old");
    assert!(status["metadata"]["continue"].is_null());
    // A page begun then goes on with the newest state, if the client wants that.
    let token = token(first.parse().unwrap(), "default/a\0");
    let path = format!("{CONFIG_MAPS}?limit=2&continue={token}");
    let status = rig
        .get(&path)
        .await
        .expect_failure(410, "Expired", "too old to display");
    let next = status["metadata"]["continue"].as_str().unwrap();
    let page = rig
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={next}"))
        .await;
    assert_eq!(names(&page.expect(200)), ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_has_not_happened_is_waited_for_and_then_refused() {
    let rig = Rig::new().await;
    let now: u64 = version(&rig.get(CONFIG_MAPS).await.expect(200))
        .parse()
        .unwrap();
    let path = format!("{CONFIG_MAPS}?resourceVersion={}", now + 50);
    let answer = rig.get(&path).await;
    let status = answer.expect_failure(504, "Timeout", "Too large resource version");
    assert_eq!(answer.headers["retry-after"], "1");
    let cause = &status["details"]["causes"][0];
    assert_eq!(cause["reason"], "ResourceVersionTooLarge");
    let next = format!("{CONFIG_MAPS}?resourceVersion={}", now + 1);
    let (late, _) = tokio::join!(rig.get(&next), async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        rig.config_map("a", &json!({})).await
    });
    assert_eq!(names(&late.expect(200)), ["a"]);
    let object = rig
        .get(&format!("{CONFIG_MAPS}/a?resourceVersion={}", now + 50))
        .await;
    object.expect_failure(504, "Timeout", "Too large resource version");
}

#[tokio::test(start_paused = true)]
async fn remaining_objects_are_counted_only_without_selectors() {
    let rig = Rig::new().await;
    for name in ["a", "b", "c"] {
        rig.config_map(name, &json!({"x": "y"})).await;
    }
    let page = rig.get(&format!("{CONFIG_MAPS}?limit=1")).await.expect(200);
    assert_eq!(page["metadata"]["remainingItemCount"], 2);
    let path = format!("{CONFIG_MAPS}?limit=1&labelSelector=x%3Dy");
    let page = rig.get(&path).await.expect(200);
    assert!(page["metadata"]["remainingItemCount"].is_null());
    assert!(page["metadata"]["continue"].is_string());
    let whole = rig.get(&format!("{CONFIG_MAPS}?limit=3")).await.expect(200);
    assert!(whole["metadata"]["continue"].is_null());
}

fn token(rv: i64, start: &str) -> String {
    // 2026-01-01, when the rig's clock starts.
    let text =
        json!({"v": "meta.k8s.io/v1", "rv": rv, "start": start, "t": 1_767_225_600}).to_string();
    URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_comes_back_as_one_that_works() {
    let rig = Rig::new().await;
    for name in ["a", "b", "c"] {
        rig.config_map(name, &json!({})).await;
    }
    // A revision of another life of the server, newer than anything here.
    let old = token(1_000_000, "default/a\0");
    let answer = rig
        .get(&format!("{CONFIG_MAPS}?continue={old}&limit=1"))
        .await;
    let status = answer.expect_failure(410, "Expired", "");
    let next = status["metadata"]["continue"].as_str().unwrap();
    let page = rig
        .get(&format!("{CONFIG_MAPS}?continue={next}&limit=1"))
        .await;
    assert_eq!(names(&page.expect(200)), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_long_ago_is_no_longer_consistent() {
    let rig = Rig::new().await;
    for name in ["a", "b", "c"] {
        rig.config_map(name, &json!({})).await;
    }
    let first = rig.get(&format!("{CONFIG_MAPS}?limit=1")).await.expect(200);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let path = format!("{CONFIG_MAPS}?limit=1&continue={token}");
    assert_eq!(names(&rig.get(&path).await.expect(200)), ["b"]);
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    rig.delete(&format!("{CONFIG_MAPS}/b"), None)
        .await
        .expect(200);
    let status = rig
        .get(&path)
        .await
        .expect_failure(410, "Expired", "too long ago");
    let next = status["metadata"]["continue"].as_str().unwrap();
    let path = format!("{CONFIG_MAPS}?limit=1&continue={next}");
    let page = rig.get(&path).await.expect(200);
    assert_eq!(names(&page), ["c"]);
    assert_ne!(version(&page), version(&first));
}

#[rstest]
#[case::no_version(token(0, "default/a\0"))]
#[case::negative(token(-7, "default/a\0"))]
#[case::no_place(token(5, ""))]
#[case::other_format(URL_SAFE_NO_PAD.encode("{\"v\":\"v9\",\"rv\":1,\"start\":\"a/b\"}"))]
#[case::not_base64("%21%21".to_owned())]
#[tokio::test(start_paused = true)]
async fn forged_tokens_are_refused(#[case] token: String) {
    let rig = Rig::new().await;
    let answer = rig.get(&format!("{CONFIG_MAPS}?continue={token}")).await;
    answer.expect_failure(400, "BadRequest", "continue key is not valid");
}

#[tokio::test(start_paused = true)]
async fn answers_come_as_yaml_and_indented() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({"on": "yes"})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let yaml = rig.get_as(&path, "application/yaml").await;
    assert_eq!(yaml.headers["content-type"], "application/yaml");
    assert!(
        yaml.text.contains("\n    \"on\": \"yes\"\n"),
        "{}",
        yaml.text
    );
    let pretty = rig.get(&format!("{path}?pretty=true")).await;
    assert!(
        pretty.text.starts_with("{\n  \"kind\": \"ConfigMap\""),
        "{}",
        pretty.text
    );
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Create(u8, bool),
    Label(u8, bool),
    Delete(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6_u8, any::<bool>()).prop_map(|(n, on)| Step::Create(n, on)),
        (0..6_u8, any::<bool>()).prop_map(|(n, on)| Step::Label(n, on)),
        (0..6_u8).prop_map(Step::Delete),
    ];
    prop::collection::vec(step, 0..24)
}

async fn run(rig: &Rig, step: &Step) {
    let labels = |on: bool| json!({"on": if on { "yes" } else { "no" }});
    match step {
        Step::Create(n, on) => {
            let body = json!({"metadata": {"name": format!("c{n}"), "labels": labels(*on)}});
            rig.post(CONFIG_MAPS, &body).await;
        }
        Step::Label(n, on) => {
            let body = json!({"metadata": {"labels": labels(*on)}});
            rig.patch(&format!("{CONFIG_MAPS}/c{n}"), "merge", &body)
                .await;
        }
        Step::Delete(n) => {
            rig.delete(&format!("{CONFIG_MAPS}/c{n}"), None).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What a client believes that lists once and then follows the watch is what a later list says,
    /// with and without a selector; and pages of any size add up to the same list.
    #[test]
    fn a_watch_replays_to_exactly_the_list(
        before in steps(), after in steps(), selected in any::<bool>(), limit in 1..4_usize
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new().await;
            for step in &before {
                run(&rig, step).await;
            }
            let selector = if selected { "&labelSelector=on%3Dyes" } else { "" };
            let list = rig.get(&format!("{CONFIG_MAPS}?{selector}")).await.expect(200);
            let mut believed: std::collections::BTreeMap<String, Value> = list["items"]
                .as_array().unwrap().iter()
                .map(|i| (i["metadata"]["name"].as_str().unwrap().to_owned(), i["metadata"].clone()))
                .collect();
            let at = version(&list);
            for step in &after {
                run(&rig, step).await;
            }
            let path = format!(
                "{CONFIG_MAPS}?watch=true&timeoutSeconds=1&resourceVersion={at}{selector}"
            );
            let mut lines = rig.watch(&path).await;
            while let Some(event) = lines.next().await {
                let metadata = event["object"]["metadata"].clone();
                let name = metadata["name"].as_str().unwrap().to_owned();
                let known = believed.contains_key(&name);
                match event["type"].as_str().unwrap() {
                    "ADDED" => assert!(!known, "added twice: {event}"),
                    "MODIFIED" | "DELETED" => assert!(known, "never seen: {event}"),
                    other => panic!("{other}"),
                }
                if event["type"] == "DELETED" {
                    believed.remove(&name);
                } else {
                    believed.insert(name, metadata);
                }
            }
            let later = rig.get(&format!("{CONFIG_MAPS}?{selector}")).await.expect(200);
            let said: Vec<Value> = later["items"].as_array().unwrap().iter()
                .map(|i| i["metadata"].clone()).collect();
            assert_eq!(believed.into_values().collect::<Vec<_>>(), said);
            let mut pages = Vec::new();
            let mut next = String::new();
            loop {
                let path = format!("{CONFIG_MAPS}?limit={limit}&continue={next}{selector}");
                let page = rig.get(&path).await.expect(200);
                pages.extend(page["items"].as_array().unwrap().iter().map(|i| i["metadata"].clone()));
                match page["metadata"]["continue"].as_str() {
                    Some(token) => next = token.to_owned(),
                    None => break,
                }
            }
            assert_eq!(pages, said);
        });
    }
}
