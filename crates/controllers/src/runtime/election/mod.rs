//! Leader election over a Lease, with the semantics of client-go: of several processes at most one
//! acts.
//!
//! ```text
//! candidate ──lease free or run out──► leader ──renews every retry period──┐
//!     ▲                                  │ ▲                               │
//!     └── the process ends or starts over┘ └───────────────────────────────┘
//!          (not renewed for the renew deadline, or taken by another)
//! ```
//!
//! A leader counts its deadline from the *sending* of the last renewal that succeeded; a candidate
//! counts the lease duration from *seeing* the last renewal. As the deadline is shorter, the one has
//! stopped before the other begins, whatever the clocks of the machines show and however long the
//! API server is away.
//!
//! Departs: a lease that is released is taken over at once, because candidates watch it; client-go's
//! try again after 2 to 4.4 s.

mod record;
mod sight;

pub use record::{Timing, TimingError};

use self::record::{Observed, Record};
use self::sight::Sight;
use super::{Meta, Recorder, Reference, Said, chain};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client, Error};
use plimsoll_clock::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Giving the lease back may take no longer; it runs out by itself.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// Why an attempt failed that was not answered.
const SLOW: &str = "the API server gives no answer in time";

/// What to do where the namespace of our own objects is missing.
pub(crate) fn no_namespace(name: &str) -> String {
    format!(
        "there is no namespace {name}: kubectl create namespace {name}, or name another one with \
         --leader-elect-resource-namespace"
    )
}

/// Which lease, who wants it, and how patiently.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub name: String,
    /// Who this process is; must be unlike every other's.
    pub identity: String,
    /// How often and how long.
    pub timing: Timing,
}

/// Why a leader has to stop acting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The API server did not confirm the lease in time, so that others may take it soon.
    #[error("the lease could not be renewed for {} s", .0.as_secs_f64())]
    NotRenewed(Duration),
    /// Somebody else has the lease.
    #[error("the lease is held by {0}")]
    Taken(String),
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Mine,
    Others(String),
}

/// Takes part in an election.
#[derive(Debug)]
pub struct Elector {
    leases: Api<Lease>,
    settings: Settings,
    clock: Clock,
    recorder: Recorder,
    rng: StdRng,
    observed: Observed,
    /// The lease as last written by us.
    own: Option<Lease>,
    /// Acting is allowed until then.
    deadline: Option<Instant>,
    sight: Sight,
    /// What is wrong, told once.
    said: Said,
}

impl Elector {
    /// A candidate. Starts to watch the lease; must be called inside a runtime.
    pub fn new(
        client: Client,
        clock: Clock,
        recorder: Recorder,
        settings: Settings,
        seed: u64,
    ) -> Self {
        let leases = Api::namespaced(client, &settings.namespace);
        Self {
            sight: Sight::start(leases.clone(), settings.name.clone()),
            leases,
            settings,
            clock,
            recorder,
            rng: StdRng::seed_from_u64(seed ^ 0x1ea5e),
            observed: Observed::default(),
            own: None,
            deadline: None,
            said: Said::default(),
        }
    }

    /// Whether this process may act now.
    pub fn leads(&self) -> bool {
        self.deadline.is_some_and(|until| Instant::now() < until)
    }

    /// Until when this process may act, if the lease is not renewed meanwhile.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Tries until this process leads. May be dropped at any time; [`Elector::release`] then gives
    /// back what an attempt in flight may have won.
    pub async fn acquire(&mut self) {
        let mut told = String::new();
        loop {
            let begun = Instant::now();
            match timeout(self.patience(), self.attempt()).await {
                Ok(Ok(Outcome::Mine)) => {
                    self.deadline = Some(begun + self.settings.timing.renew_deadline);
                    if self.leads() {
                        self.said.is_over();
                        self.tell("became leader");
                        return;
                    }
                }
                Ok(Ok(Outcome::Others(leader))) => {
                    self.said.is_over();
                    if told != leader {
                        tracing::info!(%leader, "another process leads; standing by");
                        told = leader;
                    }
                }
                Ok(Err(error)) => self.complain("cannot take the lease", &self.text_of(&error)),
                Err(_) => self.complain("cannot take the lease", SLOW),
            }
            let stretch = self.rng.random_range(1.0..2.2);
            let pause = self.settings.timing.retry_period.mul_f64(stretch);
            tokio::select! {
                biased;
                () = sleep_until(begun + pause) => {}
                () = self.sight.freed() => {}
            }
        }
    }

    /// Renews the lease until it is lost. The caller must stop acting as soon as this returns.
    pub async fn hold(&mut self) -> Lost {
        let timing = self.settings.timing;
        loop {
            let expires = self.deadline.unwrap_or_else(Instant::now);
            let next = (Instant::now() + timing.retry_period).min(expires);
            tokio::select! {
                biased;
                () = sleep_until(next) => {}
                () = self.sight.not_held_by(&self.settings.identity) => {}
            }
            let begun = Instant::now();
            if begun >= expires {
                return self.lose(Lost::NotRenewed(timing.renew_deadline));
            }
            let patience = self.patience().min(expires - begun);
            match timeout(patience, self.attempt()).await {
                Ok(Ok(Outcome::Mine)) => {
                    self.said.is_over();
                    self.deadline = Some(begun + timing.renew_deadline);
                }
                Ok(Ok(Outcome::Others(leader))) => return self.lose(Lost::Taken(leader)),
                Ok(Err(error)) => self.complain("cannot renew the lease", &self.text_of(&error)),
                Err(_) => self.complain("cannot renew the lease", SLOW),
            }
        }
    }

    /// Gives the lease back, so that another process may lead at once. To be called after the last
    /// write. Does nothing if another process has it already. Takes two seconds at most.
    ///
    /// # Errors
    /// The API server cannot be reached; the lease then runs out by itself.
    pub async fn release(&mut self) -> Result<(), Error> {
        let led = self.deadline.take().is_some();
        self.own = None;
        let released = timeout(RELEASE_PATIENCE, self.give_back(led)).await;
        released.unwrap_or_else(|_| {
            tracing::warn!("giving the lease back takes too long; it will run out");
            Ok(())
        })
    }

    async fn give_back(&self, led: bool) -> Result<(), Error> {
        let Some(mut lease) = self.leases.get_opt(&self.settings.name).await? else {
            return Ok(());
        };
        let record = Record::of(lease.spec.as_ref());
        if record.holder != self.settings.identity {
            return Ok(());
        }
        let released = record.released(self.clock.now());
        released.write_to(lease.spec.get_or_insert_default());
        let params = PostParams::default();
        let replaced = self.leases.replace(&self.settings.name, &params, &lease);
        match replaced.await {
            // Somebody was faster.
            Err(Error::Api(status)) if status.code == 409 || status.code == 404 => {}
            outcome => drop(outcome?),
        }
        if led {
            self.tell_about(&lease, "stopped leading");
        }
        Ok(())
    }

    /// One attempt may not use up the time for a second one.
    fn patience(&self) -> Duration {
        self.settings.timing.renew_deadline / 2
    }

    async fn attempt(&mut self) -> Result<Outcome, Error> {
        if let Some(own) = self.own.take().filter(|_| self.leads()) {
            match self.write(own).await {
                // Somebody has written it; look what.
                Err(Error::Api(status)) if status.code == 409 || status.code == 404 => {}
                other => return other,
            }
        }
        let name = &self.settings.name;
        let found = self.leases.get_opt(name).await?;
        let record = found.as_ref().map(|lease| Record::of(lease.spec.as_ref()));
        let now = Instant::now();
        self.observed.see(record.as_ref(), now);
        if let Some(other) = self.observed.other_leader(&self.settings.identity, now) {
            return Ok(Outcome::Others(other.to_owned()));
        }
        match found {
            Some(lease) => self.write(lease).await,
            None => self.create().await,
        }
    }

    async fn write(&mut self, mut lease: Lease) -> Result<Outcome, Error> {
        let Settings {
            name,
            identity,
            timing,
            ..
        } = &self.settings;
        let record = Record::of(lease.spec.as_ref()).led_by(identity, timing, self.clock.now());
        record.write_to(lease.spec.get_or_insert_default());
        let params = PostParams::default();
        let written = self.leases.replace(name, &params, &lease).await?;
        self.observed.see(Some(&record), Instant::now());
        self.own = Some(written);
        Ok(Outcome::Mine)
    }

    async fn create(&mut self) -> Result<Outcome, Error> {
        let Settings {
            name,
            identity,
            timing,
            namespace,
        } = &self.settings;
        let record = Record::first(identity, timing, self.clock.now());
        let mut spec = LeaseSpec::default();
        record.write_to(&mut spec);
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(spec),
        };
        let created = self.leases.create(&PostParams::default(), &lease).await?;
        self.observed.see(Some(&record), Instant::now());
        self.own = Some(created);
        Ok(Outcome::Mine)
    }

    /// Warns of what is wrong, once; attempts go on.
    fn complain(&mut self, what: &str, why: &str) {
        if self.said.is_news(why) {
            tracing::warn!("{what}, still trying: {why}");
        } else {
            tracing::debug!("{what}, still trying: {why}");
        }
    }

    fn text_of(&self, error: &Error) -> String {
        if let Error::Api(status) = error
            && status.code == 404
            && status.message.starts_with("namespaces")
        {
            return no_namespace(&self.settings.namespace);
        }
        chain(error)
    }

    fn lose(&mut self, why: Lost) -> Lost {
        self.deadline = None;
        if let Some(own) = self.own.take() {
            self.tell_about(&own, "stopped leading");
        }
        why
    }

    fn tell(&self, what: &str) {
        if let Some(own) = &self.own {
            self.tell_about(own, what);
        }
    }

    /// Parity: the event that client-go's leases record.
    fn tell_about(&self, lease: &Lease, what: &str) {
        let identity = &self.settings.identity;
        tracing::info!(%identity, "{what}");
        let meta = Meta::from(lease.metadata.clone());
        let about = Reference::to("coordination.k8s.io/v1", "Lease", &meta);
        let message = format!("{identity} {what}");
        self.recorder.normal(&about, "LeaderElection", message);
    }
}
