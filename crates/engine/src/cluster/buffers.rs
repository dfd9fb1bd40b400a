//! Headroom: pods that are only imagined, so that nodes for them are there before they are.

use super::pending::PendingPod;
use crate::placement::{PodFacts, PodSpec, Resources};
use std::sync::Arc;

/// What the names of imagined pods begin with.
pub const POD_PREFIX: &str = "capacity-buffer-";

/// What a `CapacityBuffer` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferFacts {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// The pod it holds room for.
    pub pod: Arc<PodSpec>,
    /// `spec.replicas`.
    pub replicas: Option<usize>,
    /// `spec.percentage`, and the replicas of the object it is a percentage of.
    pub percentage: Option<(usize, usize)>,
    /// `spec.limits`: what all pods may ask for at most.
    pub limits: Option<Resources>,
}

impl BufferFacts {
    /// For how many pods it holds room: the larger of number and percentage (rounded up), or what
    /// the limits allow where neither is given; never more than the limits allow.
    pub fn pods(&self) -> usize {
        let share = self.percentage.map(|(percent, of)| {
            let product = percent.saturating_mul(of);
            product.div_ceil(100)
        });
        let wanted = self.replicas.into_iter().chain(share).max();
        let allowed = self
            .limits
            .as_ref()
            .and_then(|limits| self.allowed_by(limits));
        match (wanted, allowed) {
            (Some(wanted), Some(allowed)) => wanted.min(allowed),
            (Some(number), None) | (None, Some(number)) => number,
            (None, None) => 0,
        }
    }

    /// How many pods the limits allow; `None` if the pods ask for nothing that is limited.
    fn allowed_by(&self, limits: &Resources) -> Option<usize> {
        let limited = limits.requested();
        limited
            .filter_map(|(name, limit)| {
                let each = self.pod.requests.amount(name);
                (each > 0).then(|| usize::try_from(limit / each).unwrap_or(0))
            })
            .min()
    }

    /// The pods as pending ones, `most` at most. They come after all others of their priority.
    pub fn pending(&self, most: usize) -> Vec<PendingPod> {
        let pod = |at: usize| PendingPod {
            pod: PodFacts::new(
                &self.namespace,
                &format!("{POD_PREFIX}{}-{at}", self.name),
                Arc::clone(&self.pod),
            ),
            created: None,
            controller: Some(format!("capacity-buffer/{}/{}", self.namespace, self.name).into()),
            of_daemon_set: false,
            priority: None,
            scale_up_delay: None,
            fingerprint: 0,
        };
        (0..self.pods().min(most)).map(pod).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::spec;
    use rstest::rstest;

    #[rstest]
    #[case::a_percentage_is_rounded_up(None, Some((15, 47)), None, 8)]
    #[case::limits_cap(None, Some((15, 47)), Some(3000), 6)]
    #[case::limits_that_allow_more(None, Some((15, 47)), Some(4000), 8)]
    #[case::limits_alone(None, None, Some(4000), 8)]
    #[case::the_larger_of_both(Some(10), Some((15, 47)), None, 10)]
    #[case::nothing_said(None, None, None, 0)]
    fn holds_room_for(
        #[case] replicas: Option<usize>,
        #[case] percentage: Option<(usize, usize)>,
        #[case] cpu: Option<i64>,
        #[case] pods: usize,
    ) {
        let buffer = BufferFacts {
            namespace: "default".into(),
            name: "spare".into(),
            pod: Arc::new(spec(500, 1)),
            replicas,
            percentage,
            limits: cpu.map(|cpu| Resources::of(cpu, 0)),
        };
        assert_eq!(buffer.pods(), pods);
        assert_eq!(buffer.pending(100).len(), pods);
        assert_eq!(buffer.pending(5).len(), pods.min(5));
    }
}
