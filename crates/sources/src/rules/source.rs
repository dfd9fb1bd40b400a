//! The rules at work: what there is, kept current.

use super::absent::Absent;
use super::catalog::{Catalog, Listed};
use super::config::ConfigError;
use super::mapper::Mapper;
use super::rule::Rules;
use super::values::Freshness;
use crate::prometheus::{Prometheus, PrometheusError};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use parking_lot::{Mutex, RwLock};
use plimsoll_clock::Clock;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// Metrics that were asked for and that no source knows.
    absent: Mutex<Absent>,
    /// What was remarked last, and metrics whose queries were remarked.
    remarked: Mutex<(Vec<String>, BTreeSet<String>)>,
}

/// What questions are answered from; replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) rules: Arc<Rules>,
    pub(super) catalog: Catalog,
    pub(super) mapper: Mapper,
    /// Selectors of rules whose series were never listed, unless Prometheus calls them wrong.
    pub(super) unlisted: BTreeSet<String>,
}

impl PrometheusRules {
    /// Reads the rules.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub async fn load(settings: Settings) -> Result<Self, ConfigError> {
        let rules = Rules::parse(&read(&settings.file).await?)?;
        let state = State {
            unlisted: rules.selectors().cloned().collect(),
            rules: Arc::new(rules),
            ..State::default()
        };
        Ok(Self(Arc::new(Inner {
            settings,
            state: RwLock::new(Arc::new(state)),
            absent: Mutex::default(),
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
        let mut rules = Arc::clone(&self.0.state().rules);
        loop {
            let listing = self.0.list(&rules, &mut listed).await;
            let wait = if listing {
                pause = RETRY.0;
                self.0.settings.relist_interval
            } else {
                let wait = pause;
                pause = (pause * 2).min(RETRY.1);
                wait.min(self.0.settings.relist_interval)
            };
            if let Some(changed) = self.0.wait(wait, &mut text).await {
                rules = changed;
            }
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

    /// Notes that no source knows a metric (yet).
    pub(super) fn miss(&self, metric: &str) {
        let longest = self.settings.relist_interval;
        self.absent.lock().miss(metric, Instant::now(), longest);
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

    /// Waits until it is time for the next list; answers the rules if they have changed.
    async fn wait(&self, wait: Duration, text: &mut String) -> Option<Arc<Rules>> {
        let begun = Instant::now();
        loop {
            let left = wait.saturating_sub(begun.elapsed());
            tokio::time::sleep(left.min(LOOK)).await;
            let waited = begun.elapsed();
            let is_due = waited >= wait;
            let is_wanted = waited >= SHORTEST_RELIST && self.absent.lock().is_wanted();
            let changed = self.reload(text).await;
            if changed.is_some() || is_due || is_wanted {
                self.absent.lock().listed(changed.is_some());
                return changed;
            }
        }
    }

    /// Reads changed rules; faulty ones are told and leave the old ones in force.
    async fn reload(&self, text: &mut String) -> Option<Arc<Rules>> {
        let read = read(&self.settings.file).await.ok()?;
        if read == *text {
            return None;
        }
        text.clone_from(&read);
        match Rules::parse(&read) {
            Ok(rules) => {
                let (custom, external) = rules.counts();
                tracing::info!(custom, external, "the metric rules have changed");
                Some(Arc::new(rules))
            }
            Err(error) => {
                let file = self.settings.file.display();
                tracing::error!(%file, %error, "the changed metric rules are faulty; the old ones stay in force");
                None
            }
        }
    }

    /// Lists series and applies the rules. What cannot be listed now stays as it was, and so do the
    /// old rules while series of new ones were never listed; answers whether everything could.
    async fn list(&self, rules: &Arc<Rules>, listed: &mut Listed) -> bool {
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
        let wanted: BTreeSet<&String> = rules.selectors().collect();
        listed.retain(|selector, _| wanted.contains(selector));
        let mut unlisted = BTreeSet::new();
        let start = since(self.settings.clock.now(), self.settings.max_age);
        for selector in wanted {
            match self.settings.prometheus.series(selector, start).await {
                Ok(series) => {
                    listed.insert(selector.clone(), series);
                }
                Err(error) => {
                    tracing::warn!(selector, %error, "series cannot be listed");
                    is_whole = false;
                    // What is wrong will not be listed later either.
                    let is_wrong = matches!(error, PrometheusError::Refused { kind, .. } if kind == "bad_data");
                    if !is_wrong && !listed.contains_key(selector) {
                        unlisted.insert(selector.clone());
                    }
                }
            }
        }
        if mapper.is_empty() {
            let custom = rules.custom.iter().map(|rule| rule.series_query.clone());
            unlisted.extend(custom);
        }
        if !unlisted.is_empty() && old.unlisted.is_empty() {
            return false;
        }
        let catalog = Catalog::of(rules, listed, &mapper);
        self.remark(&catalog.remarks);
        is_whole &= !mapper.is_empty();
        let state = State {
            rules: Arc::clone(rules),
            catalog,
            mapper,
            unlisted,
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

/// The moment `age` before `now`, but not before 1970: ages may be of any length.
fn since(now: Timestamp, age: Duration) -> Timestamp {
    let age = SignedDuration::try_from(age).ok();
    let start = age.and_then(|age| now.checked_sub(age).ok());
    start.map_or(Timestamp::UNIX_EPOCH, |start| {
        start.max(Timestamp::UNIX_EPOCH)
    })
}

#[cfg(test)]
mod tests {
    use super::since;
    use jiff::Timestamp;
    use rstest::rstest;
    use std::time::Duration;

    #[rstest]
    #[case(Duration::from_secs(600), "2025-12-31T23:50:00Z")]
    #[case(Duration::from_secs(1 << 40), "1970-01-01T00:00:00Z")]
    #[case(Duration::MAX, "1970-01-01T00:00:00Z")]
    fn no_age_is_too_long(#[case] age: Duration, #[case] want: &str) {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(since(now, age).to_string(), want);
    }
}
