//! What to do on which node: facts in, steps out.
//!
//! [`manage`] brings every node to one pod (two while surging); [`roll`] replaces old pods within
//! the bounds. They are used in turn: nothing is rolled while a node is not in order.

use super::eligible::Eligible;
use crate::pods::Phase;
use jiff::Timestamp;
use std::sync::Arc;

/// Whether a pod serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// It does not.
    Unready,
    /// It does.
    Ready,
    /// It has done so for `minReadySeconds`.
    Available,
}

/// One pod of a DaemonSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Daemon {
    pub(super) name: Arc<str>,
    /// Made from the newest template.
    pub(super) current: bool,
    /// Its deletion is under way.
    pub(super) ends: bool,
    pub(super) phase: Phase,
    pub(super) health: Health,
    /// Bound to its node.
    pub(super) bound: bool,
    pub(super) created: Option<Timestamp>,
}

impl Daemon {
    fn runs(&self) -> bool {
        !self.ends && !self.phase.is_terminal()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.health >= Health::Ready
    }

    pub(super) fn is_available(&self) -> bool {
        self.health == Health::Available
    }
}

/// One node with its pods, as [`Place::new`] orders them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) node: Arc<str>,
    pub(super) eligible: Eligible,
    pub(super) daemons: Vec<Daemon>,
}

impl Place {
    /// Orders the pods: bound ones first, then the oldest.
    pub(super) fn new(node: Arc<str>, eligible: Eligible, mut daemons: Vec<Daemon>) -> Self {
        daemons.sort_by(|a, b| {
            let rank = |daemon: &Daemon| (!daemon.bound, daemon.created);
            rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name))
        });
        Self {
            node,
            eligible,
            daemons,
        }
    }

    fn running(&self) -> impl Iterator<Item = &Daemon> {
        self.daemons.iter().filter(|daemon| daemon.runs())
    }

    /// The one pod of the newest template and the one of an older; `None` if there are more of
    /// either, which [`manage`] sorts out.
    fn pair(&self) -> Option<(Option<&Daemon>, Option<&Daemon>)> {
        let mut staying = self.daemons.iter().filter(|daemon| !daemon.ends);
        let (mut new, mut old) = (None, None);
        staying
            .try_for_each(|daemon| {
                let slot = if daemon.current { &mut new } else { &mut old };
                slot.replace(daemon).is_none().then_some(())
            })
            .map(|()| (new, old))
    }
}

/// Why a pod goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// It failed; it is replaced, with growing pauses.
    Failed,
    /// It ended well, which daemons should not.
    Succeeded,
    /// Another one does its work.
    Surplus,
    /// It is on a node where none should be.
    Misplaced,
    /// Its template is old.
    Outdated,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Start a pod on this node.
    Create(Arc<str>),
    /// Delete this pod on this node.
    Delete {
        node: Arc<str>,
        pod: Arc<str>,
        because: Because,
    },
}

fn delete(place: &Place, daemon: &Daemon, because: Because) -> Step {
    Step::Delete {
        node: Arc::clone(&place.node),
        pod: Arc::clone(&daemon.name),
        because,
    }
}

/// Bounds of an update in nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Nodes that may lack an available pod.
    pub(super) unavailable: usize,
    /// Nodes that may have a second pod; with 0 old pods go before new ones come.
    pub(super) surge: usize,
}

/// What to do next. Nothing is rolled while a node is not in order; a failed pod whose node's pause
/// lasts is no reason to wait, for a new template may be what mends it.
pub(super) fn next(
    places: &[Place],
    bounds: Option<Bounds>,
    pauses: impl Fn(&Arc<str>) -> bool,
) -> Vec<Step> {
    let mut steps = manage(places, bounds.is_some_and(|bounds| bounds.surge > 0));
    let waits = |step: &Step| matches!(step, Step::Delete { node, because: Because::Failed, .. } if pauses(node));
    if let Some(bounds) = bounds.filter(|_| steps.iter().all(waits)) {
        steps.append(&mut roll(places, bounds));
    }
    steps
}

/// Brings every node to its pod. `surge` tells whether a second one may be there.
pub(super) fn manage(places: &[Place], surge: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for place in places {
        match place.eligible {
            Eligible::Run if place.daemons.is_empty() => {
                steps.push(Step::Create(Arc::clone(&place.node)));
            }
            Eligible::Run | Eligible::Stay => tidy(place, surge, &mut steps),
            Eligible::Never => {
                let staying = place.daemons.iter().filter(|daemon| !daemon.ends);
                steps.extend(staying.map(|daemon| delete(place, daemon, Because::Misplaced)));
            }
        }
    }
    steps
}

fn tidy(place: &Place, surge: bool, steps: &mut Vec<Step>) {
    for daemon in place.daemons.iter().filter(|daemon| !daemon.ends) {
        match daemon.phase {
            Phase::Failed => steps.push(delete(place, daemon, Because::Failed)),
            Phase::Succeeded => steps.push(delete(place, daemon, Because::Succeeded)),
            Phase::Pending | Phase::Running | Phase::Unknown => {}
        }
    }
    if !surge {
        let surplus = place.running().skip(1);
        steps.extend(surplus.map(|daemon| delete(place, daemon, Because::Surplus)));
        return;
    }
    if place.running().next().is_none() && place.eligible == Eligible::Run {
        // One that ends does not hinder its successor while surging. One that failed does: while
        // its pause lasts it stays, and so would every successor that fails like it.
        if place.daemons.iter().all(|daemon| daemon.ends) {
            steps.push(Step::Create(Arc::clone(&place.node)));
        }
        return;
    }
    let (mut new, mut old) = (None, None);
    for daemon in place.running() {
        let slot = if daemon.current { &mut new } else { &mut old };
        if slot.is_some() {
            steps.push(delete(place, daemon, Because::Surplus));
        } else {
            *slot = Some(daemon);
        }
    }
    // Two may be there only while the old one serves and the new one does not yet.
    if let (Some(new), Some(old)) = (new, old)
        && (!old.is_ready() || new.is_available())
    {
        steps.push(delete(place, old, Because::Outdated));
    }
}

/// Replaces pods of old templates within the bounds.
///
/// Departs: old pods that are not available count as unavailable nodes; upstream replaces them on
/// top of the bound, so that more nodes than allowed can be without an available pod.
pub(super) fn roll(places: &[Place], bounds: Bounds) -> Vec<Step> {
    if bounds.surge == 0 {
        replace(places, bounds.unavailable)
    } else {
        surge(places, bounds.surge)
    }
}

fn replace(places: &[Place], allowed: usize) -> Vec<Step> {
    let mut unavailable = 0_usize;
    let (mut free, mut costly) = (Vec::new(), Vec::new());
    for place in places.iter().filter(|place| takes_part(place)) {
        let Some((new, old)) = place.pair() else {
            unavailable += 1;
            continue;
        };
        match (new, old) {
            (None, Some(old)) if old.is_available() => {
                costly.push(delete(place, old, Because::Outdated));
            }
            (None, Some(old)) => {
                unavailable += 1;
                free.push(delete(place, old, Because::Outdated));
            }
            (Some(new), None) if new.is_available() => {}
            (Some(_) | None, None) | (Some(_), Some(_)) => unavailable += 1,
        }
    }
    costly.truncate(allowed.saturating_sub(unavailable));
    free.append(&mut costly);
    free
}

fn surge(places: &[Place], allowed: usize) -> Vec<Step> {
    let mut surging = 0_usize;
    let (mut steps, mut candidates) = (Vec::new(), Vec::new());
    for place in places.iter().filter(|place| takes_part(place)) {
        let Some((new, old)) = place.pair() else {
            surging += 1;
            continue;
        };
        let create = || Step::Create(Arc::clone(&place.node));
        match (new, old) {
            // Where no new pod may start the old one ends; nothing takes its place.
            (None, Some(old)) if place.eligible != Eligible::Run => {
                steps.push(delete(place, old, Because::Outdated));
            }
            (None, Some(old)) if old.is_available() => candidates.push(create()),
            (None, Some(_)) => steps.push(create()),
            (Some(new), Some(old)) if new.is_available() => {
                steps.push(delete(place, old, Because::Outdated));
            }
            (Some(_), Some(_)) => surging += 1,
            (Some(_) | None, None) => {}
        }
    }
    candidates.truncate(allowed.saturating_sub(surging));
    steps.append(&mut candidates);
    steps
}

/// A node that should have a pod, or has one that may stay.
fn takes_part(place: &Place) -> bool {
    place.eligible == Eligible::Run
        || place.eligible == Eligible::Stay && place.daemons.iter().any(|daemon| !daemon.ends)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
