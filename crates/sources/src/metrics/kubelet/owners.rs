//! Which node speaks for a pod.
//!
//! A pod that was made again under the same name may for a while be in the readings of two nodes:
//! the one that ran it keeps showing its last container. Only one of them counts.

use plimsoll_api::usage::{PodName, Samples};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node, and when the last container of the pod started there.
type Claim = (Arc<str>, i64);

/// The owner of every pod that has been published.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<PodName, Claim>);

impl Owners {
    /// Leaves out of `samples` what `node` may not say: the pod belongs to another node whose
    /// containers started later. `starts` go with the pods.
    pub(super) fn admit(&mut self, node: &Arc<str>, samples: &mut Samples, starts: &[i64]) {
        let mut starts = starts.iter();
        samples.pods.retain(|(name, usage)| {
            let start = starts.next().copied().unwrap_or_default();
            match (self.0.get(name), usage) {
                (Some((owner, _)), None) if owner == node => {
                    self.0.remove(name);
                    true
                }
                (_, None) => false,
                (Some((owner, known)), Some(_)) if owner != node && *known >= start => false,
                (_, Some(_)) => {
                    self.0.insert(name.clone(), (Arc::clone(node), start));
                    true
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_api::usage::PodUsage;
    use rstest::rstest;

    fn say(owners: &mut Owners, node: &str, start: Option<i64>) -> bool {
        let usage = start.map(|_| PodUsage {
            timestamp: jiff::Timestamp::UNIX_EPOCH,
            window_ms: 1,
            containers: [].into(),
        });
        let mut samples = Samples {
            pods: vec![(("n".into(), "web-0".into()), usage)],
            nodes: Vec::new(),
        };
        owners.admit(&node.into(), &mut samples, &[start.unwrap_or_default()]);
        !samples.pods.is_empty()
    }

    /// What two nodes say in turn (when the pod started there; `None` for gone), and what counts.
    #[rstest]
    #[case::one_node(&[("a", Some(1)), ("a", Some(1)), ("a", None)], &[true, true, true])]
    #[case::moved(&[("a", Some(1)), ("b", Some(9)), ("a", Some(1)), ("a", None), ("b", Some(9))], &[true, true, false, false, true])]
    #[case::released(&[("a", Some(9)), ("b", Some(1)), ("a", None), ("b", Some(1))], &[true, false, true, true])]
    #[case::never_owned(&[("a", None)], &[false])]
    fn the_node_where_a_pod_started_last_speaks_for_it(
        #[case] said: &[(&str, Option<i64>)],
        #[case] counts: &[bool],
    ) {
        let mut owners = Owners::default();
        let got: Vec<bool> = said
            .iter()
            .map(|(node, start)| say(&mut owners, node, *start))
            .collect();
        assert_eq!(got, counts);
    }
}
