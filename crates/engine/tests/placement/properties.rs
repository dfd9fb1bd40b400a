//! Whatever happens: what is remembered gives the same answers as what is worked out anew, and both
//! obey the plain rules.

use crate::build::*;
use crate::plain::World;
use plimsoll_engine::placement::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const APPS: [&str; 3] = ["x", "y", "z"];
const KEYS: [&str; 3] = [HOSTNAME, ZONE, "rack"];
const NAMESPACES: [&str; 2] = ["default", "other"];

fn app_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&APPS[..])
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&KEYS[..])
}

fn pod_term() -> impl Strategy<Value = PodTerm> {
    let namespaces = prop::sample::select(vec![0usize, 0, 0, 1, 2]);
    let keys = prop::sample::select(vec![0usize, 0, 0, 1, 2]);
    (app_name(), key(), namespaces, keys).prop_map(|(app, key, namespaces, keys)| {
        let mut term = term(app, key);
        match namespaces {
            1 => term.namespaces = vec!["other".into()],
            2 => term.namespace_selector = Some(select("team", "b")),
            _ => {}
        }
        match keys {
            1 => term.match_label_keys = vec!["version".into()],
            2 => term.mismatch_label_keys = vec!["version".into()],
            _ => {}
        }
        term
    })
}

fn affinity() -> impl Strategy<Value = PodAffinity> {
    let weighted = (1i64..100, pod_term());
    let weighted = weighted.prop_map(|(weight, term)| WeightedPodTerm { weight, term });
    let nothing = Just(PodAffinity::default());
    prop_oneof![
        6 => nothing,
        1 => (prop::collection::vec(pod_term(), 0..3), prop::collection::vec(weighted, 0..2))
            .prop_map(|(required, preferred)| PodAffinity { required, preferred }),
    ]
}

fn constraint() -> impl Strategy<Value = SpreadConstraint> {
    let inclusion = || prop::sample::select(vec![Inclusion::Honor, Inclusion::Ignore]);
    let when = prop::sample::select(vec![
        WhenUnsatisfiable::DoNotSchedule,
        WhenUnsatisfiable::ScheduleAnyway,
    ]);
    (
        app_name(),
        key(),
        when,
        1i32..3,
        prop::option::of(1i32..4),
        inclusion(),
        inclusion(),
    )
        .prop_map(
            |(app, key, when, max_skew, min_domains, affinity, taints)| SpreadConstraint {
                max_skew,
                min_domains,
                node_affinity_policy: affinity,
                node_taints_policy: taints,
                ..spread(app, key, when)
            },
        )
}

fn pod_spec() -> impl Strategy<Value = PodSpec> {
    let spreads = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(constraint(), 1..3)];
    let names = (app_name(), prop::option::of(0u8..2), 0i32..4);
    let asks = (0i64..500, 0i64..3, prop::option::weighted(0.1, 80u16..82));
    let wishes = (affinity(), affinity(), spreads);
    let choosy = (
        any::<bool>(),
        prop::option::weighted(0.2, 0u8..3),
        prop::option::weighted(0.3, app_name()),
    );
    (names, asks, wishes, choosy).prop_map(|(names, asks, wishes, choosy)| {
        let (app, version, priority) = names;
        let (cpu, gib, host_port) = asks;
        let (pod_affinity, pod_anti_affinity, spread) = wishes;
        let (tolerant, disk, default_spread) = choosy;
        let mut spec = PodSpec {
            labels: labels(&[("app", app)]),
            requests: Resources::of(cpu, gib * GIB / 2),
            host_ports: host_port.map(port).into_iter().collect(),
            pod_affinity,
            pod_anti_affinity,
            spread,
            priority,
            tolerations: if tolerant {
                vec![tolerate_all()]
            } else {
                vec![]
            },
            default_spread: default_spread.map(|app| select("app", app)),
            ..PodSpec::default()
        };
        if let Some(version) = version {
            spec.labels.insert("version".into(), version.to_string());
        }
        match disk {
            Some(0) => drop(spec.node_selector.insert("disk".into(), "ssd".into())),
            Some(1) => {
                spec.affinity.required = Some(vec![NodeTerm {
                    labels: vec![requirement("disk", Operator::NotIn, &["ssd"])],
                    fields: vec![],
                }]);
            }
            Some(_) => {
                spec.affinity.preferred = vec![PreferredTerm {
                    weight: 7,
                    term: NodeTerm {
                        labels: vec![requirement("disk", Operator::Exists, &[])],
                        fields: vec![],
                    },
                }];
            }
            None => {}
        }
        spec
    })
}

fn node_facts(number: usize) -> impl Strategy<Value = NodeFacts> {
    let places = (
        prop::option::weighted(0.8, 0u8..3),
        prop::option::weighted(0.5, 0u8..2),
    );
    let state = (
        prop::option::weighted(0.3, any::<bool>()),
        prop::option::weighted(0.2, any::<bool>()),
    );
    (places, state, 500i64..2000, 2usize..8).prop_map(
        move |((zone, rack), (disk, taint), cpu, max_pods)| {
            let zone = zone.map(|z| format!("z{z}")).unwrap_or_default();
            let mut facts = NodeFacts {
                max_pods,
                ..node(&format!("n{number}"), &zone, cpu)
            };
            if let Some(rack) = rack {
                facts.labels.insert("rack".into(), format!("r{rack}"));
            }
            if let Some(ssd) = disk {
                facts
                    .labels
                    .insert("disk".into(), if ssd { "ssd" } else { "hdd" }.into());
            }
            facts.unschedulable = taint == Some(false);
            if let Some(hard) = taint {
                let effect = if hard {
                    Effect::NoSchedule
                } else {
                    Effect::PreferNoSchedule
                };
                facts.taints = vec![Taint {
                    key: "t".into(),
                    value: String::new(),
                    effect,
                }];
            }
            facts
        },
    )
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Event {
    Node(NodeFacts),
    NodeGone(usize),
    Arrive(Box<PodSpec>, &'static str),
    Leave(usize),
    Terminate(usize),
    Relabel(bool),
    WhatIf(usize, Box<PodSpec>),
}

fn event() -> impl Strategy<Value = Event> {
    let namespace = prop::sample::select(&NAMESPACES[..]);
    let arrive = (pod_spec(), namespace).prop_map(|(spec, ns)| Event::Arrive(Box::new(spec), ns));
    prop_oneof![
        3 => (0usize..6).prop_flat_map(|n| node_facts(n).prop_map(Event::Node)),
        1 => (0usize..6).prop_map(Event::NodeGone),
        12 => arrive,
        2 => (0usize..40).prop_map(Event::Leave),
        2 => (0usize..40).prop_map(Event::Terminate),
        1 => any::<bool>().prop_map(Event::Relabel),
        2 => (0usize..6, pod_spec()).prop_map(|(n, spec)| Event::WhatIf(n, Box::new(spec))),
    ]
}

fn start() -> impl Strategy<Value = Vec<NodeFacts>> {
    (0usize..6).prop_flat_map(|count| (0..count).map(node_facts).collect::<Vec<_>>())
}

/// The same history told to both.
struct Both {
    snapshot: Snapshot,
    world: World,
    arrived: usize,
}

impl Both {
    fn new(nodes: Vec<NodeFacts>) -> Self {
        let mut both = Self {
            snapshot: Snapshot::default(),
            world: World::default(),
            arrived: 0,
        };
        both.relabel(true);
        for facts in nodes {
            both.set_node(facts);
        }
        both
    }

    fn relabel(&mut self, team_b: bool) {
        let of = if team_b {
            labels(&[("team", "b")])
        } else {
            labels(&[])
        };
        self.snapshot.set_namespace("other", Some(of.clone()));
        self.world.namespaces.insert("other".into(), of);
    }

    fn set_node(&mut self, facts: NodeFacts) {
        self.snapshot.set_node(facts.clone());
        let nodes = &mut self.world.nodes;
        match nodes.iter_mut().find(|n| n.name == facts.name) {
            Some(known) => *known = facts,
            None => nodes.push(facts),
        }
    }

    /// A snapshot made of what is there now, with nothing remembered.
    fn anew(&self) -> Snapshot {
        let mut fresh = Snapshot::default();
        for (name, labels) in &self.world.namespaces {
            fresh.set_namespace(name, Some(labels.clone()));
        }
        self.world
            .nodes
            .iter()
            .for_each(|facts| fresh.set_node(facts.clone()));
        for (node, pod) in &self.world.placed {
            fresh.place(node, pod.clone());
        }
        fresh
    }

    fn arrive(&mut self, spec: PodSpec, namespace: &str) -> Result<(), TestCaseError> {
        self.arrived += 1;
        let pod = PodFacts::new(namespace, &format!("p{}", self.arrived), spec);
        let decision = decide(&mut self.snapshot, &pod, 3);
        let fitting: BTreeSet<String> = self.world.fitting(&pod).into_iter().collect();
        let report = explain(&mut self.snapshot, &pod);
        let fit = report.nodes.iter().filter(|n| n.scores.is_some());
        prop_assert_eq!(
            &fit.map(|n| n.node.clone()).collect::<BTreeSet<_>>(),
            &fitting
        );
        let mut fresh = self.anew();
        match decision {
            Decision::Fits(choice) => {
                prop_assert!(fitting.contains(&choice.node));
                let Decision::Fits(anew) = decide(&mut fresh, &pod, 3) else {
                    return Err(TestCaseError::fail("worked out anew, it fits nowhere"));
                };
                prop_assert_eq!(
                    (choice.score, choice.fitting, choice.equals),
                    (anew.score, anew.fitting, anew.equals)
                );
                let total = report
                    .nodes
                    .iter()
                    .filter_map(|n| Some(n.scores?.total))
                    .max();
                prop_assert_eq!(total, Some(choice.score));
                self.snapshot.place(&choice.node, pod.clone());
                self.world.placed.push((choice.node, pod));
            }
            Decision::Nowhere(failure) => {
                prop_assert!(fitting.is_empty());
                let Decision::Nowhere(anew) = decide(&mut fresh, &pod, 3) else {
                    return Err(TestCaseError::fail("worked out anew, it fits"));
                };
                let none = unhelpful(NoPreemption::NotAllowed);
                prop_assert_eq!(failure.message(&none), anew.message(&none));
                self.preempts(&pod, &failure)?;
            }
        }
        Ok(())
    }

    /// Whoever is removed, the plain rules then admit the pod, and need each victim.
    fn preempts(&mut self, pod: &PodFacts, failure: &Failure) -> Result<(), TestCaseError> {
        let Preemption::Helps(plan) = preempt(&mut self.snapshot, pod, failure, &[], 5) else {
            return Ok(());
        };
        let gone = |other: &PodFacts, but: Option<&PodKey>| {
            let key = other.key();
            plan.victims.iter().any(|v| v.pod == key) && but != Some(&key)
        };
        let without = |but: Option<&PodKey>| {
            let mut world = self.world.clone();
            world.placed.retain(|(_, other)| !gone(other, but));
            world.fitting(pod).contains(&plan.node)
        };
        prop_assert!(without(None), "{:?} is not enough", plan);
        for victim in &plan.victims {
            prop_assert!(victim.priority < pod.spec.priority);
            prop_assert!(!without(Some(&victim.pod)), "{:?} need not go", victim);
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Node(facts) => self.set_node(facts),
            Event::NodeGone(number) => {
                let name = format!("n{number}");
                self.snapshot.remove_node(&name);
                self.world.nodes.retain(|n| n.name != name);
            }
            Event::Arrive(spec, namespace) => self.arrive(*spec, namespace)?,
            Event::Leave(at) if at < self.world.placed.len() => {
                let (_, pod) = self.world.placed.remove(at);
                self.snapshot.displace(&pod.namespace, &pod.name);
            }
            Event::Terminate(at) => {
                if let Some((node, pod)) = self.world.placed.get_mut(at) {
                    pod.terminating = true;
                    self.snapshot.place(node, pod.clone());
                }
            }
            Event::Leave(_) => {}
            Event::Relabel(team_b) => self.relabel(team_b),
            Event::WhatIf(number, spec) => {
                self.snapshot.fork();
                let probe = pod("probe", *spec);
                self.snapshot.place(&format!("n{number}"), probe.clone());
                self.snapshot.set_node(node("imagined", "z0", 4000));
                let next = pod("next", (*probe.spec).clone());
                drop(decide(&mut self.snapshot, &next, 1));
                self.snapshot.remove_node(&format!("n{number}"));
                self.snapshot.revert();
            }
        }
        Ok(())
    }

    fn nothing_is_overcommitted(&self) -> Result<(), TestCaseError> {
        for state in self.snapshot.nodes() {
            let pods: Vec<&PodFacts> = state.pods().collect();
            let sum = |name: &str| {
                pods.iter()
                    .map(|p| p.spec.requests.amount(name))
                    .sum::<i64>()
            };
            prop_assert_eq!(state.used.amount("cpu"), sum("cpu"));
            prop_assert_eq!(state.used.amount("memory"), sum("memory"));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn what_is_remembered_equals_what_is_worked_out_anew(
        nodes in start(),
        events in prop::collection::vec(event(), 1..50),
    ) {
        let mut both = Both::new(nodes);
        for event in events {
            both.happen(event)?;
        }
        both.nothing_is_overcommitted()?;
    }

    #[test]
    fn no_node_is_ever_filled_beyond_its_capacity(requests in prop::collection::vec(1i64..600, 1..60)) {
        let mut snapshot = cluster(&[("a", ""), ("b", "")]);
        for (tie, cpu) in (0u64..).zip(requests) {
            let next = pod(&format!("p{tie}"), spec(cpu));
            if let Some(node) = decide(&mut snapshot, &next, tie).node().map(str::to_owned) {
                snapshot.place(&node, next);
            }
        }
        prop_assert!(snapshot.nodes().all(|n| n.used.cpu_milli <= 1000));
    }

    #[test]
    fn the_same_history_and_ties_give_the_same_placements(
        specs in prop::collection::vec(pod_spec(), 1..30),
        nodes in start(),
        seed in any::<u64>(),
    ) {
        let run = || {
            let mut both = Both::new(nodes.clone());
            let mut chosen = Vec::new();
            for (number, spec) in (0u64..).zip(&specs) {
                let next = pod(&format!("p{number}"), spec.clone());
                let node = decide(&mut both.snapshot, &next, seed.wrapping_mul(number)).node().map(str::to_owned);
                if let Some(node) = &node {
                    both.snapshot.place(node, next);
                }
                chosen.push(node);
            }
            chosen
        };
        prop_assert_eq!(run(), run());
    }
}
