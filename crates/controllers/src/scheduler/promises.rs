//! What claims were promised while a pod that needs them is on its way to its node.
//!
//! Another pod with the same claim follows to the promised node, and a promised volume is given to
//! nobody else, before the API shows either.

use crate::runtime::ObjectKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one claim was promised.
#[derive(Debug)]
pub(super) struct Promise {
    /// Where its volume will be.
    pub(super) node: Arc<str>,
    /// A volume that exists; else one is made.
    pub(super) volume: Option<Arc<str>>,
    /// How many pods it is kept for.
    pods: usize,
}

/// All promises.
#[derive(Debug, Default)]
pub(super) struct Promises {
    by_claim: BTreeMap<ObjectKey, Promise>,
    by_volume: BTreeMap<Arc<str>, ObjectKey>,
}

impl Promises {
    /// What the claim was promised.
    pub(super) fn of(&self, claim: &ObjectKey) -> Option<&Promise> {
        self.by_claim.get(claim)
    }

    /// Promises, for one pod; what was promised before for another stays.
    pub(super) fn make(&mut self, claim: &ObjectKey, node: &str, volume: Option<&Arc<str>>) {
        if let Some(known) = self.by_claim.get_mut(claim) {
            known.pods += 1;
            return;
        }
        if let Some(volume) = volume {
            self.by_volume.insert(Arc::clone(volume), claim.clone());
        }
        let promise = Promise {
            node: node.into(),
            volume: volume.map(Arc::clone),
            pods: 1,
        };
        self.by_claim.insert(claim.clone(), promise);
    }

    /// A pod needs it no longer. Returns whether nobody does.
    pub(super) fn release(&mut self, claim: &ObjectKey) -> bool {
        let Some(known) = self.by_claim.get_mut(claim) else {
            return false;
        };
        known.pods = known.pods.saturating_sub(1);
        if known.pods > 0 {
            return false;
        }
        if let Some(volume) = self.by_claim.remove(claim).and_then(|known| known.volume) {
            self.show(&volume);
        }
        true
    }

    /// The API shows whose the volume is, or that it is gone.
    pub(super) fn show(&mut self, volume: &str) {
        self.by_volume.remove(volume);
    }

    /// Whether a volume is promised to another claim.
    pub(super) fn is_promised(&self, volume: &str, but_for: &ObjectKey) -> bool {
        let promised = self.by_volume.get(volume);
        promised.is_some_and(|claim| claim != but_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_holds_until_the_last_pod_needs_it_no_longer() {
        let (claim, other) = (ObjectKey::new("n", "a"), ObjectKey::new("n", "b"));
        let volume: Arc<str> = "v".into();
        let mut promises = Promises::default();
        promises.make(&claim, "x", Some(&volume));
        promises.make(&claim, "x", None);
        assert!(!promises.release(&claim));
        assert_eq!(&*promises.of(&claim).unwrap().node, "x");
        assert!(promises.is_promised("v", &other) && !promises.is_promised("v", &claim));
        assert!(promises.release(&claim));
        assert!(promises.of(&claim).is_none() && !promises.is_promised("v", &other));
        assert!(!promises.release(&claim));
    }
}
