//! Which of several groups is grown.

mod price;
mod waste;

pub use price::{PodPrices, Preference, PriceInput, preferred_cpu, price_score};
pub use waste::{Waste, waste};

use super::group::{GroupFacts, GroupId};
use crate::placement::Resources;
use std::collections::{BTreeMap, BTreeSet};

/// A way to choose (`--expander`).
#[derive(Debug, Clone, PartialEq)]
pub enum Expander {
    /// Any, by the number of the look.
    Random,
    /// The most pods helped.
    MostPods,
    /// The fewest new nodes.
    LeastNodes,
    /// The smallest share of CPU and memory left unused.
    LeastWaste,
    /// The smallest price, weighed by how well the machines suit the cluster's size.
    Price(PodPrices),
    /// The highest level of a list. Groups by the highest level that names them; those that are not
    /// in it are dropped, unless none is.
    Priority(BTreeMap<GroupId, i64>),
    /// What somebody else chose (a server asked before, or a test); all, if none of it is there.
    Chosen(Vec<GroupId>),
}

impl Expander {
    /// Upstream's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::MostPods => "most-pods",
            Self::LeastNodes => "least-nodes",
            Self::LeastWaste => "least-waste",
            Self::Price(_) => "price",
            Self::Priority(_) => "priority",
            Self::Chosen(_) => "grpc",
        }
    }
}

/// What an expander knows of one option.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The group.
    pub group: &'a GroupFacts,
    /// How many new nodes.
    pub nodes: usize,
    /// How many pods they would take.
    pub pods: usize,
    /// What those pods ask for.
    pub requests: &'a Resources,
}

/// What the chain came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// Which one is best; `None` without options.
    pub best: Option<usize>,
    /// Those that all expanders kept.
    pub kept: BTreeSet<usize>,
    /// What each expander that decided said of each option, in words.
    pub notes: Vec<String>,
}

/// Applies one expander. Returns the options it keeps, in order, and says what it saw in each.
pub fn kept(
    expander: &Expander,
    options: &[Candidate<'_>],
    context: Context,
) -> (Vec<usize>, Vec<String>) {
    let all = || (0..options.len()).collect::<Vec<_>>();
    let silent = || vec![String::new(); options.len()];
    match expander {
        Expander::Random => {
            let count = u64::try_from(options.len().max(1)).unwrap_or(1);
            let at = usize::try_from(context.tie % count).unwrap_or(0);
            let kept = all().into_iter().filter(|option| *option == at).collect();
            (kept, silent())
        }
        Expander::MostPods => {
            let notes = options.iter().map(|o| format!("{} pods helped", o.pods));
            (highest(options, |o| o.pods), notes.collect())
        }
        Expander::LeastNodes => {
            let notes = options.iter().map(|o| format!("{} new nodes", o.nodes));
            let fewest = options
                .iter()
                .map(|o| o.nodes)
                .filter(|nodes| *nodes > 0)
                .min();
            let has = |at: &usize| options.get(*at).map(|o| o.nodes) == fewest;
            let kept = all().into_iter().filter(has).collect();
            (kept, notes.collect())
        }
        Expander::LeastWaste => {
            let wastes: Vec<Waste> = options.iter().map(waste).collect();
            let notes = wastes.iter().map(ToString::to_string).collect();
            (lowest(wastes.iter().map(Waste::sum)), notes)
        }
        Expander::Price(prices) => price::cheapest(options, prices, context.cluster_size),
        Expander::Priority(levels) => by_level(options, levels),
        Expander::Chosen(groups) => {
            let chosen = |at: &usize| {
                options
                    .get(*at)
                    .is_some_and(|o| groups.contains(&o.group.id))
            };
            let some: Vec<usize> = all().into_iter().filter(chosen).collect();
            (if some.is_empty() { all() } else { some }, silent())
        }
    }
}

/// What expanders know beside the options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Context {
    /// Picks at random.
    pub tie: u64,
    /// How many nodes the cluster has.
    pub cluster_size: usize,
}

/// Applies a chain: each expander chooses among what the one before kept.
///
/// Departs: of options equally good to all of them, the one with the fewest nodes is taken, then
/// the first by name, where upstream takes any.
pub fn choose(expanders: &[Expander], options: &[Candidate<'_>], context: Context) -> Choice {
    let mut notes = vec![String::new(); options.len()];
    let mut left: Vec<usize> = (0..options.len()).collect();
    for expander in expanders {
        if left.len() <= 1 {
            break;
        }
        let among: Vec<Candidate<'_>> = left
            .iter()
            .filter_map(|at| options.get(*at).copied())
            .collect();
        let (kept, said) = kept(expander, &among, context);
        let kept: BTreeSet<usize> = kept.into_iter().collect();
        for (at, said) in left.iter().zip(said) {
            if let Some(note) = notes.get_mut(*at) {
                add(note, expander.name(), &said);
            }
        }
        let mut place = 0;
        left.retain(|_| {
            place += 1;
            kept.contains(&(place - 1))
        });
    }
    let rank = |at: &usize| {
        options
            .get(*at)
            .map(|o| (o.nodes, GroupId::clone(&o.group.id)))
    };
    Choice {
        best: left.iter().copied().min_by_key(rank),
        kept: left.into_iter().collect(),
        notes,
    }
}

fn add(note: &mut String, expander: &str, said: &str) {
    if said.is_empty() {
        return;
    }
    if !note.is_empty() {
        note.push_str("; ");
    }
    note.push_str(expander);
    note.push_str(": ");
    note.push_str(said);
}

fn highest(options: &[Candidate<'_>], by: impl Fn(&Candidate<'_>) -> usize) -> Vec<usize> {
    let most = options.iter().map(&by).max();
    let each = options.iter().enumerate();
    each.filter(|(_, option)| Some(by(option)) == most)
        .map(|(at, _)| at)
        .collect()
}

/// Parity: scores are compared exactly; equal ones are all kept.
fn lowest(scores: impl Iterator<Item = f64> + Clone) -> Vec<usize> {
    let least = scores.clone().min_by(f64::total_cmp);
    let each = scores.enumerate();
    each.filter(|(_, score)| least.is_some_and(|least| score.total_cmp(&least).is_eq()))
        .map(|(at, _)| at)
        .collect()
}

fn by_level(
    options: &[Candidate<'_>],
    levels: &BTreeMap<GroupId, i64>,
) -> (Vec<usize>, Vec<String>) {
    let level = |option: &Candidate<'_>| levels.get(&option.group.id).copied();
    let note = |option: &Candidate<'_>| match level(option) {
        Some(level) => format!("level {level}"),
        None => "in no level".to_owned(),
    };
    let notes = options.iter().map(note).collect();
    let best = options.iter().filter_map(level).max();
    let each = options.iter().enumerate();
    let kept = each
        .filter(|(_, option)| best.is_none() || level(option) == best)
        .map(|(at, _)| at);
    (kept.collect(), notes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{group, template};

    fn chosen(expanders: &[Expander], of: &[(&str, usize, usize)]) -> String {
        let groups: Vec<GroupFacts> = of
            .iter()
            .map(|(id, ..)| group(id, (0, 10), template("n", 1000, 1 << 30)))
            .collect();
        let requests = Resources::default();
        let options: Vec<Candidate<'_>> = of
            .iter()
            .zip(&groups)
            .map(|((_, nodes, pods), group)| Candidate {
                group,
                nodes: *nodes,
                pods: *pods,
                requests: &requests,
            })
            .collect();
        let choice = choose(expanders, &options, Context::default());
        choice
            .best
            .map(|at| of[at].0.to_owned())
            .unwrap_or_default()
    }

    #[test]
    fn each_expander_chooses_among_what_the_one_before_kept() {
        let options = [("a", 5, 9), ("b", 2, 9), ("c", 1, 3)];
        assert_eq!(
            chosen(&[Expander::MostPods, Expander::LeastNodes], &options),
            "b"
        );
        assert_eq!(
            chosen(&[Expander::LeastNodes, Expander::MostPods], &options),
            "c"
        );
        assert_eq!(chosen(&[Expander::LeastWaste], &[]), "");
    }

    #[test]
    fn equals_are_told_apart_by_nodes_and_name() {
        assert_eq!(
            chosen(&[Expander::MostPods], &[("b", 2, 1), ("a", 2, 1)]),
            "a"
        );
        assert_eq!(
            chosen(&[Expander::MostPods], &[("b", 1, 1), ("a", 2, 1)]),
            "b"
        );
    }

    #[test]
    fn a_list_that_names_no_group_keeps_all() {
        let levels = |of: &[(&str, i64)]| {
            let of = of
                .iter()
                .map(|(group, level)| (GroupId::from(*group), *level));
            Expander::Priority(of.collect())
        };
        let options = [("a", 2, 1), ("b", 1, 1)];
        assert_eq!(chosen(&[levels(&[("a", 10)])], &options), "a");
        assert_eq!(chosen(&[levels(&[("x", 10)])], &options), "b");
        assert_eq!(chosen(&[levels(&[("a", 10), ("b", 50)])], &options), "b");
        let elsewhere = Expander::Chosen(vec!["a".into()]);
        assert_eq!(chosen(&[elsewhere], &options), "a");
    }
}
