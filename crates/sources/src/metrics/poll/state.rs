//! What has been polled and told so far: what is new, what is gone, what has grown too old.

use jiff::Timestamp;
use plimsoll_api::usage::{NodeUsage, PodName, PodUsage, Samples};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// When a sample was taken by its server's clock, and first seen by ours.
#[derive(Debug, Clone, Copy)]
struct Seen {
    taken: Timestamp,
    since: Timestamp,
    /// Whether it was taken back, because it had not changed for too long.
    taken_back: bool,
}

/// Names with what was seen of them.
type Known<K> = BTreeMap<K, Seen>;

/// Everything that was told.
#[derive(Debug, Default)]
pub(super) struct State {
    pods: Known<PodName>,
    nodes: Known<Arc<str>>,
}

/// A complete answer.
#[derive(Debug, Default)]
pub(super) struct Polled {
    pub(super) pods: Vec<(PodName, PodUsage)>,
    pub(super) nodes: Vec<(Arc<str>, NodeUsage)>,
}

impl State {
    /// What a complete answer changes. Ages are told by when a sample was first seen, since the
    /// server's clock may be another.
    pub(super) fn take(&mut self, polled: Polled, now: Timestamp, max_age: Duration) -> Samples {
        let judge = Judge { now, max_age };
        let mut samples = Samples::default();
        judge.take(
            &mut self.pods,
            polled.pods,
            |u| u.timestamp,
            &mut samples.pods,
        );
        judge.take(
            &mut self.nodes,
            polled.nodes,
            |u| u.timestamp,
            &mut samples.nodes,
        );
        samples
    }

    /// Takes everything back.
    pub(super) fn silence(&mut self) -> Samples {
        let told = |seen: &Seen| !seen.taken_back;
        let pods = std::mem::take(&mut self.pods).into_iter();
        let nodes = std::mem::take(&mut self.nodes).into_iter();
        Samples {
            pods: pods
                .filter(|(_, s)| told(s))
                .map(|(name, _)| (name, None))
                .collect(),
            nodes: nodes
                .filter(|(_, s)| told(s))
                .map(|(name, _)| (name, None))
                .collect(),
        }
    }
}

struct Judge {
    now: Timestamp,
    max_age: Duration,
}

impl Judge {
    fn take<K: Ord + Clone, U>(
        &self,
        known: &mut Known<K>,
        polled: Vec<(K, U)>,
        taken: impl Fn(&U) -> Timestamp,
        out: &mut Vec<(K, Option<U>)>,
    ) {
        let mut before = std::mem::take(known);
        for (name, usage) in polled {
            let at = taken(&usage);
            let fresh = Seen {
                taken: at,
                since: self.now,
                taken_back: false,
            };
            let mut seen = before
                .remove(&name)
                .filter(|seen| seen.taken == at)
                .unwrap_or(fresh);
            let age = self.now.duration_since(seen.since);
            let is_old =
                !seen.taken_back && Duration::try_from(age).is_ok_and(|a| a > self.max_age);
            if seen.since == self.now {
                out.push((name.clone(), Some(usage)));
            } else if is_old {
                seen.taken_back = true;
                out.push((name.clone(), None));
            }
            known.insert(name, seen);
        }
        let gone = before.into_iter().filter(|(_, seen)| !seen.taken_back);
        out.extend(gone.map(|(name, _)| (name, None)));
    }
}
