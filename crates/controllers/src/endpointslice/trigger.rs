//! Which change led to what is written, for those who measure how long endpoints take.

use crate::pods::{PodView, ServiceView};
use crate::runtime::ObjectKey;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Annotation: when the first change happened that a write shows.
pub(crate) const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What had been seen of a service when its endpoints were last looked at.
#[derive(Debug)]
struct Seen {
    service: Option<Timestamp>,
    pods: BTreeMap<Arc<str>, Timestamp>,
}

/// Remembers for each service which changes have been written.
#[derive(Debug, Default)]
pub(crate) struct Triggers(Mutex<BTreeMap<ObjectKey, Seen>>);

/// What a write is to show.
#[derive(Debug)]
pub(crate) struct Trigger {
    earliest: Option<Timestamp>,
    seen: Seen,
}

impl Trigger {
    /// The value of the annotation; `None` where nothing has changed that has a time.
    pub(crate) fn time(&self) -> Option<String> {
        self.earliest
            .map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

impl Triggers {
    /// The earliest change since the last write for this service.
    pub(crate) fn of(&self, service: &ServiceView, pods: &[Arc<PodView>]) -> Trigger {
        let created = service.meta.created;
        let changed = pods.iter().filter_map(|pod| {
            let ready = pod.condition("Ready")?;
            Some((Arc::clone(&pod.meta.key.name), ready.since?))
        });
        let now = Seen {
            service: created,
            pods: changed.collect(),
        };
        let earliest = match self.0.lock().get(&service.meta.key) {
            Some(before) => earliest(before, &now),
            None => created,
        };
        Trigger {
            earliest,
            seen: now,
        }
    }

    /// The write has happened: the next one shows what comes after it.
    pub(crate) fn written(&self, service: &ObjectKey, trigger: Trigger) {
        self.0.lock().insert(service.clone(), trigger.seen);
    }

    /// Forgets a service that is gone.
    pub(crate) fn forget(&self, service: &ObjectKey) {
        self.0.lock().remove(service);
    }
}

fn earliest(before: &Seen, now: &Seen) -> Option<Timestamp> {
    let pods = now.pods.iter();
    let newer = pods.filter(|(name, at)| before.pods.get(*name).is_none_or(|old| old < *at));
    let service = now
        .service
        .filter(|at| before.service.is_none_or(|old| old < *at));
    newer.map(|(_, at)| *at).chain(service).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(service: i64, pods: &[(&str, i64)]) -> Seen {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        Seen {
            service: Some(at(service)),
            pods: pods
                .iter()
                .map(|(name, s)| (Arc::from(*name), at(*s)))
                .collect(),
        }
    }

    #[test]
    fn what_could_not_be_written_is_shown_by_the_next_write() {
        let service = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "creationTimestamp": "1970-01-01T00:00:05Z"}, "spec": {},
        }));
        let service = <ServiceView as crate::runtime::Cached>::from_wire(service.unwrap());
        let triggers = Triggers::default();
        let want = Some("1970-01-01T00:00:05Z".to_owned());
        assert_eq!(triggers.of(&service, &[]).time(), want);
        let again = triggers.of(&service, &[]);
        assert_eq!(again.time(), want);
        triggers.written(&service.meta.key, again);
        assert_eq!(triggers.of(&service, &[]).time(), None);
    }

    #[rstest::rstest]
    #[case::nothing(&[("a", 5)], &[("a", 5)], None)]
    #[case::one_became_ready(&[("a", 5), ("b", 6)], &[("a", 9), ("b", 6)], Some(9))]
    #[case::the_first_of_two(&[("a", 5), ("b", 6)], &[("a", 9), ("b", 8)], Some(8))]
    #[case::a_new_pod(&[("a", 5)], &[("a", 5), ("b", 7)], Some(7))]
    #[case::one_left(&[("a", 5), ("b", 6)], &[("a", 5)], None)]
    fn the_earliest_new_change_counts(
        #[case] before: &[(&str, i64)],
        #[case] now: &[(&str, i64)],
        #[case] want: Option<i64>,
    ) {
        let got = earliest(&seen(1, before), &seen(1, now));
        assert_eq!(got.map(Timestamp::as_second), want);
    }
}
