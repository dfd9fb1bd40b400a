//! Tables for every documented order, and properties over arbitrary histories.

use super::*;
use proptest::prelude::*;
use rstest::rstest;

fn member(revision: &str) -> Member {
    Member {
        revision: revision.into(),
        phase: Phase::Running,
        is_ready: true,
        available: Ok(()),
        ends: false,
        faults: Faults::default(),
    }
}

/// A pod by a letter: `u` updated and available, `o` outdated and available, `p` pending, `q`
/// pending and outdated, `y` ready but not for long enough, `e` ending, `f` failed, `s` succeeded,
/// `x` failed and ending, `-` none.
fn by_letter(letter: char) -> Option<Member> {
    let up = member("new");
    let pending = Member {
        phase: Phase::Pending,
        is_ready: false,
        available: Err(Duration::MAX),
        ..up.clone()
    };
    let ended = |phase| Member {
        phase,
        ..pending.clone()
    };
    Some(match letter {
        'u' => up,
        'o' => member("old"),
        'p' => pending,
        'q' => Member {
            revision: "old".into(),
            ..pending
        },
        'y' => Member {
            available: Err(Duration::from_secs(9)),
            ..up
        },
        'e' => Member { ends: true, ..up },
        'f' => ended(Phase::Failed),
        's' => ended(Phase::Succeeded),
        'x' => Member {
            ends: true,
            ..ended(Phase::Failed)
        },
        _ => return None,
    })
}

fn rolling(partition: i32) -> StatefulUpdate {
    StatefulUpdate::RollingUpdate {
        partition,
        max_unavailable: None,
    }
}

fn several(bound: IntOrString) -> StatefulUpdate {
    StatefulUpdate::RollingUpdate {
        partition: 0,
        max_unavailable: Some(bound),
    }
}

fn seen(replicas: i32, pods: &str) -> Observation {
    let members = (0..).zip(pods.chars().map(by_letter));
    Observation {
        replicas,
        start: 0,
        management: PodManagement::OrderedReady,
        update: rolling(0),
        update_revision: "new".into(),
        members: members.filter_map(|(n, m)| Some((n, m?))).collect(),
        blocked: BTreeSet::new(),
    }
}

fn parallel(seen: Observation) -> Observation {
    Observation {
        management: PodManagement::Parallel,
        ..seen
    }
}

/// A plan in short: `+1` create, `-1` delete, `?1 Ready` wait.
fn shown(steps: &[Step]) -> String {
    let one = |step: &Step| match step {
        Step::Do(n, Act::Create(Template::Update)) => format!("+{n}"),
        Step::Do(n, Act::Create(Template::Current)) => format!("+{n}old"),
        Step::Do(n, Act::Delete(_)) => format!("-{n}"),
        Step::Do(n, act) => format!("{act:?} {n}"),
        Step::Wait(n, until) => format!("?{n} {until:?}"),
    };
    steps.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[rstest]
#[case::the_first_pod(3, "", "+0")]
#[case::waits_for_a_pending_pod(3, "p", "?0 Ready")]
#[case::waits_for_min_ready_seconds(3, "y", "?0 Available")]
#[case::the_next_pod(3, "u", "+1")]
#[case::the_gap_first(3, "u-u", "+1")]
#[case::a_broken_pod_holds_up_the_next(3, "pu", "?0 Ready")]
#[case::nothing_to_do(3, "uuu", "")]
#[case::a_failed_pod_is_deleted(3, "ufu", "-1")]
#[case::a_succeeded_pod_is_deleted(3, "usu", "-1")]
#[case::a_failed_pod_that_ends_is_waited_for(3, "uxu", "?1 Gone")]
#[case::an_ending_pod_is_waited_for(3, "eu", "?0 Gone")]
#[case::shrinks_from_the_highest(1, "uuu", "-2")]
#[case::shrinks_one_after_another(1, "uue", "?2 Gone")]
#[case::a_broken_surplus_pod_may_go(1, "uup", "-2")]
#[case::of_two_broken_ones_the_lower_is_waited_for(1, "upp", "?2 Ready")]
#[case::shrinks_only_when_the_rest_is_well(1, "puu", "?0 Ready")]
#[case::to_nothing(0, "uu", "-1")]
#[case::rolls_from_the_highest(3, "ooo", "-2")]
#[case::rolls_on(3, "oou", "-1")]
#[case::waits_for_the_replaced_pod(3, "oop", "?2 Ready")]
#[case::waits_for_the_replaced_pod_to_be_available(3, "ooy", "?2 Available")]
#[case::a_broken_pod_of_the_old_template_holds_up_the_roll(3, "oqo", "?1 Ready")]
#[case::a_broken_template_holds_up_its_successor(3, "ooq", "?2 Ready")]
#[case::shrinking_comes_before_rolling(2, "ooo", "-2")]
fn in_order(#[case] replicas: i32, #[case] pods: &str, #[case] want: &str) {
    let steps = plan(&seen(replicas, pods));
    assert_eq!(shown(&steps), want, "{steps:#?}");
}

#[rstest]
#[case::all_at_once(3, "", "+0, +1, +2")]
#[case::whatever_the_others_do(3, "p-e", "+1, ?2 Gone")]
#[case::shrinks_at_once(1, "uuup", "-3, -2, -1")]
#[case::what_ends_already_is_left(1, "uue", "-1")]
#[case::rolls_one_after_another(3, "ooo", "-2")]
#[case::the_highest_counts(3, "qoo", "-2")]
#[case::waits_for_the_highest(3, "oop", "?2 Ready")]
#[case::an_outdated_broken_pod_goes_at_once(3, "ooq", "-2")]
#[case::everything_together(3, "f-uu", "-0, +1, -3")]
fn in_parallel(#[case] replicas: i32, #[case] pods: &str, #[case] want: &str) {
    let steps = plan(&parallel(seen(replicas, pods)));
    assert_eq!(shown(&steps), want, "{steps:#?}");
}

#[rstest]
#[case::only_above(3, rolling(2), "ooo", "-2")]
#[case::and_no_further(3, rolling(2), "oou", "")]
#[case::above_everything(3, rolling(9), "ooo", "")]
#[case::a_pod_below_keeps_its_template(3, rolling(2), "o-u", "+1old")]
#[case::a_pod_above_gets_the_new_one(3, rolling(1), "o", "+1")]
#[case::by_hand_nothing_rolls(3, StatefulUpdate::OnDelete, "ooo", "")]
#[case::by_hand_a_new_pod_has_the_new_template(3, StatefulUpdate::OnDelete, "oo", "+2")]
#[case::two_at_once(
    5,
    several(IntOrString::Int(2)),
    "ooooo",
    "-4, -3, ?2 FewerUnavailable"
)]
#[case::a_share_rounds_down(5, several(IntOrString::String("59%".into())), "ooooo", "-4, -3, ?2 FewerUnavailable")]
#[case::one_always_may(5, several(IntOrString::String("1%".into())), "ooooo", "-4, ?3 FewerUnavailable")]
#[case::nothing_is_outdated(3, several(IntOrString::Int(2)), "uuu", "")]
fn updates(
    #[case] replicas: i32,
    #[case] update: StatefulUpdate,
    #[case] pods: &str,
    #[case] want: &str,
) {
    let seen = Observation {
        update,
        ..seen(replicas, pods)
    };
    let steps = plan(&seen);
    assert_eq!(shown(&steps), want, "{steps:#?}");
}

#[rstest]
#[case::unavailable_ones_count("upooo", "-4, ?3 FewerUnavailable")]
#[case::as_many_as_are_unavailable_already("epooo", "?4 FewerUnavailable")]
#[case::broken_ones_cost_nothing("qqooo", "-1, -0, ?4 FewerUnavailable")]
#[case::broken_ones_take_part_of_the_bound("qoooo", "-4, -0, ?3 FewerUnavailable")]
#[case::all_are_broken("qqqqq", "-4, -3, -2, -1, -0")]
fn in_parallel_the_bound_counts_all(#[case] pods: &str, #[case] want: &str) {
    let seen = parallel(Observation {
        update: several(IntOrString::Int(2)),
        ..seen(5, pods)
    });
    let steps = plan(&seen);
    assert_eq!(shown(&steps), want, "{steps:#?}");
}

#[test]
fn numbers_begin_where_the_set_says() {
    let members = [(4, member("new")), (5, member("old")), (9, member("new"))];
    let seen = Observation {
        start: 5,
        replicas: 3,
        members: members.into_iter().collect(),
        ..seen(0, "")
    };
    assert_eq!(shown(&plan(&seen)), "+6");
    let full = (4..8).chain([9]).map(|n| (n, member("new")));
    let mut seen = Observation {
        members: full.collect(),
        update: rolling(1),
        ..seen
    };
    assert_eq!(shown(&plan(&seen)), "-9", "beyond the last");
    seen.members.remove(&9);
    assert_eq!(shown(&plan(&seen)), "-4", "before the first");
    seen.members.remove(&4);
    for n in 5..8 {
        seen.members.insert(n, member("old"));
    }
    assert_eq!(shown(&plan(&seen)), "-7");
    seen.members.insert(7, member("new"));
    seen.members.insert(6, member("new"));
    assert_eq!(
        shown(&plan(&seen)),
        "",
        "the partition counts from the first"
    );
}

#[test]
fn a_huge_set_is_planned_piece_by_piece() {
    let huge = parallel(seen(i32::MAX, ""));
    assert_eq!(plan(&huge).len(), BURST);
    let end = Observation {
        start: i32::MAX - 1,
        ..huge
    };
    assert_eq!(shown(&plan(&end)), "+2147483646, +2147483647");
}

#[test]
fn claims_of_a_predecessor_go_first() {
    let mut seen = seen(2, "u");
    seen.blocked.insert(1);
    assert_eq!(shown(&plan(&seen)), "?1 ClaimsGone");
}

#[test]
fn faults_are_mended_on_the_way() {
    let faulty = |letter: char, faults: Faults| Member {
        faults,
        ..by_letter(letter).unwrap()
    };
    let all = Faults {
        identity: true,
        claims_missing: true,
        claim_owners: true,
    };
    let mut seen = seen(2, "uuu");
    seen.members.insert(0, faulty('u', all));
    seen.members.insert(2, faulty('u', all));
    assert_eq!(
        shown(&plan(&seen)),
        "Identify 0, OwnClaims 0, OwnClaims 2, -2"
    );
    seen.members.insert(0, faulty('p', all));
    assert_eq!(shown(&plan(&seen)), "MakeClaims 0, ?0 Ready");
    let steps = plan(&seen);
    assert_eq!(steps[0].to_string(), "pod 0: create missing claims");
}

/// A little cluster: time passes, pods become ready, some fail, deleted ones go away.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Ready(u8),
    Breaks(u8),
    Fails(u8),
    Gone(u8),
    SomeoneDeletes(u8),
    Replicas(u8),
    NewTemplate,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => (0..6_u8).prop_map(Happens::Ready),
        1 => (0..6_u8).prop_map(Happens::Breaks),
        1 => (0..6_u8).prop_map(Happens::Fails),
        6 => (0..6_u8).prop_map(Happens::Gone),
        1 => (0..6_u8).prop_map(Happens::SomeoneDeletes),
        1 => (0..6_u8).prop_map(Happens::Replicas),
        1 => Just(Happens::NewTemplate),
    ]
}

fn let_happen(seen: &mut Observation, event: Happens) {
    let pick = |seen: &Observation, n: u8| {
        let numbers: Vec<i32> = seen.members.keys().copied().collect();
        numbers.get(usize::from(n) % numbers.len().max(1)).copied()
    };
    match event {
        Happens::Ready(n) => set_health(seen, pick(seen, n), true),
        Happens::Breaks(n) => set_health(seen, pick(seen, n), false),
        Happens::Fails(n) => {
            if let Some(member) = pick(seen, n).and_then(|n| seen.members.get_mut(&n)) {
                (member.phase, member.is_ready) = (Phase::Failed, false);
                member.available = Err(Duration::MAX);
            }
        }
        Happens::Gone(n) => {
            if let Some(n) = pick(seen, n).filter(|n| seen.members[n].ends) {
                seen.members.remove(&n);
            }
        }
        Happens::SomeoneDeletes(n) => {
            if let Some(member) = pick(seen, n).and_then(|n| seen.members.get_mut(&n)) {
                member.ends = true;
            }
        }
        Happens::Replicas(n) => seen.replicas = i32::from(n),
        Happens::NewTemplate => {
            let number: u32 = seen.update_revision.parse().unwrap();
            seen.update_revision = (number + 1).to_string().into();
        }
    }
}

fn set_health(seen: &mut Observation, n: Option<i32>, healthy: bool) {
    if let Some(member) = n.and_then(|n| seen.members.get_mut(&n))
        && !member.phase.is_terminal()
    {
        member.phase = Phase::Running;
        member.is_ready = healthy;
        member.available = if healthy { Ok(()) } else { Err(Duration::MAX) };
    }
}

/// Does what a plan says.
fn carry_out(seen: &mut Observation, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Do(n, Act::Create(template)) => {
                let revision: Arc<str> = match template {
                    Template::Update => Arc::clone(&seen.update_revision),
                    Template::Current => "0".into(),
                };
                let new = Member {
                    revision,
                    ..by_letter('p').unwrap()
                };
                assert!(seen.members.insert(*n, new).is_none(), "{n} existed");
            }
            Step::Do(n, Act::Delete(_)) => {
                let member = seen.members.get_mut(n).unwrap();
                assert!(!member.ends, "{n} was deleted twice");
                member.ends = true;
            }
            Step::Do(..) | Step::Wait(..) => {}
        }
    }
}

fn unavailable(seen: &Observation) -> usize {
    let numbers = seen.wanted();
    let down = |n: &i32| !seen.members.get(n).is_some_and(Member::is_available);
    numbers.filter(down).count()
}

fn start(replicas: u8, update: StatefulUpdate, management: PodManagement) -> Observation {
    Observation {
        replicas: replicas.into(),
        update,
        management,
        update_revision: "1".into(),
        ..seen(0, "")
    }
}

fn any_update() -> impl Strategy<Value = StatefulUpdate> {
    prop_oneof![
        (0..4_i32).prop_map(rolling),
        (1..4_i32).prop_map(|n| several(IntOrString::Int(n))),
        (1..100_i32).prop_map(|n| several(IntOrString::String(format!("{n}%")))),
        Just(StatefulUpdate::OnDelete),
    ]
}

fn any_management() -> impl Strategy<Value = PodManagement> {
    prop_oneof![
        Just(PodManagement::OrderedReady),
        Just(PodManagement::Parallel)
    ]
}

/// Checks one plan against what is promised.
fn check(seen: &Observation, steps: &[Step]) -> Result<(), TestCaseError> {
    let before = unavailable(seen);
    let outdated = steps.iter().filter_map(|step| match step {
        Step::Do(n, Act::Delete(Because::Outdated)) => Some(*n),
        Step::Do(..) | Step::Wait(..) => None,
    });
    let outdated: Vec<i32> = outdated.collect();
    let several = match &seen.update {
        StatefulUpdate::OnDelete => {
            prop_assert!(outdated.is_empty(), "by hand");
            None
        }
        StatefulUpdate::RollingUpdate {
            partition,
            max_unavailable,
        } => {
            let first = seen.start + partition;
            prop_assert!(outdated.iter().all(|n| *n >= first), "below the partition");
            max_unavailable
                .as_ref()
                .map(|bound| bound_of(bound, seen.replicas))
        }
    };
    prop_assert!(outdated.is_sorted_by(|a, b| a > b), "highest first");
    let ordered = seen.management == PodManagement::OrderedReady;
    // Those that are down already are among those before.
    let mut costly = outdated.clone();
    costly.retain(|n| seen.members[n].is_available());
    if !costly.is_empty() && (ordered || several.is_some()) {
        let down = before + costly.len();
        prop_assert!(down <= several.unwrap_or(1), "{down} unavailable");
    }
    if several.is_none() {
        prop_assert!(outdated.len() <= 1, "one at a time");
    }
    if ordered {
        in_its_order(seen, steps)?;
    }
    Ok(())
}

/// Pods come lowest first and go highest first, and never with something broken before them.
fn in_its_order(seen: &Observation, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps {
        match step {
            Step::Do(n, Act::Create(_)) => {
                let below = seen.wanted().filter(|k| k < n);
                let well = |k: i32| seen.members.get(&k).is_some_and(Member::is_available);
                prop_assert!(below.into_iter().all(well), "{n} before those below");
            }
            Step::Do(n, Act::Delete(Because::Surplus)) => {
                prop_assert_eq!(unavailable(seen), 0, "shrinks while {} is wanted", n);
                let above = seen.members.keys().filter(|k| !seen.wants(**k));
                prop_assert_eq!(above.max(), Some(n), "highest first");
            }
            Step::Do(..) | Step::Wait(..) => {}
        }
    }
    let acts = |step: &&Step| matches!(step, Step::Do(_, Act::Create(_) | Act::Delete(_)));
    let count = steps.iter().filter(acts).count();
    let several = matches!(
        &seen.update,
        StatefulUpdate::RollingUpdate {
            max_unavailable: Some(_),
            ..
        }
    );
    prop_assert!(count <= 1 || several, "{count} at once");
    Ok(())
}

proptest! {
    #[test]
    fn whatever_fails_when_no_promise_is_broken(
        replicas in 0..6_u8,
        update in any_update(),
        management in any_management(),
        events in proptest::collection::vec(happens(), 0..80),
    ) {
        let mut seen = start(replicas, update, management);
        for event in events {
            let_happen(&mut seen, event);
            let steps = plan(&seen);
            check(&seen, &steps)?;
            carry_out(&mut seen, &steps);
        }
    }

    #[test]
    fn when_pods_come_up_the_set_is_reached(
        replicas in 0..6_u8,
        update in any_update(),
        management in any_management(),
        events in proptest::collection::vec(happens(), 0..40),
    ) {
        let mut seen = start(replicas, update, management);
        for event in events {
            let_happen(&mut seen, event);
            let steps = plan(&seen);
            carry_out(&mut seen, &steps);
        }
        for _ in 0..200 {
            seen.members.retain(|_, member| !member.ends);
            let numbers: Vec<i32> = seen.members.keys().copied().collect();
            for n in numbers {
                set_health(&mut seen, Some(n), true);
            }
            let steps = plan(&seen);
            carry_out(&mut seen, &steps);
        }
        prop_assert_eq!(plan(&seen), vec![]);
        let numbers: Vec<i32> = seen.members.keys().copied().collect();
        prop_assert_eq!(numbers, seen.wanted().collect::<Vec<_>>());
        if let StatefulUpdate::RollingUpdate { partition, .. } = seen.update {
            let updated = |n: &i32| seen.members[n].revision == seen.update_revision;
            prop_assert!(seen.wanted().filter(|n| *n >= partition).all(|n| updated(&n)));
        }
    }
}
