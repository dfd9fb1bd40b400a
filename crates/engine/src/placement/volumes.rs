//! Claims, volumes and classes: where a pod's storage lets it run.

use super::affinity::NodeTerm;
use super::node::NodeState;
use super::refusal::{Refusal, Refused};
use super::selector::LabelSelector;
use std::collections::{BTreeMap, BTreeSet};

/// Access mode of a claim that a single pod may use.
pub const READ_WRITE_ONCE_POD: &str = "ReadWriteOncePod";
/// Labels of a volume that name where it is; several values are joined by `__`.
const PLACE_LABELS: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// Namespace and name of a claim.
pub type ClaimKey = (String, String);

/// How far the binding of a claim is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClaimPhase {
    /// It has no volume yet, or binding is not complete.
    #[default]
    Pending,
    /// It is bound to its volume.
    Bound,
    /// Its volume is gone.
    Lost,
}

/// A PersistentVolumeClaim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Namespace and name.
    pub key: ClaimKey,
    /// Storage class; `None` or empty = no class.
    pub class: Option<String>,
    /// The volume it is bound to (`spec.volumeName`), or is bound to by annotation once both say so.
    pub volume: Option<String>,
    /// How far binding is.
    pub phase: ClaimPhase,
    /// Whether it is being deleted.
    pub deleted: bool,
    /// Wanted capacity in bytes.
    pub request_bytes: i64,
    /// Access modes.
    pub access_modes: Vec<String>,
    /// `spec.volumeMode` is `Block`.
    pub block: bool,
    /// Volumes it may be bound to.
    pub selector: Option<LabelSelector>,
    /// The node that was chosen for it while it has no volume: a pod's, which others follow.
    pub selected_node: Option<String>,
}

impl ClaimFacts {
    /// Whether a single pod may use it.
    fn is_exclusive(&self) -> bool {
        self.access_modes.iter().any(|m| m == READ_WRITE_ONCE_POD)
    }
}

/// A PersistentVolume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    /// Name.
    pub name: String,
    /// Storage class; `None` or empty = no class.
    pub class: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Capacity in bytes.
    pub capacity_bytes: i64,
    /// Access modes.
    pub access_modes: Vec<String>,
    /// `spec.volumeMode` is `Block`.
    pub block: bool,
    /// The claim it is bound to or kept for.
    pub claim: Option<ClaimKey>,
    /// Whether its phase is `Available`.
    pub available: bool,
    /// Nodes from which it can be reached (`spec.nodeAffinity.required`); `None` = all.
    pub node_terms: Option<Vec<NodeTerm>>,
    /// CSI driver, if it is a CSI volume.
    pub driver: Option<String>,
}

/// A StorageClass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassFacts {
    /// Name.
    pub name: String,
    /// `volumeBindingMode` is `WaitForFirstConsumer`.
    pub waits_for_consumer: bool,
    /// The provisioner; `kubernetes.io/no-provisioner` makes no volumes.
    pub provisioner: String,
    /// `allowedTopologies`; empty = everywhere.
    pub allowed: Vec<NodeTerm>,
}

/// All claims, volumes and classes.
#[derive(Debug, Clone, Default)]
pub(super) struct Volumes {
    claims: BTreeMap<ClaimKey, ClaimFacts>,
    known: BTreeMap<String, VolumeFacts>,
    classes: BTreeMap<String, ClassFacts>,
    /// How many placed pods use each claim.
    uses: BTreeMap<ClaimKey, usize>,
    /// Grows with every change that can move what fits.
    pub(super) epoch: u64,
}

/// What a pod's claims ask of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Storage {
    /// Volumes its claims are bound to; `None` = the volume does not exist.
    bound: Vec<Option<VolumeFacts>>,
    /// Claims that are bound once a node is chosen, smallest first.
    open: Vec<ClaimFacts>,
    /// Available volumes that match an open claim, smallest first, by place in `open`.
    matching: Vec<Vec<VolumeFacts>>,
    /// Classes of the open claims.
    classes: Vec<Option<ClassFacts>>,
    /// Claims that only one pod may use and some pod does.
    in_use: Vec<ClaimKey>,
    /// CSI driver and name of each volume that has to be attached.
    attach: BTreeSet<(String, String)>,
}

impl Volumes {
    pub(super) fn set_claim(&mut self, facts: ClaimFacts) {
        if self.claims.get(&facts.key) != Some(&facts) {
            self.epoch += 1;
            self.claims.insert(facts.key.clone(), facts);
        }
    }

    pub(super) fn remove_claim(&mut self, key: &ClaimKey) {
        if self.claims.remove(key).is_some() {
            self.epoch += 1;
        }
    }

    pub(super) fn set_volume(&mut self, facts: VolumeFacts) {
        if self.known.get(&facts.name) != Some(&facts) {
            self.epoch += 1;
            self.known.insert(facts.name.clone(), facts);
        }
    }

    pub(super) fn remove_volume(&mut self, name: &str) {
        if self.known.remove(name).is_some() {
            self.epoch += 1;
        }
    }

    pub(super) fn set_class(&mut self, facts: ClassFacts) {
        if self.classes.get(&facts.name) != Some(&facts) {
            self.epoch += 1;
            self.classes.insert(facts.name.clone(), facts);
        }
    }

    pub(super) fn remove_class(&mut self, name: &str) {
        if self.classes.remove(name).is_some() {
            self.epoch += 1;
        }
    }

    /// A pod with these claims was placed. What it attaches is counted node by node; only the first
    /// use of a claim for a single pod moves what fits elsewhere.
    pub(super) fn used(&mut self, namespace: &str, claims: &[String]) {
        for claim in claims {
            let key = (namespace.to_owned(), claim.clone());
            let exclusive = self.is_exclusive(&key);
            let count = self.uses.entry(key).or_insert(0);
            *count += 1;
            self.epoch += u64::from(*count == 1 && exclusive);
        }
    }

    fn is_exclusive(&self, key: &ClaimKey) -> bool {
        self.claims.get(key).is_some_and(ClaimFacts::is_exclusive)
    }

    /// A pod with these claims is gone.
    pub(super) fn unused(&mut self, namespace: &str, claims: &[String]) {
        for claim in claims {
            let key = (namespace.to_owned(), claim.clone());
            let left = self.uses.get_mut(&key).map(|count| {
                *count = count.saturating_sub(1);
                *count
            });
            if left == Some(0) {
                self.epoch += u64::from(self.is_exclusive(&key));
                self.uses.remove(&key);
            }
        }
    }

    /// Looks the claims up.
    ///
    /// # Errors
    /// A reason that holds whatever the node.
    pub(super) fn storage(&self, namespace: &str, claims: &[String]) -> Result<Storage, Refusal> {
        let mut storage = Storage::default();
        for name in claims {
            let key = (namespace.to_owned(), name.clone());
            let claim = self.claims.get(&key);
            let claim = claim.ok_or_else(|| Refusal::ClaimNotFound(name.clone()))?;
            if claim.phase == ClaimPhase::Lost {
                return Err(Refusal::ClaimLost {
                    claim: name.clone(),
                    volume: claim.volume.clone().unwrap_or_default(),
                });
            }
            if claim.deleted {
                return Err(Refusal::ClaimDeleted(name.clone()));
            }
            if claim.is_exclusive() && self.uses.contains_key(&key) {
                storage.in_use.push(key);
            }
            self.sort_in(claim, &mut storage)?;
        }
        storage.open.sort_by_key(|claim| claim.request_bytes);
        for claim in &storage.open {
            storage.matching.push(self.matching(claim));
            let class = claim.class.as_ref();
            storage
                .classes
                .push(class.and_then(|name| self.classes.get(name)).cloned());
        }
        Ok(storage)
    }

    fn sort_in(&self, claim: &ClaimFacts, storage: &mut Storage) -> Result<(), Refusal> {
        if claim.phase == ClaimPhase::Bound {
            let volume = claim.volume.as_ref();
            let volume = volume.and_then(|name| self.known.get(name)).cloned();
            if let Some((volume, driver)) =
                volume.as_ref().and_then(|v| Some((v, v.driver.as_ref()?)))
            {
                storage.attach.insert((driver.clone(), volume.name.clone()));
            }
            storage.bound.push(volume);
            return Ok(());
        }
        let class = claim.class.as_ref().and_then(|name| self.classes.get(name));
        let Some(class) = class.filter(|class| class.waits_for_consumer && claim.volume.is_none())
        else {
            return Err(Refusal::UnboundImmediateClaim);
        };
        let (namespace, name) = &claim.key;
        storage
            .attach
            .insert((class.provisioner.clone(), format!("{namespace}/{name}")));
        storage.open.push(claim.clone());
        Ok(())
    }

    /// Volumes the claim could be bound to, those kept for it first, then the smallest.
    fn matching(&self, claim: &ClaimFacts) -> Vec<VolumeFacts> {
        let mut fitting: Vec<VolumeFacts> = self
            .known
            .values()
            .filter(|volume| volume.suits(claim))
            .cloned()
            .collect();
        fitting.sort_by(|a, b| {
            let order = |v: &VolumeFacts| (v.claim.is_none(), v.capacity_bytes);
            order(a).cmp(&order(b)).then_with(|| a.name.cmp(&b.name))
        });
        fitting
    }

    /// How many volumes of `driver` the node's pods have attached, beside `except`.
    fn attached(
        &self,
        node: &NodeState,
        driver: &str,
        except: &BTreeSet<(String, String)>,
    ) -> usize {
        let mut names = BTreeSet::new();
        for pod in node.pods() {
            for claim in &pod.spec.claims {
                let key = (pod.namespace.to_string(), claim.clone());
                let of = self.attachment(&key);
                if let Some(at) = of.filter(|at| at.0 == driver && !except.contains(at)) {
                    names.insert(at.1);
                }
            }
        }
        names.len()
    }

    fn attachment(&self, key: &ClaimKey) -> Option<(String, String)> {
        let claim = self.claims.get(key)?;
        if claim.phase == ClaimPhase::Bound {
            let volume = self.known.get(claim.volume.as_ref()?)?;
            return Some((volume.driver.clone()?, volume.name.clone()));
        }
        let class = self.classes.get(claim.class.as_ref()?)?;
        Some((class.provisioner.clone(), format!("{}/{}", key.0, key.1)))
    }
}

impl VolumeFacts {
    fn suits(&self, claim: &ClaimFacts) -> bool {
        let class = |class: &Option<String>| class.clone().unwrap_or_default();
        let kept = self.claim.as_ref() == Some(&claim.key);
        let free = self.claim.is_none() && self.available;
        (kept || free)
            && class(&self.class) == class(&claim.class)
            && self.block == claim.block
            && self.capacity_bytes >= claim.request_bytes
            && claim
                .access_modes
                .iter()
                .all(|m| self.access_modes.contains(m))
            && (kept
                || claim
                    .selector
                    .as_ref()
                    .is_none_or(|s| s.matches(&self.labels)))
    }

    fn reaches(&self, node: &NodeState) -> bool {
        let facts = &node.facts;
        self.node_terms
            .as_ref()
            .is_none_or(|terms| terms.iter().any(|t| t.matches(&facts.name, &facts.labels)))
    }

    /// VolumeZone: labels that name a place hold on the node, too, if the node names its place.
    fn in_zone(&self, node: &NodeState) -> bool {
        let labels = &node.facts.labels;
        if !PLACE_LABELS.iter().any(|label| labels.contains_key(*label)) {
            return true;
        }
        PLACE_LABELS.iter().all(|label| {
            let Some(values) = self.labels.get(*label) else {
                return true;
            };
            let here = labels.get(*label);
            here.is_some_and(|here| values.split("__").any(|value| value == here))
        })
    }
}

impl Storage {
    /// VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone, in this order.
    pub(super) fn refuse(&self, node: &NodeState, volumes: &Volumes) -> Option<Refused> {
        if !self.in_use.is_empty() {
            return Some(Refused::for_now(Refusal::ClaimInUse));
        }
        self.beyond_limits(node, volumes)
            .or_else(|| self.not_bindable(node))
            .or_else(|| {
                let elsewhere = self.bound.iter().flatten().any(|v| !v.in_zone(node));
                elsewhere.then(|| Refused::for_good(Refusal::OtherVolumeZone))
            })
    }

    fn beyond_limits(&self, node: &NodeState, volumes: &Volumes) -> Option<Refused> {
        for (driver, limit) in &node.facts.volume_limits {
            let wanted = self.attach.iter().filter(|(d, _)| d == driver).count();
            if wanted > 0 && volumes.attached(node, driver, &self.attach) + wanted > *limit {
                return Some(Refused::for_now(Refusal::TooManyVolumes));
            }
        }
        None
    }

    fn not_bindable(&self, node: &NodeState) -> Option<Refused> {
        let mut reasons = Vec::new();
        if self.bound.iter().any(Option::is_none) {
            reasons.push(Refusal::VolumeMissing);
        }
        if self.bound.iter().flatten().any(|v| !v.reaches(node)) {
            reasons.push(Refusal::VolumeElsewhere);
        }
        if self.unmet(node) {
            reasons.push(Refusal::NoVolumeToBind);
        }
        (!reasons.is_empty()).then_some(Refused {
            reasons,
            preemption_helps: false,
        })
    }

    /// Whether an open claim finds no volume here and none can be made.
    fn unmet(&self, node: &NodeState) -> bool {
        let mut taken = BTreeSet::new();
        let open = self.open.iter().zip(&self.matching).zip(&self.classes);
        for ((claim, matching), class) in open {
            if let Some(selected) = &claim.selected_node {
                if *selected != node.facts.name {
                    return true;
                }
                // That it does was found out when it was selected.
                continue;
            }
            let found = matching
                .iter()
                .find(|v| !taken.contains(&v.name) && v.reaches(node));
            if let Some(volume) = found {
                taken.insert(volume.name.clone());
            } else if !class
                .as_ref()
                .is_some_and(|class| class.provisions_for(node))
            {
                return true;
            }
        }
        false
    }
}

impl ClassFacts {
    fn provisions_for(&self, node: &NodeState) -> bool {
        let facts = &node.facts;
        let allowed = self.allowed.is_empty()
            || self
                .allowed
                .iter()
                .any(|t| t.matches(&facts.name, &facts.labels));
        allowed
            && !self.provisioner.is_empty()
            && self.provisioner != "kubernetes.io/no-provisioner"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_claims_for_a_single_pod_are_judged_anew_when_used() {
        let mut volumes = Volumes::default();
        let claims = ["shared".to_owned(), "single".to_owned()];
        for (claim, mode) in claims.iter().zip(["ReadWriteOnce", READ_WRITE_ONCE_POD]) {
            volumes.set_claim(ClaimFacts {
                key: ("n".into(), claim.clone()),
                access_modes: vec![mode.into()],
                ..ClaimFacts::default()
            });
        }
        let moves = |volumes: &mut Volumes, claim: &String| {
            let claim = std::slice::from_ref(claim);
            let mut seen = vec![volumes.epoch];
            for change in [
                Volumes::used,
                Volumes::used,
                Volumes::unused,
                Volumes::unused,
            ] {
                change(volumes, "n", claim);
                seen.push(volumes.epoch);
            }
            let steps: Vec<u64> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
            steps
        };
        assert_eq!(moves(&mut volumes, &claims[0]), [0, 0, 0, 0]);
        assert_eq!(moves(&mut volumes, &claims[1]), [1, 0, 0, 1]);
    }
}
