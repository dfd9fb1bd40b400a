//! Which nodes get a daemon pod, and how a rollout replaces them.

use super::Because::{Failed, Misplaced, Succeeded, Surplus};
use super::{Bounds, Daemon, Health, Place, Step, manage, next, roll};
use crate::daemonset::eligible::Eligible;
use crate::pods::Phase;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;
use std::sync::Arc;

/// A pod by a short text: `n`ew or `o`ld, then `A`vailable, `R`eady, `s`tarting, `P`ending
/// (unbound), `F`ailed, `D`one, and `x` if it ends; the name is its position.
fn daemon(text: &str, position: usize) -> Daemon {
    let has = |letter| text.contains(letter);
    Daemon {
        name: format!("p{position}").into(),
        current: text.starts_with('n'),
        ends: has('x'),
        phase: match () {
            () if has('F') => Phase::Failed,
            () if has('D') => Phase::Succeeded,
            () if has('P') => Phase::Pending,
            () => Phase::Running,
        },
        health: match () {
            () if has('A') => Health::Available,
            () if has('R') => Health::Ready,
            () => Health::Unready,
        },
        bound: !has('P'),
        created: Some(
            Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::try_from(position).unwrap()),
        ),
    }
}

/// Places from text: nodes divided by spaces, pods by `+`, `-` for none; `~` before a node that
/// starts none, `!` before one that should have none.
fn places(text: &str) -> Vec<Place> {
    let place = |(number, text): (usize, &str)| {
        let (eligible, text) = match text.split_at(1) {
            ("~", rest) => (Eligible::Stay, rest),
            ("!", rest) => (Eligible::Never, rest),
            _ => (Eligible::Run, text),
        };
        let daemons = text.split('+').filter(|text| *text != "-").enumerate();
        let daemons = daemons.map(|(at, text)| daemon(text, at)).collect();
        Place::new(format!("{number}").into(), eligible, daemons)
    };
    text.split(' ').enumerate().map(place).collect()
}

/// Steps as text: `+NODE`, `-NODE/POD`.
fn shown(steps: &[Step]) -> String {
    let text = |step: &Step| match step {
        Step::Create(node) => format!("+{node}"),
        Step::Delete { node, pod, .. } => format!("-{node}/{pod}"),
    };
    steps.iter().map(text).collect::<Vec<_>>().join(" ")
}

#[rstest]
#[case::empty_nodes_get_one("- nA -", "+0 +2")]
#[case::one_that_ends_is_waited_for("nAx", "")]
#[case::failed_and_done_go("nF nD", "-0/p0 -1/p0")]
#[case::the_youngest_go("nA+nA+nA", "-0/p1 -0/p2")]
#[case::the_unbound_go_first("nP+nA", "-0/p0")]
#[case::no_node_for_them("!nA !nAx !-", "-0/p0")]
#[case::a_taint_starts_none_and_keeps_one("~- ~nA ~nF", "-2/p0")]
#[case::a_failed_one_beside_a_running("nF+nA", "-0/p0")]
fn manages(#[case] there: &str, #[case] want: &str) {
    assert_eq!(shown(&manage(&places(there), false)), want);
}

#[rstest]
#[case::one_that_ends_is_not_waited_for("nAx ~nAx", "+0")]
#[case::two_while_the_new_one_starts("oA+ns", "")]
#[case::the_old_goes_when_the_new_is_available("oA+nA", "-0/p0")]
#[case::the_old_goes_when_it_does_not_serve("os+ns", "-0/p0")]
#[case::ready_is_not_available("oA+nR", "")]
#[case::no_third("oA+oA+ns", "-0/p1")]
#[case::a_failed_one_goes_first("nF nDx", "-0/p0 +1")]
fn manages_while_surging(#[case] there: &str, #[case] want: &str) {
    assert_eq!(shown(&manage(&places(there), true)), want);
}

#[rstest]
#[case::one_after_another("oA oA oA", 1, "-0/p0")]
#[case::two_at_once("oA oA oA", 2, "-0/p0 -1/p0")]
#[case::the_new_one_is_waited_for("ns oA oA", 1, "")]
#[case::an_available_one_counts_no_more("nA oA oA", 1, "-1/p0")]
#[case::an_empty_node_counts("- oA oA", 1, "")]
#[case::one_that_ends_counts("oAx oA oA", 1, "")]
#[case::an_unavailable_old_one_goes_and_counts("oA os oA", 1, "-1/p0")]
#[case::beside_an_unavailable_old_one("oA os oA", 2, "-1/p0 -0/p0")]
#[case::all_unavailable_ones_go("os os os", 1, "-0/p0 -1/p0 -2/p0")]
#[case::where_none_is_started_it_goes_for_good("~oA oA", 1, "-0/p0")]
#[case::nothing_is_old("nA nA", 1, "")]
#[case::no_node_at_all("!-", 1, "")]
fn replaces(#[case] there: &str, #[case] unavailable: usize, #[case] want: &str) {
    let bounds = Bounds {
        unavailable,
        surge: 0,
    };
    assert_eq!(shown(&roll(&places(there), bounds)), want);
}

#[rstest]
#[case::one_after_another("oA oA oA", 1, "+0")]
#[case::a_starting_one_is_waited_for("oA+ns oA", 1, "")]
#[case::an_available_one_relieves("oA+nA oA", 1, "-0/p0 +1")]
#[case::an_unavailable_old_one_costs_nothing("os oA oA", 1, "+0 +1")]
#[case::two_at_once("oA oA oA", 2, "+0 +1")]
#[case::where_none_is_started("~oA oA", 1, "-0/p0 +1")]
fn surges(#[case] there: &str, #[case] surge: usize, #[case] want: &str) {
    let bounds = Bounds {
        unavailable: 0,
        surge,
    };
    assert_eq!(shown(&roll(&places(there), bounds)), want);
}

#[rstest]
#[case::before_its_pause("oF oA", 0, "", "-0/p0")]
#[case::during_its_pause("oF oA", 0, "0", "-0/p0 -0/p0")]
#[case::the_pause_of_another("oF oA", 0, "1", "-0/p0")]
#[case::what_is_not_in_order_besides("oF -", 0, "0", "-0/p0 +1")]
#[case::a_new_one_that_failed_is_waited_for("nF oA", 0, "0", "-0/p0")]
#[case::a_successor_beside_it("oF oA", 1, "0", "-0/p0 +0 +1")]
#[case::and_only_one("oF+nF", 1, "0", "-0/p0 -0/p1")]
fn a_failed_pod_holds_no_update_up(
    #[case] there: &str,
    #[case] surge: usize,
    #[case] paused: &str,
    #[case] want: &str,
) {
    let bounds = Bounds {
        unavailable: 1,
        surge,
    };
    let steps = next(&places(there), Some(bounds), |node| **node == *paused);
    assert_eq!(shown(&steps), want);
}

#[test]
fn the_reasons_are_told_apart() {
    let steps = manage(&places("nF nD !nA nA+nA"), false);
    let reasons: Vec<_> = steps
        .iter()
        .map(|step| match step {
            Step::Delete { because, .. } => *because,
            Step::Create(_) => panic!("nothing to create"),
        })
        .collect();
    assert_eq!(reasons, [Failed, Succeeded, Misplaced, Surplus]);
}

/// What may happen to one node between two looks.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The pods of the node make their next step: start, become ready, end.
    Progress,
    /// The pods of the node stop serving.
    Crash,
    /// A pod of the node fails for good.
    Fail,
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let event = prop_oneof![
        8 => Just(Event::Progress),
        1 => Just(Event::Crash),
        1 => Just(Event::Fail),
    ];
    proptest::collection::vec((0..8_usize, event), 0..120)
}

/// A cluster that does what steps say, and lets things happen.
struct World {
    places: Vec<Place>,
    made: usize,
}

impl World {
    fn new(nodes: usize) -> Self {
        let text = vec!["oA"; nodes].join(" ");
        Self {
            places: places(&text),
            made: 100,
        }
    }

    fn available(&self) -> usize {
        let serves = |place: &&Place| place.daemons.iter().any(|d| d.is_available() && !d.ends);
        self.places.iter().filter(serves).count()
    }

    fn look(&mut self, bounds: Bounds) -> Vec<Step> {
        next(&self.places, Some(bounds), |_| false)
    }

    fn carry_out(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Create(node) => {
                    self.made += 1;
                    let made = self.made;
                    self.edit(node, |daemons| daemons.push(daemon("ns", made)));
                }
                Step::Delete { node, pod, .. } => self.edit(node, |daemons| {
                    for daemon in daemons.iter_mut().filter(|d| d.name == *pod) {
                        daemon.ends = true;
                    }
                }),
            }
        }
    }

    fn edit(&mut self, node: &Arc<str>, edit: impl FnOnce(&mut Vec<Daemon>)) {
        for place in &mut self.places {
            if place.node == *node {
                let mut daemons = std::mem::take(&mut place.daemons);
                edit(&mut daemons);
                *place = Place::new(Arc::clone(node), place.eligible, daemons);
                return;
            }
        }
    }

    fn happens(&mut self, at: usize, event: Event) {
        let at = at % self.places.len();
        let daemons = &mut self.places[at].daemons;
        match event {
            Event::Progress => {
                daemons.retain(|daemon| !daemon.ends);
                for daemon in daemons.iter_mut().filter(|d| d.phase == Phase::Running) {
                    daemon.health = match daemon.health {
                        Health::Unready => Health::Ready,
                        Health::Ready | Health::Available => Health::Available,
                    };
                }
            }
            Event::Crash => {
                for daemon in daemons.iter_mut() {
                    daemon.health = Health::Unready;
                }
            }
            Event::Fail => {
                for daemon in daemons.iter_mut().take(1) {
                    daemon.health = Health::Unready;
                    daemon.phase = Phase::Failed;
                }
            }
        }
    }
}

proptest! {
    /// Whatever happens, steps never take an available pod beyond the bound; what crashes by
    /// itself may be more, but then nothing is taken on top.
    #[test]
    fn an_update_never_takes_more_than_it_may(
        nodes in 1..8_usize, unavailable in 0..4_usize, surge in 0..4_usize, events in events(),
    ) {
        let bounds = match (unavailable, surge) {
            (0, 0) => Bounds { unavailable: 1, surge: 0 },
            (0, surge) => Bounds { unavailable: 0, surge },
            (unavailable, _) => Bounds { unavailable, surge: 0 },
        };
        let mut world = World::new(nodes);
        for (at, event) in events {
            world.happens(at, event);
            let before = world.available();
            let steps = world.look(bounds);
            world.carry_out(&steps);
            let after = world.available();
            let floor = before.min(nodes.saturating_sub(bounds.unavailable));
            prop_assert!(after >= floor, "{before} -> {after}: {}", shown(&steps));
            let second = world.places.iter().filter(|place| {
                place.daemons.iter().filter(|d| !d.ends && !d.phase.is_terminal()).count() > 1
            });
            prop_assert!(bounds.surge > 0 || second.count() == 0);
        }
        // And it comes to its end once nothing fails any more.
        for _ in 0..100 {
            let steps = world.look(bounds);
            world.carry_out(&steps);
            for at in 0..nodes {
                world.happens(at, Event::Progress);
            }
        }
        prop_assert_eq!(world.available(), nodes);
        prop_assert!(world.places.iter().all(|p| p.daemons.iter().all(|d| d.current)));
    }
}
