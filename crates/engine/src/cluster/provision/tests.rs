//! What requests for room get.

use super::*;
use crate::cluster::testing::{existing, group, node, pending, spec, template};
use crate::cluster::{GroupFacts, GrowthInput, GrowthOptions, GrowthPlan, PodVerdict, grow_beside};
use crate::placement::{LabelSelector, PodFacts, PodSpec, Resources, Snapshot};
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use std::collections::BTreeMap;
use std::sync::Arc;

const MEMORY: i64 = 1 << 30;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ask(class: ProvisioningClass, sets: &[(&str, i64, usize)]) -> ProvisioningAsk {
    let set = |(template, cpu, count): &(&str, i64, usize)| PodSet {
        template: (*template).into(),
        spec: Arc::new(spec(*cpu, 1)),
        count: *count,
    };
    ProvisioningAsk {
        namespace: "default".into(),
        name: "job".into(),
        class,
        partial: None,
        sets: sets.iter().map(set).collect(),
    }
}

/// A cluster of nodes of one core each in the group `ng`, which may have `max`.
struct Cluster {
    snapshot: Snapshot,
    groups: Vec<GroupFacts>,
    nodes: Vec<crate::cluster::ClusterNode>,
    options: GrowthOptions,
    upcoming: BTreeMap<Arc<str>, usize>,
}

impl Cluster {
    fn of(nodes: usize, max: usize) -> Self {
        let mut snapshot = Snapshot::default();
        let names: Vec<String> = (0..nodes).map(|number| format!("n{number}")).collect();
        for name in &names {
            snapshot.set_node(node(name, 1000, MEMORY));
        }
        let existing = names.iter().map(|name| existing(name, "ng", 1000, MEMORY));
        Self {
            snapshot,
            groups: vec![group("ng", (nodes, max), template("t", 1000, MEMORY))],
            nodes: existing.collect(),
            options: GrowthOptions::default(),
            upcoming: BTreeMap::new(),
        }
    }

    fn provision(&mut self, asks: &[ProvisioningAsk]) -> Vec<ProvisioningAnswer> {
        self.provision_with(asks, true, &mut || true)
    }

    fn provision_with(
        &mut self,
        asks: &[ProvisioningAsk],
        may_grow: bool,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Vec<ProvisioningAnswer> {
        provision(ProvisioningInput {
            growth: GrowthInput {
                snapshot: &mut self.snapshot,
                groups: &self.groups,
                pending: &[],
                existing: &self.nodes,
                upcoming: &self.upcoming,
                skipped: &BTreeMap::new(),
                options: &self.options,
                now: at(0),
                tie: 0,
            },
            placed: &[],
            asks,
            may_grow,
            go_on,
        })
    }

    fn grow(&mut self, count: usize, cpu: i64, booked: &[BookedPod]) -> GrowthPlan {
        let input = GrowthInput {
            snapshot: &mut self.snapshot,
            groups: &self.groups,
            pending: &pending("web", count, spec(cpu, 1)),
            existing: &self.nodes,
            upcoming: &self.upcoming,
            skipped: &BTreeMap::new(),
            options: &self.options,
            now: at(0),
            tie: 0,
        };
        grow_beside(input, booked)
    }
}

const CHECK: ProvisioningClass = ProvisioningClass::CheckCapacity;
const ATOMIC: ProvisioningClass = ProvisioningClass::BestEffortAtomicScaleUp;

#[rstest]
#[case::nobody_has_looked(None, None, 1, RequestStage::Due)]
#[case::right_after_the_first_attempt(Some((false, 0)), None, 60, RequestStage::Waits { until: at(60) })]
#[case::after_a_minute(Some((false, 0)), None, 61, RequestStage::Due)]
#[case::after_the_second_attempt(Some((false, 61)), None, 181, RequestStage::Waits { until: at(181) })]
#[case::two_minutes_after_it(Some((false, 61)), None, 182, RequestStage::Due)]
#[case::after_the_fifth(Some((false, 950)), None, 1550, RequestStage::Waits { until: at(1550) })]
#[case::never_longer_than_ten_minutes(Some((false, 90_000)), None, 90_601, RequestStage::Due)]
#[case::after_a_week(Some((false, 604_800)), None, 604_801, RequestStage::GivenUp)]
#[case::booked(Some((true, 10)), None, 610, RequestStage::Booked { until: at(610) })]
#[case::booked_for_too_long(Some((true, 10)), None, 611, RequestStage::BookingOver)]
#[case::ended(Some((true, 10)), Some(20), 700, RequestStage::Ended)]
#[case::forgotten(Some((true, 10)), Some(20), 604_821, RequestStage::Forgotten)]
fn a_request_is_at_a_stage(
    #[case] provisioned: Option<(bool, i64)>,
    #[case] ended: Option<i64>,
    #[case] now: i64,
    #[case] stage: RequestStage,
) {
    let state = RequestState {
        created: Some(at(0)),
        accepted: provisioned.map(|_| at(0)),
        provisioned: provisioned.map(|(holds, since)| (holds, at(since))),
        ended: ended.map(at),
    };
    let times = ProvisioningTimes::default();
    assert_eq!(state.stage(&times, None, at(now)), stage);
}

#[rstest]
#[case::first(0, 60)]
#[case::second(61, 120)]
#[case::third(190, 240)]
#[case::fourth(440, 480)]
#[case::fifth(930, 600)]
#[case::later(100_000, 600)]
fn pauses_double_up_to_the_longest(#[case] since_first: i64, #[case] pause: i64) {
    let pauses = ProvisioningTimes::default().pause(SignedDuration::from_secs(since_first));
    assert_eq!(pauses.as_secs(), pause);
}

#[test]
fn a_request_that_is_valid_for_no_time_is_tried_once() {
    let times = ProvisioningTimes::default();
    let valid_for = Some(SignedDuration::ZERO);
    let mut state = RequestState {
        created: Some(at(0)),
        ..RequestState::default()
    };
    assert_eq!(state.stage(&times, valid_for, at(5)), RequestStage::Due);
    // It was looked at, but groups could not be asked for nodes.
    state.accepted = Some(at(5));
    assert_eq!(state.stage(&times, valid_for, at(6)), RequestStage::GivenUp);
    assert_eq!(state.stage(&times, None, at(6)), RequestStage::Due);
    state.provisioned = Some((false, at(5)));
    assert_eq!(state.stage(&times, valid_for, at(6)), RequestStage::GivenUp);
}

#[rstest]
#[case::check("check-capacity.autoscaling.x-k8s.io", None, "", Some(CHECK))]
#[case::atomic(
    "best-effort-atomic-scale-up.autoscaling.x-k8s.io",
    None,
    "",
    Some(ATOMIC)
)]
#[case::of_a_cloud("queued-provisioning.gke.io", None, "", None)]
#[case::for_another_instance("check-capacity.autoscaling.x-k8s.io", Some("b"), "", None)]
#[case::for_this_instance("check-capacity.autoscaling.x-k8s.io", Some("b"), "b", Some(CHECK))]
#[case::for_no_instance("check-capacity.autoscaling.x-k8s.io", None, "b", None)]
#[case::an_instance_adds_nothing(
    "best-effort-atomic-scale-up.autoscaling.x-k8s.io",
    Some("b"),
    "b",
    None
)]
fn classes_are_told_by_name_and_instance(
    #[case] name: &str,
    #[case] named: Option<&str>,
    #[case] instance: &str,
    #[case] class: Option<ProvisioningClass>,
) {
    let named = named.map(|named| ("processorInstance".to_owned(), named.to_owned()));
    let parameters = named.into_iter().collect();
    assert_eq!(ProvisioningClass::of(name, &parameters, instance), class);
}

#[rstest]
#[case::nothing(&[], CHECK, ProvisioningParameters::default())]
#[case::no_retry(&[("noRetry", "true")], CHECK,
    ProvisioningParameters { no_retry: true, ..ProvisioningParameters::default() })]
#[case::wrong_values(&[("noRetry", "yes"), ("partialCapacityCheck", "some")], CHECK,
    ProvisioningParameters::default())]
#[case::partial(&[("partialCapacityCheck", "bookPartial")], CHECK,
    ProvisioningParameters { partial: Some(Partial::Book), ..ProvisioningParameters::default() })]
#[case::of_the_other_class(&[("noRetry", "true"), ("ValidUntilSeconds", "5")], ATOMIC,
    ProvisioningParameters {
        valid_for: Some(SignedDuration::from_secs(5)), ..ProvisioningParameters::default()
    })]
fn parameters_are_read_by_class(
    #[case] given: &[(&str, &str)],
    #[case] class: ProvisioningClass,
    #[case] parameters: ProvisioningParameters,
) {
    let given = given
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    assert_eq!(
        ProvisioningParameters::of(class, &given.collect()),
        parameters
    );
}

#[rstest]
#[case::nobody(&[], [2, 1])]
#[case::one_alike(&[300], [2, 0])]
#[case::more_alike_than_there_are(&[300, 300], [1, 0])]
#[case::unlike_any(&[7], [1, 1])]
#[case::more_than_all(&[500, 500, 300, 300], [0, 0])]
fn each_pod_that_comes_takes_the_place_of_one(#[case] came: &[i64], #[case] left: [usize; 2]) {
    let of = ask(CHECK, &[("a", 500, 2), ("b", 300, 1)]);
    let came: Vec<Resources> = came.iter().map(|cpu| Resources::of(*cpu, 1)).collect();
    let came: Vec<&Resources> = came.iter().collect();
    assert_eq!(left_over(&of.sets, &came), left);
}

#[test]
fn requests_get_room_in_turn_and_none_gets_anothers() {
    let mut cluster = Cluster::of(2, 2);
    let asks = [
        ask(CHECK, &[("half", 500, 3)]),
        ask(CHECK, &[("half", 500, 2)]),
        ask(CHECK, &[("half", 400, 1)]),
    ];
    // Requests of one name would be the same pods.
    let asks: Vec<ProvisioningAsk> = asks
        .into_iter()
        .zip(["a", "b", "c"])
        .map(|(ask, name)| ProvisioningAsk {
            name: name.into(),
            ..ask
        })
        .collect();
    let answers = cluster.provision(&asks);
    let ProvisioningAnswer::Found(nodes) = &answers[0] else {
        panic!("{answers:?}")
    };
    assert_eq!(nodes.len(), 3);
    let ProvisioningAnswer::Missing { why } = &answers[1] else {
        panic!("{answers:?}")
    };
    assert_eq!(
        why,
        "1 of 2 pods fit; the next one, of template half: 2 Insufficient cpu"
    );
    assert!(
        matches!(answers[2], ProvisioningAnswer::Found(_)),
        "{answers:?}"
    );
    assert_eq!(
        cluster.snapshot.node("n0").unwrap().used,
        Resources::default()
    );
}

#[test]
fn when_time_is_up_the_others_come_later() {
    let mut cluster = Cluster::of(1, 1);
    let asks = [ask(CHECK, &[("a", 1, 1)]), ask(CHECK, &[("a", 1, 1)])];
    let answers = cluster.provision_with(&asks, true, &mut || false);
    assert_eq!(answers.len(), 1);
}

#[rstest]
#[case::fits_all(&[("a", 500, 1), ("b", 500, 1)], Partial::Book, None, 2)]
#[case::booked(&[("a", 600, 1), ("b", 500, 1), ("c", 400, 1)], Partial::Book, Some(vec![0, 2]), 2)]
#[case::named(&[("a", 600, 1), ("b", 500, 1)], Partial::CheckOnly, Some(vec![0]), 0)]
fn sets_may_be_checked_one_by_one(
    #[case] sets: &[(&str, i64, usize)],
    #[case] partial: Partial,
    #[case] some: Option<Vec<usize>>,
    #[case] kept: usize,
) {
    let mut cluster = Cluster::of(1, 9);
    let asks = [ProvisioningAsk {
        partial: Some(partial),
        ..ask(CHECK, sets)
    }];
    match (&cluster.provision(&asks)[0], some) {
        (ProvisioningAnswer::Found(nodes), None) => assert_eq!(nodes.len(), kept),
        (ProvisioningAnswer::Partly { sets, nodes }, Some(some)) => {
            assert_eq!((sets, nodes.len()), (&some, kept));
        }
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn checking_capacity_never_asks_for_nodes() {
    let mut cluster = Cluster::of(0, 9);
    let answers = cluster.provision(&[ask(CHECK, &[("a", 500, 1)])]);
    assert!(matches!(answers[0], ProvisioningAnswer::Missing { .. }));
}

#[rstest]
#[case::there_is_room(1, 9, 2, Some(0))]
#[case::some_pods_fit_what_is_there(1, 9, 6, Some(2))]
#[case::as_many_as_may_be(0, 3, 6, Some(3))]
#[case::one_too_many(0, 3, 7, None)]
fn nodes_are_asked_for_all_pods_or_for_none(
    #[case] nodes: usize,
    #[case] max: usize,
    #[case] pods: usize,
    #[case] added: Option<usize>,
) {
    let mut cluster = Cluster::of(nodes, max);
    let answers = cluster.provision(&[ask(ATOMIC, &[("half", 500, pods)])]);
    match (&answers[0], added) {
        (ProvisioningAnswer::Found(nodes), Some(0)) => assert_eq!(nodes.len(), pods),
        (ProvisioningAnswer::Growing(plan), Some(added)) => {
            let resize = &plan.resizes[0];
            assert_eq!(resize.to - resize.from, added);
            assert!(plan.atomic.contains("ng"));
        }
        (ProvisioningAnswer::Missing { why }, None) => {
            assert!(
                why.starts_with("7 pods do not all fit, and no group"),
                "{why}"
            );
            assert!(why.contains("all-or-nothing"), "{why}");
        }
        (other, _) => panic!("{other:?}"),
    }
}

#[rstest]
#[case::in_several_rounds(None)]
#[case::in_a_single_round(Some(1))]
fn limits_of_the_cluster_leave_all_or_nothing(#[case] rounds: Option<usize>) {
    let mut cluster = Cluster::of(0, 9);
    cluster.options.rounds = rounds;
    cluster.options.quotas = vec![crate::cluster::Quota {
        id: "cluster-wide".into(),
        selector: LabelSelector::default(),
        limits: [("cpu".to_owned(), 2000)].into(),
    }];
    let answers = cluster.provision(&[ask(ATOMIC, &[("half", 500, 6)])]);
    assert!(
        matches!(answers[0], ProvisioningAnswer::Missing { .. }),
        "{answers:?}"
    );
    let answers = cluster.provision(&[ask(ATOMIC, &[("half", 500, 4)])]);
    assert!(
        matches!(answers[0], ProvisioningAnswer::Growing(_)),
        "{answers:?}"
    );
}

#[test]
fn while_nodes_are_ordered_no_others_are() {
    let mut cluster = Cluster::of(0, 9);
    let asks = [ask(ATOMIC, &[("half", 500, 2)]), ask(CHECK, &[("x", 1, 1)])];
    let answers = cluster.provision_with(&asks, false, &mut || true);
    assert_eq!(answers[0], ProvisioningAnswer::Later);
    assert_eq!(answers.len(), 2);
    let answers = cluster.provision(&asks);
    assert_eq!(answers.len(), 1, "sizes are others now");
}

fn booked(names: &[&str], cpu: i64, node: Option<&str>) -> Vec<BookedPod> {
    let spec: Arc<PodSpec> = Arc::new(spec(cpu, 1));
    let pod = |name: &&str| BookedPod {
        pod: PodFacts::new("default", name, Arc::clone(&spec)),
        node: node.map(Into::into),
    };
    names.iter().map(pod).collect()
}

#[test]
fn booked_room_is_nobody_elses_and_adds_no_nodes() {
    let mut cluster = Cluster::of(1, 5);
    let bookings = booked(&["b-0", "b-1"], 500, None);
    // Without the booking the pod would fit.
    assert!(cluster.grow(1, 500, &[]).resizes.is_empty());
    let plan = cluster.grow(1, 500, &bookings);
    assert_eq!(plan.resizes[0].to, 2);
    let kept = plan
        .pods
        .iter()
        .filter(|(key, _)| key.name.starts_with("b-"));
    assert_eq!(
        kept.filter(|(_, v)| matches!(v, PodVerdict::Fits(_)))
            .count(),
        2
    );
    // What does not fit is not asked for.
    let plan = cluster.grow(0, 500, &booked(&["b-0", "b-1", "b-2"], 500, None));
    assert_eq!((plan.pods.len(), plan.resizes.len()), (2, 0));
}

#[test]
fn booked_room_is_kept_on_nodes_to_come() {
    let mut cluster = Cluster::of(0, 5);
    cluster.upcoming = [("ng".into(), 1)].into();
    let plan = cluster.grow(1, 500, &booked(&["b-0", "b-1"], 500, None));
    assert_eq!(plan.resizes.len(), 1, "{plan:?}");
}

#[test]
fn booked_room_stays_where_it_was_as_long_as_it_can() {
    let mut cluster = Cluster::of(3, 3);
    let bookings = booked(&["b-0"], 600, Some("n2"));
    let node = |plan: &GrowthPlan| plan.pods.values().next().cloned();
    let plan = cluster.grow(0, 1, &bookings);
    assert_eq!(node(&plan), Some(PodVerdict::Fits("n2".into())));
    let other = PodFacts::new("default", "other", Arc::new(spec(500, 1)));
    cluster.snapshot.place("n2", other);
    let plan = cluster.grow(0, 1, &bookings);
    assert_eq!(node(&plan), Some(PodVerdict::Fits("n0".into())));
}
