//! Who owns whom; pure. Objects that neither own nor are owned cost sixteen bytes and a tree node.

use crate::runtime::{ObjectKey, Owner};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A uid in sixteen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Uid(u128);

impl Uid {
    /// Reads a UUID; any other text is hashed (FNV-1a), so that foreign uids work too.
    pub(super) fn of(text: &str) -> Self {
        let hex: String = text.chars().filter(|c| *c != '-').collect();
        let uuid = (hex.len() == 32)
            .then(|| u128::from_str_radix(&hex, 16).ok())
            .flatten();
        Self(uuid.unwrap_or_else(|| {
            text.bytes()
                .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
                    (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013B)
                })
        }))
    }
}

impl std::fmt::Display for Uid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// An object with owners, or one that is going and waits for the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// Position of its kind in the collector's list.
    pub(super) kind: usize,
    pub(super) key: ObjectKey,
    pub(super) uid: Arc<str>,
    pub(super) owners: Box<[Owner]>,
    pub(super) deleting: bool,
    /// Waits until its dependents are gone.
    pub(super) foreground: bool,
    /// Waits until its dependents are orphans.
    pub(super) orphan: bool,
}

/// What to do about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing (any more).
    Keep,
    /// Ask the server whether this owner is really gone, then look again.
    Verify(Owner),
    /// Delete it, in this manner.
    Delete(Manner),
    /// Take these owners off it; another owner keeps it.
    Disown(Vec<Arc<str>>),
    /// Take this object off its dependents, then let it go.
    Orphan(Vec<Uid>),
    /// Its dependents are gone: let it go.
    Release,
}

/// How a dependent is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Background,
    Foreground,
    Orphan,
}

/// The graph.
#[derive(Debug, Default)]
pub(super) struct Graph {
    alive: BTreeSet<Uid>,
    absent: BTreeSet<Uid>,
    nodes: BTreeMap<Uid, Node>,
    dependents: BTreeMap<Uid, BTreeSet<Uid>>,
}

impl Graph {
    pub(super) fn node(&self, uid: Uid) -> Option<&Node> {
        self.nodes.get(&uid)
    }

    /// Takes in an object; answers with whom to look at.
    pub(super) fn apply(&mut self, node: Node) -> Vec<Uid> {
        let uid = Uid::of(&node.uid);
        self.alive.insert(uid);
        self.absent.remove(&uid);
        self.unlink(uid);
        let mut look = vec![uid];
        if node.foreground {
            look.extend(self.dependents_of(uid));
        }
        if node.owners.is_empty() && !node.foreground && !node.orphan {
            return Vec::new();
        }
        for owner in &node.owners {
            self.dependents
                .entry(Uid::of(&owner.uid))
                .or_default()
                .insert(uid);
        }
        self.nodes.insert(uid, node);
        look
    }

    /// Takes in a removal; answers with whom to look at.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Uid> {
        let uid = Uid::of(uid);
        self.alive.remove(&uid);
        let mut look = self.dependents_of(uid);
        if let Some(node) = self.unlink(uid) {
            // An owner may have waited for this one.
            let owners = node.owners.iter().map(|owner| Uid::of(&owner.uid));
            look.extend(owners.filter(|owner| self.nodes.get(owner).is_some_and(|n| n.foreground)));
        }
        look
    }

    fn unlink(&mut self, uid: Uid) -> Option<Node> {
        let node = self.nodes.remove(&uid)?;
        for owner in &node.owners {
            let owner = Uid::of(&owner.uid);
            if let Some(set) = self.dependents.get_mut(&owner) {
                set.remove(&uid);
                if set.is_empty() {
                    self.dependents.remove(&owner);
                    self.absent.remove(&owner);
                }
            }
        }
        Some(node)
    }

    fn dependents_of(&self, uid: Uid) -> Vec<Uid> {
        self.dependents
            .get(&uid)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    /// Notes that the server does not have this owner.
    pub(super) fn mark_absent(&mut self, owner: &str) {
        self.absent.insert(Uid::of(owner));
    }

    /// Notes that the server has this owner although no watch shows it.
    pub(super) fn mark_alive(&mut self, owner: &str) {
        self.alive.insert(Uid::of(owner));
    }

    /// What to do about an object.
    pub(super) fn step(&self, uid: Uid) -> Step {
        let Some(node) = self.nodes.get(&uid) else {
            return Step::Keep;
        };
        if node.deleting && node.orphan {
            return Step::Orphan(self.dependents_of(uid));
        }
        if node.deleting && node.foreground {
            let blocked = self.dependents_of(uid).iter().any(|dependent| {
                let owners = self
                    .nodes
                    .get(dependent)
                    .into_iter()
                    .flat_map(|node| &node.owners);
                owners
                    .filter(|o| Uid::of(&o.uid) == uid)
                    .any(|owner| owner.block_owner_deletion)
            });
            return if blocked { Step::Keep } else { Step::Release };
        }
        if node.deleting {
            return Step::Keep;
        }
        self.judge_owners(uid, node)
    }

    fn judge_owners(&self, uid: Uid, node: &Node) -> Step {
        let (mut solid, mut waiting, mut gone) = (false, false, Vec::new());
        for owner in &node.owners {
            let id = Uid::of(&owner.uid);
            let is_waiting = self
                .nodes
                .get(&id)
                .is_some_and(|o| o.deleting && o.foreground);
            if self.absent.contains(&id) {
                gone.push(Arc::clone(&owner.uid));
            } else if !self.alive.contains(&id) {
                return Step::Verify(owner.clone());
            } else if is_waiting {
                waiting = true;
                gone.push(Arc::clone(&owner.uid));
            } else {
                solid = true;
            }
        }
        match (solid, gone.is_empty()) {
            (_, true) => Step::Keep,
            (true, false) => Step::Disown(gone),
            (false, false) => Step::Delete(self.manner(uid, node, waiting)),
        }
    }

    /// Foreground deletion goes on downwards, except into a cycle, where nobody would be first.
    fn manner(&self, uid: Uid, node: &Node, waiting: bool) -> Manner {
        let dependents = self.dependents_of(uid);
        let cyclic = dependents
            .iter()
            .any(|d| self.nodes.get(d).is_some_and(|n| n.foreground));
        if node.orphan {
            Manner::Orphan
        } else if node.foreground || (waiting && !dependents.is_empty() && !cyclic) {
            Manner::Foreground
        } else {
            Manner::Background
        }
    }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
