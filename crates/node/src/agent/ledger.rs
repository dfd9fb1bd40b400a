//! What the pods of one node hold of it, and who waits for more.

use super::demand::Amounts;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

/// The accounts of one node. `T` is how a pod that waits is told that its wish has come true.
#[derive(Debug)]
pub(crate) struct Ledger<T> {
    capacity: Amounts,
    most_pods: u64,
    held: BTreeMap<Box<str>, Amounts>,
    sum: Amounts,
    waiting: BTreeMap<Box<str>, Waiting<T>>,
}

/// A pod that wants to hold another amount than it does.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) wanted: Amounts,
    /// Higher comes first.
    pub(crate) priority: i32,
    /// See [`super::demand::qos_rank`]; lower comes first.
    pub(crate) qos: u8,
    /// Seconds since the epoch at which it began to wait; earlier comes first.
    pub(crate) since: i64,
    pub(crate) tell: T,
}

/// What there is too little of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) resource: &'static str,
    pub(crate) requested: u64,
    pub(crate) used: u64,
    pub(crate) capacity: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            requested,
            used,
            capacity,
        } = self;
        write!(
            f,
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, \
             capacity: {capacity}"
        )
    }
}

/// Why a pod does not get another amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// Not while the other pods hold what they do.
    Deferred(Shortage),
    /// Not on this node.
    Infeasible(Shortage),
}

impl<T> Ledger<T> {
    /// Accounts of a node of this capacity.
    pub(crate) fn new(capacity: Amounts, most_pods: u32) -> Self {
        Self {
            capacity,
            most_pods: most_pods.into(),
            held: BTreeMap::new(),
            sum: Amounts::default(),
            waiting: BTreeMap::new(),
        }
    }

    /// Takes a pod on if there is room for it. Asking again for a pod that is on changes nothing.
    pub(crate) fn admit(&mut self, uid: &str, wanted: Amounts) -> Result<(), Shortage> {
        if self.held.contains_key(uid) {
            return Ok(());
        }
        let pods = self.held.len() as u64;
        if pods >= self.most_pods {
            return Err(Shortage {
                resource: "pods",
                requested: 1,
                used: pods,
                capacity: self.most_pods,
            });
        }
        self.fits(wanted, self.sum)?;
        self.hold(uid, wanted);
        Ok(())
    }

    /// Lets a pod hold another amount, if there is room beside the others.
    pub(crate) fn change(&mut self, uid: &str, wanted: Amounts) -> Result<(), Denial> {
        let nothing = Amounts::default();
        let feasible = self.fits(wanted, nothing);
        feasible.map_err(|shortage| {
            Denial::Infeasible(Shortage {
                used: 0,
                ..shortage
            })
        })?;
        let own = self.held.get(uid).copied().unwrap_or(nothing);
        let others = minus(self.sum, own);
        // What does not grow needs no room.
        let grows = Amounts {
            cpu_milli: if wanted.cpu_milli > own.cpu_milli {
                wanted.cpu_milli
            } else {
                0
            },
            memory_bytes: if wanted.memory_bytes > own.memory_bytes {
                wanted.memory_bytes
            } else {
                0
            },
        };
        self.fits(grows, others).map_err(Denial::Deferred)?;
        self.waiting.remove(uid);
        self.hold(uid, wanted);
        Ok(())
    }

    /// Whether the node could hold that much if it were empty.
    pub(crate) fn may_ever_hold(&self, wanted: Amounts) -> bool {
        self.fits(wanted, Amounts::default()).is_ok()
    }

    /// Remembers that a pod waits for another amount.
    pub(crate) fn wait(&mut self, uid: &str, waiting: Waiting<T>) {
        self.waiting.insert(uid.into(), waiting);
    }

    /// The pod is content with what it holds.
    pub(crate) fn stop_waiting(&mut self, uid: &str) {
        self.waiting.remove(uid);
    }

    /// The pod holds nothing any more. Absent is fine.
    pub(crate) fn release(&mut self, uid: &str) {
        self.waiting.remove(uid);
        if let Some(own) = self.held.remove(uid) {
            self.sum = minus(self.sum, own);
        }
    }

    /// Gives those who wait what there is room for now, the most important first, and returns how
    /// to tell them.
    pub(crate) fn serve_waiting(&mut self) -> Vec<T> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let rank = |w: &Waiting<T>| (Reverse(w.priority), w.qos, w.since);
        let mut order: Vec<_> = self
            .waiting
            .iter()
            .map(|(uid, w)| (rank(w), uid.clone(), w.wanted))
            .collect();
        order.sort_by(|(a, left, _), (b, right, _)| a.cmp(b).then_with(|| left.cmp(right)));
        let mut served = Vec::new();
        for (_, uid, wanted) in order {
            let Some(waiting) = self.waiting.remove(&uid) else {
                continue;
            };
            match self.change(&uid, wanted) {
                Ok(()) => served.push(waiting.tell),
                Err(_) => drop(self.waiting.insert(uid, waiting)),
            }
        }
        served
    }

    fn hold(&mut self, uid: &str, wanted: Amounts) {
        let before = self.held.insert(uid.into(), wanted).unwrap_or_default();
        let others = minus(self.sum, before);
        self.sum = Amounts {
            cpu_milli: others.cpu_milli.saturating_add(wanted.cpu_milli),
            memory_bytes: others.memory_bytes.saturating_add(wanted.memory_bytes),
        };
    }

    fn fits(&self, wanted: Amounts, others: Amounts) -> Result<(), Shortage> {
        let rows = [
            (
                "cpu",
                wanted.cpu_milli,
                others.cpu_milli,
                self.capacity.cpu_milli,
            ),
            (
                "memory",
                wanted.memory_bytes,
                others.memory_bytes,
                self.capacity.memory_bytes,
            ),
        ];
        for (resource, requested, used, capacity) in rows {
            // Nothing is asked for: a node that is over-full already is none of its doing.
            if requested > 0 && requested.saturating_add(used) > capacity {
                return Err(Shortage {
                    resource,
                    requested,
                    used,
                    capacity,
                });
            }
        }
        Ok(())
    }
}

fn minus(sum: Amounts, part: Amounts) -> Amounts {
    Amounts {
        cpu_milli: sum.cpu_milli.saturating_sub(part.cpu_milli),
        memory_bytes: sum.memory_bytes.saturating_sub(part.memory_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cpu(cpu_milli: u64) -> Amounts {
        Amounts {
            cpu_milli,
            memory_bytes: 0,
        }
    }

    fn node() -> Ledger<&'static str> {
        Ledger::new(
            Amounts {
                cpu_milli: 4000,
                memory_bytes: 1000,
            },
            3,
        )
    }

    fn wish(wanted: u64, priority: i32, qos: u8, tell: &'static str) -> Waiting<&'static str> {
        Waiting {
            wanted: cpu(wanted),
            priority,
            qos,
            since: 0,
            tell,
        }
    }

    #[test]
    fn a_pod_too_many_is_told_what_is_short() {
        let mut node = node();
        node.admit("a", cpu(3000)).unwrap();
        node.admit("a", cpu(3000)).unwrap();
        let shortage = node.admit("b", cpu(1500)).unwrap_err();
        assert_eq!(
            shortage.to_string(),
            "Node didn't have enough resource: cpu, requested: 1500, used: 3000, capacity: 4000"
        );
        node.admit("b", cpu(0)).unwrap();
        node.admit("c", cpu(1000)).unwrap();
        assert_eq!(node.admit("d", cpu(0)).unwrap_err().resource, "pods");
    }

    #[test]
    fn growth_is_deferred_beside_others_and_infeasible_beyond_the_node() {
        let mut node = node();
        node.admit("a", cpu(1000)).unwrap();
        node.admit("b", cpu(2000)).unwrap();
        assert!(matches!(
            node.change("a", cpu(2500)),
            Err(Denial::Deferred(_))
        ));
        assert!(matches!(
            node.change("a", cpu(4500)),
            Err(Denial::Infeasible(_))
        ));
        node.change("a", cpu(2000)).unwrap();
        node.change("a", cpu(500)).unwrap();
    }

    #[test]
    fn only_what_is_beyond_the_whole_node_is_hopeless() {
        let mut node = node();
        node.admit("a", cpu(3000)).unwrap();
        assert!(node.may_ever_hold(cpu(4000)) && !node.may_ever_hold(cpu(4001)));
    }

    #[test]
    fn those_who_wait_are_served_by_priority_then_class() {
        let mut node = node();
        for uid in ["a", "b", "c"] {
            node.admit(uid, cpu(1000)).unwrap();
        }
        node.wait("a", wish(2000, 0, 2, "a"));
        node.wait("b", wish(2000, 0, 1, "b"));
        assert_eq!(node.serve_waiting(), ["b"]);
        node.release("b");
        assert_eq!(node.serve_waiting(), ["a"]);
        node.release("a");
        node.wait("c", wish(4000, 0, 0, "c"));
        node.stop_waiting("c");
        assert!(node.serve_waiting().is_empty());
    }

    proptest! {
        #[test]
        fn no_more_is_ever_held_than_there_is(
            steps in prop::collection::vec((0_u8..3, 0_u8..4, 0_u64..5000), 1..60)
        ) {
            let mut node = node();
            for (kind, pod, amount) in steps {
                let uid = ["a", "b", "c", "d"][usize::from(pod)];
                match kind {
                    0 => drop(node.admit(uid, cpu(amount))),
                    1 if node.held.contains_key(uid) => drop(node.change(uid, cpu(amount))),
                    _ => node.release(uid),
                }
                let sum: u64 = node.held.values().map(|a| a.cpu_milli).sum();
                prop_assert!(sum <= 4000 && node.held.len() <= 3);
                prop_assert_eq!(sum, node.sum.cpu_milli);
            }
        }
    }
}
