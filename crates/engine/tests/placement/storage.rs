//! Claims and volumes.

use crate::build::*;
use plimsoll_engine::placement::*;
use rstest::rstest;
use std::collections::BTreeSet;

fn claim(name: &str, class: &str) -> ClaimFacts {
    ClaimFacts {
        key: ("default".into(), name.into()),
        class: Some(class.into()),
        request_bytes: GIB,
        access_modes: vec!["ReadWriteOnce".into()],
        ..ClaimFacts::default()
    }
}

fn bound(name: &str, volume: &str) -> ClaimFacts {
    ClaimFacts {
        volume: Some(volume.into()),
        phase: ClaimPhase::Bound,
        ..claim(name, "slow")
    }
}

fn volume(name: &str, on: Option<&str>) -> VolumeFacts {
    VolumeFacts {
        name: name.into(),
        class: Some("local".into()),
        capacity_bytes: GIB,
        access_modes: vec!["ReadWriteOnce".into()],
        available: true,
        node_terms: on.map(|node| {
            vec![NodeTerm {
                labels: vec![requirement(HOSTNAME, Operator::In, &[node])],
                fields: vec![],
            }]
        }),
        ..VolumeFacts::default()
    }
}

fn class(name: &str, waits: bool, provisioner: &str) -> ClassFacts {
    ClassFacts {
        name: name.into(),
        waits_for_consumer: waits,
        provisioner: provisioner.into(),
        allowed: Vec::new(),
    }
}

fn world() -> Snapshot {
    let mut snapshot = cluster(&[("a", "za"), ("b", "zb")]);
    snapshot.set_class(class("local", true, "kubernetes.io/no-provisioner"));
    snapshot.set_class(class("late", true, "example.com/disk"));
    snapshot.set_class(class("slow", false, "example.com/disk"));
    snapshot
}

fn mounting(claims: &[&str]) -> PodSpec {
    PodSpec {
        claims: claims.iter().map(|c| (*c).to_owned()).collect(),
        ..spec(10)
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[rstest]
#[case::missing(None, r#"persistentvolumeclaim "data" not found"#)]
#[case::unbound_and_immediate(
    Some(claim("data", "slow")),
    "pod has unbound immediate PersistentVolumeClaims"
)]
#[case::of_an_unknown_class(
    Some(claim("data", "none")),
    "pod has unbound immediate PersistentVolumeClaims"
)]
#[case::going(Some(ClaimFacts { deleted: true, ..bound("data", "v") }), r#"persistentvolumeclaim "data" is being deleted"#)]
#[case::lost(Some(ClaimFacts { phase: ClaimPhase::Lost, ..bound("data", "v") }), r#"persistentvolumeclaim "data" bound to non-existent persistentvolume "v""#)]
fn claims_that_hold_up_the_pod_everywhere(#[case] facts: Option<ClaimFacts>, #[case] reason: &str) {
    let mut snapshot = world();
    if let Some(facts) = facts {
        snapshot.set_claim(facts);
    }
    assert_eq!(
        message(&mut snapshot, &mounting(&["data"])),
        format!(
            "0/2 nodes are available: {reason}. no new claims to deallocate, preemption: 0/2 nodes \
             are available: 2 Preemption is not helpful for scheduling."
        )
    );
}

#[test]
fn a_bound_volume_ties_the_pod_to_its_node() {
    let mut snapshot = world();
    snapshot.set_claim(bound("data", "v"));
    let wanted = mounting(&["data"]);
    assert_eq!(
        refusals(&mut snapshot, &wanted)["a"],
        [Refusal::VolumeMissing]
    );
    snapshot.set_volume(volume("v", Some("b")));
    assert_eq!(fitting(&mut snapshot, &wanted), set(&["b"]));
    snapshot.set_node(NodeFacts {
        unschedulable: true,
        ..node("b", "zb", 1000)
    });
    assert_eq!(
        refusals(&mut snapshot, &wanted)["a"],
        [Refusal::VolumeElsewhere]
    );
    snapshot.remove_volume("v");
    assert_eq!(
        refusals(&mut snapshot, &wanted)["a"],
        [Refusal::VolumeMissing]
    );
    snapshot.remove_claim("default", "data");
    assert!(message(&mut snapshot, &wanted).contains("not found"));
}

#[rstest]
#[case::this_zone("za", &["a"])]
#[case::either("za__zb", &["a", "b"])]
#[case::neither("zc", &[])]
fn a_labelled_volume_stays_in_its_zone(#[case] zones: &str, #[case] expected: &[&str]) {
    let mut snapshot = world();
    snapshot.set_claim(bound("data", "v"));
    snapshot.set_volume(VolumeFacts {
        labels: labels(&[(ZONE, zones)]),
        ..volume("v", None)
    });
    let wanted = mounting(&["data"]);
    assert_eq!(fitting(&mut snapshot, &wanted), set(expected));
    if expected.is_empty() {
        assert_eq!(
            refusals(&mut snapshot, &wanted)["a"],
            [Refusal::OtherVolumeZone]
        );
    }
}

#[test]
fn a_waiting_claim_goes_where_a_volume_is() {
    let mut snapshot = world();
    snapshot.set_claim(claim("data", "local"));
    let wanted = mounting(&["data"]);
    assert_eq!(
        refusals(&mut snapshot, &wanted)["a"],
        [Refusal::NoVolumeToBind]
    );
    snapshot.set_volume(volume("v", Some("b")));
    assert_eq!(fitting(&mut snapshot, &wanted), set(&["b"]));
    // Two claims need two volumes.
    snapshot.set_claim(claim("more", "local"));
    let both = mounting(&["data", "more"]);
    assert_eq!(fitting(&mut snapshot, &both), set(&[]));
    snapshot.set_volume(volume("w", Some("b")));
    assert_eq!(fitting(&mut snapshot, &both), set(&["b"]));
}

type Spoil = fn(&mut VolumeFacts);

#[rstest]
#[case::too_small(|v: &mut VolumeFacts| v.capacity_bytes -= 1)]
#[case::another_class(|v: &mut VolumeFacts| v.class = None)]
#[case::another_mode(|v: &mut VolumeFacts| v.access_modes = vec!["ReadOnlyMany".into()])]
#[case::a_block_device(|v: &mut VolumeFacts| v.block = true)]
#[case::taken(|v: &mut VolumeFacts| v.claim = Some(("default".into(), "other".into())))]
#[case::released(|v: &mut VolumeFacts| v.available = false)]
#[case::not_selected(|v: &mut VolumeFacts| v.labels.clear())]
fn volumes_that_do_not_match(#[case] spoil: Spoil) {
    let mut snapshot = world();
    snapshot.set_claim(ClaimFacts {
        selector: Some(select("tier", "fast")),
        ..claim("data", "local")
    });
    let mut good = volume("v", None);
    good.labels = labels(&[("tier", "fast")]);
    snapshot.set_volume(good.clone());
    assert_eq!(fitting(&mut snapshot, &mounting(&["data"])).len(), 2);
    spoil(&mut good);
    snapshot.set_volume(good);
    assert_eq!(fitting(&mut snapshot, &mounting(&["data"])).len(), 0);
}

#[test]
fn a_volume_kept_for_the_claim_is_taken_whatever_the_selector() {
    let mut snapshot = world();
    snapshot.set_claim(ClaimFacts {
        selector: Some(select("tier", "fast")),
        ..claim("data", "local")
    });
    let kept = Some(("default".to_owned(), "data".to_owned()));
    snapshot.set_volume(VolumeFacts {
        claim: kept,
        ..volume("v", Some("a"))
    });
    assert_eq!(fitting(&mut snapshot, &mounting(&["data"])), set(&["a"]));
}

#[test]
fn a_class_that_makes_volumes_admits_where_it_may() {
    let mut snapshot = world();
    snapshot.set_claim(claim("data", "late"));
    assert_eq!(fitting(&mut snapshot, &mounting(&["data"])).len(), 2);
    let here = NodeTerm {
        labels: vec![requirement(ZONE, Operator::In, &["zb"])],
        fields: vec![],
    };
    snapshot.set_class(ClassFacts {
        allowed: vec![here],
        ..class("late", true, "example.com/disk")
    });
    assert_eq!(fitting(&mut snapshot, &mounting(&["data"])), set(&["b"]));
    snapshot.remove_class("late");
    assert!(message(&mut snapshot, &mounting(&["data"])).contains("unbound immediate"));
}

#[test]
fn a_claim_for_one_pod_is_used_by_one() {
    let mut snapshot = world();
    let single = ClaimFacts {
        access_modes: vec![READ_WRITE_ONCE_POD.into()],
        ..bound("data", "v")
    };
    snapshot.set_claim(single);
    snapshot.set_volume(volume("v", None));
    let wanted = PodSpec {
        priority: 5,
        ..mounting(&["data"])
    };
    assert_eq!(fitting(&mut snapshot, &wanted).len(), 2);
    snapshot.place("a", pod("first", mounting(&["data"])));
    assert_eq!(refusals(&mut snapshot, &wanted)["b"], [Refusal::ClaimInUse]);
    // The more important pod may take it over, on the node where that helps.
    let incoming = pod("vip", wanted.clone());
    let Decision::Nowhere(failure) = decide(&mut snapshot, &incoming, 0) else {
        panic!("in use")
    };
    let Preemption::Helps(plan) = preempt(&mut snapshot, &incoming, &failure, &[], 0) else {
        panic!("helps")
    };
    assert_eq!(
        (plan.node.as_str(), &*plan.victims[0].pod.name),
        ("a", "first")
    );
    snapshot.displace("default", "first");
    assert_eq!(fitting(&mut snapshot, &wanted).len(), 2);
}

#[test]
fn a_node_attaches_only_so_many_volumes_of_a_driver() {
    let mut snapshot = world();
    let limited = NodeFacts {
        volume_limits: [("example.com/disk".to_owned(), 2)].into(),
        ..node("a", "za", 1000)
    };
    snapshot.set_node(limited);
    for name in ["v", "w", "x"] {
        let driver = Some("example.com/disk".to_owned());
        snapshot.set_volume(VolumeFacts {
            driver,
            ..volume(name, None)
        });
        snapshot.set_claim(bound(name, name));
    }
    snapshot.place("a", pod("one", mounting(&["v", "w"])));
    assert_eq!(fitting(&mut snapshot, &mounting(&["x"])), set(&["b"]));
    // A volume that is attached already counts once.
    assert_eq!(fitting(&mut snapshot, &mounting(&["v"])), set(&["a", "b"]));
    snapshot.displace("default", "one");
    assert_eq!(fitting(&mut snapshot, &mounting(&["x"])), set(&["a", "b"]));
}

#[test]
fn others_follow_to_the_node_a_claim_was_given() {
    let mut snapshot = world();
    let wanted = mounting(&["data"]);
    for class in ["late", "local"] {
        snapshot.set_volume(volume("va", Some("a")));
        snapshot.set_volume(volume("vb", Some("b")));
        snapshot.set_claim(claim("data", class));
        assert_eq!(fitting(&mut snapshot, &wanted), set(&["a", "b"]));
        snapshot.set_claim(ClaimFacts {
            selected_node: Some("b".into()),
            ..claim("data", class)
        });
        assert_eq!(fitting(&mut snapshot, &wanted), set(&["b"]));
    }
}
