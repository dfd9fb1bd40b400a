//! Pods that wait, and how many nodes they need.

use super::world::{Class, HOSTNAME, Machine, World, ZONE};
use std::fmt;

/// Clusters whose pods need nodes. The first three are those by which Cluster Autoscaler's makers
/// measured its scalability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// From nothing.
    FromZero,
    /// A full cluster gets almost half as many pods again.
    Burst,
    /// As many as fit, beside pods that no group helps.
    NeverSchedulable,
    /// Two kinds of small pods, twenty to a node.
    TwoKinds,
    /// Three Deployments, three sizes of nodes.
    ThreeSizes,
    /// The same pods without controllers.
    ThreeSizesBare,
    /// Pods for each of many groups beside a full cluster.
    EachItsGroup,
    /// Pods that any of many groups would take, beside a full cluster.
    AnyGroup,
    /// The same with many times the nodes.
    Large,
    /// Pods that want nodes of their own, as those that run do.
    OneANode,
    /// Pods that want to be in one zone.
    OneZone,
    /// Pods spread over the nodes, of which those that exist have none and no room.
    Spread,
}

/// How large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Pods that wait.
    pub(super) pods: usize,
    /// Nodes that exist.
    pub(super) nodes: usize,
    /// Groups.
    pub(super) groups: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pods,
            nodes,
            groups,
        } = self;
        write!(f, "{pods:>7} {nodes:>6} {groups:>6}")
    }
}

/// A cluster, and how many nodes its pods need.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) world: World,
    pub(super) expected: usize,
}

impl Growth {
    pub(super) const ALL: [Self; 12] = [
        Self::FromZero,
        Self::Burst,
        Self::NeverSchedulable,
        Self::TwoKinds,
        Self::ThreeSizes,
        Self::ThreeSizesBare,
        Self::EachItsGroup,
        Self::AnyGroup,
        Self::Large,
        Self::OneANode,
        Self::OneZone,
        Self::Spread,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FromZero => "from zero",
            Self::Burst => "burst",
            Self::NeverSchedulable => "never schedulable",
            Self::TwoKinds => "two kinds of pods",
            Self::ThreeSizes => "three sizes",
            Self::ThreeSizesBare => "three sizes, bare",
            Self::EachItsGroup => "each its own group",
            Self::AnyGroup => "any of the groups",
            Self::Large => "large cluster",
            Self::OneANode => "anti-affinity",
            Self::OneZone => "zone affinity",
            Self::Spread => "spread over nodes",
        }
    }

    /// The size whose result is known from elsewhere, or that a budget names.
    pub(super) fn size(self) -> Size {
        let of = |pods, nodes, groups| Size {
            pods,
            nodes,
            groups,
        };
        match self {
            Self::FromZero => of(30_000, 0, 1),
            Self::Burst => of(9_000, 700, 1),
            Self::NeverSchedulable => of(31_000, 0, 1),
            Self::TwoKinds => of(51_000, 0, 1),
            Self::ThreeSizes | Self::ThreeSizesBare => of(3_000, 0, 3),
            Self::EachItsGroup | Self::AnyGroup => of(10_000, 1_000, 20),
            Self::Large => of(10_000, 5_000, 20),
            Self::OneANode | Self::OneZone | Self::Spread => of(1_000, 1_000, 4),
        }
    }

    /// The cluster, and how many nodes are to be asked for.
    pub(super) fn task(self, size: Size) -> Task {
        match self {
            Self::FromZero => alone(size, 0),
            Self::NeverSchedulable => alone(size, size.pods / 31),
            Self::TwoKinds => two_kinds(size),
            Self::ThreeSizes => three_sizes(size, Class::clone),
            Self::ThreeSizesBare => three_sizes(size, |class| class.clone().bare()),
            Self::EachItsGroup => each_its_group(size),
            Self::Burst | Self::AnyGroup | Self::Large => any_group(size),
            Self::OneANode => one_a_node(size),
            Self::OneZone => ten_apps(
                size,
                |app| Class::small(app).near(ZONE),
                |pods| pods.div_ceil(30),
            ),
            Self::Spread => ten_apps(
                size,
                |app| Class::small(app).spread(HOSTNAME),
                |pods| pods / 10,
            ),
        }
    }
}

/// A cluster whose groups have room for all that comes, its nodes full.
fn full(size: Size) -> World {
    full_of(size, &[(Class::small("present"), 30)])
}

/// The same with so many pods of these classes on every node.
fn full_of(size: Size, classes: &[(Class, usize)]) -> World {
    let mut world = World::default();
    for number in 0..size.groups {
        let name = format!("group-{number}");
        world.group(&name, Machine::THIRTY, (0, size.pods + size.nodes));
        let share = size.nodes / size.groups + usize::from(number < size.nodes % size.groups);
        let nodes = world.nodes(number, Machine::THIRTY, share);
        for (class, each) in classes {
            world.run(nodes.clone(), class, *each);
        }
    }
    world
}

fn alone(size: Size, never: usize) -> Task {
    let mut world = full(size);
    world.wait(&Class::small("never").on("nowhere"), never);
    let pods = size.pods - never;
    world.wait(&Class::small("app"), pods);
    let expected = pods.div_ceil(30);
    Task { world, expected }
}

/// 95m, ten to a node of one core, which leaves 50m: so many of the others, twenty to a node.
fn two_kinds(size: Size) -> Task {
    let machine = Machine {
        cpu_milli: 1_000,
        memory_mebibytes: 5_000,
        max_pods: 110,
    };
    let mut world = World::default();
    world.group("group-0", machine, (0, size.pods));
    let few = size.pods / 51;
    let many = size.pods - few;
    world.wait(&Class::new("many", 50, 100), many);
    world.wait(&Class::new("few", 95, 190), few);
    let first = few.div_ceil(10);
    let expected = first + many.saturating_sub(first).div_ceil(20);
    Task { world, expected }
}

/// Worked example E9b of the reference: 4, 8 and 16 cores, each with 100m of its own. The smallest
/// wins. By size, two of a go on a node, then three of c beside them; b finds room where c is not,
/// six to a node after that.
fn three_sizes(size: Size, of: fn(&Class) -> Class) -> Task {
    let mut world = World::default();
    for cores in [4, 8, 16] {
        let machine = Machine {
            cpu_milli: cores * 1000 - 100,
            memory_mebibytes: cores * 4096,
            max_pods: 110,
        };
        world.group(&format!("c{cores}"), machine, (0, size.pods));
    }
    let each = size.pods / 3;
    for (app, cpu_milli, memory_mebibytes) in
        [("a", 1500, 2048), ("b", 600, 1024), ("c", 250, 3072)]
    {
        world.wait(&of(&Class::new(app, cpu_milli, memory_mebibytes)), each);
    }
    let with_a = each.div_ceil(2);
    // A node with one c has room for a b still.
    let without_room = (each + 1) / 3;
    let left = each.saturating_sub(with_a.saturating_sub(without_room));
    let expected = with_a + left.div_ceil(6);
    Task { world, expected }
}

fn each_its_group(size: Size) -> Task {
    let mut world = full(size);
    let each = size.pods / size.groups;
    for number in 0..size.groups {
        let class = Class::small(&format!("app-{number}")).on(&format!("group-{number}"));
        world.wait(&class, each);
    }
    let expected = size.groups * each.div_ceil(30);
    Task { world, expected }
}

/// Twenty Deployments that any group would take.
fn any_group(size: Size) -> Task {
    let mut world = full(size);
    for number in 0..20 {
        let share = size.pods / 20 + usize::from(number < size.pods % 20);
        world.wait(&Class::small(&format!("app-{number}")), share);
    }
    let expected = size.pods.div_ceil(30);
    Task { world, expected }
}

/// Ten Deployments whose pods shun each other: as many nodes as one has pods. A pod of each runs on
/// every node that exists.
fn one_a_node(size: Size) -> Task {
    let apart = |number: usize| Class::small(&format!("app-{number}")).apart(HOSTNAME);
    let mut classes = vec![(Class::small("present"), 20)];
    classes.extend((0..10).map(|number| (apart(number), 1)));
    let mut world = full_of(size, &classes);
    let each = size.pods / 10;
    for number in 0..10 {
        world.wait(&apart(number), each);
    }
    let expected = each;
    Task { world, expected }
}

/// Ten Deployments beside a full cluster.
fn ten_apps(size: Size, of: fn(&str) -> Class, expected: fn(usize) -> usize) -> Task {
    let mut world = full(size);
    let each = size.pods / 10;
    for number in 0..10 {
        world.wait(&of(&format!("app-{number}")), each);
    }
    let expected = expected(each * 10);
    Task { world, expected }
}
