//! Reads one node in its own rhythm.

use super::ledger::Ledger;
use super::round::{self, RoundError};
use super::scraper::{ScraperConfig, Shared};
use super::track::Pace;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A node that does not answer is tried at least this often, unless the period is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// Reads one node until it is gone.
pub(super) struct Follower {
    shared: Arc<Shared>,
    node: Arc<str>,
    urls: watch::Receiver<Option<String>>,
    ledger: Ledger,
    random: StdRng,
    /// Failures since the last answer.
    failures: u32,
    /// When the last answer becomes too old; `None` when it was taken back.
    stale_at: Option<Instant>,
    /// What was logged and told of the last failure.
    said: String,
}

impl Follower {
    pub(super) fn new(
        shared: Arc<Shared>,
        node: Arc<str>,
        urls: watch::Receiver<Option<String>>,
    ) -> Self {
        let seed = node.bytes().fold(shared.config.seed, |seed, byte| {
            seed.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        Self {
            shared,
            node,
            urls,
            ledger: Ledger::default(),
            random: StdRng::seed_from_u64(seed),
            failures: 0,
            stale_at: None,
            said: String::new(),
        }
    }

    pub(super) async fn run(mut self, spread: Duration) {
        let began = Instant::now();
        let period = self.shared.config.options.resolution;
        let phase = self.within(period);
        let mut next = began + self.within(spread.min(period));
        loop {
            match self.wait(next).await {
                Woken::Gone => break,
                Woken::Moved => self.failures = 0,
                Woken::Stale => {
                    self.take_back();
                    continue;
                }
                Woken::Due => {}
            }
            self.read().await;
            let since = Instant::now().saturating_duration_since(began);
            next = if self.failures == 0 {
                began + upcoming(since, period, phase)
            } else {
                Instant::now() + self.pause(period)
            };
        }
        self.shared.publish(&self.node, self.ledger.silence());
        self.shared.forget(&self.node);
    }

    async fn wait(&mut self, next: Instant) -> Woken {
        let stale_at = self.stale_at;
        let stale = async {
            match stale_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = self.urls.changed() => match changed {
                Ok(()) => Woken::Moved,
                Err(_closed) => Woken::Gone,
            },
            () = stale => Woken::Stale,
            () = tokio::time::sleep_until(next) => Woken::Due,
        }
    }

    /// Reads the node once and publishes what came of it.
    async fn read(&mut self) {
        let shared = Arc::clone(&self.shared);
        let ScraperConfig { clock, options, .. } = &shared.config;
        let Some(url) = self.urls.borrow_and_update().clone() else {
            self.failed("it has no address of a wanted type");
            return;
        };
        let gate = if self.failures == 0 {
            &shared.steady
        } else {
            &shared.suspect
        };
        // Never closed.
        let Ok(_permit) = gate.acquire().await else {
            return;
        };
        let patience = options
            .request_timeout
            .min(options.resolution.mul_f64(0.9).max(FLOOR));
        let asked = Instant::now();
        let kubelets = &shared.config.kubelets;
        let outcome = round::read(kubelets, &url, &mut self.ledger, patience).await;
        let (took, now) = (asked.elapsed(), clock.now());
        match outcome {
            Ok(malformed) => {
                let pace = Pace {
                    resolution: options.resolution,
                    max_age: options.freshness(),
                };
                let outcome = self.ledger.finish(now, pace);
                shared.stats.succeeded(&self.node, took);
                shared.stats.unusable(malformed, outcome.incomplete);
                self.answered();
                shared.publish(&self.node, outcome);
            }
            Err(error) => {
                shared.stats.failed(took);
                self.failed(&said(&error));
            }
        }
    }

    fn answered(&mut self) {
        if self.failures > 0 {
            tracing::info!(node = %self.node, "a node answers again");
        }
        self.failures = 0;
        self.said.clear();
        self.stale_at = Some(Instant::now() + self.shared.config.options.freshness());
        let usage = &self.shared.config.pipeline.usage;
        usage.set_silent(&self.node, None);
        self.shared.mark(&self.node, None);
    }

    fn failed(&mut self, why: &str) {
        self.failures = self.failures.saturating_add(1);
        if self.said != why {
            tracing::warn!(node = %self.node, why, "a node's usage cannot be read");
            why.clone_into(&mut self.said);
        }
        let usage = &self.shared.config.pipeline.usage;
        usage.set_silent(&self.node, Some(why));
        self.shared.mark(&self.node, Some(why));
    }

    /// Takes back what the node said: it is too old to be served.
    fn take_back(&mut self) {
        self.stale_at = None;
        self.shared.stats.stale();
        let age = self.shared.config.options.freshness();
        tracing::warn!(node = %self.node, ?age, "a node's last usage is too old and no longer served");
        self.shared.publish(&self.node, self.ledger.silence());
    }

    /// Some time up to `most`.
    fn within(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.random_range(0.0..1.0))
    }

    /// How long to leave a node alone that failed, a tenth more or less.
    fn pause(&mut self, period: Duration) -> Duration {
        let doubled = period.saturating_mul(1 << self.failures.saturating_sub(1).min(10));
        let jitter = self.random.random_range(0.9..1.1);
        doubled.min(LONGEST_PAUSE.max(period)).mul_f64(jitter)
    }
}

/// However often a node is read, it may take this long.
const FLOOR: Duration = Duration::from_millis(900);

enum Woken {
    Due,
    Moved,
    Stale,
    Gone,
}

/// The next time of the form `phase` + n × `period` after `since`.
fn upcoming(since: Duration, period: Duration, phase: Duration) -> Duration {
    let past = since
        .checked_sub(phase)
        .map_or(0, |past| 1 + past.as_nanos() / period.as_nanos().max(1));
    phase.saturating_add(period.saturating_mul(u32::try_from(past).unwrap_or(u32::MAX)))
}

/// The failure as people read it.
fn said(error: &RoundError) -> String {
    match error {
        RoundError::Refused(code) if matches!(code.as_u16(), 401 | 403) => {
            format!("{error}: reading usage needs \"get\" on nodes/metrics")
        }
        RoundError::Refused(_)
        | RoundError::Timeout(_)
        | RoundError::TooLong
        | RoundError::Url(_)
        | RoundError::Connection(_) => error.to_string(),
    }
}

#[cfg(test)]
mod schedule {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 15, 4, 4)]
    #[case(4, 15, 4, 19)]
    #[case(5, 15, 4, 19)]
    #[case(20, 15, 4, 34)]
    #[case(0, 15, 0, 15)]
    fn readings_keep_their_phase(
        #[case] since: u64,
        #[case] period: u64,
        #[case] phase: u64,
        #[case] next: u64,
    ) {
        let seconds = Duration::from_secs;
        assert_eq!(
            upcoming(seconds(since), seconds(period), seconds(phase)),
            seconds(next)
        );
    }
}
