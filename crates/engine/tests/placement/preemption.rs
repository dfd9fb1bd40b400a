//! Whom to remove.

use crate::build::*;
use jiff::Timestamp;
use plimsoll_engine::placement::*;
use rstest::rstest;
use std::collections::BTreeSet;

fn with(cpu: i64, priority: i32) -> PodSpec {
    PodSpec {
        priority,
        ..spec(cpu)
    }
}

/// A pod that has run for `minutes`.
fn running(name: &str, spec: PodSpec, minutes: i64) -> PodFacts {
    PodFacts {
        started: Timestamp::from_second(1_000_000 - minutes * 60).ok(),
        ..pod(name, spec)
    }
}

fn outcome(snapshot: &mut Snapshot, incoming: &PodFacts, budgets: &[BudgetFacts]) -> Preemption {
    let failure = match decide(snapshot, incoming, 0) {
        Decision::Fits(_) => None,
        Decision::Nowhere(failure) => Some(failure),
    };
    let failure = failure.expect("the pod fits nowhere");
    preempt(snapshot, incoming, &failure, budgets, 0)
}

fn plan(snapshot: &mut Snapshot, wanted: PodSpec, budgets: &[BudgetFacts]) -> Plan {
    let plan = match outcome(snapshot, &pod("vip", wanted), budgets) {
        Preemption::Helps(plan) => Ok(plan),
        Preemption::Impossible(why) => Err(why),
    };
    plan.expect("room can be made")
}

fn victims(plan: &Plan) -> Vec<&str> {
    plan.victims.iter().map(|v| &*v.pod.name).collect()
}

#[test]
fn only_as_many_go_as_must_and_the_least_important() {
    let mut snapshot = cluster(&[("a", "")]);
    snapshot.place("a", running("low", with(300, 1), 10));
    snapshot.place("a", running("old", with(300, 2), 20));
    snapshot.place("a", running("new", with(300, 2), 5));
    let two = plan(&mut snapshot, with(600, 5), &[]);
    assert_eq!(
        (two.node.as_str(), victims(&two)),
        ("a", vec!["new", "low"])
    );
    let one = plan(&mut snapshot, with(400, 5), &[]);
    assert_eq!(victims(&one), ["low"]);
    // Nothing was changed.
    assert_eq!(snapshot.node("a").map(NodeState::pod_count), Some(3));
}

#[rstest]
#[case::equals_are_safe(with(500, 1), "1 No preemption victims found for incoming pod.")]
#[case::what_stays_is_in_the_way(with(900, 5), "1 Insufficient cpu.")]
#[case::larger_than_the_node(with(1100, 5), "1 Preemption is not helpful for scheduling.")]
#[case::not_allowed(PodSpec { preemption: PreemptionPolicy::Never, ..with(500, 5) }, "not eligible due to preemptionPolicy=Never.")]
fn why_it_does_not_help(#[case] wanted: PodSpec, #[case] end: &str) {
    let mut snapshot = cluster(&[("a", "")]);
    snapshot.place("a", pod("low", with(400, 1)));
    snapshot.place("a", pod("high", with(200, 9)));
    let text = message(&mut snapshot, &wanted);
    assert!(text.ends_with(end), "{text}");
    assert!(
        text.starts_with("0/1 nodes are available: 1 Insufficient cpu. no new claims"),
        "{text}"
    );
}

#[test]
fn when_room_is_made_nothing_is_said_about_preemption() {
    let mut snapshot = cluster(&[("a", "")]);
    snapshot.place("a", pod("low", with(900, 1)));
    assert_eq!(
        message(&mut snapshot, &with(500, 5)),
        "0/1 nodes are available: 1 Insufficient cpu."
    );
}

#[test]
fn a_pod_whose_victims_are_leaving_waits() {
    let mut snapshot = cluster(&[("a", ""), ("b", "")]);
    let incoming = pod("vip", with(500, 5));
    snapshot.place(
        "a",
        PodFacts {
            terminating: true,
            ..pod("low", with(900, 1))
        },
    );
    snapshot.place("b", pod("other", with(900, 1)));
    snapshot.nominate("a", incoming.clone());
    let why = Preemption::Impossible(NoPreemption::UnderWay);
    assert_eq!(outcome(&mut snapshot, &incoming, &[]), why);
    // The node was cordoned since: another one may be cleared.
    snapshot.set_node(NodeFacts {
        unschedulable: true,
        ..node("a", "", 1000)
    });
    let Preemption::Helps(plan) = outcome(&mut snapshot, &incoming, &[]) else {
        panic!("b can be cleared")
    };
    assert_eq!(plan.node, "b");
}

fn budget(app: &str, allowed: i32) -> BudgetFacts {
    BudgetFacts {
        namespace: "default".into(),
        name: app.into(),
        selector: Some(select("app", app)),
        allowed,
        disrupted: BTreeSet::new(),
    }
}

fn guarded(cpu: i64, priority: i32) -> PodSpec {
    PodSpec {
        priority,
        requests: Resources::of(cpu, 0),
        ..app("guarded")
    }
}

#[test]
fn budgets_are_spared_where_that_is_possible() {
    let mut snapshot = cluster(&[("a", "")]);
    snapshot.place("a", running("guarded", guarded(400, 1), 1));
    snapshot.place("a", running("free", with(400, 2), 100));
    // By importance alone, "guarded" would go.
    let spared = plan(&mut snapshot, with(500, 5), &[budget("guarded", 0)]);
    assert_eq!((victims(&spared), spared.violations()), (vec!["free"], 0));
    let allowed = plan(&mut snapshot, with(500, 5), &[budget("guarded", 1)]);
    assert_eq!(
        (victims(&allowed), allowed.violations()),
        (vec!["guarded"], 0)
    );
    let broken = plan(&mut snapshot, with(1000, 5), &[budget("guarded", 0)]);
    assert_eq!(
        (victims(&broken), broken.violations()),
        (vec!["free", "guarded"], 1)
    );
}

#[rstest]
#[case::counted_already(BudgetFacts { disrupted: ["guarded".to_owned()].into(), ..budget("guarded", 0) })]
#[case::another_namespace(BudgetFacts { namespace: "other".into(), ..budget("guarded", 0) })]
#[case::an_empty_selector(BudgetFacts { selector: Some(LabelSelector::default()), ..budget("guarded", 0) })]
#[case::no_selector(BudgetFacts { selector: None, ..budget("guarded", 0) })]
fn budgets_that_do_not_protect(#[case] budget: BudgetFacts) {
    let mut snapshot = cluster(&[("a", "")]);
    snapshot.place("a", running("guarded", guarded(900, 1), 1));
    let plan = plan(&mut snapshot, with(500, 5), &[budget]);
    assert_eq!((victims(&plan), plan.violations()), (vec!["guarded"], 0));
}

type Arrange = fn(&mut Snapshot);

/// Node "a" is filled first, so wins unless "b" is less harmful.
#[rstest]
#[case::fewer_broken_budgets(|s: &mut Snapshot| {
    s.place("a", pod("p", guarded(900, 1)));
    s.place("b", pod("q", with(900, 3)));
})]
#[case::lower_highest_priority(|s: &mut Snapshot| {
    s.place("a", pod("p", with(900, 3)));
    s.place("b", pod("q", with(450, 2)));
    s.place("b", pod("r", with(450, 2)));
})]
#[case::lower_sum_of_priorities(|s: &mut Snapshot| {
    s.place("a", pod("p", with(450, 3)));
    s.place("a", pod("o", with(450, 2)));
    s.place("b", pod("q", with(450, 3)));
    s.place("b", pod("r", with(450, 1)));
})]
#[case::fewer_victims(|s: &mut Snapshot| {
    s.place("a", pod("p", with(450, -1)));
    s.place("a", pod("o", with(450, -1)));
    s.place("b", pod("q", with(900, -1)));
})]
#[case::the_most_important_started_later(|s: &mut Snapshot| {
    s.place("a", running("p", with(900, 3), 10));
    s.place("b", running("q", with(900, 3), 5));
})]
fn the_less_harmful_node_is_cleared(#[case] arrange: Arrange) {
    let mut snapshot = cluster(&[("a", ""), ("b", "")]);
    arrange(&mut snapshot);
    let plan = plan(&mut snapshot, with(900, 5), &[budget("guarded", 0)]);
    assert_eq!((plan.node.as_str(), plan.candidates), ("b", 2));
}

#[test]
fn room_is_made_where_other_pods_are_in_the_way() {
    let mut snapshot = cluster(&[("a", "")]);
    snapshot.place(
        "a",
        pod(
            "db",
            PodSpec {
                priority: 1,
                ..app("db")
            },
        ),
    );
    snapshot.place(
        "a",
        pod(
            "bystander",
            PodSpec {
                priority: 0,
                ..app("other")
            },
        ),
    );
    let mut web = PodSpec {
        priority: 5,
        ..app("web")
    };
    web.pod_anti_affinity = required(vec![term("db", HOSTNAME)]);
    let made = plan(&mut snapshot, web, &[]);
    assert_eq!(victims(&made), ["db"]);
    assert_eq!(snapshot.node("a").map(NodeState::pod_count), Some(2));
}

#[test]
fn a_host_port_is_taken_from_the_less_important() {
    let mut snapshot = cluster(&[("a", "")]);
    let with_port = |priority| PodSpec {
        host_ports: vec![port(80)],
        ..with(10, priority)
    };
    snapshot.place("a", pod("low", with_port(1)));
    snapshot.place("a", pod("quiet", with(10, 0)));
    assert_eq!(victims(&plan(&mut snapshot, with_port(5), &[])), ["low"]);
}

#[test]
fn spreading_can_be_restored_by_removing() {
    let mut snapshot = cluster(&[("a", "a"), ("b", "b")]);
    snapshot.set_node(NodeFacts {
        unschedulable: true,
        ..node("b", "b", 1000)
    });
    let mut web = PodSpec {
        priority: 1,
        ..app("web")
    };
    web.spread = vec![spread("web", ZONE, WhenUnsatisfiable::DoNotSchedule)];
    snapshot.place("a", pod("web-0", web.clone()));
    web.priority = 5;
    assert_eq!(victims(&plan(&mut snapshot, web, &[])), ["web-0"]);
}
