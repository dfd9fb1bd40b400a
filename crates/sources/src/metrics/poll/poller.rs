//! Lists usage every period and publishes what changed.

use super::state::{Polled, State};
use super::wire::{self, Page};
use crate::metrics::Pipeline;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use plimsoll_clock::Clock;
use std::time::Duration;
use tokio::time::Instant;

const API: &str = "/apis/metrics.k8s.io/v1beta1";
/// Items asked for at once. metrics-server answers with all of them whatever is asked.
const PAGE: usize = 500;
/// Pages of one list; a server that sends more does not stop.
const MOST_PAGES: usize = 2_000;
/// Bytes of one page.
const MOST_BYTES: usize = 256 << 20;

/// Settings of a [`Poller`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollOptions {
    /// Time between two lists.
    pub period: Duration,
    /// How long a list may take.
    pub timeout: Duration,
    /// What has not changed for longer is not used any more; `None` is three periods, but at least
    /// three minutes, since the server's own period is not known.
    pub max_age: Option<Duration>,
    /// Only these namespaces, each with a list of its own; empty for all, and then nodes too.
    pub namespaces: Vec<String>,
}

impl Default for PollOptions {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            max_age: None,
            namespaces: Vec::new(),
        }
    }
}

impl PollOptions {
    fn freshness(&self) -> Duration {
        let most = (self.period * 3).max(Duration::from_secs(180));
        self.max_age.unwrap_or(most)
    }
}

/// Why a list gave nothing.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error("metrics.k8s.io did not answer within {0:?}")]
    Timeout(Duration),
    #[error("metrics.k8s.io answers {code}: {said}")]
    Refused { code: u16, said: String },
    #[error("metrics.k8s.io cannot be reached: {0}")]
    Unreachable(String),
    #[error("metrics.k8s.io answers with something that is no list: {0}")]
    Garbage(String),
    #[error("metrics.k8s.io answers with a list that does not end")]
    Endless,
}

/// Polls another server of `metrics.k8s.io`.
pub struct Poller {
    client: Client,
    clock: Clock,
    options: PollOptions,
    pipeline: Pipeline,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Poller");
        shown
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Poller {
    /// A poller that does nothing before [`Poller::run`].
    pub fn new(client: Client, clock: Clock, options: PollOptions, pipeline: Pipeline) -> Self {
        Self {
            client,
            clock,
            options,
            pipeline,
        }
    }

    /// Polls, for ever.
    pub async fn run(self) {
        let (mut state, mut answered, mut said) = (State::default(), None, String::new());
        let mut next = Instant::now();
        loop {
            tokio::time::sleep_until(next).await;
            next = Instant::now() + self.options.period;
            let timeout = self.options.timeout;
            let outcome = tokio::time::timeout(timeout, self.list()).await;
            match outcome.unwrap_or(Err(PollError::Timeout(timeout))) {
                Ok(polled) => {
                    answered = Some(Instant::now());
                    said.clear();
                    let freshness = self.options.freshness();
                    let samples = state.take(polled, self.clock.now(), freshness);
                    if !samples.pods.is_empty() || !samples.nodes.is_empty() {
                        self.pipeline.publish(samples);
                    }
                    self.pipeline.report_outage(None);
                }
                Err(error) => {
                    let why = error.to_string();
                    if said != why {
                        tracing::warn!(why, "usage cannot be read");
                        said.clone_from(&why);
                    }
                    self.failed(&mut state, answered, &why);
                }
            }
        }
    }

    /// Once the last answer is too old, it is taken back, and the store says why.
    fn failed(&self, state: &mut State, answered: Option<Instant>, why: &str) {
        let freshness = self.options.freshness();
        if answered.is_some_and(|at| at.elapsed() <= freshness) {
            return;
        }
        let samples = state.silence();
        if !samples.pods.is_empty() || !samples.nodes.is_empty() {
            self.pipeline.publish(samples);
        }
        self.pipeline.report_outage(Some(why));
    }

    async fn list(&self) -> Result<Polled, PollError> {
        let (mut polled, now) = (Polled::default(), self.clock.now());
        if self.options.namespaces.is_empty() {
            self.pods(&format!("{API}/pods"), now, &mut polled).await?;
            self.nodes(now, &mut polled).await?;
        }
        for namespace in &self.options.namespaces {
            let path = format!("{API}/namespaces/{namespace}/pods");
            self.pods(&path, now, &mut polled).await?;
        }
        Ok(polled)
    }

    async fn pods(&self, path: &str, now: Timestamp, into: &mut Polled) -> Result<(), PollError> {
        let mut next = String::new();
        for _ in 0..MOST_PAGES {
            let body = self.page(path, &next).await?;
            let page = page(&body)?;
            let read = page.items.iter().filter_map(|raw| wire::pod(raw, now));
            into.pods.extend(read);
            if page.metadata.next.is_empty() {
                return Ok(());
            }
            next = page.metadata.next;
        }
        Err(PollError::Endless)
    }

    /// Nodes; whoever may not read them does without.
    async fn nodes(&self, now: Timestamp, into: &mut Polled) -> Result<(), PollError> {
        let mut next = String::new();
        for _ in 0..MOST_PAGES {
            let body = match self.page(&format!("{API}/nodes"), &next).await {
                Err(PollError::Refused { code: 403, .. }) => return Ok(()),
                other => other?,
            };
            let page = page(&body)?;
            let read = page.items.iter().filter_map(|raw| wire::node(raw, now));
            into.nodes.extend(read);
            if page.metadata.next.is_empty() {
                return Ok(());
            }
            next = page.metadata.next;
        }
        Err(PollError::Endless)
    }

    async fn page(&self, path: &str, next: &str) -> Result<bytes::Bytes, PollError> {
        let from = if next.is_empty() {
            String::new()
        } else {
            format!("&continue={}", escaped(next))
        };
        let unreachable = |error: &dyn std::error::Error| {
            let mut current = error;
            while let Some(source) = current.source() {
                current = source;
            }
            PollError::Unreachable(current.to_string())
        };
        let request = Request::get(format!("{path}?limit={PAGE}{from}"))
            .header("accept", "application/json")
            .body(Body::empty())
            .map_err(|error| unreachable(&error))?;
        let response = self.client.send(request).await;
        let (head, body) = response.map_err(|error| unreachable(&error))?.into_parts();
        let body = Limited::new(body, MOST_BYTES).collect().await;
        let body = body.map_err(|error| unreachable(&*error))?.to_bytes();
        if head.status.is_success() {
            return Ok(body);
        }
        let status: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let message = status
            .as_ref()
            .and_then(|status| status.get("message")?.as_str());
        Err(PollError::Refused {
            code: head.status.as_u16(),
            said: message
                .or_else(|| head.status.canonical_reason())
                .unwrap_or_default()
                .to_owned(),
        })
    }
}

fn page(body: &[u8]) -> Result<Page<'_>, PollError> {
    serde_json::from_slice(body).map_err(|error| PollError::Garbage(error.to_string()))
}

/// A continue token as part of a query.
fn escaped(token: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(token.len());
    for byte in token.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
    }
    out
}
