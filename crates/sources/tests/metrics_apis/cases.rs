//! What is asked and what comes.

use crate::rig::{EXTERNAL, Fake, RULES, Rig, START, V1BETA1, V1BETA2, names, sample};
use http::Request;
use kube::client::Body;
use plimsoll_sources::custom::Adapter;
use plimsoll_sources::prometheus::Place;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn discovery_lists_metrics_by_what_they_describe() {
    let rig = Rig::new().await;
    let (_, list) = rig.get("/apis/custom.metrics.k8s.io/v1beta1").await;
    let want = ["namespaces", "nodes", "pods", "services"]
        .map(|r| format!("{r}/http_requests_per_second"));
    assert_eq!(names(&list), want);
    let want = json!({"name": "pods/http_requests_per_second", "singularName": "",
                      "namespaced": true, "kind": "MetricValueList", "verbs": ["get"]});
    assert_eq!(list["resources"][2], want);
    let (_, group) = rig.get("/apis/custom.metrics.k8s.io").await;
    assert_eq!(group["preferredVersion"]["version"], "v1beta2");
    let (_, list) = rig.get("/apis/external.metrics.k8s.io/v1beta1").await;
    assert_eq!(names(&list), ["queue_length", "world_orders"]);
}

#[tokio::test(start_paused = true)]
async fn a_wildcard_asks_for_the_selected_objects_only() {
    let rig = Rig::new().await;
    rig.services(&["a", "b"]).await;
    let samples = ["b", "a", "other"].map(|name| sample("service", name, "0.5339"));
    rig.fake.vector("/query?", &json!(samples));
    let path = format!("{V1BETA1}/services/*/http_requests_per_second?labelSelector=app%3Dweb");
    let (code, list) = rig.get(&path).await;
    assert_eq!(code, 200, "{list}");
    let item = |name: &str| {
        json!({
            "describedObject": {"kind": "Service", "namespace": "default", "name": name,
                                "apiVersion": "/v1"},
            "metricName": "http_requests_per_second", "timestamp": "2026-01-01T00:00:00Z",
            "value": "533m", "selector": null,
        })
    };
    assert_eq!(list["items"], json!([item("a"), item("b")]));
    let want = r#"/base/api/v1/query?query=sum(rate(http_requests_total{namespace="default",service=~"a|b"}[2m])) by (service)"#;
    assert!(
        rig.fake.last_query().starts_with(want),
        "{}",
        rig.fake.last_query()
    );
    let none = format!("{V1BETA1}/services/*/http_requests_per_second?labelSelector=app%3Dx");
    assert_eq!(rig.get(&none).await.1["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn the_metric_selector_reaches_the_query_and_the_answer() {
    let rig = Rig::new().await;
    rig.fake
        .vector("/query?", &json!([sample("service", "a", "1")]));
    let path =
        format!("{V1BETA2}/services/a/http_requests_per_second?metricLabelSelector=code%3D2");
    let (code, list) = rig.get(&path).await;
    assert_eq!(code, 200, "{list}");
    let want =
        json!({"name": "http_requests_per_second", "selector": {"matchLabels": {"code": "2"}}});
    assert_eq!(list["items"][0]["metric"], want);
    let want = r#"{code="2",namespace="default",service="a"}"#;
    assert!(
        rig.fake.last_query().contains(want),
        "{}",
        rig.fake.last_query()
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_and_nodes_have_metrics_of_their_own() {
    let rig = Rig::new().await;
    rig.fake.vector(
        "by (namespace)",
        &json!([sample("namespace", "default", "3")]),
    );
    let (_, list) = rig
        .get(&format!("{V1BETA1}/metrics/http_requests_per_second"))
        .await;
    let object = json!({"kind": "Namespace", "name": "default", "apiVersion": "/v1"});
    assert_eq!(list["items"][0]["describedObject"], object, "{list}");
    rig.fake
        .vector("by (node)", &json!([sample("node", "n", "3")]));
    let path = "/apis/custom.metrics.k8s.io/v1beta1/nodes/n/http_requests_per_second";
    let (_, list) = rig.get(path).await;
    assert_eq!(
        list["items"][0]["describedObject"]["kind"], "Node",
        "{list}"
    );
}

#[rstest]
#[case::no_such_metric("services/a/nothing", json!([]),
    "the server could not find the metric nothing for services")]
#[case::no_series("services/a/http_requests_per_second", json!([]),
    "the server could not find the metric http_requests_per_second for services a")]
#[case::of_others("services/a/http_requests_per_second", json!([sample("service", "b", "1")]),
    "the server could not find the metric http_requests_per_second for services a")]
#[case::no_number("services/a/http_requests_per_second", json!([sample("service", "a", "NaN")]),
    "no value of metric http_requests_per_second for services a: NaN")]
#[case::too_old("services/a/http_requests_per_second",
    json!([{"metric": {"service": "a"}, "value": [START - 400, "1"]}]),
    "no value of metric http_requests_per_second for services a: its newest sample is 40")]
#[case::no_resource("unicorns/a/http_requests_per_second", json!([]),
    "the server could not find the metric http_requests_per_second for unicorns")]
#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_found(
    #[case] path: &str,
    #[case] samples: Value,
    #[case] message: &str,
) {
    let rig = Rig::new().await;
    rig.fake.vector("/query?", &samples);
    let (code, status) = rig.get(&format!("{V1BETA1}/{path}")).await;
    assert_eq!(
        (code, status["reason"].as_str()),
        (404, Some("NotFound")),
        "{status}"
    );
    let said = status["message"].as_str().unwrap();
    assert!(said.starts_with(message), "{said}");
}

#[rstest]
#[case::refused(
    400,
    r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#,
    "prometheus refuses the query (bad_data): parse error"
)]
#[case::too_many(429, "slow down", "prometheus answered 429: slow down")]
#[case::a_proxy(502, "<html>bad</html>", "prometheus answered 502: <html>bad</html>")]
#[case::garbage(200, "not json", "prometheus answered something else than samples")]
#[case::half(
    200,
    r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"#,
    "prometheus answered something else than samples"
)]
#[case::a_matrix(
    200,
    r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
    "prometheus answered something else than samples"
)]
#[case::no_data(
    200,
    r#"{"status":"success"}"#,
    "prometheus answered something else than samples"
)]
#[tokio::test(start_paused = true)]
async fn a_failing_prometheus_is_an_error_never_an_empty_answer(
    #[case] code: u16,
    #[case] body: &str,
    #[case] why: &str,
) {
    let rig = Rig::new().await;
    rig.services(&["a"]).await;
    rig.fake.answer("/query?", code, body);
    for path in [
        format!("{EXTERNAL}/queue_length"),
        format!("{V1BETA1}/services/*/http_requests_per_second"),
    ] {
        let (code, status) = rig.get(&path).await;
        assert_eq!(code, 500, "{status}");
        let want = format!("Internal error occurred: unable to fetch metrics: {why}");
        assert_eq!(status["message"], want);
    }
}

#[tokio::test(start_paused = true)]
async fn external_series_are_narrowed_to_the_namespace_unless_the_rule_says_otherwise() {
    let rig = Rig::new().await;
    let samples = ["a", "b"].map(|name| sample("queue", name, "12"));
    rig.fake.vector("/query?", &json!(samples));
    let (code, list) = rig
        .get(&format!("{EXTERNAL}/queue_length?labelSelector=queue"))
        .await;
    assert_eq!(code, 200, "{list}");
    let want = json!({"metricName": "queue_length", "metricLabels": {"queue": "a"},
                      "timestamp": "2026-01-01T00:00:00Z", "value": "12"});
    assert_eq!(list["items"][0], want);
    let want = r#"max(queue_length{queue!="",namespace="default"}) by (queue)"#;
    assert!(
        rig.fake.last_query().contains(want),
        "{}",
        rig.fake.last_query()
    );
    rig.get(&format!("{EXTERNAL}/world_orders")).await;
    let want = "sum(world_orders{})";
    assert!(
        rig.fake.last_query().contains(want),
        "{}",
        rig.fake.last_query()
    );
}

#[tokio::test(start_paused = true)]
async fn one_series_without_a_value_spoils_an_external_metric() {
    let rig = Rig::new().await;
    let samples = json!([sample("queue", "a", "12"), sample("queue", "b", "NaN")]);
    rig.fake.vector("/query?", &samples);
    let (code, status) = rig.get(&format!("{EXTERNAL}/queue_length")).await;
    let want = "no value of metric queue_length for namespaces: NaN";
    assert_eq!((code, status["message"].as_str()), (404, Some(want)));
}

#[tokio::test(start_paused = true)]
async fn samples_carry_the_time_they_were_scraped_at_if_that_is_wanted() {
    let rig = Rig::with(|settings| {
        settings.asks_sample_age = true;
        settings.max_sample_age = Duration::from_secs(60);
    })
    .await;
    rig.services(&["a", "b"]).await;
    let values = ["a", "b"].map(|name| sample("service", name, "1"));
    rig.fake.vector("query=sum", &json!(values));
    let scraped = |name, ago: i64| sample("service", name, &(START - ago).to_string());
    rig.fake.vector(
        "query=max(timestamp(",
        &json!([scraped("a", 30), scraped("b", 200)]),
    );
    let (code, list) = rig
        .get(&format!("{V1BETA1}/services/*/http_requests_per_second"))
        .await;
    assert_eq!(code, 200, "{list}");
    assert_eq!(
        list["items"].as_array().unwrap().len(),
        1,
        "b is stale: {list}"
    );
    assert_eq!(list["items"][0]["timestamp"], "2025-12-31T23:59:30Z");
}

#[tokio::test(start_paused = true)]
async fn a_value_of_unknown_age_is_none() {
    let rig = Rig::with(|settings| {
        settings.asks_sample_age = true;
        settings.max_sample_age = Duration::from_secs(60);
    })
    .await;
    rig.services(&["a", "b"]).await;
    let values = ["a", "b"].map(|name| sample("service", name, "1"));
    rig.fake.vector("query=sum", &json!(values));
    let scraped = sample("service", "a", &(START - 30).to_string());
    rig.fake
        .vector("query=max(timestamp(", &json!([scraped.clone()]));
    let path = format!("{V1BETA1}/services/*/http_requests_per_second");
    let (_, list) = rig.get(&path).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    let (code, status) = rig
        .get(&format!("{V1BETA1}/services/b/http_requests_per_second"))
        .await;
    let want = "no value of metric http_requests_per_second for services b: \
                its series has no sample any more";
    assert_eq!((code, status["message"].as_str()), (404, Some(want)));

    rig.fake
        .vector("query=max(queue", &json!([sample("queue", "a", "12")]));
    rig.fake.vector("query=min(timestamp(", &json!([]));
    let path = format!("{EXTERNAL}/queue_length");
    assert_eq!(rig.get(&path).await.0, 404);
    rig.fake.vector("query=min(timestamp(", &json!([scraped]));
    let (_, list) = rig.get(&path).await;
    assert_eq!(list["items"][0]["timestamp"], "2025-12-31T23:59:30Z");
}

#[tokio::test(start_paused = true)]
async fn changed_rules_wait_for_their_series() {
    let rig = Rig::new().await;
    rig.services(&["a"]).await;
    rig.fake
        .vector("/query?", &json!([sample("service", "a", "1")]));
    rig.fake.answer("/api/v1/series?match[]=open", 503, "");
    let path = format!("{V1BETA1}/services/a/http_requests_per_second");
    let changed = RULES.replace("queue_length'", "open_orders'");
    std::fs::write(rig.rules.path(), changed.replace("_per_second", "_rate")).unwrap();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.get(&path).await.0, 200);
    }
    rig.fake.series(
        "open",
        &json!([{"__name__": "open_orders", "namespace": "d"}]),
    );
    rig.until("http_requests_rate", true).await;
    assert_eq!(rig.get(&path).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn before_the_first_list_nobody_else_is_asked() {
    let rig = Rig::bare().await;
    let (other, prometheus) = (Fake::default(), Fake::default());
    let place = Place {
        client: other.client(),
        prefix: String::new(),
    };
    prometheus.answer("/series", 503, "");
    rig.rules(prometheus.client(), |_| {}).await;
    let adapter = Adapter::new("theirs", place, None, rig.clock);
    rig.router.add_external(Arc::new(adapter));
    rig.announce();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (code, status) = rig.get(&format!("{EXTERNAL}/queue_length")).await;
    let want = "Internal error occurred: unable to fetch metrics: \
                the series of externalRules[0] are not listed yet";
    assert_eq!((code, status["message"].as_str()), (500, Some(want)));
    assert!(other.asked.lock().is_empty());
    prometheus.answer("/series", 200, r#"{"status":"success","data":[]}"#);
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(rig.get(&format!("{EXTERNAL}/queue_length")).await.0, 404);
    assert_eq!(other.asked.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_another_adapter_has_is_not_looked_for() {
    let rig = Rig::new().await;
    let other = Fake::default();
    other.answer("/namespaces/default/theirs", 200, r#"{"items":[]}"#);
    let place = Place {
        client: other.client(),
        prefix: String::new(),
    };
    let adapter = Adapter::new("theirs", place, None, rig.clock);
    rig.router.add_external(Arc::new(adapter));
    let lists = || {
        let asked = rig.fake.asked.lock();
        asked.iter().filter(|q| q.contains("/series?")).count()
    };
    let before = lists();
    for _ in 0..20 {
        assert_eq!(rig.get(&format!("{EXTERNAL}/theirs")).await.0, 200);
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    assert_eq!(lists(), before);
    for _ in 0..20 {
        assert_eq!(rig.get(&format!("{EXTERNAL}/nobodys")).await.0, 404);
        tokio::time::sleep(Duration::from_secs(15)).await;
    }
    // Of three selectors, after 0, 30, 90 and 210 s.
    assert_eq!(lists() - before, 4 * 3);
}

#[tokio::test(start_paused = true)]
async fn changed_rules_are_taken_in_and_faulty_ones_are_not() {
    let rig = Rig::new().await;
    std::fs::write(rig.rules.path(), "rules: [{seriesQuery: x}]").unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.until("http_requests_per_second", true).await;
    std::fs::write(rig.rules.path(), RULES.replace("_per_second", "_rate")).unwrap();
    rig.until("http_requests_rate", true).await;
    rig.until("http_requests_per_second", false).await;
}

#[tokio::test(start_paused = true)]
async fn a_question_for_an_unknown_metric_leads_to_a_new_list() {
    let rig = Rig::new().await;
    let labels = json!([{"__name__": "http_requests_total", "namespace": "d", "ingress": "i"}]);
    rig.fake.series("http_requests_total", &labels);
    let path = format!("{V1BETA1}/ingresses.networking.k8s.io/i/http_requests_per_second");
    assert_eq!(rig.get(&path).await.0, 404);
    let begun = tokio::time::Instant::now();
    rig.until("ingresses.networking.k8s.io/http_requests_per_second", true)
        .await;
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_prometheus_that_fails_for_a_while_loses_no_metric() {
    let rig = Rig::with(|settings| settings.relist_interval = Duration::from_secs(5)).await;
    rig.fake
        .answer("/api/v1/series?match[]=http_requests_total", 503, "");
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.until("http_requests_per_second", true).await;
}

#[tokio::test(start_paused = true)]
async fn metrics_are_read_only() {
    let rig = Rig::new().await;
    let path = format!("{V1BETA1}/services/a/http_requests_per_second");
    for method in ["POST", "PUT", "DELETE"] {
        let request = Request::builder()
            .method(method)
            .uri(&path)
            .body(Body::empty());
        let response = rig.client.send(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 405, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_adapter_is_asked_for_what_the_rules_do_not_know() {
    let rig = Rig::new().await;
    let other = Fake::default();
    let item = json!({"metricName": "theirs", "metricLabels": {"a": "b"},
                      "timestamp": "2026-01-01T00:00:00Z", "value": "1500m"});
    let body = json!({"items": [item]}).to_string();
    other.answer("/namespaces/default/theirs?labelSelector=a=b", 200, body);
    other.answer("/namespaces/default/busy", 429, r#"{"message":"too many"}"#);
    let place = Place {
        client: other.client(),
        prefix: String::new(),
    };
    let pattern = regex::Regex::new("^(theirs|busy|gone)$").unwrap();
    let adapter = Adapter::new("theirs", place, Some(pattern), rig.clock);
    rig.router.add_external(Arc::new(adapter));

    let (_, theirs) = rig
        .get(&format!("{EXTERNAL}/theirs?labelSelector=a%3Db"))
        .await;
    assert_eq!(theirs["items"][0]["value"], "1500m", "{theirs}");
    let (code, busy) = rig.get(&format!("{EXTERNAL}/busy")).await;
    assert_eq!(
        (code, busy["message"].as_str()),
        (429, Some("too many")),
        "{busy}"
    );
    let (code, gone) = rig.get(&format!("{EXTERNAL}/gone")).await;
    let want = "the server could not find the metric gone for namespaces";
    assert_eq!((code, gone["message"].as_str()), (404, Some(want)));
    let asked = other.asked.lock().len();
    rig.get(&format!("{EXTERNAL}/unrelated")).await;
    assert_eq!(
        other.asked.lock().len(),
        asked,
        "its pattern keeps it from being asked"
    );
}

#[tokio::test(start_paused = true)]
async fn an_adapter_of_the_older_version_is_understood() {
    let other = Fake::default();
    let listed = json!({"resources": [{"name": "pods/theirs", "namespaced": true}]});
    other.answer(
        "/apis/custom.metrics.k8s.io/v1beta1",
        200,
        listed.to_string(),
    );
    let object = json!({"kind": "Pod", "namespace": "default", "name": "p", "apiVersion": "/v1"});
    let item = json!({"describedObject": object, "metricName": "theirs",
                      "timestamp": "2026-01-01T00:00:00Z", "window": 60, "value": "3"});
    let path = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/theirs";
    other.answer(path, 200, json!({"items": [item]}).to_string());
    let rig = Rig::bare().await;
    let place = Place {
        client: other.client(),
        prefix: String::new(),
    };
    let adapter = Adapter::new("theirs", place, None, rig.clock);
    rig.router.add_custom(Arc::new(adapter.clone()));
    drop(tokio::spawn(adapter.follow(Duration::from_secs(60))));
    rig.announce();
    rig.until("pods/theirs", true).await;
    let (code, list) = rig
        .get(&format!("{V1BETA2}/pods/*/theirs?labelSelector=app%3Dweb"))
        .await;
    assert_eq!(code, 200, "{list}");
    assert_eq!(list["items"][0]["windowSeconds"], 60);
    assert_eq!(list["items"][0]["metric"]["name"], "theirs");
}
