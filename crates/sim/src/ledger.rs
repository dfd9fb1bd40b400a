//! Notes what happens to nodes: who was ordered and why, who joined, who left, what it cost, and how
//! long pods waited.

mod reasons;
#[cfg(test)]
mod tests;

use crate::bill::{Bill, Rate};
use crate::groups::NodeGroups;
use crate::node_report::{NodeChange, NodeEvent, NodeReport, NodeSummary};
use crate::waiting::{Waiting, quantile};
use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::NodeGroup;
use plimsoll_clock::Clock;
use plimsoll_controllers::facts::TO_BE_DELETED;
use plimsoll_controllers::pods::{Caches, NodeView};
use plimsoll_controllers::runtime::Change;
use plimsoll_sources::nodes::fleet::GROUP_LABEL;
use reasons::explain;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What has been noted. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    book: Arc<Mutex<Book>>,
    /// Entries whose reasons are to be looked up.
    asking: UnboundedSender<usize>,
    clock: Clock,
}

#[derive(Debug)]
struct Book {
    changes: Vec<NodeChange>,
    bill: Bill,
    waiting: Waiting,
    /// Machines asked for, by group.
    targets: BTreeMap<Arc<str>, usize>,
    /// The instances that are there.
    listed: BTreeMap<Arc<str>, Listed>,
    failed: BTreeSet<Arc<str>>,
    nodes: BTreeMap<Arc<str>, Standing>,
}

/// What is known of an instance.
#[derive(Debug, Clone, Copy)]
struct Listed {
    /// When it was first listed.
    since: Timestamp,
    /// Whether its node is still to come.
    awaited: bool,
}

/// What is known of a node.
#[derive(Debug, Clone, Default)]
struct Standing {
    group: String,
    is_ready: bool,
    leaves: bool,
}

/// What a sample of the timeline shows of nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standings {
    pub(crate) nodes: usize,
    pub(crate) pending: usize,
    pub(crate) rate: Rate,
}

impl Ledger {
    /// Starts noting. The returned future must be run for it.
    pub(crate) fn start(
        groups: &NodeGroups,
        caches: &Caches,
        client: Client,
        clock: Clock,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let prices = groups.groups.iter().filter_map(|group| {
            let price = group.shape.price_per_hour?;
            Some((Arc::clone(&group.name), price))
        });
        let book = Book {
            changes: Vec::new(),
            bill: Bill::new(prices.collect(), clock.now()),
            waiting: Waiting::default(),
            targets: BTreeMap::new(),
            listed: BTreeMap::new(),
            failed: BTreeSet::new(),
            nodes: BTreeMap::new(),
        };
        let (asking, asked) = unbounded_channel();
        let ledger = Self {
            book: Arc::new(Mutex::new(book)),
            asking,
            clock,
        };
        let own = ledger.clone();
        caches.nodes.on_change(move |change| {
            let noted = own.book.lock().node(change, own.clock.now());
            own.ask(noted);
        });
        let own = ledger.clone();
        caches.pods.on_change(move |change| {
            let now = own.clock.now();
            own.book.lock().waiting.note(change, now);
        });
        let explaining = explain(Arc::clone(&ledger.book), asked, client);
        (ledger, explaining)
    }

    /// These are the machines now.
    pub(crate) fn machines(&self, groups: &[NodeGroup]) {
        let noted = self.book.lock().machines(groups, self.clock.now());
        self.ask(noted);
    }

    /// The one of these instances that was ordered first.
    pub(crate) fn oldest<'a>(
        &self,
        instances: impl Iterator<Item = &'a Arc<str>>,
    ) -> Option<&'a Arc<str>> {
        self.book.lock().oldest(instances)
    }

    /// Something went wrong that was asked for.
    pub(crate) fn trouble(&self, group: &str, what: String) {
        let time = self.clock.now();
        let mut book = self.book.lock();
        book.note(time, (group, None), NodeEvent::Trouble, vec![what]);
    }

    /// How things stand.
    pub(crate) fn standings(&self) -> Standings {
        let book = self.book.lock();
        Standings {
            nodes: book.nodes.len(),
            pending: book.waiting.pending(),
            rate: book.bill.rate(),
        }
    }

    /// Closes the books after `length`.
    pub(crate) fn take(&self, length: Duration, evictions: usize) -> NodeReport {
        let mut book = self.book.lock();
        let now = self.clock.now();
        book.bill.charge(now);
        book.waiting.end(now);
        let summary = book.summary(length, evictions);
        NodeReport {
            changes: std::mem::take(&mut book.changes),
            waits: std::mem::take(&mut book.waiting.waits),
            summary,
        }
    }

    fn ask(&self, entries: impl IntoIterator<Item = usize>) {
        for entry in entries {
            // Nobody listens any more once the run has ended.
            self.asking.send(entry).ok();
        }
    }
}

impl Book {
    /// Adds an entry; returns its place.
    fn note(
        &mut self,
        time: Timestamp,
        (group, node): (&str, Option<&str>),
        event: NodeEvent,
        steps: Vec<String>,
    ) -> usize {
        self.changes.push(NodeChange {
            time,
            group: group.to_owned(),
            node: node.map(str::to_owned),
            event,
            steps,
        });
        self.changes.len() - 1
    }

    /// Takes in the machines; returns the entries that want a reason.
    fn machines(&mut self, groups: &[NodeGroup], now: Timestamp) -> Vec<usize> {
        self.bill.set(groups, now);
        let before = std::mem::take(&mut self.listed);
        let mut wanted = Vec::new();
        for group in groups {
            let (id, to) = (&group.id, group.target);
            let from = self.targets.insert(Arc::clone(id), to);
            if let Some(from) = from.filter(|from| *from < to) {
                let event = NodeEvent::Ordered { from, to };
                wanted.push(self.note(now, (id, None), event, Vec::new()));
            }
            for instance in &group.instances {
                let known = before.get(&instance.id).copied();
                // Those of the start were there before.
                let new = Listed {
                    since: now,
                    awaited: from.is_some(),
                };
                let instance_id = Arc::clone(&instance.id);
                self.listed.insert(instance_id, known.unwrap_or(new));
                let Some(problem) = &instance.problem else {
                    continue;
                };
                if self.failed.insert(Arc::clone(&instance.id)) {
                    let node = name_of(&instance.id);
                    let why = vec![problem.message.clone()];
                    self.note(now, (id, Some(node)), NodeEvent::Failed, why);
                }
            }
        }
        wanted
    }

    fn oldest<'a>(&self, instances: impl Iterator<Item = &'a Arc<str>>) -> Option<&'a Arc<str>> {
        let since = |id: &Arc<str>| self.listed.get(id).map(|listed| listed.since);
        instances.min_by_key(|id| (since(id), Arc::clone(id)))
    }

    /// Takes in a node; returns the entry that wants a reason, if any.
    fn node(&mut self, change: &Change<NodeView>, now: Timestamp) -> Option<usize> {
        let name = &change.key.name;
        let Some(node) = &change.new else {
            let gone = self.nodes.remove(name)?;
            self.note(
                now,
                (&gone.group, Some(name)),
                NodeEvent::Removed,
                Vec::new(),
            );
            return None;
        };
        let known = self.nodes.get(name).cloned().unwrap_or_default();
        let is = Standing {
            group: node.meta.label(GROUP_LABEL).unwrap_or_default().to_owned(),
            is_ready: node.is_ready(),
            leaves: node.taints.iter().any(|taint| taint.key == TO_BE_DELETED),
        };
        self.nodes.insert(Arc::clone(name), is.clone());
        let about = (&*is.group, Some(&**name));
        if is.is_ready && !known.is_ready {
            let listed = self.listed.get_mut(&node.provider_id);
            let seconds = listed.and_then(|listed| {
                let took = now.duration_since(listed.since).as_secs_f64();
                std::mem::take(&mut listed.awaited).then_some(took)
            });
            self.note(now, about, NodeEvent::Joined { seconds }, Vec::new());
        }
        match (known.leaves, is.leaves) {
            (false, true) => Some(self.note(now, about, NodeEvent::Leaving, Vec::new())),
            (true, false) => {
                self.note(now, about, NodeEvent::Spared, Vec::new());
                None
            }
            _ => None,
        }
    }

    fn summary(&self, length: Duration, evictions: usize) -> NodeSummary {
        let (bill, waiting) = (&self.bill, &self.waiting);
        let count = |wanted: fn(&NodeEvent) -> bool| {
            let matching = self.changes.iter().filter(|change| wanted(&change.event));
            matching.count()
        };
        let ordered = self.changes.iter().map(|change| match change.event {
            NodeEvent::Ordered { from, to } => to - from,
            NodeEvent::Failed
            | NodeEvent::Joined { .. }
            | NodeEvent::Leaving
            | NodeEvent::Spared
            | NodeEvent::Removed
            | NodeEvent::Trouble => 0,
        });
        let waits: Vec<f64> = waiting.waits.iter().map(|wait| wait.seconds).collect();
        let wait = |share: f64| quantile(waits.clone(), share);
        NodeSummary {
            node_hours: bill.hours,
            cost: bill.dollars,
            static_cost: bill.most.dollars * length.as_secs_f64() / 3600.0,
            most: bill.most.machines,
            fewest: bill.fewest.unwrap_or_default(),
            ordered: ordered.sum(),
            failed: self.failed.len(),
            removed: count(|event| *event == NodeEvent::Removed),
            emptied: count(|event| *event == NodeEvent::Leaving),
            evictions,
            placed: waiting.placed,
            waited: waits.len(),
            pending_seconds: waiting.seconds,
            wait_median: wait(0.5),
            wait_p99: wait(0.99),
            wait_longest: wait(1.0),
        }
    }
}

/// The name of a machine: the last part of its `spec.providerID`.
pub(crate) fn name_of(instance: &str) -> &str {
    instance.rsplit('/').next().unwrap_or(instance)
}
