//! Devices that pods claim.

use crate::build::*;
use plimsoll_engine::placement::*;
use proptest::prelude::*;
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const DRIVER: &str = "gpu.example.com";
const GPU: &str = "gpu";

/// A device on a root of its machine, of a model.
fn device(name: &str, root: &str, model: &str) -> DeviceFacts {
    let text = |text: &str| Attribute::Text(text.into());
    DeviceFacts {
        name: name.into(),
        attributes: [
            (QualifiedName::of("root", DRIVER), text(root)),
            (QualifiedName::of("model", DRIVER), text(model)),
        ]
        .into(),
        ..DeviceFacts::default()
    }
}

fn pool(name: &str, devices: Vec<DeviceFacts>) -> PoolFacts {
    PoolFacts {
        driver: DRIVER.into(),
        name: name.into(),
        devices: devices.into(),
        complete: true,
        reach: PoolReach::Node,
    }
}

/// Four devices: two on each of two roots, one of another model.
fn four(node: &str) -> PoolFacts {
    let devices = vec![
        device("0", "r0", "a"),
        device("1", "r0", "b"),
        device("2", "r1", "a"),
        device("3", "r1", "a"),
    ];
    pool(node, devices)
}

fn option(name: &str, amount: Amount) -> DeviceOption {
    DeviceOption {
        name: name.into(),
        class: GPU.into(),
        selectors: Vec::new(),
        amount,
        admin: false,
        tolerations: Vec::new(),
    }
}

fn of_model(name: &str, amount: Amount, model: &str) -> DeviceOption {
    let selector = format!(r#"device.attributes["{DRIVER}"].model == "{model}""#);
    DeviceOption {
        selectors: vec![selector.into()],
        ..option(name, amount)
    }
}

fn request(name: &str, options: Vec<DeviceOption>) -> DeviceRequest {
    DeviceRequest {
        name: name.into(),
        options,
    }
}

fn asks(requests: Vec<DeviceRequest>) -> DeviceRequests {
    DeviceRequests {
        requests,
        constraints: Vec::new(),
    }
}

fn count(devices: usize) -> DeviceRequests {
    asks(vec![request(
        "r",
        vec![option("r", Amount::Count(devices))],
    )])
}

fn constrained(attribute: &str, kind: ConstraintKind, devices: usize) -> DeviceRequests {
    DeviceRequests {
        constraints: vec![DeviceConstraint {
            requests: Vec::new(),
            attribute: QualifiedName::of(attribute, DRIVER),
            kind,
        }],
        ..count(devices)
    }
}

fn claim(name: &str, requests: DeviceRequests) -> DeviceClaimFacts {
    DeviceClaimFacts {
        key: ("default".into(), name.into()),
        requests: Arc::new(requests),
        ..DeviceClaimFacts::default()
    }
}

fn user(name: &str, claims: &[&str]) -> PodFacts {
    let wish = |claim: &&str| DeviceWish {
        name: (*claim).into(),
        claim: Some((*claim).into()),
        template: None,
    };
    let devices = claims.iter().map(wish).collect();
    pod(
        name,
        PodSpec {
            devices,
            ..spec(10)
        },
    )
}

/// Nodes with four devices each, and the class of all of them.
fn machines(names: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.set_device_class(DeviceClassFacts {
        name: GPU.into(),
        selectors: vec![format!("device.driver == {DRIVER:?}").into()],
    });
    for name in names {
        snapshot.set_node(NodeFacts {
            pools: vec![four(name)],
            ..node(name, "z", 1000)
        });
    }
    snapshot
}

/// The devices a claim has.
fn devices_of(snapshot: &Snapshot, claim: &str) -> Vec<String> {
    let allocation = snapshot.device_allocation("default", claim);
    let results = allocation.map(|allocation| allocation.results.clone());
    let results = results.unwrap_or_default().into_iter();
    results
        .map(|one| format!("{}={}/{}", one.request, one.pool, one.device))
        .collect()
}

fn refusal(snapshot: &mut Snapshot, pod: &PodFacts) -> String {
    let refused = snapshot.refusal_on(pod, "n");
    let reasons = refused.map(|refused| refused.reasons).unwrap_or_default();
    reasons.first().map(ToString::to_string).unwrap_or_default()
}

#[rstest]
#[case::one(count(1), &["r=n/0"])]
#[case::three(count(3), &["r=n/0", "r=n/1", "r=n/2"])]
#[case::all_of_a_model(asks(vec![request("r", vec![of_model("r", Amount::All, "a")])]),
    &["r=n/0", "r=n/2", "r=n/3"])]
#[case::first_that_can_be(asks(vec![request("r", vec![
    of_model("r/best", Amount::Count(2), "b"), of_model("r/next", Amount::Count(2), "a")])]),
    &["r/next=n/0", "r/next=n/2"])]
#[case::on_one_root(constrained("root", ConstraintKind::Same, 2), &["r=n/0", "r=n/1"])]
#[case::on_different_roots(constrained("root", ConstraintKind::Distinct, 2), &["r=n/0", "r=n/2"])]
#[case::alike_and_many(constrained("model", ConstraintKind::Same, 3), &["r=n/0", "r=n/2", "r=n/3"])]
#[case::the_picky_one_gets_what_is_left_for_it(asks(vec![
    request("any", vec![option("any", Amount::Count(1))]),
    request("b", vec![of_model("b", Amount::Count(1), "b")])]), &["any=n/0", "b=n/1"])]
#[case::and_the_other_order(asks(vec![
    request("two", vec![option("two", Amount::Count(2))]),
    request("b", vec![of_model("b", Amount::Count(1), "b")])]), &["two=n/0", "two=n/2", "b=n/1"])]
fn a_claim_gets_devices(#[case] requests: DeviceRequests, #[case] want: &[&str]) {
    let mut snapshot = machines(&["n"]);
    snapshot.set_device_claim(claim("c", requests));
    let pod = user("p", &["c"]);
    assert_eq!(snapshot.refusal_on(&pod, "n"), None);
    snapshot.place("n", pod);
    assert_eq!(devices_of(&snapshot, "c"), want);
    let terms = snapshot.device_allocation("default", "c").unwrap();
    let terms = terms.terms.as_ref().unwrap();
    assert_eq!(terms[0].to_string(), "metadata.name=n");
}

#[rstest]
#[case::too_many(count(5), "cannot allocate all claims")]
#[case::not_so_many_alike(
    constrained("model", ConstraintKind::Same, 4),
    "cannot allocate all claims"
)]
#[case::without_the_attribute(
    constrained("color", ConstraintKind::Same, 1),
    "cannot allocate all claims"
)]
#[case::none_of_them(asks(vec![request("r", vec![of_model("r", Amount::All, "z")])]),
    "cannot allocate all claims")]
#[case::no_class(asks(vec![request("r", vec![DeviceOption { class: "x".into(),
    ..option("r", Amount::Count(1)) }])]), "request r: device class x does not exist")]
#[case::no_sense(asks(vec![request("r", vec![DeviceOption {
    selectors: vec![r#"device.attributes["gpu.example.com"].size == 1"#.into()],
    ..option("r", Amount::Count(1)) }])]), "CEL selector of devices: no such key: size")]
fn a_claim_that_gets_nothing_is_told_why(#[case] requests: DeviceRequests, #[case] want: &str) {
    let mut snapshot = machines(&["n"]);
    snapshot.set_device_claim(claim("c", requests));
    assert_eq!(refusal(&mut snapshot, &user("p", &["c"])), want);
}

#[test]
fn what_is_held_is_not_given_again_but_to_administrators() {
    let mut snapshot = machines(&["n"]);
    snapshot.set_device_claim(claim("a", count(3)));
    snapshot.set_device_claim(claim("b", count(2)));
    let watching = DeviceOption {
        admin: true,
        ..option("r", Amount::All)
    };
    snapshot.set_device_claim(claim("watch", asks(vec![request("r", vec![watching])])));
    snapshot.place("n", user("a", &["a"]));
    let waiting = user("b", &["b"]);
    assert_eq!(
        refusal(&mut snapshot, &waiting),
        "cannot allocate all claims"
    );
    let report = explain(&mut snapshot, &waiting);
    let lift = report.nodes[0].obstacles[0].remedy.to_string();
    let want = "claim b, request r: 2 of class gpu wanted, 4 fit and 1 of them are free";
    assert_eq!(lift, want);
    snapshot.place("n", user("watch", &["watch"]));
    assert_eq!(devices_of(&snapshot, "watch").len(), 4);
    let usage = snapshot.pool_usage("n");
    assert_eq!((usage[0].held, usage[0].devices), (3, 4));
    snapshot.displace("default", "a");
    assert_eq!(snapshot.refusal_on(&waiting, "n"), None);
}

/// Two requests of sixteen devices of one kind, alike in number, that cannot all be had.
#[rstest]
#[case::too_many_together(option("s", Amount::Count(9)))]
#[case::none_of_that_model(of_model("s", Amount::Count(1), "z"))]
fn too_few_devices_are_told_from_too_many_ways(#[case] second: DeviceOption) {
    let mut snapshot = machines(&[]);
    let devices = (0..16).map(|at| device(&at.to_string(), "r", "a"));
    snapshot.set_node(NodeFacts {
        pools: vec![pool("n", devices.collect())],
        ..node("n", "z", 1000)
    });
    let first = request("r", vec![option("r", Amount::Count(8))]);
    let both = asks(vec![first, request("s", vec![second])]);
    snapshot.set_device_claim(claim("c", both));
    let why = refusal(&mut snapshot, &user("p", &["c"]));
    assert_eq!(why, "cannot allocate all claims");
}

#[rstest]
#[case::whole(four("n"), false)]
#[case::partial(PoolFacts { complete: false, ..four("n") }, true)]
#[case::empty(pool("n", Vec::new()), true)]
fn a_driver_is_there_with_a_complete_pool_of_devices(#[case] pool: PoolFacts, #[case] lacks: bool) {
    let mut snapshot = machines(&[]);
    snapshot.set_node(NodeFacts {
        pools: vec![pool],
        ..node("n", "z", 1000)
    });
    let drivers = BTreeSet::from([DRIVER.into()]);
    assert_eq!(snapshot.lacks_drivers("n", &drivers), lacks);
}

#[test]
fn a_pod_that_leaves_frees_what_only_was_chosen_for_it() {
    let mut snapshot = machines(&["n"]);
    snapshot.set_device_claim(claim("c", count(1)));
    let before = snapshot.devices_freed();
    snapshot.place("n", user("p", &["c"]));
    snapshot.fork();
    snapshot.displace("default", "p");
    snapshot.revert();
    assert_eq!(snapshot.devices_freed(), before);
    snapshot.displace("default", "p");
    assert_ne!(snapshot.devices_freed(), before);
}

#[test]
fn a_claim_that_several_share_keeps_them_together() {
    let mut snapshot = machines(&["n", "m"]);
    snapshot.set_device_claim(claim("c", count(1)));
    snapshot.place("n", user("first", &["c"]));
    let second = user("second", &["c"]);
    let refused = snapshot.refusal_on(&second, "m").unwrap();
    let want = "resourceclaim not available on the node";
    assert_eq!(refused.reasons[0].to_string(), want);
    assert_eq!(decide(&mut snapshot, &second, 0).node(), Some("n"));
    snapshot.place("n", second.clone());
    snapshot.displace("default", "first");
    assert!(snapshot.refusal_on(&second, "m").is_some());
    snapshot.displace("default", "second");
    assert_eq!(snapshot.refusal_on(&second, "m"), None);
}

#[test]
fn what_the_api_says_counts_until_it_says_otherwise() {
    let mut snapshot = machines(&["n", "m"]);
    snapshot.set_device_claim(claim("c", count(4)));
    snapshot.place("n", user("p", &["c"]));
    let given = snapshot.device_allocation("default", "c");
    let written = DeviceClaimFacts {
        allocation: given,
        ..claim("c", count(4))
    };
    snapshot.set_device_claim(written);
    // In a what-if its devices go with the pod.
    snapshot.fork();
    snapshot.displace("default", "p");
    snapshot.place("m", user("p", &["c"]));
    assert_eq!(devices_of(&snapshot, "c")[0], "r=m/0");
    snapshot.revert();
    assert_eq!(devices_of(&snapshot, "c")[0], "r=n/0");
    // In earnest they are free when the claim says so.
    snapshot.displace("default", "p");
    snapshot.set_device_claim(claim("d", count(1)));
    let next = user("q", &["d"]);
    assert_eq!(refusal(&mut snapshot, &next), "cannot allocate all claims");
    snapshot.set_device_claim(claim("c", count(4)));
    assert_eq!(snapshot.refusal_on(&next, "n"), None);
}

#[test]
fn claims_that_cannot_be_used_hold_pods_up() {
    let mut snapshot = machines(&["n"]);
    let pod = user("p", &["c"]);
    let missing = r#"resourceclaim.resource.k8s.io "c" not found"#;
    assert_eq!(refusal(&mut snapshot, &pod), missing);
    snapshot.set_device_claim(DeviceClaimFacts {
        deleted: true,
        ..claim("c", count(1))
    });
    assert_eq!(
        refusal(&mut snapshot, &pod),
        r#"resourceclaim "c" is being deleted"#
    );
    snapshot.set_device_claim(DeviceClaimFacts {
        reserved: 256,
        ..claim("c", count(1))
    });
    assert_eq!(refusal(&mut snapshot, &pod), "resourceclaim in use");
}

#[test]
fn pods_that_are_only_imagined_get_what_their_template_says() {
    let mut snapshot = machines(&["n"]);
    snapshot.set_device_template(("default", "t"), Some(Arc::new(count(3))));
    let wish = DeviceWish {
        name: "gpu".into(),
        claim: None,
        template: Some("t".into()),
    };
    let spec = PodSpec {
        devices: vec![wish],
        ..spec(10)
    };
    let (one, other) = (pod("one", spec.clone()), pod("other", spec));
    snapshot.place("n", one);
    assert_eq!(refusal(&mut snapshot, &other), "cannot allocate all claims");
    snapshot.displace("default", "one");
    assert_eq!(snapshot.refusal_on(&other, "n"), None);
}

#[test]
fn incomplete_pools_and_tainted_devices_give_nothing() {
    let mut snapshot = machines(&[]);
    snapshot.set_device_claim(claim("c", count(1)));
    let pod = user("p", &["c"]);
    let mut facts = NodeFacts {
        pools: vec![PoolFacts {
            complete: false,
            ..four("n")
        }],
        ..node("n", "z", 1000)
    };
    snapshot.set_node(facts.clone());
    assert_eq!(refusal(&mut snapshot, &pod), "cannot allocate all claims");
    let mut ill = device("0", "r0", "a");
    ill.taints.push(Taint {
        key: "ill".into(),
        value: String::new(),
        effect: Effect::NoSchedule,
    });
    facts.pools = vec![pool("n", vec![ill])];
    snapshot.set_node(facts);
    assert_eq!(refusal(&mut snapshot, &pod), "cannot allocate all claims");
    let brave = DeviceOption {
        tolerations: vec![Toleration {
            key: "ill".into(),
            operator: TolerationOperator::Exists,
            value: String::new(),
            effect: None,
        }],
        ..option("r", Amount::Count(1))
    };
    snapshot.set_device_claim(claim("c", asks(vec![request("r", vec![brave])])));
    assert_eq!(snapshot.refusal_on(&pod, "n"), None);
}

#[test]
fn devices_that_several_nodes_reach_are_given_once() {
    let mut snapshot = machines(&[]);
    for (name, zone) in [("n", "near"), ("m", "near"), ("far", "far")] {
        snapshot.set_node(node(name, zone, 1000));
    }
    let near = NodeTerm {
        labels: vec![Requirement::equals(ZONE, "near")],
        fields: Vec::new(),
    };
    let shared = PoolFacts {
        reach: PoolReach::Nodes(near),
        ..pool("fabric", vec![device("0", "r", "a")])
    };
    snapshot.set_device_pool(&DRIVER.into(), &"fabric".into(), vec![shared]);
    snapshot.set_device_claim(claim("c", count(1)));
    snapshot.set_device_claim(claim("d", count(1)));
    let first = user("p", &["c"]);
    assert!(snapshot.refusal_on(&first, "far").is_some());
    snapshot.place("n", first);
    assert!(snapshot.refusal_on(&user("q", &["d"]), "m").is_some());
    // Its user may be joined from anywhere the device is reached.
    assert_eq!(snapshot.refusal_on(&user("r", &["c"]), "m"), None);
}

#[derive(Debug, Clone)]
enum Step {
    Place(usize, usize),
    Displace(usize),
    Fork,
    Commit,
    Revert,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0usize..6, 0usize..2).prop_map(|(pod, node)| Step::Place(pod, node)),
        2 => (0usize..6).prop_map(Step::Displace),
        2 => Just(Step::Fork),
        1 => Just(Step::Commit),
        2 => Just(Step::Revert),
    ]
}

/// What each claim has, after checking that nothing is given twice.
fn given(snapshot: &Snapshot) -> BTreeMap<usize, Vec<String>> {
    let claims = (0..4).map(|at| (at, devices_of(snapshot, &format!("c{at}"))));
    let claims: BTreeMap<usize, Vec<String>> = claims.collect();
    let all: Vec<&str> = claims
        .values()
        .flatten()
        .filter_map(|device| Some(device.split_once('=')?.1))
        .collect();
    let distinct: BTreeSet<&&str> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{claims:?}");
    let held = ["n0", "n1"]
        .iter()
        .flat_map(|node| snapshot.pool_usage(node));
    assert_eq!(held.map(|pool| pool.held).sum::<usize>(), all.len());
    claims
}

proptest! {
    #[test]
    fn no_device_is_given_twice_whatever_is_tried_and_taken_back(
        steps in prop::collection::vec(step(), 1..40),
        sizes in prop::collection::vec(1usize..4, 4),
    ) {
        let mut snapshot = machines(&["n0", "n1"]);
        for (at, size) in sizes.iter().enumerate() {
            snapshot.set_device_claim(claim(&format!("c{at}"), count(*size)));
        }
        // Some share a claim, some have two.
        let uses = [&["c0"][..], &["c0"], &["c1"], &["c1", "c2"], &["c3"], &["c2", "c3"]];
        let mut before: Vec<BTreeMap<usize, Vec<String>>> = Vec::new();
        for step in steps {
            match step {
                Step::Place(at, node) => {
                    let pod = user(&format!("p{at}"), uses[at]);
                    let node = format!("n{node}");
                    if snapshot.node_of("default", &pod.name).is_none()
                        && snapshot.refusal_on(&pod, &node).is_none()
                    {
                        snapshot.place(&node, pod);
                        for claim in uses[at] {
                            prop_assert!(!devices_of(&snapshot, claim).is_empty());
                        }
                    }
                }
                Step::Displace(at) => drop(snapshot.displace("default", &format!("p{at}"))),
                Step::Fork => {
                    before.push(given(&snapshot));
                    snapshot.fork();
                }
                Step::Commit => {
                    before.pop();
                    snapshot.commit();
                }
                Step::Revert => {
                    snapshot.revert();
                    if let Some(before) = before.pop() {
                        prop_assert_eq!(given(&snapshot), before);
                    }
                }
            }
            given(&snapshot);
        }
    }
}
