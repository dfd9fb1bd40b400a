//! What-ifs: changes that can be taken back.

use super::devices::ClaimState;
use super::node::NodeFacts;
use super::pod::{PodFacts, PodKey};
use super::snapshot::Snapshot;
use super::volumes::ClaimKey;
use std::sync::Arc;

/// How to take one change back.
#[derive(Debug, Clone)]
pub(super) enum Undo {
    Displace(PodKey),
    Place(Arc<str>, PodFacts),
    Withdraw(PodKey),
    Nominate(Arc<str>, PodFacts),
    SetNode(NodeFacts),
    RemoveNode(Arc<str>),
    /// What claims to devices had got.
    Devices(Vec<(ClaimKey, ClaimState)>),
}

/// Open what-ifs, innermost last.
#[derive(Debug, Clone, Default)]
pub(super) struct Fork {
    /// Where in `undo` each open fork begins.
    begins: Vec<usize>,
    undo: Vec<Undo>,
}

impl Fork {
    /// Whether a what-if is open.
    pub(super) fn is_open(&self) -> bool {
        !self.begins.is_empty()
    }

    /// Remembers how to take a change back, if a fork is open.
    pub(super) fn note(&mut self, undo: impl FnOnce() -> Undo) {
        if !self.begins.is_empty() {
            self.undo.push(undo());
        }
    }
}

impl Snapshot {
    /// Opens a what-if; they nest. It covers nodes, pods and nominations.
    pub fn fork(&mut self) {
        self.forks.begins.push(self.forks.undo.len());
    }

    /// Keeps what was changed since the innermost open fork (which an outer one still takes back).
    pub fn commit(&mut self) {
        self.forks.begins.pop();
        if self.forks.begins.is_empty() {
            self.forks.undo.clear();
        }
    }

    /// Takes back what was changed since the innermost open fork. Without one, nothing happens.
    pub fn revert(&mut self) {
        let Some(begin) = self.forks.begins.pop() else {
            return;
        };
        let undo = self.forks.undo.split_off(begin);
        // Taking back is no change to be taken back.
        let outer = std::mem::take(&mut self.forks);
        for change in undo.into_iter().rev() {
            self.take_back(change);
        }
        self.forks = outer;
    }

    /// Takes back every open what-if, as after a panic in the midst of one.
    pub fn revert_all(&mut self) {
        while !self.forks.begins.is_empty() {
            self.revert();
        }
    }

    fn take_back(&mut self, change: Undo) {
        match change {
            Undo::Displace(key) => drop(self.displace_key(&key)),
            Undo::Place(node, pod) => self.place(&node, pod),
            Undo::Withdraw(key) => drop(self.withdraw_key(&key)),
            Undo::Nominate(node, pod) => self.nominate(&node, pod),
            Undo::SetNode(facts) => self.set_node(facts),
            Undo::RemoveNode(name) => self.remove_node(&name),
            Undo::Devices(states) => self.devices.restore(states),
        }
    }
}
