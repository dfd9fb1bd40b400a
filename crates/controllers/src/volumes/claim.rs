//! What a claim needs next: pure.

use super::matching::{self, Choice, Place};
use super::{BIND_COMPLETED, LOCAL};
use crate::pods::{ClaimView, ClassView, VolumeView};
use crate::runtime::EventKind;
use std::sync::Arc;

/// Something to tell about a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// How much it should worry people.
    pub kind: EventKind,
    /// Machine-readable reason.
    pub reason: &'static str,
    /// The words.
    pub message: String,
}

impl Said {
    fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Normal,
            reason,
            message: message.into(),
        }
    }

    pub(super) fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Warning,
            reason,
            message: message.into(),
        }
    }
}

/// Everything a decision about a claim rests on.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The claim.
    pub claim: &'a ClaimView,
    /// The volume it names, if there is one.
    pub named: Option<&'a Arc<VolumeView>>,
    /// Volumes that might serve it.
    pub volumes: &'a [Arc<VolumeView>],
    /// The class it names, if there is one.
    pub class: Option<&'a ClassView>,
    /// The class of claims that name none.
    pub default_class: Option<&'a str>,
    /// The node that the scheduler chose for a pod that uses it, by name.
    pub selected: Option<&'a str>,
    /// That node, if it is there.
    pub place: Option<&'a Place>,
    /// A pod that is to use it and has no node yet.
    pub consumer: Option<&'a str>,
}

/// What to do about a claim.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Bind it to this volume, or see that both ends say so.
    Bind(Arc<VolumeView>),
    /// Give it the default class.
    Classify(Arc<str>),
    /// Make a volume for it here.
    Provision,
    /// Wait for a volume that another program makes.
    Await(Said),
    /// Wait.
    Wait(Option<Said>),
    /// Nothing can be made on the chosen node: have another one chosen.
    Reselect(Said),
    /// Its volume is lost.
    Lose(Said),
}

/// Decides what a claim needs next.
pub fn decide(world: World<'_>) -> Verdict {
    let bound = world.claim.meta.annotation(BIND_COMPLETED).is_some();
    match (&world.claim.volume, bound) {
        (None, true) => Verdict::Lose(Said::warning(
            "ClaimLost",
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
        )),
        (Some(_), true) => keep(world),
        (Some(name), false) => asked_for(world, name),
        (None, false) => search(world),
    }
}

/// A claim that was bound before.
fn keep(world: World<'_>) -> Verdict {
    let Some(volume) = world.named else {
        return Verdict::Lose(Said::warning(
            "ClaimLost",
            "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        ));
    };
    let other = volume
        .claim
        .as_ref()
        .is_some_and(|_| !matching::is_set_aside(volume, world.claim));
    if other {
        return Verdict::Lose(Said::warning(
            "ClaimMisbound",
            "Two claims are bound to the same volume, this one is bound incorrectly",
        ));
    }
    Verdict::Bind(Arc::clone(volume))
}

/// A claim that names its volume from the start.
fn asked_for(world: World<'_>, name: &str) -> Verdict {
    let Some(volume) = world.named else {
        return Verdict::Wait(None);
    };
    if volume.claim.is_some() {
        return if matching::is_set_aside(volume, world.claim) {
            Verdict::Bind(Arc::clone(volume))
        } else {
            let message = format!("volume {name:?} already bound to a different claim.");
            Verdict::Wait(Some(Said::warning("FailedBinding", message)))
        };
    }
    match matching::unsuited(volume, world.claim) {
        Some(why) => {
            let message = format!("Cannot bind to requested volume {name:?}: {why}");
            Verdict::Wait(Some(Said::warning("VolumeMismatch", message)))
        }
        None => Verdict::Bind(Arc::clone(volume)),
    }
}

/// A claim that takes what it gets.
fn search(world: World<'_>) -> Verdict {
    let claim = world.claim;
    if let (None, Some(name)) = (&claim.class, world.default_class) {
        return Verdict::Classify(name.into());
    }
    let waits = world.class.is_some_and(|class| class.waits_for_consumer);
    let choice = match (world.place, waits && world.selected.is_none()) {
        (_, true) => Choice::SetAside,
        (Some(place), false) => Choice::Reaching(place),
        (None, false) => Choice::Any,
    };
    if let Some(volume) = matching::best(claim, world.volumes, choice) {
        return Verdict::Bind(Arc::clone(volume));
    }
    if matches!(choice, Choice::SetAside) {
        return Verdict::Wait(Some(match world.consumer {
            Some(pod) => Said::normal(
                "WaitForPodScheduled",
                format!("waiting for pod {pod} to be scheduled"),
            ),
            None => Said::normal(
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding",
            ),
        }));
    }
    let name = claim.class_name();
    match world.class {
        None if name.is_empty() => Verdict::Wait(Some(Said::normal(
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
        ))),
        None => {
            let message = format!("storageclass.storage.k8s.io {name:?} not found");
            Verdict::Wait(Some(Said::warning("ProvisioningFailed", message)))
        }
        Some(class) => provision(world, class),
    }
}

fn provision(world: World<'_>, class: &ClassView) -> Verdict {
    let provisioner = &*class.provisioner;
    if provisioner.starts_with("kubernetes.io/") {
        let message = format!("no volume plugin matched name: {provisioner}");
        let said = Said::warning("ProvisioningFailed", message);
        // The volume that was to be used is taken: the scheduler must look again.
        return if world.selected.is_some() {
            Verdict::Reselect(said)
        } else {
            Verdict::Wait(Some(said))
        };
    }
    if provisioner != LOCAL {
        return Verdict::Await(external(provisioner));
    }
    let failed = |why: &str| {
        let class = class.meta.name();
        let message = format!("failed to provision volume with StorageClass {class:?}: {why}");
        Said::warning("ProvisioningFailed", message)
    };
    if let (Some(name), None) = (world.selected, world.place) {
        let why = format!("error getting target node: node {name:?} not found");
        return Verdict::Reselect(failed(&why));
    }
    let claim = world.claim;
    if claim.selector.is_some() {
        return Verdict::Wait(Some(failed("claim Selector is not supported")));
    }
    if claim.is_block {
        return Verdict::Wait(Some(failed("block volumes are not supported")));
    }
    if let Some(source) = &claim.source {
        let why = format!("the data source {source} is not supported");
        return Verdict::Wait(Some(failed(&why)));
    }
    Verdict::Provision
}

/// What is said about a claim that a provisioner is to serve.
pub(super) fn external(provisioner: &str) -> Said {
    Said::normal(
        "ExternalProvisioning",
        format!(
            "Waiting for a volume to be created either by the external provisioner \
             '{provisioner}' or manually by the system administrator. If volume creation is \
             delayed, please verify that the provisioner is running and correctly registered."
        ),
    )
}
