//! A poller against servers that are functions, on paused time.

use super::{PollOptions, Poller};
use crate::metrics::Pipeline;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use plimsoll_api::usage::PodName;
use plimsoll_clock::Clock;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

type Answer = Arc<dyn Fn(&str) -> Option<(u16, String)> + Send + Sync>;

/// Polls a server whose behaviour can be replaced; `None` never answers.
struct Rig {
    answer: Arc<Mutex<Answer>>,
    pipeline: Pipeline,
}

impl Rig {
    fn start(
        options: PollOptions,
        answer: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Arc::new(answer)));
        let shared = Arc::clone(&answer);
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = Arc::clone(&shared.lock())(&request.uri().to_string());
            async move {
                let Some((code, text)) = answer else {
                    return std::future::pending().await;
                };
                let mut response = Response::new(Full::<Bytes>::from(text));
                *response.status_mut() = StatusCode::from_u16(code).unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        let pipeline = Pipeline::new();
        let client = Client::new(service, "default");
        let clock = Clock::starting_at(jiff::Timestamp::UNIX_EPOCH);
        tokio::spawn(Poller::new(client, clock, options, pipeline.clone()).run());
        Self { answer, pipeline }
    }

    fn answers(&self, answer: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static) {
        *self.answer.lock() = Arc::new(answer);
    }

    fn cpu(&self, name: &str) -> Option<u64> {
        let name: PodName = ("n".into(), name.into());
        Some(self.pipeline.usage.pod(&name)?.containers[0].cpu_nano)
    }
}

fn pod(name: &str, second: u32) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "n"},
        "timestamp": format!("2026-01-01T00:00:{second:02}Z"), "window": "15s",
        "containers": [{"name": "c", "usage": {"cpu": "7n", "memory": "1Ki"}}],
    })
}

fn list(items: &[Value], next: &str) -> (u16, String) {
    let page = json!({"kind": "List", "metadata": {"continue": next}, "items": items});
    (200, page.to_string())
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn pages_are_joined_and_garbage_costs_only_itself() {
    let rig = Rig::start(PollOptions::default(), |path| {
        if path.contains("/nodes") {
            return Some((403, "{}".to_owned()));
        }
        if path.contains("continue=a%2Fb") {
            let items = [pod("two", 1), json!("nonsense"), json!({"metadata": 1})];
            return Some(list(&items, ""));
        }
        Some(list(&[pod("one", 1)], "a/b"))
    });
    seconds(1).await;
    assert_eq!((rig.cpu("one"), rig.cpu("two")), (Some(7), Some(7)));
    assert_eq!(rig.pipeline.usage.unavailable(), None);
}

#[tokio::test(start_paused = true)]
async fn a_restricted_poller_asks_by_namespace() {
    let options = PollOptions {
        namespaces: vec!["n".to_owned()],
        ..PollOptions::default()
    };
    let rig = Rig::start(options, |path| {
        assert!(
            path.starts_with("/apis/metrics.k8s.io/v1beta1/namespaces/n/pods?"),
            "{path}"
        );
        Some(list(&[pod("one", 1)], ""))
    });
    seconds(1).await;
    assert_eq!(rig.cpu("one"), Some(7));
}

#[tokio::test(start_paused = true)]
async fn failures_are_survived_for_a_while_and_then_said() {
    let rig = Rig::start(PollOptions::default(), |_| Some(list(&[pod("one", 1)], "")));
    seconds(1).await;
    rig.answers(|_| Some((429, json!({"message": "slow down"}).to_string())));
    seconds(60).await;
    assert_eq!(rig.cpu("one"), Some(7));
    assert_eq!(rig.pipeline.usage.unavailable(), None);
    rig.answers(|_| Some((200, "{\"items\": [{\"metadata\"".to_owned())));
    seconds(60).await;
    assert_eq!(rig.cpu("one"), Some(7), "half a page changes nothing");
    rig.answers(|_| None);
    seconds(120).await;
    assert_eq!(rig.cpu("one"), None);
    let why = rig.pipeline.usage.unavailable().unwrap();
    assert_eq!(&*why, "metrics.k8s.io did not answer within 10s");
    rig.answers(|_| Some(list(&[pod("one", 30)], "")));
    seconds(20).await;
    assert_eq!(rig.cpu("one"), Some(7));
    assert_eq!(rig.pipeline.usage.unavailable(), None);
}

#[tokio::test(start_paused = true)]
async fn samples_that_do_not_move_are_taken_back() {
    let rig = Rig::start(PollOptions::default(), |_| Some(list(&[pod("one", 1)], "")));
    seconds(100).await;
    assert_eq!(rig.cpu("one"), Some(7));
    seconds(110).await;
    assert_eq!(rig.cpu("one"), None);
    rig.answers(|_| Some(list(&[pod("one", 2)], "")));
    seconds(20).await;
    assert_eq!(rig.cpu("one"), Some(7));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_ends_is_given_up() {
    let rig = Rig::start(PollOptions::default(), |_| Some(list(&[], "again")));
    seconds(1).await;
    let why = rig.pipeline.usage.unavailable().unwrap();
    assert!(why.contains("does not end"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn subscribers_hear_only_of_what_changed() {
    let rig = Rig::start(PollOptions::default(), |_| Some(list(&[pod("one", 1)], "")));
    let mut rounds = rig.pipeline.subscribe();
    assert_eq!(rounds.recv().await.unwrap().pods.len(), 1);
    seconds(40).await;
    rig.answers(|_| Some(list(&[], "")));
    assert!(matches!(
        rounds.recv().await.unwrap().pods.as_slice(),
        [(_, None)]
    ));
}
