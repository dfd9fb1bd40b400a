//! Since when nodes are unneeded (reference §12.4).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How exactly it is known when nodes were last looked at.
const FRESH: SignedDuration = SignedDuration::from_mins(1);

/// Begins of the times in which nodes were unneeded without a break.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Timers {
    since: BTreeMap<Arc<str>, Timestamp>,
    /// When they were last known to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    looked: Option<Timestamp>,
}

impl Timers {
    /// Since when a node is unneeded.
    pub fn since(&self, node: &str) -> Option<Timestamp> {
        self.since.get(node).copied()
    }

    /// How many nodes are unneeded.
    pub fn len(&self) -> usize {
        self.since.len()
    }

    /// Whether no node is.
    pub fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    /// Nothing is known to be unneeded any more.
    pub fn clear(&mut self) {
        self.since.clear();
    }

    /// Drops what nobody watched for longer than this: a node may have been needed meanwhile.
    pub(super) fn expire(&mut self, unwatched: SignedDuration, now: Timestamp) {
        let known = self
            .looked
            .and_then(|last| last.saturating_add(unwatched).ok());
        if known.is_some_and(|until| until < now) {
            self.since.clear();
        }
    }

    /// Keeps the timers of these nodes, begins new ones and ends all others. A new one begins at
    /// the time given with the node, if there is one, else now.
    pub(super) fn update(
        &mut self,
        unneeded: impl IntoIterator<Item = (Arc<str>, Option<Timestamp>)>,
        now: Timestamp,
    ) {
        let mut since = BTreeMap::new();
        for (node, marked) in unneeded {
            let known = self.since.get(&node).copied();
            since.insert(node, known.or(marked).unwrap_or(now));
        }
        self.since = since;
        // Whoever keeps this writes it when it changes: not with every look.
        let known = self.looked.filter(|_| !self.since.is_empty());
        let is_fresh = |last: &Timestamp| *last <= now && now.duration_since(*last) < FRESH;
        self.looked = known
            .filter(is_fresh)
            .or((!self.since.is_empty()).then_some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::Timers;
    use jiff::{SignedDuration, Timestamp};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn one_look_in_which_a_node_is_needed_begins_anew() {
        let mut timers = Timers::default();
        timers.update([("a".into(), None), ("b".into(), Some(at(3)))], at(10));
        timers.update([("a".into(), None)], at(20));
        timers.update([("a".into(), None), ("b".into(), None)], at(30));
        assert_eq!(
            (timers.since("a"), timers.since("b")),
            (Some(at(10)), Some(at(30)))
        );
    }

    #[test]
    fn looks_that_find_nothing_new_change_nothing_for_a_minute() {
        let mut timers = Timers::default();
        timers.update([], at(5));
        assert_eq!(timers, Timers::default());
        timers.update([("a".into(), None)], at(10));
        let before = timers.clone();
        timers.update([("a".into(), None)], at(69));
        assert_eq!(timers, before);
        timers.update([("a".into(), None)], at(70));
        assert_ne!(timers, before);
    }

    #[test]
    fn what_nobody_watched_is_dropped() {
        let mut timers = Timers::default();
        timers.update([("a".into(), None)], at(10));
        timers.expire(SignedDuration::from_mins(5), at(310));
        assert_eq!(timers.len(), 1);
        timers.expire(SignedDuration::from_mins(5), at(311));
        assert!(timers.is_empty());
    }
}
