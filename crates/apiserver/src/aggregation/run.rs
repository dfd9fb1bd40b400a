//! The task that looks after APIServices.

use super::registration::{Available, Registration};
use super::{RESOURCE, availability, remote};
use crate::server::ApiServer;
use crate::store::{Event, Store, Watch};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a server that answers is asked again.
const PERIOD: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles up to [`PERIOD`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Always watched: ours come and go with these.
const OWN: [&str; 2] = [RESOURCE, "apiextensions.k8s.io/customresourcedefinitions"];
/// Watched while there are other servers.
const BEHIND: [&str; 2] = ["services", "discovery.k8s.io/endpointslices"];

type Events = BoxStream<'static, Option<Arc<Event>>>;
type Checked = (String, Available, Option<remote::Discovered>);

/// When a server is to be asked.
#[derive(Debug)]
struct Probe {
    spec: Value,
    /// The Service as `NAMESPACE/NAME`.
    service: String,
    due: Instant,
    pause: Duration,
    running: bool,
}

/// All servers that are looked after.
#[derive(Debug, Default)]
struct Probes(BTreeMap<String, Probe>);

impl Probes {
    /// Takes in what is registered now: new and changed ones are due at once.
    fn adopt(&mut self, externals: &[Arc<Registration>], now: Instant) {
        let known = |name: &String| externals.iter().any(|e| e.name == *name);
        self.0.retain(|name, _| known(name));
        for external in externals {
            let service = &external.service;
            let probe = self
                .0
                .entry(external.name.clone())
                .or_insert_with(|| Probe {
                    spec: Value::Null,
                    service: String::new(),
                    due: now,
                    pause: FIRST_PAUSE,
                    running: false,
                });
            if probe.spec != external.spec {
                probe.spec = external.spec.clone();
                probe.service = format!("{}/{}", service.namespace, service.name);
                probe.due = now;
                probe.pause = FIRST_PAUSE;
            }
        }
    }

    /// Something about a Service has changed.
    fn touch(&mut self, event: &Event, now: Instant) {
        let key = &event.entry.key;
        let service = if &*key.resource == "services" {
            &*key.name
        } else {
            let labels = event.entry.index.labels.iter();
            let mut owner = labels.filter(|(k, _)| &**k == "kubernetes.io/service-name");
            match owner.next() {
                Some((_, name)) => name,
                None => return,
            }
        };
        let service = format!("{}/{service}", key.namespace);
        for probe in self.0.values_mut().filter(|p| p.service == service) {
            probe.due = now;
        }
    }

    /// Takes one that is due.
    fn take_due(&mut self, now: Instant) -> Option<String> {
        let mut due = self
            .0
            .iter_mut()
            .filter(|(_, p)| !p.running && p.due <= now);
        let (name, probe) = due.next()?;
        probe.running = true;
        probe.due = now + PERIOD;
        Some(name.clone())
    }

    /// A check has ended.
    fn done(&mut self, name: &str, available: bool, now: Instant) {
        let Some(probe) = self.0.get_mut(name) else {
            return;
        };
        probe.running = false;
        if available {
            probe.pause = FIRST_PAUSE;
            return;
        }
        probe.due = probe.due.min(now + probe.pause);
        probe.pause = (probe.pause * 2).min(PERIOD);
    }

    fn next(&self) -> Option<Instant> {
        let waiting = self.0.values().filter(|p| !p.running);
        waiting.map(|p| p.due).min()
    }
}

/// Events of some resources; `None` when history has moved past one of them.
fn events(store: &Store, resources: &[&str]) -> Events {
    let from = store.revision();
    let watches = resources
        .iter()
        .filter_map(|resource| store.watch(resource, from).ok());
    let streams = watches.map(|watch: Watch| {
        futures::stream::unfold(Some(watch), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Ok(event) => Some((Some(event), Some(watch))),
                Err(_) => Some((None, None)),
            }
        })
        .boxed()
    });
    futures::stream::select_all(streams.collect::<Vec<_>>()).boxed()
}

fn watched(any_external: bool) -> Vec<&'static str> {
    let behind = BEHIND.iter().filter(|_| any_external);
    OWN.iter().chain(behind).copied().collect()
}

impl ApiServer {
    /// Keeps an APIService for every group version that is served here, and looks after other
    /// servers: whether they answer, and with what. Runs until dropped.
    pub async fn aggregate(&self) {
        let mut probes = Probes::default();
        let mut running: FuturesUnordered<BoxFuture<'_, Checked>> = FuturesUnordered::new();
        let mut any_external = false;
        let mut feed = events(self.store(), &watched(false));
        let mut review = true;
        loop {
            if std::mem::take(&mut review) {
                if let Err(error) = self.register_own().await {
                    tracing::warn!(%error, "APIServices could not be brought up to date");
                }
                let externals = self.0.aggregation.externals();
                probes.adopt(&externals, Instant::now());
                self.forget(&probes);
                if any_external == externals.is_empty() {
                    any_external = !any_external;
                    feed = events(self.store(), &watched(any_external));
                }
            }
            while let Some(name) = probes.take_due(Instant::now()) {
                running.push(Box::pin(self.checked(name)));
            }
            let due = probes.next().unwrap_or_else(Instant::now);
            tokio::select! {
                biased;
                Some((name, available, discovered)) = running.next() => {
                    probes.done(&name, available.yes, Instant::now());
                    self.record(&name, &available, discovered).await;
                }
                event = feed.next() => match event.flatten() {
                    Some(event) if OWN.contains(&&*event.entry.key.resource) => review = true,
                    Some(event) => probes.touch(&event, Instant::now()),
                    None => {
                        feed = events(self.store(), &watched(any_external));
                        review = true;
                    }
                },
                () = self.0.aggregation.changed.notified() => review = true,
                () = tokio::time::sleep_until(due), if probes.next().is_some() => {}
            }
        }
    }

    async fn checked(&self, name: String) -> Checked {
        let externals = self.0.aggregation.externals();
        let Some(external) = externals.iter().find(|e| e.name == name) else {
            return (name, Available::local(), None);
        };
        let available = availability::check(self, external).await;
        let discovered = if available.yes {
            Some(remote::discover(self, external).await)
        } else {
            None
        };
        (name, available, discovered)
    }

    async fn record(
        &self,
        name: &str,
        available: &Available,
        discovered: Option<remote::Discovered>,
    ) {
        if let Some(discovered) = discovered {
            let mut known = self.0.aggregation.discovered.write();
            known.insert(name.to_owned(), Arc::new(discovered));
        }
        let Some(kind) = self.stored_kind("apiregistration.k8s.io", "apiservices") else {
            return;
        };
        let externals = self.0.aggregation.externals();
        if externals.iter().all(|e| e.name != name) {
            return;
        }
        if let Err(error) = self.note_available(&kind, name, available).await {
            tracing::warn!(%error, apiservice = name, "its availability could not be noted");
        }
    }

    /// Drops what is known of servers that are registered no more.
    fn forget(&self, probes: &Probes) {
        let mut known = self.0.aggregation.discovered.write();
        known.retain(|name, _| probes.0.contains_key(name));
    }
}

#[cfg(test)]
mod tests {
    use super::super::registration::Registered;
    use super::*;
    use serde_json::json;

    fn external(port: u16) -> Arc<Registration> {
        let service = json!({"namespace": "n", "name": "s", "port": port});
        let object = json!({
            "metadata": {"name": "v1.a.b"},
            "spec": {"group": "a.b", "version": "v1", "service": service},
        });
        Registered::parse(&object).external().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_retried_sooner_and_ever_later() {
        let mut probes = Probes::default();
        let start = Instant::now();
        probes.adopt(&[external(1)], start);
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            assert_eq!(probes.take_due(now).as_deref(), Some("v1.a.b"));
            assert_eq!(probes.take_due(now), None, "one check at a time");
            probes.done("v1.a.b", false, now);
            let next = probes.next().unwrap();
            pauses.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(pauses[..4], [500, 1_000, 2_000, 4_000]);
        assert_eq!(pauses[8], 30_000);
        probes.adopt(&[external(2)], now - PERIOD);
        assert!(
            probes.next().unwrap() < now,
            "a changed spec is looked at at once"
        );
        probes.adopt(&[], now);
        assert_eq!(probes.next(), None);
    }
}
