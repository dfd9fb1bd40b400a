//! New nodes by number instead of one by one: first-fit packing where only the node itself and who
//! shares it decide.

use super::group::NodeTemplate;
use crate::placement::{PodSpec, Resources};
use std::collections::{BTreeMap, BTreeSet};

/// A class of pods alike, ready to be packed.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// What one pod takes of each of the [`Measure`]'s resources.
    pub(super) wanted: Vec<i64>,
    /// Classes it shares no node with.
    pub(super) apart: BTreeSet<usize>,
}

/// The resources that matter, so that amounts can be lists.
#[derive(Debug, Clone)]
pub(super) struct Measure {
    names: Vec<String>,
}

impl Measure {
    /// The resources that any of these pods asks for.
    pub(super) fn of<'a>(specs: impl Iterator<Item = &'a PodSpec>) -> Self {
        let mut names = BTreeSet::new();
        for spec in specs {
            for (name, _) in spec.requests.requested() {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        }
        Self {
            names: names.into_iter().collect(),
        }
    }

    pub(super) fn amounts(&self, of: &Resources) -> Vec<i64> {
        self.names.iter().map(|name| of.amount(name)).collect()
    }
}

/// Nodes in a row that are loaded alike.
#[derive(Debug, Clone)]
struct Run {
    nodes: usize,
    free: Vec<i64>,
    places: usize,
    /// Pods on each node by class.
    load: BTreeMap<usize, usize>,
}

impl Run {
    /// How many more pods of a class one node takes, `most` at most.
    fn room(&self, item: &Item, class: usize, most: usize) -> usize {
        let mut room = most.min(self.places);
        for (wanted, free) in item.wanted.iter().zip(&self.free) {
            if room == 0 {
                return 0;
            }
            if *wanted > 0 {
                let fit = usize::try_from(free.max(&0) / wanted).unwrap_or(usize::MAX);
                room = room.min(fit);
            }
        }
        if room == 0 || item.apart.is_empty() {
            return room;
        }
        if item.apart.iter().any(|other| self.load.contains_key(other)) {
            return 0;
        }
        if item.apart.contains(&class) {
            room.min(1)
        } else {
            room
        }
    }

    fn take(&mut self, item: &Item, class: usize, pods: usize) {
        if pods == 0 {
            return;
        }
        let count = i64::try_from(pods).unwrap_or(i64::MAX);
        for (free, wanted) in self.free.iter_mut().zip(&item.wanted) {
            *free = free.saturating_sub(wanted.saturating_mul(count));
        }
        self.places -= pods.min(self.places);
        *self.load.entry(class).or_insert(0) += pods;
    }
}

/// How many nodes may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permits {
    left: Option<usize>,
}

impl Permits {
    /// `most` nodes at most; `None` = without limit.
    pub(super) fn new(most: Option<usize>) -> Self {
        Self { left: most }
    }

    /// Takes up to `wanted` permits.
    pub(super) fn take(&mut self, wanted: usize) -> usize {
        let Some(left) = &mut self.left else {
            return wanted;
        };
        let taken = wanted.min(*left);
        *left -= taken;
        taken
    }
}

/// New nodes of one group while they are filled.
#[derive(Debug, Clone)]
pub(super) struct Bins {
    runs: Vec<Run>,
    fresh: Run,
    permits: Permits,
    refused: bool,
}

impl Bins {
    pub(super) fn new(template: &NodeTemplate, measure: &Measure, permits: Permits) -> Self {
        let mut free = template.node.allocatable.clone();
        for pod in &template.daemons {
            free.subtract(&pod.spec.requests);
        }
        let max_pods = template.node.max_pods;
        Self {
            runs: Vec::new(),
            fresh: Run {
                nodes: 1,
                free: measure.amounts(&free),
                places: max_pods.saturating_sub(template.daemons.len()),
                load: BTreeMap::new(),
            },
            permits,
            refused: false,
        }
    }

    /// Packs `pods` pods of a class: first on nodes there are, each on the first that takes it, then
    /// on new ones. Returns how many found room.
    pub(super) fn pack(&mut self, class: usize, item: &Item, pods: usize) -> usize {
        let on_these = self.fill(class, item, pods);
        let left = pods - on_these;
        // Once no node was permitted, no class gets one.
        if left == 0 || self.refused {
            return on_these;
        }
        on_these + self.add(class, item, left)
    }

    fn fill(&mut self, class: usize, item: &Item, pods: usize) -> usize {
        let mut left = pods;
        let mut at = 0;
        while left > 0 && at < self.runs.len() {
            at += self.fill_run(at, (class, item), &mut left);
        }
        pods - left
    }

    /// Fills the nodes of a run. Returns how many runs it is now.
    fn fill_run(&mut self, at: usize, of: (usize, &Item), left: &mut usize) -> usize {
        let (class, item) = of;
        let Some(run) = self.runs.get_mut(at) else {
            return 1;
        };
        let each = run.room(item, class, *left);
        if each == 0 {
            return 1;
        }
        let full = (*left / each).min(run.nodes);
        let odd = if full < run.nodes {
            *left - full * each
        } else {
            0
        };
        *left -= full * each + odd;
        let rest = run.nodes - full - usize::from(odd > 0);
        let before = run.clone();
        let mut parts = Vec::new();
        for (nodes, pods) in [(full, each), (usize::from(odd > 0), odd), (rest, 0)] {
            if nodes > 0 {
                let mut part = before.clone();
                part.nodes = nodes;
                part.take(item, class, pods);
                parts.push(part);
            }
        }
        let count = parts.len();
        self.runs.splice(at..=at, parts);
        count
    }

    fn add(&mut self, class: usize, item: &Item, pods: usize) -> usize {
        // The last node is empty and was refused above, so another would be, too.
        if self.runs.last().is_some_and(|run| run.load.is_empty()) {
            return 0;
        }
        let each = self.fresh.room(item, class, pods);
        if each == 0 {
            // Parity: it is found out on a node that then stays, for others.
            let empty = self.permits.take(1);
            self.refused |= empty == 0;
            if empty > 0 {
                self.runs.push(self.fresh.clone());
            }
            return 0;
        }
        let wanted = pods.div_ceil(each);
        let nodes = self.permits.take(wanted);
        self.refused |= nodes < wanted;
        let placed = pods.min(nodes * each);
        let full = placed / each;
        for (nodes, pods) in [(full, each), (nodes - full, placed - full * each)] {
            if nodes > 0 {
                let mut run = self.fresh.clone();
                run.nodes = nodes;
                run.take(item, class, pods);
                self.runs.push(run);
            }
        }
        placed
    }

    /// How many nodes have pods.
    pub(super) fn nodes(&self) -> usize {
        let used = self.runs.iter().filter(|run| !run.load.is_empty());
        used.map(|run| run.nodes).sum()
    }

    /// The load of every node in order, empty ones included: pods by class.
    pub(super) fn loads(&self) -> impl Iterator<Item = &BTreeMap<usize, usize>> {
        let runs = self.runs.iter();
        runs.flat_map(|run| std::iter::repeat_n(&run.load, run.nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{spec, template};
    use crate::placement::PodFacts;
    use rstest::rstest;

    /// Packs classes of the same template in this order; returns nodes and placed pods.
    fn pack(
        of: &NodeTemplate,
        items: &[(usize, PodSpec)],
        most: Option<usize>,
    ) -> (usize, Vec<usize>) {
        let measure = Measure::of(items.iter().map(|(_, spec)| spec));
        let mut bins = Bins::new(of, &measure, Permits::new(most));
        let placed = items
            .iter()
            .enumerate()
            .map(|(class, (pods, spec))| {
                let item = Item {
                    wanted: measure.amounts(&spec.requests),
                    apart: BTreeSet::new(),
                };
                bins.pack(class, &item, *pods)
            })
            .collect();
        (bins.nodes(), placed)
    }

    fn worked_example(cpu: i64, memory_mib: i64) -> NodeTemplate {
        let mut of = template("n", cpu, memory_mib << 20);
        let daemon = spec(200, 300 << 20);
        of.daemons
            .push(PodFacts::new("kube-system", "agent", daemon));
        of
    }

    #[rstest]
    #[case::four_cores(3920, 14500, 8)]
    #[case::eight_cores(7920, 30500, 4)]
    #[case::sixteen_cores(15890, 62000, 2)]
    fn the_worked_example_needs_so_many_nodes(
        #[case] cpu: i64,
        #[case] memory_mib: i64,
        #[case] nodes: usize,
    ) {
        let (a, b, c) = (spec(1500, 2 << 30), spec(600, 1 << 30), spec(250, 3 << 30));
        let of = worked_example(cpu, memory_mib);
        let got = pack(&of, &[(7, a), (20, c), (12, b)], None);
        assert_eq!(got, (nodes, vec![7, 20, 12]));
    }

    #[test]
    fn three_thousand_pods_need_as_many_nodes_as_upstream_found() {
        let mut of = template("n", 4000, 16 << 30);
        let proxy = spec(100, 0);
        of.daemons
            .push(PodFacts::new("kube-system", "proxy", proxy));
        let items = [
            (1000, spec(1500, 2 << 30)),
            (1000, spec(250, 3 << 30)),
            (1000, spec(600, 1 << 30)),
        ];
        assert_eq!(pack(&of, &items, None), (639, vec![1000; 3]));
    }

    #[test]
    fn without_a_permit_no_class_gets_a_node_but_room_is_used() {
        let of = template("n", 1000, 1 << 30);
        let items = [(3, spec(600, 1)), (9, spec(200, 1)), (1, spec(900, 1))];
        let (nodes, placed) = pack(&of, &items, Some(2));
        assert_eq!((nodes, placed), (2, vec![2, 4, 0]));
    }

    #[test]
    fn a_class_that_fits_no_new_node_leaves_an_empty_one_to_the_next() {
        let of = template("n", 1000, 1 << 30);
        let items = [(1, spec(2000, 1)), (1, spec(1500, 1)), (3, spec(500, 1))];
        let (nodes, placed) = pack(&of, &items, Some(2));
        assert_eq!((nodes, placed), (2, vec![0, 0, 3]));
    }

    #[test]
    fn pods_that_must_be_apart_share_no_node() {
        let of = template("n", 1000, 1 << 30);
        let measure = Measure::of(std::iter::once(&spec(100, 1)));
        let mut bins = Bins::new(&of, &measure, Permits::new(None));
        let item = |apart: &[usize]| Item {
            wanted: vec![100, 1],
            apart: apart.iter().copied().collect(),
        };
        assert_eq!(bins.pack(0, &item(&[0]), 3), 3);
        assert_eq!(bins.pack(1, &item(&[2]), 4), 4);
        assert_eq!(bins.pack(2, &item(&[1]), 2), 2);
        let loads: Vec<_> = bins.loads().cloned().collect();
        let want = [
            [(0, 1), (1, 4)].into(),
            [(0, 1), (2, 2)].into(),
            [(0, 1)].into(),
        ];
        assert_eq!(loads, want);
    }
}
