//! Custom and external metrics: the flags that `up` and `run` share, and what they start.

use crate::run::duration;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::Client;
use plimsoll_clock::Clock;
use plimsoll_sources::custom::{Adapter, Router};
use plimsoll_sources::prometheus::{Access, Place, Prometheus, Verb};
use plimsoll_sources::rules::{PrometheusRules, Settings};
use regex::Regex;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Prometheus' own look-back: what it answers is never older by default.
const LOOK_BACK: Duration = Duration::from_secs(300);

/// Where custom and external metrics come from.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Custom and external metrics")]
pub(crate) struct MetricSourceArgs {
    /// Serve custom and external metrics by the rules in FILE, which has prometheus-adapter's
    /// format; it is read again when it changes
    #[arg(long, value_name = "FILE", requires = "prometheus_url")]
    metrics_config: Option<PathBuf>,
    /// Where Prometheus is
    #[arg(long, value_name = "URL", requires = "metrics_config")]
    prometheus_url: Option<String>,
    #[command(flatten)]
    prometheus: PrometheusArgs,
    /// How often Prometheus' series are listed; a question for an unknown metric leads to a list
    /// within 15 s [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    metrics_relist_interval: Option<Duration>,
    /// A series counts if it had a sample within this time [default: the relist interval, at
    /// least 10m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    metrics_series_max_age: Option<Duration>,
    /// Samples older than this are no values. Below 5m, which is how far Prometheus itself looks
    /// back, every question takes a second query for the samples' age [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    metrics_max_sample_age: Option<Duration>,
    /// Ask another adapter for metrics that the rules do not know, or only for those whose names
    /// match REGEX; may be given several times
    #[arg(
        long = "metrics-adapter",
        value_name = "NAME=URL[,metrics=REGEX][,ca=FILE][,token=FILE][,insecure]"
    )]
    adapters: Vec<AdapterArg>,
}

impl MetricSourceArgs {
    /// The flags given that name a source.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let config = self.metrics_config.iter().map(|_| "--metrics-config");
        let adapters = self.adapters.first().map(|_| "--metrics-adapter");
        config.chain(adapters).collect()
    }
}

/// How Prometheus is asked.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Custom and external metrics")]
struct PrometheusArgs {
    /// Authorities of Prometheus' certificate [default: the system's]
    #[arg(long = "prometheus-ca-file", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Certificate to show to Prometheus
    #[arg(long = "prometheus-client-tls-cert-file", value_name = "FILE")]
    cert_file: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long = "prometheus-client-tls-key-file", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Bearer token for Prometheus
    #[arg(long = "prometheus-token-file", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A kubeconfig whose credentials are used for Prometheus
    #[arg(long = "prometheus-auth-config", value_name = "FILE")]
    auth_config: Option<PathBuf>,
    /// A header for every request to Prometheus; may be given several times
    #[arg(long = "prometheus-header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// How queries are sent; long ones are always posted
    #[arg(
        long = "prometheus-verb",
        value_name = "VERB",
        ignore_case = true,
        default_value = "GET"
    )]
    verb: VerbArg,
    /// How long Prometheus may take to answer [default: 10s]
    #[arg(long = "prometheus-timeout", value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
#[value(rename_all = "UPPER")]
enum VerbArg {
    #[default]
    Get,
    Post,
}

/// `NAME=URL` with options.
#[derive(Debug, Clone)]
struct AdapterArg {
    name: String,
    url: String,
    metrics: Option<Regex>,
    access: Access,
}

impl FromStr for AdapterArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, url) = first
            .split_once('=')
            .filter(|(name, url)| !name.is_empty() && url.starts_with("http"))
            .ok_or_else(|| format!("{first:?} is not NAME=URL"))?;
        let mut adapter = Self {
            name: name.to_owned(),
            url: url.to_owned(),
            metrics: None,
            access: Access::default(),
        };
        for option in parts {
            let access = &mut adapter.access;
            match option.split_once('=').unwrap_or((option, "")) {
                ("metrics", text) => {
                    let anchored = Regex::new(&format!("^(?:{text})$"));
                    let bad = |_| format!("{text:?} is no regular expression");
                    adapter.metrics = Some(anchored.map_err(bad)?);
                }
                ("ca", file) => access.ca_file = Some(file.into()),
                ("token", file) => access.token_file = Some(file.into()),
                ("insecure", "") => access.insecure = true,
                (other, _) => {
                    return Err(format!(
                        "{other:?} is none of the options metrics, ca, token, insecure"
                    ));
                }
            }
        }
        Ok(adapter)
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// The sources, and the work that keeps them current.
pub(crate) struct Sources {
    /// Serves them.
    pub(crate) router: Router,
    /// To be run for as long as they are served.
    pub(crate) work: Vec<BoxFuture<'static, ()>>,
}

impl MetricSourceArgs {
    /// What the flags ask for. Nothing is asked of anybody yet, apart from files.
    ///
    /// Services of the cluster (`NAME.NAMESPACE.svc`) are reached through the API server that
    /// `proxy` talks to, or by name if there is none, as is best inside a cluster.
    pub(crate) async fn sources(
        &self,
        client: &Client,
        clock: Clock,
        proxy: Option<&Client>,
    ) -> Result<Sources> {
        let mut sources = Sources {
            router: Router::new(),
            work: Vec::new(),
        };
        if let (Some(file), Some(url)) = (&self.metrics_config, &self.prometheus_url) {
            let place = place(&self.prometheus.access(), url, proxy)
                .await
                .context("--prometheus-url")?;
            let settings = self.settings((client.clone(), clock), place, file.clone());
            let rules = PrometheusRules::load(settings)
                .await
                .with_context(|| format!("--metrics-config {}", file.display()))?;
            let (custom, external) = rules.counts();
            if custom > 0 {
                sources.router.add_custom(Arc::new(rules.clone()));
            }
            if external > 0 {
                sources.router.add_external(Arc::new(rules.clone()));
            }
            sources.work.push(rules.follow().boxed());
        }
        for wanted in &self.adapters {
            let place = place(&wanted.access, &wanted.url, proxy)
                .await
                .with_context(|| format!("--metrics-adapter {}", wanted.name))?;
            let adapter = Adapter::new(&wanted.name, place, wanted.metrics.clone(), clock);
            sources.router.add_custom(Arc::new(adapter.clone()));
            sources.router.add_external(Arc::new(adapter.clone()));
            sources.work.push(adapter.follow(self.relist()).boxed());
        }
        Ok(sources)
    }

    fn relist(&self) -> Duration {
        let wanted = self.metrics_relist_interval;
        wanted
            .unwrap_or(Duration::from_secs(600))
            .max(Duration::from_secs(1))
    }

    fn settings(&self, (client, clock): (Client, Clock), place: Place, file: PathBuf) -> Settings {
        let verb = match self.prometheus.verb {
            VerbArg::Get => Verb::Get,
            VerbArg::Post => Verb::Post,
        };
        let timeout = self.prometheus.timeout.unwrap_or(Duration::from_secs(10));
        let relist_interval = self.relist();
        let max_sample_age = self.metrics_max_sample_age.unwrap_or(LOOK_BACK);
        Settings {
            client,
            prometheus: Prometheus::new(place.client, &place.prefix, verb, timeout),
            clock,
            file,
            relist_interval,
            max_age: self
                .metrics_series_max_age
                .unwrap_or_else(|| relist_interval.max(Duration::from_secs(600))),
            max_sample_age,
            asks_sample_age: max_sample_age < LOOK_BACK,
        }
    }
}

impl PrometheusArgs {
    fn access(&self) -> Access {
        Access {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            token_file: self.token_file.clone(),
            kubeconfig: self.auth_config.clone(),
            headers: self.headers.clone(),
            insecure: false,
        }
    }
}

async fn place(access: &Access, url: &str, proxy: Option<&Client>) -> Result<Place> {
    match proxy.and_then(|client| Access::through(client, url)) {
        Some(place) => Ok(place),
        None => Ok(access.direct(url).await?),
    }
}

#[cfg(test)]
mod tests {
    use super::AdapterArg;

    #[test]
    fn an_adapter_has_a_name_a_url_and_options() {
        let adapter: AdapterArg = "dd=https://dd.x:443/,metrics=dd\\..*,ca=/ca,insecure"
            .parse()
            .unwrap();
        assert_eq!(
            (adapter.name.as_str(), adapter.url.as_str()),
            ("dd", "https://dd.x:443/")
        );
        let pattern = adapter.metrics.unwrap();
        assert!(pattern.is_match("dd.rate") && !pattern.is_match("my.dd.rate"));
        assert!(adapter.access.insecure && adapter.access.ca_file.is_some());
        for wrong in [
            "",
            "x",
            "=http://a",
            "x=ftp://a",
            "x=http://a,b",
            "x=http://a,metrics=(",
        ] {
            assert!(wrong.parse::<AdapterArg>().is_err(), "{wrong}");
        }
    }
}
