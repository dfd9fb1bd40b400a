//! The search for devices: depth first over the requests, in the order of claims, requests, options
//! and devices, so that the same question always gets the same answer.

use super::facts::{
    AllottedDevice, Amount, ConstraintKind, DeviceAllocation, DeviceConstraint, DeviceOption,
    DeviceRequest, DeviceRequests, PoolFacts, PoolReach,
};
use super::matching::Verdict;
use super::state::Devices;
use crate::placement::affinity::{NAME_FIELD, NodeTerm};
use crate::placement::node::NodeFacts;
use crate::placement::selector::{Operator, Requirement};
use crate::placement::taints::untolerated;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Devices of one claim at most, as upstream has it.
const MOST_OF_A_CLAIM: usize = 32;
/// Devices tried at most before the search is given up.
const PATIENCE: usize = 20_000;

/// Why there are no devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unmet {
    /// Not enough of them are free.
    Busy,
    /// A selector cannot be evaluated.
    Selector(String),
    /// The search took too long.
    TooHard,
}

/// A device: place in the list of pools, place in the pool.
type At = (usize, usize);
/// An option: claim, request, option.
type OptionAt = (usize, usize, usize);

/// The devices that fit an option of a request and are not held.
pub(super) struct Candidates {
    /// How many fit, held or not.
    pub(super) fitting: usize,
    /// Whether some pool it concerns is incomplete.
    partial: bool,
    pub(super) free: Vec<At>,
}

impl Candidates {
    /// Whether so many can be had.
    fn suffice(&self, amount: Amount) -> bool {
        match amount {
            Amount::Count(count) => count <= self.free.len().min(MOST_OF_A_CLAIM),
            Amount::All => !self.partial && self.fitting > 0 && self.fitting == self.free.len(),
        }
    }
}

struct Chosen<'a> {
    claim: usize,
    option: &'a DeviceOption,
    at: At,
}

/// The pools that a node reaches, its own first.
pub(super) fn reached<'a>(node: &'a NodeFacts, devices: &'a Devices) -> Vec<&'a PoolFacts> {
    let reaches = |pool: &&PoolFacts| match &pool.reach {
        PoolReach::Node => false,
        PoolReach::Everywhere => true,
        PoolReach::Nodes(term) => term.matches(&node.name, &node.labels),
    };
    let networked = devices.networked.values().flatten().filter(reaches);
    node.pools.iter().chain(networked).collect()
}

/// Finds devices for claims on a node.
///
/// # Errors
/// There are none.
pub(super) fn allocate(
    claims: &[Arc<DeviceRequests>],
    node: &NodeFacts,
    devices: &Devices,
) -> Result<Vec<DeviceAllocation>, Unmet> {
    let mut search = Search {
        claims,
        devices,
        pools: reached(node, devices),
        known: BTreeMap::new(),
        chosen: Vec::new(),
        taken: BTreeSet::new(),
        steps: 0,
    };
    if !search.is_worthwhile()? || !search.request(0, 0)? {
        return Err(Unmet::Busy);
    }
    let each = claims.iter().enumerate();
    Ok(each.map(|(claim, _)| search.result(claim, node)).collect())
}

struct Search<'a> {
    claims: &'a [Arc<DeviceRequests>],
    devices: &'a Devices,
    pools: Vec<&'a PoolFacts>,
    known: BTreeMap<OptionAt, Arc<Candidates>>,
    chosen: Vec<Chosen<'a>>,
    taken: BTreeSet<At>,
    steps: usize,
}

impl<'a> Search<'a> {
    /// Whether there are enough devices by their numbers alone: for some option of each request, and
    /// for requests together that can have the same devices only.
    fn is_worthwhile(&mut self) -> Result<bool, Unmet> {
        let mut shared: BTreeMap<Vec<At>, usize> = BTreeMap::new();
        let claims = self.claims;
        let all = claims.iter().enumerate().flat_map(|(claim, asked)| {
            let requests = asked.requests.iter().enumerate();
            requests.map(move |(request, wanted)| ((claim, request), wanted))
        });
        for (place, wanted) in all {
            if !self.has_enough(place, wanted)? {
                return Ok(false);
            }
            let [option] = &*wanted.options else {
                continue;
            };
            if let (Amount::Count(count), false) = (option.amount, option.admin) {
                let found = self.candidates((place.0, place.1, 0), option)?;
                let together = shared.entry(found.free.clone()).or_default();
                *together = together.saturating_add(count);
                if *together > found.free.len() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether there are enough devices for some option of a request.
    fn has_enough(
        &mut self,
        (claim, request): (usize, usize),
        wanted: &DeviceRequest,
    ) -> Result<bool, Unmet> {
        for (at, option) in wanted.options.iter().enumerate() {
            let found = self.candidates((claim, request, at), option)?;
            if found.suffice(option.amount) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Satisfies this request and all after it.
    fn request(&mut self, claim: usize, request: usize) -> Result<bool, Unmet> {
        let claims = self.claims;
        let Some(asked) = claims.get(claim) else {
            return Ok(true);
        };
        let Some(wanted) = asked.requests.get(request) else {
            return self.request(claim + 1, 0);
        };
        for (at, option) in wanted.options.iter().enumerate() {
            let found = self.candidates((claim, request, at), option)?;
            let place = (claim, request, option);
            let satisfied = match option.amount {
                Amount::Count(count) => self.pick(place, &found, (0, count))?,
                Amount::All => self.take_all(place, &found)?,
            };
            if satisfied {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Chooses `left` of the candidates from a place on, then goes on.
    fn pick(
        &mut self,
        place: (usize, usize, &'a DeviceOption),
        found: &Candidates,
        (from, left): (usize, usize),
    ) -> Result<bool, Unmet> {
        let (claim, request, option) = place;
        if left == 0 {
            return self.request(claim, request + 1);
        }
        let last = (found.free.len() + 1).saturating_sub(left);
        for next in from..last {
            let Some(at) = found.free.get(next) else {
                break;
            };
            if self.take(claim, option, *at)? {
                if self.pick(place, found, (next + 1, left - 1))? {
                    return Ok(true);
                }
                self.give_back();
            }
        }
        Ok(false)
    }

    /// Takes everything there is, then goes on.
    fn take_all(
        &mut self,
        place: (usize, usize, &'a DeviceOption),
        found: &Candidates,
    ) -> Result<bool, Unmet> {
        let (claim, request, option) = place;
        if !found.suffice(Amount::All) {
            return Ok(false);
        }
        let before = self.chosen.len();
        let mut all = true;
        for at in &found.free {
            all = all && self.take(claim, option, *at)?;
        }
        if all && self.request(claim, request + 1)? {
            return Ok(true);
        }
        while self.chosen.len() > before {
            self.give_back();
        }
        Ok(false)
    }

    /// Takes a device if the constraints of the claim let it.
    fn take(&mut self, claim: usize, option: &'a DeviceOption, at: At) -> Result<bool, Unmet> {
        self.steps += 1;
        if self.steps > PATIENCE {
            return Err(Unmet::TooHard);
        }
        let own = self.chosen.iter().filter(|chosen| chosen.claim == claim);
        if own.count() >= MOST_OF_A_CLAIM || (!option.admin && self.taken.contains(&at)) {
            return Ok(false);
        }
        let constraints = self.claims.get(claim).into_iter();
        let mut constraints = constraints.flat_map(|claim| &claim.constraints);
        if !constraints.all(|constraint| self.holds(constraint, (claim, option), at)) {
            return Ok(false);
        }
        if !option.admin {
            self.taken.insert(at);
        }
        self.chosen.push(Chosen { claim, option, at });
        Ok(true)
    }

    fn give_back(&mut self) {
        if let Some(last) = self.chosen.pop().filter(|last| !last.option.admin) {
            self.taken.remove(&last.at);
        }
    }

    /// Whether a constraint still holds with one more device.
    fn holds(
        &self,
        constraint: &DeviceConstraint,
        (claim, option): (usize, &DeviceOption),
        at: At,
    ) -> bool {
        if !constraint.concerns(&option.name) {
            return true;
        }
        let value = |(pool, device): At| {
            let device = self.pools.get(pool)?.devices.get(device)?;
            device.attributes.get(&constraint.attribute)
        };
        let Some(own) = value(at) else {
            return false;
        };
        let others = self.chosen.iter();
        let mut others =
            others.filter(|one| one.claim == claim && constraint.concerns(&one.option.name));
        others.all(|other| {
            let same = value(other.at) == Some(own);
            same == (constraint.kind == ConstraintKind::Same)
        })
    }

    fn candidates(
        &mut self,
        at: OptionAt,
        option: &DeviceOption,
    ) -> Result<Arc<Candidates>, Unmet> {
        if let Some(known) = self.known.get(&at) {
            return Ok(Arc::clone(known));
        }
        let found = Arc::new(candidates(option, &self.pools, self.devices)?);
        self.known.insert(at, Arc::clone(&found));
        Ok(found)
    }

    fn result(&self, claim: usize, node: &NodeFacts) -> DeviceAllocation {
        let own = || self.chosen.iter().filter(move |one| one.claim == claim);
        let results = own().filter_map(|chosen| {
            let pool = self.pools.get(chosen.at.0)?;
            Some(AllottedDevice {
                request: chosen.option.name.clone(),
                driver: Arc::clone(&pool.driver),
                pool: Arc::clone(&pool.name),
                device: Arc::clone(&pool.devices.get(chosen.at.1)?.name),
                admin: chosen.option.admin,
            })
        });
        let pools = own().filter_map(|chosen| self.pools.get(chosen.at.0));
        let mut term = NodeTerm::default();
        for pool in pools {
            match &pool.reach {
                PoolReach::Everywhere => {}
                PoolReach::Node => {
                    term = here(node);
                    break;
                }
                PoolReach::Nodes(of) => {
                    let new = |all: &[Requirement], one: &Requirement| !all.contains(one);
                    let labels = of.labels.iter().filter(|one| new(&term.labels, one));
                    let labels: Vec<Requirement> = labels.cloned().collect();
                    term.labels.extend(labels);
                    let fields = of.fields.iter().filter(|one| new(&term.fields, one));
                    let fields: Vec<Requirement> = fields.cloned().collect();
                    term.fields.extend(fields);
                }
            }
        }
        DeviceAllocation {
            results: results.collect(),
            terms: (term != NodeTerm::default()).then(|| vec![term]),
        }
    }
}

/// Only this node.
fn here(node: &NodeFacts) -> NodeTerm {
    NodeTerm {
        labels: Vec::new(),
        fields: vec![Requirement {
            key: NAME_FIELD.into(),
            operator: Operator::In,
            values: vec![node.name.clone()],
        }],
    }
}

/// The devices that fit an option.
///
/// # Errors
/// A selector cannot be evaluated.
pub(super) fn candidates(
    option: &DeviceOption,
    pools: &[&PoolFacts],
    devices: &Devices,
) -> Result<Candidates, Unmet> {
    let class = devices.classes.get(&option.class);
    let class = class.into_iter().flat_map(|class| &class.selectors);
    let selectors: Vec<&Arc<str>> = class.chain(&option.selectors).collect();
    let mut found = Candidates {
        fitting: 0,
        partial: false,
        free: Vec::new(),
    };
    for (place, pool) in pools.iter().enumerate() {
        let verdicts: Vec<Arc<[Verdict]>> = {
            let mut matcher = devices.matcher();
            let each = selectors.iter();
            each.map(|selector| matcher.verdicts(selector, &pool.driver, &pool.devices))
                .collect()
        };
        let held = devices.held_of(pool);
        for (index, device) in pool.devices.iter().enumerate() {
            let tainted = untolerated(&option.tolerations, &device.taints).is_some();
            if !admits(&verdicts, index)? || tainted {
                continue;
            }
            if !pool.complete {
                found.partial = true;
                continue;
            }
            found.fitting += 1;
            if option.admin || !held.is_some_and(|held| held.contains_key(&device.name)) {
                found.free.push((place, index));
            }
        }
    }
    Ok(found)
}

/// Whether all selectors admit a device. Those behind the first that does not are not asked.
fn admits(verdicts: &[Arc<[Verdict]>], device: usize) -> Result<bool, Unmet> {
    for verdicts in verdicts {
        match verdicts.get(device) {
            Some(Verdict::Yes) => {}
            Some(Verdict::Wrong(why)) => return Err(Unmet::Selector(why.to_string())),
            Some(Verdict::No) | None => return Ok(false),
        }
    }
    Ok(true)
}
