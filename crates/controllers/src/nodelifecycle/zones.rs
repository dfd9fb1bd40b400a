//! How fast unhealthy nodes may lose their pods, by zone.
//!
//! One node at a time is a broken node; most nodes of a zone at a time is a broken network, and
//! then moving pods around would only do harm.

use crate::pods::NodeView;
use crate::runtime::Change;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pause between nodes of a healthy zone (0.1 nodes a second).
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// Pause in a large zone that is unhealthy (0.01 nodes a second).
const LONG_PAUSE: SignedDuration = SignedDuration::from_secs(100);
/// A zone with more nodes than this is large.
const LARGE: usize = 50;
/// Parts of a hundred nodes that must be unhealthy for their zone to be so.
const UNHEALTHY_PERCENT: usize = 55;
/// When to look again while nothing may be done.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Nodes with this label count for no zone.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

#[derive(Debug, Default)]
struct Zone {
    ready: usize,
    unready: usize,
    /// When the last node of the zone was let go.
    last: Option<Timestamp>,
}

/// How a zone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Normal,
    /// Most nodes are unhealthy.
    Partial,
    /// All are.
    Full,
}

impl Zone {
    fn state(&self) -> State {
        let all = self.ready + self.unready;
        if self.ready == 0 && self.unready > 0 {
            State::Full
        } else if self.unready > 2 && self.unready * 100 >= all * UNHEALTHY_PERCENT {
            State::Partial
        } else {
            State::Normal
        }
    }

    /// Pause between nodes; `None` = no node may be let go.
    fn pause(&self) -> Option<SignedDuration> {
        match self.state() {
            // Where a whole zone is gone others can take its pods.
            State::Normal | State::Full => Some(PAUSE),
            State::Partial if self.ready + self.unready > LARGE => Some(LONG_PAUSE),
            State::Partial => None,
        }
    }
}

/// The zones of a cluster.
#[derive(Debug, Default)]
pub(super) struct Zones {
    zones: BTreeMap<String, Zone>,
}

/// What [`Zones::ask`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Drive the pods away now.
    Go,
    /// Ask again after this time.
    Later(Duration),
    /// No node is healthy: the fault is rather here. Nothing is driven anywhere.
    Nowhere,
}

impl Zones {
    /// Follows a change of a node. Answers whether a node was healthy before and none is now, or
    /// the other way round.
    pub(super) fn follow(&mut self, change: &Change<NodeView>) -> bool {
        let before = self.all_down();
        if let Some(old) = change.old.as_deref().filter(|node| counts(node)) {
            let zone = self.zones.entry(key(old)).or_default();
            let count = if old.is_ready() {
                &mut zone.ready
            } else {
                &mut zone.unready
            };
            *count = count.saturating_sub(1);
        }
        if let Some(new) = change.new.as_deref().filter(|node| counts(node)) {
            let zone = self.zones.entry(key(new)).or_default();
            if new.is_ready() {
                zone.ready += 1;
            } else {
                zone.unready += 1;
            }
        }
        self.zones.retain(|_, zone| zone.ready + zone.unready > 0);
        before != self.all_down()
    }

    fn all_down(&self) -> bool {
        self.zones.values().all(|zone| zone.state() == State::Full)
    }

    /// Whether pods may be driven off this unhealthy node now.
    pub(super) fn ask(&mut self, node: &NodeView, now: Timestamp) -> Answer {
        if self.all_down() {
            return Answer::Nowhere;
        }
        let Some(zone) = self.zones.get_mut(&key(node)) else {
            return Answer::Go;
        };
        let Some(pause) = zone.pause() else {
            return Answer::Later(LOOK_AGAIN);
        };
        let left = zone.last.map(|last| pause - now.duration_since(last));
        match left.and_then(|left| Duration::try_from(left).ok()) {
            Some(left) if !left.is_zero() => Answer::Later(left),
            Some(_) | None => {
                zone.last = Some(now);
                Answer::Go
            }
        }
    }

    /// The node that was let go at that time stays after all, so the next may go at once.
    pub(super) fn give_back(&mut self, node: &NodeView, at: Timestamp) {
        if let Some(zone) = self.zones.get_mut(&key(node))
            && zone.last == Some(at)
        {
            // The pause before was over.
            zone.last = None;
        }
    }

    /// Whether no node is healthy.
    pub(super) fn nowhere(&self) -> bool {
        self.all_down()
    }
}

/// A node that has not said anything yet does not count.
fn counts(node: &NodeView) -> bool {
    node.condition("Ready").is_some() && node.meta.label(EXCLUDED).is_none()
}

fn key(node: &NodeView) -> String {
    let part = |labels: [&str; 2]| {
        let mut values = labels
            .into_iter()
            .filter_map(|label| node.meta.label(label));
        values.next().unwrap_or_default().to_owned()
    };
    let region = part([
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/region",
    ]);
    let zone = part([
        "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/zone",
    ]);
    format!("{region}/{zone}")
}

#[cfg(test)]
mod tests {
    use super::{Answer, Zones};
    use crate::pods::NodeView;
    use crate::runtime::{Cached, Change, ObjectKey};
    use jiff::{SignedDuration, Timestamp};
    use rstest::rstest;
    use serde_json::json;
    use std::sync::Arc;
    use std::time::Duration;

    fn node(zone: &str, ready: bool) -> Arc<NodeView> {
        let json = json!({
            "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": zone}},
            "status": {"conditions": [{"type": "Ready", "status": if ready {"True"} else {"False"}}]},
        });
        Arc::new(NodeView::from_wire(serde_json::from_value(json).unwrap()))
    }

    fn change(old: Option<Arc<NodeView>>, new: Option<Arc<NodeView>>) -> Change<NodeView> {
        let key = ObjectKey::new("", "n");
        Change { key, old, new }
    }

    fn zones(counts: &[(&str, usize, usize)]) -> Zones {
        let mut zones = Zones::default();
        for (zone, ready, unready) in counts {
            for _ in 0..*ready {
                zones.follow(&change(None, Some(node(zone, true))));
            }
            for _ in 0..*unready {
                zones.follow(&change(None, Some(node(zone, false))));
            }
        }
        zones
    }

    const TEN: Answer = Answer::Later(Duration::from_secs(10));
    const HUNDRED: Answer = Answer::Later(Duration::from_secs(100));
    const AGAIN: Answer = Answer::Later(Duration::from_secs(5));

    #[rstest]
    #[case::one_of_a_few(&[("a", 2, 1)], Answer::Go, TEN)]
    #[case::two_of_three_are_too_few_to_judge(&[("a", 1, 2)], Answer::Go, TEN)]
    #[case::most_of_a_small_zone(&[("a", 2, 3)], AGAIN, AGAIN)]
    #[case::just_below(&[("a", 46, 54)], Answer::Go, TEN)]
    #[case::most_of_a_large_zone(&[("a", 45, 55)], Answer::Go, HUNDRED)]
    #[case::a_whole_zone(&[("a", 0, 3), ("b", 1, 0)], Answer::Go, TEN)]
    #[case::everything(&[("a", 0, 3), ("b", 0, 1)], Answer::Nowhere, Answer::Nowhere)]
    #[case::the_only_node(&[("a", 0, 1)], Answer::Nowhere, Answer::Nowhere)]
    fn zones_bound_the_rate(
        #[case] counts: &[(&str, usize, usize)],
        #[case] first: Answer,
        #[case] second: Answer,
    ) {
        let mut zones = zones(counts);
        let now = Timestamp::UNIX_EPOCH;
        let victim = node("a", false);
        assert_eq!(zones.ask(&victim, now), first);
        assert_eq!(zones.ask(&victim, now), second);
        let later = now + SignedDuration::from_secs(100);
        assert_eq!(zones.ask(&victim, later), first);
    }

    #[test]
    fn a_turn_that_came_to_nothing_is_given_back() {
        let mut zones = zones(&[("a", 2, 1)]);
        let (now, victim) = (Timestamp::UNIX_EPOCH, node("a", false));
        assert_eq!(zones.ask(&victim, now), Answer::Go);
        zones.give_back(&victim, now + SignedDuration::from_secs(1));
        assert_eq!(zones.ask(&victim, now), TEN, "another's turn");
        zones.give_back(&victim, now);
        assert_eq!(zones.ask(&victim, now), Answer::Go);
    }

    #[test]
    fn losing_the_last_node_and_getting_one_back_are_noticed() {
        let mut zones = zones(&[("a", 1, 1)]);
        let (up, down) = (|| Some(node("a", true)), || Some(node("a", false)));
        assert!(zones.follow(&change(up(), down())));
        assert!(zones.nowhere());
        assert!(!zones.follow(&change(down(), down())));
        assert!(zones.follow(&change(down(), up())));
        assert!(!zones.nowhere());
    }
}
