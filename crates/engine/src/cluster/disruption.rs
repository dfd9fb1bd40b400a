//! What disruption budgets still allow while several nodes are emptied in one look.

use crate::placement::{BudgetFacts, PodFacts};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The budgets, less what has been spent in this look.
#[derive(Debug, Clone, Default)]
pub struct RemainingBudgets {
    /// Shared: what-ifs copy what is left, again and again.
    budgets: Arc<[BudgetFacts]>,
    by_namespace: Arc<BTreeMap<String, Vec<usize>>>,
    left: Vec<i32>,
}

/// How pods can be evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evictable {
    /// All at once.
    AtOnce,
    /// In waves: together they need more than their budgets allow at one time.
    InWaves,
}

/// A pod, by its place in the list asked about, and the budget that allows nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// The pod.
    pub pod: usize,
    /// Name of the budget (in the pod's namespace).
    pub budget: String,
}

impl RemainingBudgets {
    /// Nothing spent yet.
    pub fn new(budgets: &[BudgetFacts]) -> Self {
        let mut by_namespace: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, facts) in budgets.iter().enumerate() {
            let of_namespace = by_namespace.entry(facts.namespace.clone());
            of_namespace.or_default().push(at);
        }
        Self {
            budgets: budgets.into(),
            by_namespace: Arc::new(by_namespace),
            left: budgets.iter().map(|facts| facts.allowed).collect(),
        }
    }

    fn indices(&self, pod: &PodFacts) -> impl Iterator<Item = usize> + '_ {
        let here = self.by_namespace.get(&*pod.namespace);
        let spec = Arc::clone(&pod.spec);
        here.into_iter().flatten().copied().filter(move |at| {
            // An absent selector protects nobody, an empty one everybody.
            let facts = self.budgets.get(*at);
            let selector = facts.and_then(|facts| facts.selector.as_ref());
            selector.is_some_and(|selector| selector.matches(&spec.labels))
        })
    }

    /// Whether some budget protects the pod.
    pub fn protects(&self, pod: &PodFacts) -> bool {
        self.indices(pod).next().is_some()
    }

    /// The first budget of the pod that allows nothing more.
    pub fn exhausted(&self, pod: &PodFacts) -> Option<&BudgetFacts> {
        let at = self.indices(pod).find(|at| self.left(*at) < 1)?;
        self.budgets.get(at)
    }

    fn left(&self, budget: usize) -> i32 {
        self.left.get(budget).copied().unwrap_or(0)
    }

    /// Whether these pods can be evicted.
    ///
    /// # Errors
    /// The first pod whose budget allows nothing.
    pub fn evictable<'a>(
        &self,
        pods: impl IntoIterator<Item = &'a PodFacts>,
    ) -> Result<Evictable, Exhausted> {
        let mut wanted: BTreeMap<usize, i32> = BTreeMap::new();
        let mut answer = Evictable::AtOnce;
        for (place, pod) in pods.into_iter().enumerate() {
            for at in self.indices(pod) {
                let left = self.left(at);
                if left < 1 {
                    let budget = self.budgets.get(at).map(|facts| facts.name.clone());
                    return Err(Exhausted {
                        pod: place,
                        budget: budget.unwrap_or_default(),
                    });
                }
                let wanted = wanted.entry(at).or_insert(0);
                *wanted += 1;
                if *wanted > left {
                    answer = Evictable::InWaves;
                }
            }
        }
        Ok(answer)
    }

    /// Counts these pods as evicted.
    pub fn spend<'a>(&mut self, pods: impl IntoIterator<Item = &'a PodFacts>) {
        for pod in pods {
            let spent: Vec<usize> = self.indices(pod).collect();
            for at in spent {
                if let Some(left) = self.left.get_mut(at) {
                    *left = left.saturating_sub(1).max(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Evictable, Exhausted, RemainingBudgets};
    use crate::placement::{BudgetFacts, LabelSelector, PodFacts, PodSpec, Requirement};
    use std::collections::BTreeMap;

    fn budget(name: &str, label: &str, allowed: i32) -> BudgetFacts {
        BudgetFacts {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            selector: Some(LabelSelector {
                requirements: vec![Requirement::equals(label, "true")],
            }),
            allowed,
            ..BudgetFacts::default()
        }
    }

    fn pod(namespace: &str, labels: &[&str]) -> PodFacts {
        let labels = labels.iter().map(|l| ((*l).to_owned(), "true".to_owned()));
        let spec = PodSpec {
            labels: labels.collect::<BTreeMap<_, _>>(),
            ..PodSpec::default()
        };
        PodFacts::new(namespace, "p", spec)
    }

    #[test]
    fn more_pods_than_allowed_at_once_go_in_waves() {
        let budgets = RemainingBudgets::new(&[budget("a", "x", 1), budget("b", "y", 2)]);
        let one = [pod("ns", &["x", "y"])];
        assert_eq!(budgets.evictable(&one), Ok(Evictable::AtOnce));
        let two = [pod("ns", &["x"]), pod("ns", &["x", "y"])];
        assert_eq!(budgets.evictable(&two), Ok(Evictable::InWaves));
    }

    #[test]
    fn what_is_spent_is_gone() {
        let mut budgets = RemainingBudgets::new(&[budget("a", "x", 1)]);
        let pods = [pod("ns", &["x"])];
        budgets.spend(&pods);
        let exhausted = Exhausted {
            pod: 0,
            budget: "a".to_owned(),
        };
        assert_eq!(budgets.evictable(&pods), Err(exhausted));
        let named = budgets.exhausted(&pods[0]).map(|b| b.name.as_str());
        assert_eq!(named, Some("a"));
    }

    #[test]
    fn other_namespaces_and_absent_selectors_protect_nobody() {
        let mut nobody = budget("a", "x", 0);
        nobody.selector = None;
        let budgets = RemainingBudgets::new(&[nobody, budget("b", "x", 0)]);
        assert!(!budgets.protects(&pod("other", &["x"])));
        assert!(!budgets.protects(&pod("ns", &["y"])));
        let mut everybody = budget("c", "x", 0);
        everybody.selector = Some(LabelSelector::default());
        assert!(RemainingBudgets::new(&[everybody]).protects(&pod("ns", &[])));
    }
}
