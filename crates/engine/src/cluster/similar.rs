//! Which groups are alike, so that new nodes may be spread over them.

use super::group::NodeTemplate;
use crate::placement::Resources;
use std::collections::{BTreeMap, BTreeSet};

/// Labels in which nodes of groups alike may differ.
const PER_NODE: [&str; 7] = [
    "kubernetes.io/hostname",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "beta.kubernetes.io/fluentd-ds-ready",
    "kops.k8s.io/instancegroup",
];

/// The same on AWS, beside those.
const PER_NODE_ON_AWS: [&str; 7] = [
    "alpha.eksctl.io/instance-id",
    "alpha.eksctl.io/nodegroup-name",
    "eks.amazonaws.com/nodegroup",
    "k8s.amazonaws.com/eniConfig",
    "lifecycle",
    "topology.ebs.csi.aws.com/zone",
    "topology.k8s.aws/zone-id",
];

/// How groups are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Similarity {
    /// Labels that may differ: the built-in ones and `--balancing-ignore-label`.
    pub ignored_labels: BTreeSet<String>,
    /// `--balancing-label`: where not empty, only these labels are compared, and nothing else.
    pub labels: Vec<String>,
    /// `--memory-difference-ratio`: by how much of the larger the memory may differ.
    pub memory_ratio: f64,
    /// `--max-allocatable-difference-ratio`.
    pub allocatable_ratio: f64,
    /// `--max-free-difference-ratio`.
    pub free_ratio: f64,
}

impl Default for Similarity {
    fn default() -> Self {
        Self {
            ignored_labels: PER_NODE.map(str::to_owned).into(),
            labels: Vec::new(),
            memory_ratio: 0.015,
            allocatable_ratio: 0.05,
            free_ratio: 0.05,
        }
    }
}

impl Similarity {
    /// The comparison for nodes on AWS.
    #[must_use]
    pub fn on_aws(mut self) -> Self {
        let labels = PER_NODE_ON_AWS.map(str::to_owned);
        self.ignored_labels.extend(labels);
        self
    }

    /// Why two groups are not alike, in words; `None` if they are.
    pub fn difference(&self, one: &NodeTemplate, other: &NodeTemplate) -> Option<String> {
        if !self.labels.is_empty() {
            return self.difference_of_chosen(&one.node.labels, &other.node.labels);
        }
        self.difference_of_capacity(one, other)
            .or_else(|| {
                let of = |t: &NodeTemplate| with_pods(&t.node.allocatable, t.node.max_pods);
                let ratio = self.allocatable_ratio;
                apart(("allocatable", &of(one), &of(other)), |_| ratio)
            })
            .or_else(|| apart(("free", &free(one), &free(other)), |_| self.free_ratio))
            .or_else(|| self.difference_of_labels(&one.node.labels, &other.node.labels))
    }

    fn difference_of_capacity(&self, one: &NodeTemplate, other: &NodeTemplate) -> Option<String> {
        let of = |t: &NodeTemplate| with_pods(&t.capacity, t.node.max_pods);
        let (one, other) = (of(one), of(other));
        let differs = one.keys().chain(other.keys());
        let mut only = differs.filter(|name| one.contains_key(*name) != other.contains_key(*name));
        if let Some(name) = only.next() {
            return Some(format!("only one of them has {name}"));
        }
        // Machines of one type differ a little in memory, and in nothing else.
        apart(("capacity", &one, &other), |name| {
            if name == "memory" {
                self.memory_ratio
            } else {
                0.0
            }
        })
    }

    fn difference_of_labels(&self, one: &Labels, other: &Labels) -> Option<String> {
        let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        let mut counted = keys
            .into_iter()
            .filter(|key| !self.ignored_labels.contains(*key));
        let key = counted.find(|key| one.get(*key) != other.get(*key))?;
        Some(label_difference(key, one, other))
    }

    fn difference_of_chosen(&self, one: &Labels, other: &Labels) -> Option<String> {
        let differs = |key: &&String| !one.contains_key(*key) || one.get(*key) != other.get(*key);
        let key = self.labels.iter().find(differs)?;
        Some(label_difference(key, one, other))
    }
}

type Labels = BTreeMap<String, String>;
type Amounts = BTreeMap<String, i64>;

fn label_difference(key: &str, one: &Labels, other: &Labels) -> String {
    let of = |labels: &Labels| {
        let value = labels.get(key);
        value.map_or("no value".to_owned(), |value| format!("{value:?}"))
    };
    format!("label {key} is {} and {}", of(one), of(other))
}

fn with_pods(resources: &Resources, pods: usize) -> Amounts {
    let mut amounts: Amounts = resources.extended.clone();
    amounts.insert("cpu".into(), resources.cpu_milli);
    amounts.insert("memory".into(), resources.memory_bytes);
    if resources.ephemeral_bytes > 0 {
        amounts.insert("ephemeral-storage".into(), resources.ephemeral_bytes);
    }
    amounts.insert("pods".into(), i64::try_from(pods).unwrap_or(i64::MAX));
    amounts
}

/// What the pods that every node gets leave of it.
fn free(template: &NodeTemplate) -> Amounts {
    let mut left = template.node.allocatable.clone();
    for pod in &template.daemons {
        left.subtract(&pod.spec.requests);
    }
    let pods = template.node.max_pods;
    with_pods(&left, pods.saturating_sub(template.daemons.len()))
}

/// The first amount that differs by more than its share of the larger.
#[expect(
    clippy::cast_precision_loss,
    reason = "Parity: compared in floating point"
)]
fn apart(amounts: (&str, &Amounts, &Amounts), tolerated: impl Fn(&str) -> f64) -> Option<String> {
    let (what, one, other) = amounts;
    one.iter().find_map(|(name, one)| {
        let other = other.get(name).copied().unwrap_or(0);
        let (larger, smaller) = ((*one).max(other), (*one).min(other));
        let ratio = tolerated(name);
        let differs = larger.saturating_sub(smaller) as f64 > larger as f64 * ratio;
        differs.then(|| {
            let percent = 100.0 * ratio;
            format!("{what} {name} is {one} and {other}, more than {percent} % apart")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::template;
    use rstest::rstest;

    fn memory(kib: i64) -> NodeTemplate {
        template("n", 1000, kib << 10)
    }

    #[rstest]
    #[case::a_little_more_memory(7_826_000, 7_900_000, true)]
    #[case::two_zones_of_the_same_type(7_826_000, 7_950_000, false)]
    fn memory_may_differ_a_little(#[case] one: i64, #[case] other: i64, #[case] alike: bool) {
        let difference = Similarity::default().difference(&memory(one), &memory(other));
        assert_eq!(difference.is_none(), alike, "{difference:?}");
    }

    #[test]
    fn what_differs_is_said() {
        let (one, mut other) = (memory(1 << 20), memory(1 << 20));
        other.node.labels.insert("disk".into(), "ssd".into());
        let difference = Similarity::default().difference(&one, &other).unwrap();
        assert_eq!(difference, "label disk is no value and \"ssd\"");
        let only = Similarity {
            labels: vec!["pool".into()],
            ..Similarity::default()
        };
        // A label that is compared has to be there.
        assert!(only.difference(&one, &one).is_some());
        other.capacity.extended.insert("example.com/gpu".into(), 1);
        let difference = Similarity::default().difference(&one, &other).unwrap();
        assert_eq!(difference, "only one of them has example.com/gpu");
    }
}
