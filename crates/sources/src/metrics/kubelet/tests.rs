//! A scraper against kubelets that are functions, on paused time.

use super::*;
use crate::metrics::Pipeline;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use plimsoll_api::usage::PodName;
use plimsoll_clock::Clock;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a kubelet does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Habit {
    /// Answers: this many millicores for its pod `POD`.
    Uses(u64, &'static str),
    /// Never answers.
    Hangs,
    /// Answers 403.
    Refuses,
    /// Breaks off in the middle of a line.
    Babbles,
}

/// An API server that lists nodes, and their kubelets.
#[derive(Debug, Clone)]
struct World {
    began: Instant,
    habits: Arc<Mutex<BTreeMap<String, Habit>>>,
    asked: Arc<Mutex<Vec<(String, Duration)>>>,
}

impl World {
    fn new(habits: &[(&str, Habit)]) -> Self {
        let habits = habits
            .iter()
            .map(|(name, habit)| ((*name).to_owned(), *habit));
        Self {
            began: Instant::now(),
            habits: Arc::new(Mutex::new(habits.collect())),
            asked: Arc::default(),
        }
    }

    fn set(&self, node: &str, habit: Habit) {
        self.habits.lock().insert(node.to_owned(), habit);
    }

    fn client(&self) -> Client {
        let world = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let world = world.clone();
            async move { Ok::<_, Infallible>(world.answer(request.uri().clone()).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, uri: http::Uri) -> Response<Full<Bytes>> {
        let Some(host) = uri.host() else {
            if uri.query().is_some_and(|query| query.contains("watch=")) {
                return std::future::pending().await;
            }
            return Response::new(Full::from(self.nodes().to_string()));
        };
        let at = self.began.elapsed();
        self.asked.lock().push((host.to_owned(), at));
        let habit = self
            .habits
            .lock()
            .get(host)
            .copied()
            .unwrap_or(Habit::Hangs);
        match habit {
            Habit::Hangs => std::future::pending().await,
            Habit::Refuses => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = http::StatusCode::FORBIDDEN;
                response
            }
            Habit::Babbles => Response::new(Full::from("container_cpu_usage_seconds_total{pod=\"")),
            Habit::Uses(milli, pod) => Response::new(Full::from(text(milli, pod, at))),
        }
    }

    fn nodes(&self) -> Value {
        let habits = self.habits.lock();
        let nodes: Vec<Value> = habits
            .keys()
            .map(|name| {
                json!({
                    "metadata": {"name": name, "uid": name, "resourceVersion": "1"},
                    "status": {"addresses": [{"type": "Hostname", "address": name}]},
                })
            })
            .collect();
        json!({
            "kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": nodes,
        })
    }

    /// Starts scraping every 15 s.
    fn scraped(&self) -> (Pipeline, ScrapeStats, tokio::task::JoinHandle<()>) {
        let pipeline = Pipeline::new();
        let scraper = Scraper::new(ScraperConfig {
            api: self.client(),
            kubelets: self.client(),
            clock: Clock::starting_at(jiff::Timestamp::UNIX_EPOCH),
            seed: 7,
            options: ScrapeOptions::default(),
            pipeline: pipeline.clone(),
        });
        let stats = scraper.stats();
        (pipeline, stats, tokio::spawn(scraper.run()))
    }

    /// When a node was asked.
    fn times(&self, node: &str) -> Vec<Duration> {
        let asked = self.asked.lock();
        let of_node = asked.iter().filter(|(name, _)| name == node);
        of_node.map(|(_, at)| *at).collect()
    }
}

/// A reading at a time of a pod that has used `milli` all along.
fn text(milli: u64, pod: &str, at: Duration) -> String {
    let millis = at.as_millis();
    let cpu = at.as_secs_f64() * f64::from(u32::try_from(milli).unwrap()) / 1000.0;
    let labels = format!("{{container=\"app\",namespace=\"n\",pod=\"{pod}\"}}");
    format!(
        "node_cpu_usage_seconds_total {cpu} {millis}\n\
         node_memory_working_set_bytes 8192 {millis}\n\
         container_cpu_usage_seconds_total{labels} {cpu} {millis}\n\
         container_memory_working_set_bytes{labels} 4096 {millis}\n"
    )
}

fn pod(name: &str) -> PodName {
    ("n".into(), name.into())
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn usage_is_published_as_nodes_answer() {
    let world = World::new(&[
        ("a", Habit::Uses(250, "web")),
        ("b", Habit::Uses(500, "db")),
    ]);
    let (pipeline, stats, _task) = world.scraped();
    seconds(31).await;
    let milli =
        |name: &str| pipeline.usage.pod(&pod(name)).unwrap().containers[0].cpu_nano / 1_000_000;
    assert!((249..=250).contains(&milli("web")), "{}", milli("web"));
    assert!((499..=500).contains(&milli("db")), "{}", milli("db"));
    assert_eq!(pipeline.usage.node("a").unwrap().memory_bytes, 8192);
    assert_eq!(stats.requests().1, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_delays_nobody_and_is_asked_less_often() {
    let mut habits = vec![("a".to_owned(), Habit::Uses(100, "web"))];
    habits.extend((0..200).map(|number| (format!("dead-{number}"), Habit::Hangs)));
    let habits: Vec<(&str, Habit)> = habits.iter().map(|(n, h)| (n.as_str(), *h)).collect();
    let world = World::new(&habits);
    let (pipeline, _, _task) = world.scraped();
    // Every permit of the first round may wait for dead nodes; after it, none does.
    seconds(60).await;
    let before = world.times("a").len();
    seconds(150).await;
    assert!(
        world.times("a").len() - before >= 9,
        "{:?}",
        world.times("a")
    );
    assert!(
        world.times("dead-1").len() < 6,
        "{:?}",
        world.times("dead-1")
    );
    assert!(pipeline.usage.pod(&pod("web")).is_some());
    assert_eq!(
        &*pipeline.usage.silent("dead-1").unwrap(),
        "no answer within 10s"
    );
    assert_eq!(pipeline.usage.unavailable(), None);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_taken_back_and_returns() {
    let world = World::new(&[("a", Habit::Uses(100, "web"))]);
    let (pipeline, _, _task) = world.scraped();
    seconds(40).await;
    world.set("a", Habit::Refuses);
    seconds(20).await;
    assert!(pipeline.usage.pod(&pod("web")).is_some(), "not too old yet");
    seconds(30).await;
    assert!(pipeline.usage.pod(&pod("web")).is_none());
    assert!(pipeline.usage.node("a").is_none());
    let why = pipeline.usage.unavailable().unwrap();
    assert!(
        why.contains("403 Forbidden") && why.contains("nodes/metrics"),
        "{why}"
    );
    world.set("a", Habit::Uses(100, "web"));
    seconds(150).await;
    assert!(pipeline.usage.pod(&pod("web")).is_some());
    assert_eq!(pipeline.usage.unavailable(), None);
}

#[tokio::test(start_paused = true)]
async fn one_node_that_fails_first_is_not_all_of_them() {
    let world = World::new(&[("a", Habit::Refuses), ("b", Habit::Uses(100, "web"))]);
    let (pipeline, _, _task) = world.scraped();
    for _ in 0..400 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(pipeline.usage.unavailable(), None);
    }
    assert!(pipeline.usage.silent("a").is_some());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_of_the_nodes_that_are_there() {
    let world = World::new(&[]);
    let pipeline = Pipeline::new();
    let scraper = Scraper::new(ScraperConfig {
        api: world.client(),
        kubelets: world.client(),
        clock: Clock::starting_at(jiff::Timestamp::UNIX_EPOCH),
        seed: 7,
        options: ScrapeOptions::default(),
        pipeline: pipeline.clone(),
    });
    let (a, b) = ("a".into(), "b".into());
    scraper.shared.mark(&a, None);
    scraper.shared.mark(&b, Some("broken"));
    assert_eq!(pipeline.usage.unavailable(), None);
    scraper.shared.forget(&a);
    let why = pipeline.usage.unavailable();
    assert_eq!(why.as_deref(), Some("none of 1 nodes answers; b: broken"));
    scraper.shared.forget(&b);
    assert_eq!(pipeline.usage.unavailable(), None);
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_is_none() {
    let world = World::new(&[("a", Habit::Babbles), ("b", Habit::Uses(100, "web"))]);
    let (pipeline, _, _task) = world.scraped();
    seconds(40).await;
    assert!(pipeline.usage.pod(&pod("web")).is_some());
    assert!(pipeline.usage.node("a").is_none());
}

#[tokio::test(start_paused = true)]
async fn readings_are_spread_over_the_period() {
    let names: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
    let habits: Vec<(&str, Habit)> = names
        .iter()
        .map(|n| (n.as_str(), Habit::Uses(1, "p")))
        .collect();
    let world = World::new(&habits);
    let (_pipeline, _, _task) = world.scraped();
    seconds(60).await;
    let asked = world.asked.lock().clone();
    let mut by_second = [0; 15];
    for (_, at) in asked
        .iter()
        .filter(|(_, at)| (30..45).contains(&at.as_secs()))
    {
        by_second[usize::try_from(at.as_secs()).unwrap() - 30] += 1;
    }
    assert_eq!(by_second.iter().sum::<i32>(), 100);
    assert!(by_second.iter().all(|count| *count < 20), "{by_second:?}");
}
