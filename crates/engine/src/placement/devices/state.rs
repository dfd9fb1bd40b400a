//! Which devices are held, by which claims, for which pods.

use super::allocate::allocate;
use super::facts::{
    DeviceAllocation, DeviceClaimFacts, DeviceClassFacts, DeviceRequests, DeviceWish, PoolFacts,
};
use super::matching::Matcher;
use crate::placement::node::NodeFacts;
use crate::placement::pod::{PodFacts, PodKey};
use crate::placement::volumes::ClaimKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Driver and pool.
type PoolKey = (Arc<str>, Arc<str>);
/// Held devices of a pool, with how many claims hold each (which is one, but for mistakes of others).
type Held = BTreeMap<Arc<str>, usize>;

/// What moves with pods: what a claim got, and who uses it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::placement) struct ClaimState {
    pub(super) taken: Option<Arc<DeviceAllocation>>,
    users: BTreeSet<PodKey>,
}

/// How full a pool of a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUse {
    /// `driver/pool`.
    pub name: Arc<str>,
    /// How many devices it has.
    pub devices: usize,
    /// How many of them are held.
    pub held: usize,
    /// Whether all its slices have been published.
    pub complete: bool,
}

/// Classes, claims, pools that several nodes reach, and what is held.
#[derive(Debug, Clone, Default)]
pub(in crate::placement) struct Devices {
    pub(super) classes: BTreeMap<String, DeviceClassFacts>,
    pub(super) templates: BTreeMap<ClaimKey, Arc<DeviceRequests>>,
    pub(super) known: BTreeMap<ClaimKey, DeviceClaimFacts>,
    pub(super) networked: BTreeMap<PoolKey, Vec<PoolFacts>>,
    states: BTreeMap<ClaimKey, ClaimState>,
    held: BTreeMap<PoolKey, Held>,
    matcher: Arc<Mutex<Matcher>>,
    /// Grows with every change that can move what fits.
    pub(in crate::placement) epoch: u64,
    /// How often claims lost their devices because the last pod that used them left.
    pub(super) freed: u64,
}

impl Devices {
    pub(super) fn matcher(&self) -> MutexGuard<'_, Matcher> {
        // What is kept there is whole between two calls.
        self.matcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn held_of(&self, pool: &PoolFacts) -> Option<&Held> {
        let key = (Arc::clone(&pool.driver), Arc::clone(&pool.name));
        self.held.get(&key)
    }

    /// How full the pools are that only this node reaches.
    pub(in crate::placement) fn usage(&self, node: &NodeFacts) -> Vec<PoolUse> {
        let each = node.pools.iter().map(|pool| {
            let held = self.held_of(pool);
            let is_held = |name: &Arc<str>| held.is_some_and(|held| held.contains_key(name));
            let devices = pool.devices.iter();
            PoolUse {
                name: format!("{}/{}", pool.driver, pool.name).into(),
                devices: pool.devices.len(),
                held: devices.filter(|device| is_held(&device.name)).count(),
                complete: pool.complete,
            }
        });
        each.collect()
    }

    pub(in crate::placement) fn set_class(&mut self, facts: DeviceClassFacts) {
        if self.classes.get(&facts.name) != Some(&facts) {
            self.epoch += 1;
            self.classes.insert(facts.name.clone(), facts);
        }
    }

    pub(in crate::placement) fn remove_class(&mut self, name: &str) {
        self.epoch += u64::from(self.classes.remove(name).is_some());
    }

    pub(in crate::placement) fn set_template(
        &mut self,
        key: ClaimKey,
        requests: Option<Arc<DeviceRequests>>,
    ) {
        if self.templates.get(&key) == requests.as_ref() {
            return;
        }
        self.epoch += 1;
        match requests {
            Some(requests) => drop(self.templates.insert(key, requests)),
            None => drop(self.templates.remove(&key)),
        }
    }

    /// Takes over a pool that is not of one node alone; empty = it is gone.
    pub(in crate::placement) fn set_pool(&mut self, key: PoolKey, parts: Vec<PoolFacts>) {
        if parts.is_empty() {
            self.epoch += u64::from(self.networked.remove(&key).is_some());
        } else if self.networked.get(&key) != Some(&parts) {
            self.epoch += 1;
            self.networked.insert(key, parts);
        }
    }

    /// Takes over a claim. What it got by the API counts; what it was given here counts until the API
    /// says so, as long as somebody uses it.
    pub(in crate::placement) fn set_claim(&mut self, facts: DeviceClaimFacts) {
        if self.known.get(&facts.key) == Some(&facts) {
            return;
        }
        let mut state = self.states.get(&facts.key).cloned().unwrap_or_default();
        if facts.allocation.is_some() || state.users.is_empty() {
            state.taken.clone_from(&facts.allocation);
        }
        let key = facts.key.clone();
        self.known.insert(key.clone(), facts);
        self.epoch += 1;
        self.become_state(&key, state);
    }

    pub(in crate::placement) fn remove_claim(&mut self, key: &ClaimKey) {
        if self.known.remove(key).is_none() {
            return;
        }
        self.epoch += 1;
        let mut state = self.states.get(key).cloned().unwrap_or_default();
        if state.users.is_empty() {
            state.taken = None;
        }
        self.become_state(key, state);
    }

    /// How a claim stands.
    pub(super) fn taken(&self, key: &ClaimKey) -> Option<&Arc<DeviceAllocation>> {
        self.states.get(key)?.taken.as_ref()
    }

    /// What a pod's claim got.
    pub(in crate::placement) fn allocation(
        &self,
        key: &ClaimKey,
    ) -> Option<&Arc<DeviceAllocation>> {
        self.taken(key)
    }

    /// Where a pod's claim is kept: by the claim's name, or by the pod's where it has none yet.
    fn key(pod: &PodFacts, wish: &DeviceWish) -> ClaimKey {
        let namespace = pod.namespace.to_string();
        match &wish.claim {
            Some(claim) => (namespace, claim.to_string()),
            // No claim has a slash in its name.
            None => (namespace, format!("{}/{}", pod.name, wish.name)),
        }
    }

    /// How the claims of a pod stand, to be restored by [`Devices::restore`].
    pub(in crate::placement) fn stand(&self, pod: &PodFacts) -> Vec<(ClaimKey, ClaimState)> {
        let wishes = pod.spec.devices.iter();
        let each = wishes.map(|wish| {
            let key = Self::key(pod, wish);
            let state = self.states.get(&key).cloned().unwrap_or_default();
            (key, state)
        });
        each.collect()
    }

    pub(in crate::placement) fn restore(&mut self, states: Vec<(ClaimKey, ClaimState)>) {
        for (key, state) in states {
            self.become_state(&key, state);
        }
        self.epoch += 1;
    }

    /// A pod came to a node: claims of it that have nothing get devices there, if there are any.
    pub(in crate::placement) fn came(&mut self, pod: &PodFacts, node: Option<&NodeFacts>) {
        let keys: Vec<(ClaimKey, &DeviceWish)> = pod
            .spec
            .devices
            .iter()
            .map(|wish| (Self::key(pod, wish), wish))
            .collect();
        let open = keys.iter().filter_map(|(key, wish)| {
            let requests = self.requests(&pod.namespace, wish)?;
            self.taken(key).is_none().then_some((key, requests))
        });
        let (open, requests): (Vec<&ClaimKey>, Vec<Arc<DeviceRequests>>) = open.unzip();
        let found = match node {
            Some(node) if !open.is_empty() => allocate(&requests, node, self).unwrap_or_default(),
            _ => Vec::new(),
        };
        let found: BTreeMap<&ClaimKey, DeviceAllocation> = open.into_iter().zip(found).collect();
        let mut new = Vec::new();
        for (key, _) in &keys {
            let mut state = self.states.get(key).cloned().unwrap_or_default();
            state.users.insert(pod.key());
            if let Some(allocation) = found.get(key) {
                state.taken = Some(Arc::new(allocation.clone()));
            }
            new.push((key.clone(), state));
        }
        self.restore(new);
    }

    /// A pod left. Where nobody uses a claim any more, it loses its devices: in a what-if at once, in
    /// earnest when the API says so.
    pub(in crate::placement) fn left(&mut self, pod: &PodFacts, what_if: bool) {
        let id = pod.key();
        let mut states = self.stand(pod);
        for (key, state) in &mut states {
            state.users.remove(&id);
            let known = self.known.get(key);
            let by_api = known.is_some_and(|known| known.allocation.is_some());
            if state.users.is_empty() && (what_if || !by_api) {
                let freed = state.taken.take().is_some();
                self.freed += u64::from(freed && !what_if);
            }
        }
        self.restore(states);
    }

    /// What a pod's claim asks for.
    pub(super) fn requests(
        &self,
        namespace: &str,
        wish: &DeviceWish,
    ) -> Option<Arc<DeviceRequests>> {
        let key = |name: &Arc<str>| (namespace.to_owned(), name.to_string());
        let claim = wish.claim.as_ref();
        let claim = claim.and_then(|name| self.known.get(&key(name)));
        if let Some(claim) = claim {
            return Some(Arc::clone(&claim.requests));
        }
        self.templates.get(&key(wish.template.as_ref()?)).cloned()
    }

    fn become_state(&mut self, key: &ClaimKey, state: ClaimState) {
        if let Some(old) = self.states.get(key).and_then(|old| old.taken.clone()) {
            self.count(&old, Change::Free);
        }
        if let Some(new) = state.taken.clone() {
            self.count(&new, Change::Hold);
        }
        if state == ClaimState::default() {
            self.states.remove(key);
        } else {
            self.states.insert(key.clone(), state);
        }
    }

    fn count(&mut self, allocation: &DeviceAllocation, change: Change) {
        for device in allocation.results.iter().filter(|device| !device.admin) {
            let key = (Arc::clone(&device.driver), Arc::clone(&device.pool));
            let held = self.held.entry(key.clone()).or_default();
            let count = held.entry(Arc::clone(&device.device)).or_insert(0);
            match change {
                Change::Hold => *count += 1,
                Change::Free => *count = count.saturating_sub(1),
            }
            if *count == 0 {
                held.remove(&device.device);
            }
            if held.is_empty() {
                self.held.remove(&key);
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Hold,
    Free,
}
