//! The groups as last read, and when to read them again.

use super::model::{Machine, Phase, ScalingGroup, Units};
use super::options::NamedGroup;
use super::shortage::{Shortage, instance_id, places};
use super::tags;
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::nodegroup::{Instance, InstanceState, NodeGroup, OptionOverrides, ProviderError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How old the groups may be while nothing is awaited (upstream: as much at all times).
const CALM: SignedDuration = SignedDuration::from_mins(1);
/// How old they may be while machines are awaited, so that failures are seen soon.
const AWAITING: SignedDuration = SignedDuration::from_secs(10);
/// The pause after the first reading that failed; each further one doubles it, up to [`CALM`].
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// How long ago a failed launch may have begun that is found when the provider starts.
const BEFORE_START: SignedDuration = SignedDuration::from_mins(10);
/// Longer than anybody waits.
const NEVER: SignedDuration = SignedDuration::from_hours(24 * 365);
/// By how much the clocks of AWS and of this machine may differ.
const SKEW: SignedDuration = SignedDuration::from_secs(15);

/// A group as last read.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// What AWS says.
    pub group: ScalingGroup,
    /// Sizes of `--nodes`, where it is named there.
    pub named: Option<NamedGroup>,
    /// Places that AWS could not fill.
    pub shortage: Option<Shortage>,
    /// When it was last resized; activities before have nothing to say.
    pub resized: Timestamp,
    /// The number of the last write to it.
    written: u64,
}

/// What a reading finds out about a group.
#[derive(Debug)]
pub(super) struct Reading {
    /// What AWS says.
    pub group: ScalingGroup,
    /// Sizes of `--nodes`, where it is named there.
    pub named: Option<NamedGroup>,
}

impl Held {
    fn new(reading: Reading, before: Option<&Held>, since: Timestamp) -> Self {
        let Reading { group, named } = reading;
        // Whoever resized it did so after it was last read.
        let resized = match before {
            Some(before) if before.group.desired == group.desired => before.resized,
            _ => since,
        };
        let shortage = before.and_then(|before| before.shortage.clone());
        let shortage = shortage.filter(|_| group.missing() > 0);
        Self {
            named,
            shortage,
            resized,
            written: before.map_or(0, |before| before.written),
            group,
        }
    }

    /// Smallest and largest size in machines. Where the process `Launch` or `Terminate` is
    /// suspended, there is no way up or down; nor where nobody tells what a machine counts for.
    ///
    /// Departs: upstream does not look at suspended processes.
    fn sizes(&self) -> (usize, usize) {
        let (min, max) = self.group.in_machines(self.bounds(&self.group));
        let target = self.group.target();
        if self.group.units == Units::Unknown {
            return (target, target);
        }
        let max = if self.group.suspends("Launch") {
            target.max(min)
        } else {
            max
        };
        let min = if self.group.suspends("Terminate") {
            // Places that nothing fills are no machines: they can be given up.
            self.group.active().min(target).max(min).min(max)
        } else {
            min
        };
        (min, max)
    }

    /// Smallest and largest size in the group's units, with the group as it is given: those of
    /// `--nodes` as far as AWS lets it have them.
    ///
    /// Departs: upstream goes by the flag, and drains nodes that AWS then does not let go.
    pub(super) fn bounds(&self, group: &ScalingGroup) -> (usize, usize) {
        let Some(named) = &self.named else {
            return (group.min, group.max);
        };
        let max = named.max.min(group.max).max(group.min);
        (named.min.max(group.min).min(max), max)
    }

    /// Since when activities count.
    pub(super) fn activities_since(&self) -> Timestamp {
        self.resized.checked_sub(SKEW).unwrap_or(self.resized)
    }

    fn instances(&self) -> Vec<Instance> {
        let there = |machine: &Machine| Instance {
            id: format!("aws:///{}/{}", machine.zone, machine.id).into(),
            state: Some(match machine.phase {
                Phase::Coming => InstanceState::Creating,
                Phase::Serving | Phase::Standby => InstanceState::Running,
                Phase::Leaving => InstanceState::Deleting,
            }),
            problem: None,
        };
        let mut instances: Vec<Instance> = self.group.machines.iter().map(there).collect();
        instances.extend(places(&self.group, self.shortage.as_ref()));
        instances
    }

    fn told(&self) -> NodeGroup {
        let (min, max) = self.sizes();
        NodeGroup {
            id: Arc::clone(&self.group.name),
            min,
            max,
            target: self.group.target(),
            instances: self.instances(),
            options: self.options(),
            debug: self.line((min, max)),
        }
    }

    /// Options of its tags. Where the process `Terminate` is suspended and places are missing, the
    /// minimum does not protect the nodes that are there; they are not drained all the same, since
    /// AWS would not end them.
    fn options(&self) -> OptionOverrides {
        let options = tags::options(&self.group.tags);
        if !self.group.suspends("Terminate") || self.group.missing() == 0 {
            return options;
        }
        OptionOverrides {
            scale_down_utilization_threshold: Some(0.0),
            scale_down_gpu_utilization_threshold: Some(0.0),
            scale_down_unneeded_time: Some(NEVER),
            scale_down_unready_time: Some(NEVER),
            ..options
        }
    }

    /// One line about it: `workers (3:6)`, and what is out of the ordinary.
    fn line(&self, (min, max): (usize, usize)) -> String {
        let group = &self.group;
        let mut line = format!("{} ({min}:{max})", group.name);
        if matches!(group.units, Units::Weights { .. }) {
            let (least, most) = self.bounds(group);
            let (desired, there) = (group.desired, group.there());
            let weighted = format!(", {there} of {desired} units ({least}:{most})");
            line.push_str(&weighted);
        }
        if !group.suspended.is_empty() {
            line.push_str(", suspended: ");
            line.push_str(&group.suspended.join(", "));
        }
        line
    }
}

/// Whether groups have to be read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Due {
    /// Yes.
    Now,
    /// No, they are new enough.
    No,
    /// No, the last reading failed a short while ago.
    Failing(ProviderError),
}

/// Everything read.
#[derive(Debug, Default)]
pub(super) struct State {
    groups: BTreeMap<Arc<str>, Held>,
    /// Group of each instance and place, by instance id.
    owners: BTreeMap<Arc<str>, Arc<str>>,
    read: Option<Timestamp>,
    /// Something was ended since the last reading.
    stale: bool,
    failing: Option<(ProviderError, Timestamp, SignedDuration)>,
    writes: u64,
}

impl State {
    pub(super) fn due(&self, now: Timestamp) -> Due {
        if let Some((error, until, _)) = &self.failing {
            return if now < *until {
                Due::Failing(error.clone())
            } else {
                Due::Now
            };
        }
        let Some(read) = self.read.filter(|_| !self.stale) else {
            return Due::Now;
        };
        let awaiting = self.groups.values().any(|held| held.group.missing() > 0);
        let old = if awaiting { AWAITING } else { CALM };
        if now.duration_since(read) >= old {
            Due::Now
        } else {
            Due::No
        }
    }

    /// The number of writes so far: a reading that began then knows nothing of later ones.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    /// Takes in a reading that began at `began`, after as many writes as `seen`.
    pub(super) fn replace(&mut self, readings: Vec<Reading>, began: Timestamp, seen: u64) {
        let since = self
            .read
            .unwrap_or(began.checked_sub(BEFORE_START).unwrap_or(began));
        let held = |reading: Reading| {
            let name = Arc::clone(&reading.group.name);
            let before = self.groups.get(&name);
            let held = match before {
                Some(before) if before.written > seen => before.clone(),
                before => Held::new(reading, before, since),
            };
            (name, held)
        };
        self.groups = readings.into_iter().map(held).collect();
        self.read = Some(began);
        self.stale = self.writes > seen && self.stale;
        self.failing = None;
        self.owners.clear();
        let names: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for name in names {
            self.index(&name);
        }
    }

    /// A reading failed; the next one waits.
    pub(super) fn failed(&mut self, error: ProviderError, now: Timestamp) {
        let pause = match &self.failing {
            Some((_, _, pause)) => pause.saturating_mul(2).min(CALM),
            None => FIRST_PAUSE,
        };
        let until = now.checked_add(pause).unwrap_or(now);
        self.failing = Some((error, until, pause));
    }

    /// One group was read or written.
    pub(super) fn written(&mut self, group: ScalingGroup, now: Timestamp) {
        self.writes += 1;
        let name = Arc::clone(&group.name);
        if let Some(held) = self.groups.get_mut(&name) {
            if held.group.desired != group.desired {
                held.resized = now;
                held.shortage = None;
            }
            held.group = group;
            held.written = self.writes;
        }
        self.index(&name);
    }

    /// Instances were ended; the next question reads anew.
    pub(super) fn forget(&mut self) {
        self.writes += 1;
        self.stale = true;
    }

    /// Groups whose machines are missing.
    pub(super) fn awaited(&self) -> Vec<Held> {
        self.groups
            .values()
            .filter(|held| held.group.missing() > 0)
            .cloned()
            .collect()
    }

    pub(super) fn set_shortage(&mut self, name: &str, shortage: Option<Shortage>) {
        if let Some(held) = self.groups.get_mut(name) {
            held.shortage = shortage.filter(|_| held.group.missing() > 0);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Held> {
        self.groups.get(name)
    }

    pub(super) fn groups(&self) -> Vec<NodeGroup> {
        self.groups.values().map(Held::told).collect()
    }

    pub(super) fn owner(&self, instance: &str) -> Option<Arc<str>> {
        self.owners.get(instance).cloned()
    }

    /// Notes whose the instances of a group are. Those that went stay until all is read again.
    fn index(&mut self, name: &str) {
        let Some(held) = self.groups.get(name) else {
            return;
        };
        for instance in held.instances() {
            if let Some(id) = instance_id(&instance.id) {
                self.owners.insert(id.into(), Arc::clone(&held.group.name));
            }
        }
    }
}
