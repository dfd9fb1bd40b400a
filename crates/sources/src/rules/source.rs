//! The rules at work: what there is, kept current.

use super::catalog::{Catalog, Listed};
use super::config::ConfigError;
use super::mapper::Mapper;
use super::rule::Rules;
use super::values::Freshness;
use crate::prometheus::Prometheus;
use jiff::SignedDuration;
use kube::Client;
use parking_lot::{Mutex, RwLock};
use plimsoll_clock::Clock;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How often the file is looked at, and whether somebody asked for something unknown.
const LOOK: Duration = Duration::from_secs(2);
/// Shortest time between two lists of series that questions for unknown metrics cause.
const SHORTEST_RELIST: Duration = Duration::from_secs(15);
/// First and longest pause after a failed list.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Where rules are, what they work on, and how current the answers must be.
#[derive(Clone)]
pub struct Settings {
    /// The cluster: its resources and the names of its objects.
    pub client: Client,
    /// The series.
    pub prometheus: Prometheus,
    /// Time.
    pub clock: Clock,
    /// The rules, in prometheus-adapter's format; read again when they change.
    pub file: PathBuf,
    /// How often the series are listed. Questions for unknown metrics lead to a list earlier.
    pub relist_interval: Duration,
    /// A series counts as there if it had a sample within this time.
    pub max_age: Duration,
    /// A value older than this is none.
    pub max_sample_age: Duration,
    /// Whether Prometheus is asked when each sample was scraped, by a second query. Otherwise
    /// answers carry the time of the query, and Prometheus' own look-back hides how old a sample is.
    pub asks_sample_age: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Custom and external metrics by rules. Clones share everything.
#[derive(Debug, Clone)]
pub struct PrometheusRules(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) settings: Settings,
    state: RwLock<Arc<State>>,
    /// Somebody asked for a metric that is not in the catalog.
    missed: AtomicBool,
    /// What was remarked last, and metrics whose queries were remarked.
    remarked: Mutex<(Vec<String>, BTreeSet<String>)>,
}

/// What questions are answered from; replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) rules: Arc<Rules>,
    pub(super) catalog: Catalog,
    pub(super) mapper: Mapper,
}

impl PrometheusRules {
    /// Reads the rules.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub async fn load(settings: Settings) -> Result<Self, ConfigError> {
        let rules = Rules::parse(&read(&settings.file).await?)?;
        let state = State {
            rules: Arc::new(rules),
            ..State::default()
        };
        Ok(Self(Arc::new(Inner {
            settings,
            state: RwLock::new(Arc::new(state)),
            missed: AtomicBool::new(false),
            remarked: Mutex::default(),
        })))
    }

    /// How many rules there are for custom and for external metrics.
    pub fn counts(&self) -> (usize, usize) {
        self.0.state().rules.counts()
    }

    /// Keeps the metrics current, for ever: lists at once, then at the interval, when the file has
    /// changed, and soon after somebody has asked for a metric that is not known.
    pub async fn follow(self) {
        let mut text = read(&self.0.settings.file).await.unwrap_or_default();
        let (mut listed, mut pause) = (Listed::default(), RETRY.0);
        loop {
            let listing = self.0.list(&mut listed).await;
            let wait = if listing {
                pause = RETRY.0;
                self.0.settings.relist_interval
            } else {
                let wait = pause;
                pause = (pause * 2).min(RETRY.1);
                wait.min(self.0.settings.relist_interval)
            };
            self.0.wait(wait, &mut text).await;
        }
    }
}

async fn read(path: &Path) -> Result<String, ConfigError> {
    let text = tokio::fs::read_to_string(path).await;
    text.map_err(|source| ConfigError::Read {
        path: path.display().to_string(),
        source,
    })
}

impl Inner {
    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read())
    }

    /// Notes that a metric is not known (yet).
    pub(super) fn miss(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    pub(super) fn freshness(&self) -> Freshness {
        Freshness {
            now: self.settings.clock.now(),
            max_age: self.settings.max_sample_age,
        }
    }

    /// Says once per metric that its query does not aggregate.
    pub(super) fn remark_repeated(&self, place: &str, metric: &str, name: &str) {
        if self.remarked.lock().1.insert(metric.to_owned()) {
            tracing::warn!(
                rule = place,
                metric,
                object = name,
                "the query gives several series for one object and the largest counts: \
                 aggregate with `by (<<.GroupBy>>)`"
            );
        }
    }

    /// Waits until it is time for the next list.
    async fn wait(&self, wait: Duration, text: &mut String) {
        let begun = Instant::now();
        loop {
            let left = wait.saturating_sub(begun.elapsed());
            tokio::time::sleep(left.min(LOOK)).await;
            let waited = begun.elapsed();
            let is_due = waited >= wait;
            let is_wanted = waited >= SHORTEST_RELIST && self.missed.load(Ordering::Relaxed);
            if self.reload(text).await || is_due || is_wanted {
                self.missed.store(false, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Takes changed rules in; faulty ones are told and leave the old ones in force.
    async fn reload(&self, text: &mut String) -> bool {
        let Ok(read) = read(&self.settings.file).await else {
            return false;
        };
        if read == *text {
            return false;
        }
        text.clone_from(&read);
        match Rules::parse(&read) {
            Ok(rules) => {
                let (custom, external) = rules.counts();
                tracing::info!(custom, external, "the metric rules have changed");
                let old = self.state();
                let state = State {
                    rules: Arc::new(rules),
                    catalog: Catalog::default(),
                    mapper: old.mapper.clone(),
                };
                *self.state.write() = Arc::new(state);
                true
            }
            Err(error) => {
                let file = self.settings.file.display();
                tracing::error!(%file, %error, "the changed metric rules are faulty; the old ones stay in force");
                false
            }
        }
    }

    /// Lists series and applies the rules. What cannot be listed now stays as it was; answers
    /// whether everything could.
    async fn list(&self, listed: &mut Listed) -> bool {
        let old = self.state();
        let mut is_whole = true;
        let mapper = match Mapper::discover(&self.settings.client).await {
            Ok(mapper) => mapper,
            Err(error) => {
                tracing::warn!(%error, "the API server's resources cannot be listed");
                is_whole = false;
                old.mapper.clone()
            }
        };
        let rules = Arc::clone(&old.rules);
        let all = rules.custom.iter().chain(&rules.external);
        let wanted: BTreeSet<&String> = all.map(|rule| &rule.series_query).collect();
        listed.retain(|selector, _| wanted.contains(selector));
        let max_age = SignedDuration::try_from(self.settings.max_age);
        let start = self.settings.clock.now() - max_age.unwrap_or(SignedDuration::from_mins(10));
        for selector in wanted {
            match self.settings.prometheus.series(selector, start).await {
                Ok(series) => {
                    listed.insert(selector.clone(), series);
                }
                Err(error) => {
                    tracing::warn!(selector, %error, "series cannot be listed");
                    is_whole = false;
                }
            }
        }
        let catalog = Catalog::of(&rules, listed, &mapper);
        self.remark(&catalog.remarks);
        is_whole &= !mapper.is_empty();
        let state = State {
            rules,
            catalog,
            mapper,
        };
        *self.state.write() = Arc::new(state);
        is_whole
    }

    fn remark(&self, remarks: &[String]) {
        let mut remarked = self.remarked.lock();
        for remark in remarks.iter().filter(|r| !remarked.0.contains(*r)) {
            tracing::warn!("{remark}");
        }
        remarks.clone_into(&mut remarked.0);
    }
}
