//! Nodes that come and go in a scenario: groups of machines, the autoscaler that resizes them, and
//! what goes wrong with either.

use crate::error::SimError;
use plimsoll_controllers::nodes;
use plimsoll_sources::nodes::fleet::GroupConfig;
use plimsoll_sources::nodes::simulated::{Behaviour, Shortage};
use std::collections::BTreeSet;
use std::time::Duration;

/// Most machines of all groups together: each has a /24 of 10.128.0.0/9.
const MOST_MACHINES: usize = 29_000;

/// Groups of machines, and who resizes them. Without groups nothing of it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeGroups {
    /// The groups: what their machines are, how many there may be, how long they boot.
    pub groups: Vec<GroupConfig>,
    /// How machines behave. Its seed is mixed with the scenario's.
    pub behaviour: Behaviour,
    /// Flags of the node autoscaler.
    pub autoscaler: nodes::Options,
    /// What goes wrong, and when.
    pub incidents: Vec<Incident>,
}

/// Something that happens to machines or to their autoscaler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// When, counted from the start of the scenario.
    pub after: Duration,
    /// What.
    pub what: Trouble,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The machines of a group are not to be had any more, and it shows this way.
    Short(String, Shortage),
    /// All machines are to be had again.
    Recovered,
    /// A group's oldest machine is taken away, as clouds take spot machines; another is ordered in
    /// its place.
    Interrupted(String),
    /// The autoscaler crashes and is started anew.
    Crashed,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short(group, Shortage::Refused) => {
                write!(f, "machines of {group} are refused")
            }
            Self::Short(group, Shortage::PerMachine) => {
                write!(f, "machines of {group} do not come")
            }
            Self::Recovered => f.write_str("machines are to be had again"),
            Self::Interrupted(group) => write!(f, "a machine of {group} is taken away"),
            Self::Crashed => f.write_str("the node autoscaler crashes and starts anew"),
        }
    }
}

impl NodeGroups {
    /// Looks for what makes no sense.
    pub(crate) fn check(&self) -> Result<(), SimError> {
        let bad = |why: String| Err(SimError::Scenario(why));
        let mut names = BTreeSet::new();
        for group in &self.groups {
            let name = &*group.name;
            if name.is_empty() || !names.insert(name) {
                return bad(format!(
                    "node group {name:?} needs a name that no other has"
                ));
            }
            if group.min > group.max {
                let (min, max) = (group.min, group.max);
                return bad(format!(
                    "node group {name} has at least {min} and at most {max} nodes"
                ));
            }
            if group.shape.cpu_milli == 0 || group.shape.memory_bytes == 0 {
                return bad(format!("nodes of {name} have no cpu or no memory"));
            }
        }
        let most = self
            .groups
            .iter()
            .fold(0_usize, |sum, g| sum.saturating_add(g.max));
        if most > MOST_MACHINES {
            return bad(format!("{most} machines; there can be {MOST_MACHINES}"));
        }
        for Incident { what, .. } in &self.incidents {
            if let Trouble::Short(group, _) | Trouble::Interrupted(group) = what
                && !names.contains(group.as_str())
            {
                return bad(format!(
                    "an incident is about {group:?}, which is no node group"
                ));
            }
        }
        Ok(())
    }
}
