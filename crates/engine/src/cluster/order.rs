//! The order in which pods are packed: the largest first.

use super::group::NodeTemplate;
use crate::placement::{Company, PodFacts, Resources};

/// How large a pod is on such a node: its share of CPU plus its share of memory.
#[expect(
    clippy::cast_precision_loss,
    reason = "Parity: shares are compared in floating point"
)]
pub fn size(requests: &Resources, template: &NodeTemplate) -> f64 {
    let share = |wanted: i64, of: i64| {
        if of > 0 {
            wanted as f64 / of as f64
        } else {
            0.0
        }
    };
    let of = &template.node.allocatable;
    share(requests.cpu_milli, of.cpu_milli) + share(requests.memory_bytes, of.memory_bytes)
}

/// Places in a list of requests, the largest first; equals stay in order.
pub fn decreasing(requests: &[&Resources], template: &NodeTemplate) -> Vec<usize> {
    let sizes: Vec<f64> = requests.iter().map(|r| size(r, template)).collect();
    let of = |at: &usize| sizes.get(*at).copied().unwrap_or(0.0);
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|a, b| of(b).total_cmp(&of(a)));
    order
}

/// Which of several kinds of pods asks for the most in all, among those that are packed by number
/// (see [`Company`]); `None` if none is. Each with how many there are.
#[expect(clippy::cast_precision_loss, reason = "a number of pods")]
pub fn weightiest(kinds: &[(&PodFacts, usize)], template: &NodeTemplate) -> Option<usize> {
    let weight =
        |(pod, count): &(&PodFacts, usize)| size(&pod.spec.requests, template) * *count as f64;
    let by_number =
        |(_, (pod, _)): &(usize, &(&PodFacts, usize))| pod.spec.company() != Company::Bound;
    // Of equals the first.
    let known = kinds.iter().enumerate().filter(by_number).rev();
    known
        .max_by(|(_, a), (_, b)| weight(a).total_cmp(&weight(b)))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{spec, template};

    #[test]
    fn the_largest_come_first_and_equals_stay_in_order() {
        // The worked example: a .524, b .224, c .276.
        let on = template("n", 3920, 14500 << 20);
        let a = Resources::of(1500, 2 << 30);
        let b = Resources::of(600, 1 << 30);
        let c = Resources::of(250, 3 << 30);
        assert_eq!(decreasing(&[&b, &a, &c, &a], &on), [1, 3, 2, 0]);
        assert!((size(&a, &on) - 0.524).abs() < 0.001);
    }

    #[test]
    fn a_resource_the_node_lacks_weighs_nothing() {
        let on = template("n", 0, 0);
        assert!(size(&Resources::of(5, 5), &on).abs() < f64::EPSILON);
    }

    #[test]
    fn many_small_pods_may_weigh_more_than_a_few_large_ones() {
        let on = template("n", 100, 100 << 20);
        let pod = |cpu| PodFacts::new("default", "p", spec(cpu, 0));
        let (small, large) = (pod(30), pod(90));
        assert_eq!(weightiest(&[(&small, 6), (&large, 1)], &on), Some(0));
        assert_eq!(weightiest(&[(&small, 2), (&large, 1)], &on), Some(1));
        assert_eq!(weightiest(&[], &on), None);
    }
}
