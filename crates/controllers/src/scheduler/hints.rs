//! What an event can change for pods that fitted nowhere.
//!
//! A pod is tried again only after what could help it: room on a node for one that lacked room, a
//! label or taint for one that was not let in, a pod for one that must be near it.

use plimsoll_engine::placement::{
    Effect, Failure, NodeFacts, NodeState, PodSpec, Refusal, Resources, Taint,
};

/// What stood in a class's way, over all nodes, beside what each node says of itself (its labels,
/// its taints, its size).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Obstacles {
    /// What a pod that leaves could free.
    room: Room,
    /// Rules about other pods.
    neighbours: bool,
    /// Claims and volumes.
    storage: bool,
    /// Claims to devices.
    devices: DeviceClaims,
}

/// What is wrong with a class's claims to devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum DeviceClaims {
    /// Nothing.
    #[default]
    Fine,
    /// Others have the devices, or too many have the claim.
    Held,
    /// A claim or class is not there, or cannot be satisfied as it is.
    Missing,
}

/// What a class lacked that a pod that leaves could free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    /// Nothing.
    #[default]
    Enough,
    /// Resources, pod slots or host ports: on its node.
    OnNode,
    /// A claim for a single pod: its user may be anywhere.
    Anywhere,
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event<'a> {
    /// A node is new or differs.
    Node(&'a NodeState),
    /// A node is gone.
    NodeGone,
    /// A pod left a node, or will not take the room that was kept for it.
    Left(Option<&'a NodeState>),
    /// A pod came to a node, or its labels changed.
    Came,
    /// A claim, a volume, a storage class or what a node can attach changed.
    Storage,
    /// Devices became free, or claims, classes, templates or slices changed.
    Devices,
    /// There is a new claim to devices.
    DeviceClaim,
    /// A namespace's labels changed.
    Namespace,
}

impl Obstacles {
    /// What the nodes refused with; `None` if there was no node to refuse.
    pub(super) fn of(failure: &Failure) -> Option<Self> {
        let groups = failure.groups.iter();
        let groups = groups.flat_map(|group| &group.refused.reasons);
        let mut reasons = groups.chain(&failure.whole).peekable();
        reasons.peek()?;
        let mut obstacles = Self::default();
        reasons.for_each(|reason| obstacles.note(reason));
        Some(obstacles)
    }

    fn note(&mut self, reason: &Refusal) {
        match reason {
            Refusal::Insufficient(_) | Refusal::TooManyPods | Refusal::PortTaken => {
                self.room = self.room.max(Room::OnNode);
            }
            Refusal::Unschedulable
            | Refusal::OtherNodeNamed
            | Refusal::UntoleratedTaint
            | Refusal::NotNamed
            | Refusal::NotSelected => {}
            Refusal::SpreadLabelMissing
            | Refusal::TooUneven
            | Refusal::NotNearRequiredPods
            | Refusal::NearAvoidedPods
            | Refusal::AvoidedByPods => self.neighbours = true,
            Refusal::ClaimInUse => {
                self.room = Room::Anywhere;
                self.storage = true;
            }
            Refusal::NoDevices | Refusal::DevicesElsewhere | Refusal::DeviceClaimInUse => {
                self.devices = self.devices.max(DeviceClaims::Held);
            }
            Refusal::TooManyVolumes => {
                self.room = self.room.max(Room::OnNode);
                self.storage = true;
            }
            Refusal::VolumeElsewhere
            | Refusal::NoVolumeToBind
            | Refusal::OtherVolumeZone
            | Refusal::VolumeMissing
            | Refusal::ClaimNotFound(_)
            | Refusal::ClaimDeleted(_)
            | Refusal::ClaimLost { .. }
            | Refusal::UnboundImmediateClaim => self.storage = true,
            Refusal::DevicesTooHard
            | Refusal::DeviceSelector(_)
            | Refusal::DeviceClaimNotFound(_)
            | Refusal::DeviceClaimDeleted(_)
            | Refusal::DeviceClassMissing { .. } => self.devices = DeviceClaims::Missing,
        }
    }

    /// Whether the event could make a pod of this kind fit somewhere.
    pub(super) fn may_yield_to(self, event: Event<'_>, spec: &PodSpec) -> bool {
        match event {
            Event::Node(node) => self.neighbours || self.storage || could_take(spec, &node.facts),
            Event::NodeGone | Event::Came | Event::Namespace => self.neighbours,
            Event::Left(_) if self.room == Room::Anywhere => true,
            Event::Left(None) => self.room == Room::OnNode || self.neighbours,
            Event::Left(Some(node)) => {
                let lacking = self.room == Room::OnNode;
                let room = lacking && could_take(spec, &node.facts) && has_room(spec, node);
                room || self.neighbours
            }
            Event::Storage => self.storage,
            Event::Devices => self.devices != DeviceClaims::Fine,
            Event::DeviceClaim => self.devices == DeviceClaims::Missing,
        }
    }
}

/// Whether the node, were it empty, would take such a pod as far as it can tell by itself.
fn could_take(spec: &PodSpec, node: &NodeFacts) -> bool {
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: String::new(),
        effect: Effect::NoSchedule,
    };
    let tolerated = |taint: &Taint| spec.tolerations.iter().any(|t| t.covers(taint));
    let hard = |taint: &&Taint| taint.effect != Effect::PreferNoSchedule;
    (!node.unschedulable || tolerated(&cordon))
        && node.taints.iter().filter(hard).all(tolerated)
        && spec
            .node_selector
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value))
        && spec.affinity.admits(&node.name, &node.labels)
        && fits(&spec.requests, &node.allocatable, &Resources::default())
}

/// Whether there is room now, or room for which less important pods would have to go.
fn has_room(spec: &PodSpec, node: &NodeState) -> bool {
    let free = node.pod_count() < node.facts.max_pods
        && fits(&spec.requests, &node.facts.allocatable, &node.used);
    free || node.pods().any(|pod| pod.spec.priority < spec.priority)
}

fn fits(wanted: &Resources, capacity: &Resources, used: &Resources) -> bool {
    wanted.requested().all(|(name, amount)| {
        let free = capacity.amount(name).saturating_sub(used.amount(name));
        amount <= free
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_engine::placement::{
        Decision, PodFacts, Snapshot, Toleration, TolerationOperator, decide,
    };
    use rstest::rstest;

    fn snapshot(cpu: i64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(NodeFacts {
            name: "n".into(),
            allocatable: Resources::of(cpu, 1 << 30),
            max_pods: 10,
            ..NodeFacts::default()
        });
        snapshot
    }

    fn wants(cpu: i64) -> PodSpec {
        PodSpec {
            requests: Resources::of(cpu, 0),
            ..PodSpec::default()
        }
    }

    fn obstacles(snapshot: &mut Snapshot, spec: &PodSpec) -> Obstacles {
        let pod = PodFacts::new("default", "p", spec.clone());
        match decide(snapshot, &pod, 0) {
            Decision::Nowhere(failure) => Obstacles::of(&failure).unwrap(),
            Decision::Fits(choice) => panic!("fits on {}", choice.node),
        }
    }

    #[rstest]
    #[case::room_for_it(1000, 800, true)]
    #[case::too_little_room(1000, 900, false)]
    fn room_wakes_who_it_is_enough_for(#[case] cpu: i64, #[case] wanted: i64, #[case] wakes: bool) {
        let mut full = snapshot(cpu);
        full.place("n", PodFacts::new("default", "small", wants(200)));
        full.place("n", PodFacts::new("default", "large", wants(800)));
        let found = obstacles(&mut full, &wants(wanted));
        full.displace("default", "large");
        let node = full.node("n");
        assert_eq!(found.may_yield_to(Event::Left(node), &wants(wanted)), wakes);
        assert!(!found.may_yield_to(Event::Came, &wants(wanted)));
        assert!(!found.may_yield_to(Event::Storage, &wants(wanted)));
    }

    #[test]
    fn whoever_leaves_may_have_used_the_claim() {
        let mut obstacles = Obstacles::default();
        obstacles.note(&Refusal::ClaimInUse);
        let mut cordoned = snapshot(1000);
        let mut facts = cordoned.node("n").unwrap().facts.clone();
        facts.unschedulable = true;
        cordoned.set_node(facts);
        let node = cordoned.node("n");
        assert!(obstacles.may_yield_to(Event::Left(node), &wants(1)));
        assert!(obstacles.may_yield_to(Event::Left(None), &wants(1)));
        assert!(!obstacles.may_yield_to(Event::Came, &wants(1)));
    }

    #[rstest]
    #[case::held(Refusal::NoDevices, (true, false))]
    #[case::elsewhere(Refusal::DevicesElsewhere, (true, false))]
    #[case::in_use(Refusal::DeviceClaimInUse, (true, false))]
    #[case::missing(Refusal::DeviceClaimNotFound("c".into()), (true, true))]
    fn only_devices_help_who_lacks_devices(#[case] why: Refusal, #[case] wakes: (bool, bool)) {
        let mut obstacles = Obstacles::default();
        obstacles.note(&why);
        let helps = |event| obstacles.may_yield_to(event, &wants(1));
        assert_eq!((helps(Event::Devices), helps(Event::DeviceClaim)), wakes);
        let snapshot = snapshot(1000);
        assert!(!helps(Event::Left(snapshot.node("n"))) && !helps(Event::Left(None)));
        assert!(!helps(Event::Storage));
    }

    #[test]
    fn without_nodes_nothing_is_known() {
        assert_eq!(Obstacles::of(&Failure::default()), None);
    }

    #[test]
    fn a_node_wakes_only_whom_it_could_take() {
        let small = wants(2000);
        let found = obstacles(&mut snapshot(1000), &small);
        let large = snapshot(3000);
        assert!(found.may_yield_to(Event::Node(large.node("n").unwrap()), &small));
        let mut tainted = snapshot(3000);
        let mut facts = tainted.node("n").unwrap().facts.clone();
        facts.taints.push(Taint {
            key: "dedicated".into(),
            value: String::new(),
            effect: Effect::NoExecute,
        });
        tainted.set_node(facts);
        let node = tainted.node("n").unwrap();
        assert!(!found.may_yield_to(Event::Node(node), &small));
        let tolerant = PodSpec {
            tolerations: vec![Toleration {
                key: String::new(),
                operator: TolerationOperator::Exists,
                value: String::new(),
                effect: None,
            }],
            ..small
        };
        assert!(found.may_yield_to(Event::Node(node), &tolerant));
    }
}
