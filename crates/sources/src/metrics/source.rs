//! Where usage comes from on a cluster: its kubelets, or a metrics server that is there already.

use super::Pipeline;
use super::kubelet::{ScrapeStats, Scraper, ScraperConfig};
use super::poll::{PollOptions, Poller};
use http::Request;
use kube::Client;
use serde_json::Value;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const API_SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io";
/// How often it is looked whether the choice still stands.
const LOOK: Duration = Duration::from_secs(60);
/// The same while the API server does not say.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// `--metrics-source`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceChoice {
    /// Kubelets, unless somebody else serves `metrics.k8s.io` already.
    #[default]
    Auto,
    /// Kubelets.
    Kubelet,
    /// Whoever serves `metrics.k8s.io`.
    Api,
}

/// A name that is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("metrics come from auto, kubelet or api, not from {0:?}")]
pub struct NoSource(String);

impl FromStr for SourceChoice {
    type Err = NoSource;

    fn from_str(text: &str) -> Result<Self, NoSource> {
        match text {
            "auto" => Ok(Self::Auto),
            "kubelet" => Ok(Self::Kubelet),
            "api" => Ok(Self::Api),
            other => Err(NoSource(other.to_owned())),
        }
    }
}

/// Who serves `metrics.k8s.io`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Nobody.
    Nobody,
    /// This program, behind its own Service.
    Ours,
    /// The API server itself, as `plimsoll up` does.
    ApiServer,
    /// Another Service: namespace and name.
    Other(String, String),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => write!(f, "nobody"),
            Self::Ours => write!(f, "this program"),
            Self::ApiServer => write!(f, "the API server itself"),
            Self::Other(namespace, name) => write!(f, "service {namespace}/{name}"),
        }
    }
}

/// Asks the API server who serves `metrics.k8s.io`; `ours` is our own Service.
///
/// # Errors
/// What the API server answers; that there is no such APIService is an answer.
pub async fn owner(client: &Client, ours: Option<(&str, &str)>) -> Result<Owner, kube::Error> {
    let request = Request::get(API_SERVICE)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    let found: Value = match client.request(request).await {
        Ok(found) => found,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Owner::Nobody),
        Err(error) => return Err(error),
    };
    let text = |field: &str| {
        let text = found.pointer(&format!("/spec/service/{field}"));
        text.and_then(Value::as_str).unwrap_or_default()
    };
    let service = (text("namespace"), text("name"));
    Ok(match service {
        ("", "") => Owner::ApiServer,
        _ if ours == Some(service) => Owner::Ours,
        (namespace, name) => Owner::Other(namespace.to_owned(), name.to_owned()),
    })
}

/// Everything it takes to get usage from either.
#[derive(Debug)]
pub struct SourceConfig {
    /// Which one.
    pub choice: SourceChoice,
    /// Our own Service, by which an APIService is known as ours: namespace and name.
    pub service: Option<(String, String)>,
    /// For kubelets.
    pub scraper: ScraperConfig,
    /// For another metrics server.
    pub poll: PollOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Kubelets,
    Api,
}

/// Publishes usage, for ever, from wherever the choice says; and the counters of reading kubelets.
/// With [`SourceChoice::Auto`] it changes sides when `metrics.k8s.io` does; what the other side
/// said is taken back then.
pub fn run(config: SourceConfig) -> (impl Future<Output = ()> + Send + use<>, ScrapeStats) {
    let SourceConfig {
        choice,
        service,
        scraper,
        poll,
    } = config;
    let scraper = Scraper::new(scraper);
    let stats = scraper.stats();
    let working = Box::pin(work(scraper, choice, service, poll));
    (working, stats)
}

async fn work(
    scraper: Scraper,
    choice: SourceChoice,
    service: Option<(String, String)>,
    poll: PollOptions,
) {
    let (client, pipeline) = scraper.shares();
    let service = service
        .as_ref()
        .map(|(namespace, name)| (namespace.as_str(), name.as_str()));
    let mut way = match choice {
        SourceChoice::Auto => settle(&client, service).await,
        SourceChoice::Kubelet => Way::Kubelets,
        SourceChoice::Api => Way::Api,
    };
    loop {
        let current = way;
        let working = async {
            match current {
                Way::Kubelets => scraper.clone().run().await,
                Way::Api => {
                    let clock = scraper.clock();
                    Poller::new(client.clone(), clock, poll.clone(), pipeline.clone())
                        .run()
                        .await;
                }
            }
        };
        let changed = async {
            if choice != SourceChoice::Auto {
                return std::future::pending().await;
            }
            loop {
                tokio::time::sleep(LOOK).await;
                let now = settle(&client, service).await;
                if now != current {
                    return now;
                }
            }
        };
        tokio::select! {
            biased;
            () = working => return,
            other = changed => way = other,
        }
        pipeline.take_back();
    }
}

/// Which way it is now; waits for an answer.
async fn settle(client: &Client, service: Option<(&str, &str)>) -> Way {
    let mut said = String::new();
    loop {
        match owner(client, service).await {
            Ok(owner) => {
                let way = match owner {
                    Owner::Nobody | Owner::Ours => Way::Kubelets,
                    Owner::ApiServer | Owner::Other(..) => Way::Api,
                };
                tracing::debug!(%owner, ?way, "who serves metrics.k8s.io");
                return way;
            }
            // Whoever may not ask does not serve it either.
            Err(kube::Error::Api(status)) if status.code == 403 => return Way::Api,
            Err(error) => {
                let why = error.to_string();
                if said != why {
                    tracing::warn!(why, "who serves metrics.k8s.io is not known yet");
                    said = why;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

impl Pipeline {
    /// Takes back everything that was published: its source is not one any more.
    fn take_back(&self) {
        let samples = self.usage.gone();
        self.publish(samples);
        self.report_outage(None);
    }
}
