//! Nodes that are not needed, and how many of them may go.

use super::world::{Class, Machine, START, World};
use crate::bench::memory::Peak;
use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::cluster::{Deletions, Planner, ShrinkInput, ShrinkOptions, ShrinkPlan};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// Clusters with nodes that nobody needs. The first three are those by which Cluster Autoscaler's
/// makers measured its scalability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shrink {
    /// Three in ten are empty.
    Empty,
    /// Three in ten are little used, and the group's minimum lets three in a hundred go.
    ToTheMinimum,
    /// Three in ten are little used, by pods that nothing would replace.
    Unremovable,
    /// Many times the nodes, every one of them needed.
    Needed,
}

/// What became of a cluster.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShrinkRun {
    pub(super) case: &'static str,
    pub(super) nodes: usize,
    pub(super) pods: usize,
    /// Nodes removed until nothing more happened.
    pub(super) removed: usize,
    /// Nodes that are right.
    pub(super) expected: usize,
    /// Looks until then.
    looks: usize,
    /// The first look, which knows nothing yet.
    pub(super) first_millis: f64,
    pub(super) slowest_millis: f64,
    /// A look at a cluster in which nothing changed, on average.
    pub(super) steady_millis: f64,
    /// Memory that the first look took from the system, beyond what this process had.
    pub(super) peak_mebibytes: Option<f64>,
}

/// Time between looks: upstream's default.
const INTERVAL: SignedDuration = SignedDuration::from_secs(10);
/// Nothing more happens after so many looks without a removal: more than the time a node must be
/// unneeded.
const PATIENCE: u32 = 65;

impl Shrink {
    pub(super) const ALL: [Self; 4] = [
        Self::Empty,
        Self::ToTheMinimum,
        Self::Unremovable,
        Self::Needed,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty nodes",
            Self::ToTheMinimum => "to the minimum",
            Self::Unremovable => "unremovable",
            Self::Needed => "needed",
        }
    }

    pub(super) fn nodes(self) -> usize {
        match self {
            Self::Empty | Self::ToTheMinimum | Self::Unremovable => 1_000,
            Self::Needed => 5_000,
        }
    }

    /// The cluster, and how many of its nodes may go.
    fn task(self, nodes: usize) -> (World, usize) {
        let mut world = World::default();
        let few = nodes * 3 / 10;
        let (min, expected) = match self {
            Self::Empty => (0, few),
            Self::ToTheMinimum => (nodes * 97 / 100, nodes - nodes * 97 / 100),
            Self::Unremovable | Self::Needed => (0, 0),
        };
        world.group("group-0", Machine::THIRTY, (min, nodes));
        let app = Class::small("app");
        let used = world.nodes(0, Machine::THIRTY, nodes - few);
        let rest = world.nodes(0, Machine::THIRTY, few);
        match self {
            Self::Empty => world.run(used, &app, 21),
            Self::ToTheMinimum => {
                world.run(used, &app, 21);
                world.run(rest, &Class::small("less"), 9);
            }
            Self::Unremovable => {
                world.run(used, &app, 21);
                world.run(rest, &Class::small("bare").bare(), 9);
            }
            Self::Needed => {
                world.run(used, &app, 30);
                world.run(rest, &app, 30);
            }
        }
        (world, expected)
    }

    /// Looks until nothing more is removed; what is to go is gone at once.
    pub(super) fn run(self, nodes: usize) -> Result<ShrinkRun> {
        let (mut world, expected) = self.task(nodes);
        let mut run = ShrinkRun {
            case: self.name(),
            nodes,
            pods: world.running.len(),
            removed: 0,
            expected,
            looks: 0,
            first_millis: 0.0,
            slowest_millis: 0.0,
            steady_millis: 0.0,
            peak_mebibytes: None,
        };
        let mut planner = Planner::default();
        let (mut now, mut idle) = (START, 0);
        while idle < PATIENCE {
            now = now.checked_add(INTERVAL).context("a time within range")?;
            let peak = (run.looks == 0).then(Peak::begin).flatten();
            let begun = Instant::now();
            let plan = look(&mut planner, &mut world, now);
            let millis = begun.elapsed().as_secs_f64() * 1e3;
            run.slowest_millis = run.slowest_millis.max(millis);
            if run.looks == 0 {
                run.first_millis = millis;
                run.peak_mebibytes = peak.and_then(Peak::end);
            }
            run.looks += 1;
            let before = run.removed;
            for removal in plan.empty.iter().chain(&plan.drain) {
                world.remove(removal);
                run.removed += 1;
            }
            (idle, run.steady_millis) = if run.removed == before {
                (idle + 1, run.steady_millis + millis / f64::from(PATIENCE))
            } else {
                (0, 0.0)
            };
        }
        Ok(run)
    }
}

fn look(planner: &mut Planner, world: &mut World, now: Timestamp) -> ShrinkPlan {
    planner.look(ShrinkInput {
        snapshot: &mut world.snapshot,
        nodes: &world.existing,
        pods: &world.running,
        groups: &world.groups,
        budgets: &[],
        in_progress: &Deletions::default(),
        expected: &BTreeMap::new(),
        cannot_grow: &BTreeSet::new(),
        options: &ShrinkOptions::default(),
        cooldown: None,
        now,
    })
}
