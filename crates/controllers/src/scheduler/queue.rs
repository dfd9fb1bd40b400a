//! Pods that wait for a node.
//!
//! A pod is in one of five places:
//!
//! ```text
//! add ──> line ──take──> taken ──bound──> (forgotten)
//!          ^  ^            │ └──fail──> failed ──after the back-off──> line
//!          │  └─ back-off ─┤
//!          │     over      └──park──> parked ──wake, or 5 min──> resting or line
//!        resting <─────────────────────┘
//! ```
//!
//! Who rests was tried moments ago and goes to the line once its back-off of 1 to 10 s is over, or
//! at once when nobody else is in line. Who failed (a write went wrong) sits its back-off out.
//! Order: priority first, then who came first.
//!
//! Facts: reference/embedded-cluster.md §16 (back-off 1→10 s, flush after 5 min).

use super::classes::ClassId;
use crate::runtime::ObjectKey;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// Back-off after the first attempt; doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Longest back-off.
const LAST_BACKOFF: Duration = Duration::from_secs(10);
/// After this long a parked pod is tried again although nothing that is known could help.
const FLUSH: Duration = Duration::from_secs(300);

/// Place in line: higher priority first, then who came first.
type Rank = (Reverse<i32>, u64);

/// Where a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Line,
    Resting(Instant),
    Failed(Instant),
    Parked(Instant),
    /// Something that could help happened while it was being tried.
    Taken {
        woken: bool,
    },
}

#[derive(Debug)]
struct Entry {
    rank: Rank,
    class: ClassId,
    place: Place,
    attempts: u32,
    tried: Option<Instant>,
}

/// The members of a class by place.
#[derive(Debug, Default)]
struct Members {
    /// In line or resting.
    waiting: BTreeSet<Rank>,
    parked: BTreeSet<Rank>,
    taken: BTreeSet<Rank>,
}

/// A pod handed out by [`Queue::take`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    /// Which pod.
    pub(super) key: ObjectKey,
    /// The class it was queued under.
    pub(super) class: ClassId,
}

/// The waiting pods.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: BTreeMap<ObjectKey, Entry>,
    keys: BTreeMap<Rank, ObjectKey>,
    line: BTreeSet<Rank>,
    resting: BTreeSet<Rank>,
    /// Ends of back-offs.
    due: BTreeSet<(Instant, Rank)>,
    /// Parked since when.
    since: BTreeSet<(Instant, Rank)>,
    classes: BTreeMap<ClassId, Members>,
    sequence: u64,
}

impl Queue {
    /// Puts a pod in line. One that waits already keeps its age; if it is parked or being tried,
    /// it is tried again as after any other event that could help it.
    pub(super) fn add(&mut self, key: &ObjectKey, priority: i32, class: ClassId, now: Instant) {
        let Some(entry) = self.entries.get(key) else {
            self.sequence += 1;
            let rank = (Reverse(priority), self.sequence);
            self.keys.insert(rank, key.clone());
            let entry = Entry {
                rank,
                class,
                place: Place::Line,
                attempts: 0,
                tried: None,
            };
            self.entries.insert(key.clone(), entry);
            self.enter(key);
            return;
        };
        let (place, (_, sequence)) = (entry.place, entry.rank);
        self.leave(key);
        if let Some(entry) = self.entries.get_mut(key) {
            self.keys.remove(&entry.rank);
            entry.rank = (Reverse(priority), sequence);
            entry.class = class;
            self.keys.insert(entry.rank, key.clone());
            entry.place = entry.woken(place, now);
        }
        self.enter(key);
    }

    /// Takes up to `count` pods from the front of the line; from those that rest if nobody is in
    /// line. Each must be given back with [`Queue::park`], [`Queue::fail`] or [`Queue::forget`].
    pub(super) fn take(&mut self, count: usize, now: Instant) -> Vec<Taken> {
        self.ripen(now);
        let front = if self.line.is_empty() {
            &self.resting
        } else {
            &self.line
        };
        let ranks: Vec<Rank> = front.iter().take(count).copied().collect();
        let mut taken = Vec::with_capacity(ranks.len());
        for rank in ranks {
            let Some(key) = self.keys.get(&rank).cloned() else {
                continue;
            };
            self.relocate(&key, |entry| {
                entry.tried = Some(now);
                Place::Taken { woken: false }
            });
            if let Some(entry) = self.entries.get(&key) {
                let class = entry.class;
                taken.push(Taken { key, class });
            }
        }
        taken
    }

    /// Gives back a pod that fitted nowhere.
    pub(super) fn park(&mut self, key: &ObjectKey, now: Instant) {
        self.relocate(key, |entry| {
            let Place::Taken { woken } = entry.place else {
                return entry.place;
            };
            entry.attempts = entry.attempts.saturating_add(1);
            if woken {
                entry.after_backoff(now)
            } else {
                Place::Parked(now)
            }
        });
    }

    /// Gives back a pod that could not be carried to its node; tried again after its back-off.
    pub(super) fn fail(&mut self, key: &ObjectKey, now: Instant) {
        self.relocate(key, |entry| {
            if !matches!(entry.place, Place::Taken { .. }) {
                return entry.place;
            }
            entry.attempts = entry.attempts.saturating_add(1);
            Place::Failed(now + entry.backoff())
        });
    }

    /// Something happened that could help the pods of a class.
    pub(super) fn wake(&mut self, class: ClassId, now: Instant) {
        let Some(members) = self.classes.get(&class) else {
            return;
        };
        let ranks: Vec<Rank> = members.parked.union(&members.taken).copied().collect();
        for rank in ranks {
            let Some(key) = self.keys.get(&rank).cloned() else {
                continue;
            };
            self.relocate(&key, |entry| entry.woken(entry.place, now));
        }
    }

    /// One of the class was just found to fit nowhere: those of its class that have heard so
    /// before are parked without another attempt, but for those that are `apart`.
    ///
    /// Departs: upstream tries each of them and tells each of them again. Thousands of equal pods
    /// cost one decision here, and the event log stays readable.
    pub(super) fn settle(
        &mut self,
        class: ClassId,
        apart: impl Fn(&ObjectKey) -> bool,
        now: Instant,
    ) {
        let Some(members) = self.classes.get(&class) else {
            return;
        };
        let ranks: Vec<Rank> = members.waiting.iter().copied().collect();
        for rank in ranks {
            let Some(key) = self.keys.get(&rank).cloned() else {
                continue;
            };
            if apart(&key) {
                continue;
            }
            self.relocate(&key, |entry| {
                if entry.attempts == 0 {
                    entry.place
                } else {
                    Place::Parked(now)
                }
            });
        }
    }

    /// Forgets a pod (bound, or gone).
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.leave(key);
        if let Some(entry) = self.entries.remove(key) {
            self.keys.remove(&entry.rank);
        }
    }

    /// The class a pod waits under.
    pub(super) fn class_of(&self, key: &ObjectKey) -> Option<ClassId> {
        self.entries.get(key).map(|entry| entry.class)
    }

    /// Whether any pod has this class.
    #[cfg(test)]
    pub(super) fn has_class(&self, class: ClassId) -> bool {
        self.classes.contains_key(&class)
    }

    /// Classes with members that an event could help: parked or being tried.
    pub(super) fn hopeful(&self) -> Vec<ClassId> {
        let hopes = |members: &Members| !members.parked.is_empty() || !members.taken.is_empty();
        let classes = self.classes.iter().filter(|(_, members)| hopes(members));
        classes.map(|(class, _)| *class).collect()
    }

    /// Whether somebody is in line.
    pub(super) fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// Whether somebody is in line now, or comes back to it by now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.has_line() || self.next_due().is_some_and(|due| due <= now)
    }

    /// Whether somebody rests.
    pub(super) fn has_resting(&self) -> bool {
        !self.resting.is_empty()
    }

    /// When the queue changes by itself: a back-off ends or a parked pod has waited too long.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let back = self.due.first().map(|(at, _)| *at);
        let flush = self.since.first().map(|(at, _)| *at + FLUSH);
        back.into_iter().chain(flush).min()
    }

    /// Pods waiting, wherever they are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Moves those whose time has come to the line.
    fn ripen(&mut self, now: Instant) {
        let rested = self.due.iter().take_while(|(at, _)| *at <= now);
        let stale = self.since.iter().take_while(|(at, _)| *at + FLUSH <= now);
        let ranks: Vec<Rank> = rested.chain(stale).map(|(_, rank)| *rank).collect();
        for rank in ranks {
            if let Some(key) = self.keys.get(&rank).cloned() {
                self.relocate(&key, |_| Place::Line);
            }
        }
    }

    fn relocate(&mut self, key: &ObjectKey, place: impl FnOnce(&mut Entry) -> Place) {
        self.leave(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.place = place(entry);
        }
        self.enter(key);
    }

    /// Takes the pod out of the sets of its place.
    fn leave(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        let (rank, class) = (entry.rank, entry.class);
        let members = self.classes.entry(class).or_default();
        match entry.place {
            Place::Line => {
                self.line.remove(&rank);
                members.waiting.remove(&rank);
            }
            Place::Resting(until) => {
                self.resting.remove(&rank);
                self.due.remove(&(until, rank));
                members.waiting.remove(&rank);
            }
            Place::Failed(until) => drop(self.due.remove(&(until, rank))),
            Place::Parked(since) => {
                self.since.remove(&(since, rank));
                members.parked.remove(&rank);
            }
            Place::Taken { .. } => drop(members.taken.remove(&rank)),
        }
        if members.is_empty() {
            self.classes.remove(&class);
        }
    }

    /// Puts the pod into the sets of its place.
    fn enter(&mut self, key: &ObjectKey) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        let rank = entry.rank;
        let members = self.classes.entry(entry.class).or_default();
        match entry.place {
            Place::Line => {
                self.line.insert(rank);
                members.waiting.insert(rank);
            }
            Place::Resting(until) => {
                self.resting.insert(rank);
                self.due.insert((until, rank));
                members.waiting.insert(rank);
            }
            Place::Failed(until) => drop(self.due.insert((until, rank))),
            Place::Parked(since) => {
                self.since.insert((since, rank));
                members.parked.insert(rank);
            }
            Place::Taken { .. } => drop(members.taken.insert(rank)),
        }
    }
}

impl Members {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.parked.is_empty() && self.taken.is_empty()
    }
}

impl Entry {
    /// 1 s · 2ⁿ⁻¹ after the n-th attempt, at most 10 s.
    fn backoff(&self) -> Duration {
        let doublings = self.attempts.saturating_sub(1).min(10);
        FIRST_BACKOFF
            .saturating_mul(1_u32 << doublings)
            .min(LAST_BACKOFF)
    }

    /// Where a pod goes from `place` when something happened that could help it.
    fn woken(&self, place: Place, now: Instant) -> Place {
        match place {
            Place::Taken { .. } => Place::Taken { woken: true },
            Place::Parked(_) => self.after_backoff(now),
            Place::Line | Place::Resting(_) | Place::Failed(_) => place,
        }
    }

    /// To the line, or to rest if it was tried moments ago.
    fn after_backoff(&self, now: Instant) -> Place {
        let until = self.tried.map(|tried| tried + self.backoff());
        match until.filter(|until| *until > now) {
            Some(until) => Place::Resting(until),
            None => Place::Line,
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
