//! One pass, in order.

use super::hold::ByHand;
use super::limit::{self, Limit, Range};
use super::memory::Memory;
use super::metric::{Failure, placeholder};
use super::observed::{Observed, Scale, Selection};
use super::per_pod::Answer;
use super::schedule::InForce;
use super::stabilize;
use super::status::{Event, Holds, Status, whole_seconds};
use super::trace::{Bound, Step};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// What one pass decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// What the target should have.
    pub replicas: i32,
    /// What to write to the scale; `None` where nothing changes.
    pub write: Option<i32>,
    /// The status to store, provided that the write succeeds (see [`Decision::write_failed`]).
    pub status: Status,
    /// Events to record, provided that the write succeeds.
    pub events: Vec<Event>,
    /// The memory for the next pass, provided that the write succeeds; `None` while the target has
    /// never been seen.
    pub memory: Option<Memory>,
    /// What the pass reports as its error, if any.
    pub error: Option<String>,
    /// Why the target is moved (`PHRASE` of the event); empty where it is not.
    pub reason: String,
    /// When a schedule changes the bounds next: the time to decide again.
    pub next_change: Option<Timestamp>,
    /// The steps.
    pub trace: Vec<Step>,
}

/// Decides one pass. Total: every input has an answer.
pub fn decide(observed: &Observed) -> Decision {
    decide_held(observed, None)
}

/// Decides one pass of an autoscaler that somebody may hold: everything is computed and
/// remembered, but a held target is not written.
///
/// Departs: upstream knows no hold. Without one, the decision is upstream's.
pub fn decide_held(observed: &Observed, hold: Option<&ByHand>) -> Decision {
    let mut pass = Pass::new(observed, hold);
    match &observed.scale {
        Err(error) => pass.unreadable(error),
        Ok(scale) => pass.run(scale),
    }
    pass.mark_held();
    pass.decision
}

/// Computes the metric at `index` alone, with its steps.
///
/// # Errors
/// Why the metric gives no proposal.
pub fn propose(observed: &Observed, index: usize) -> (Result<Answer, String>, Vec<Step>) {
    let mut trace = Vec::new();
    let current = observed
        .scale
        .as_ref()
        .map_or(0, |scale| scale.spec_replicas);
    let Some(metric) = observed.spec.metrics.get(index) else {
        return (Err(format!("there is no metric {index}")), trace);
    };
    let answer = metric.answer(index, observed, current, &mut trace);
    (answer, trace)
}

impl Decision {
    /// The same pass after the write to the scale failed: nothing is remembered as scaled.
    #[must_use]
    pub fn write_failed(mut self, observed: &Observed, error: &str) -> Self {
        let Some(wanted) = self.write else {
            return self;
        };
        let message = format!("the HPA controller was unable to update the target scale: {error}");
        let mut status = observed.status.clone();
        std::mem::swap(&mut status.conditions, &mut self.status.conditions);
        restore_scaled_to_zero(&mut status, &observed.status);
        status.observed_generation = None;
        status.current_replicas = self.status.current_replicas;
        status.current_metrics = self.status.current_metrics.take();
        let why = ("FailedUpdateScale", message.as_str());
        status.set(observed.now, "AbleToScale", Holds::No, why);
        self.status = status;
        self.events
            .retain(|event| event.reason != "SuccessfulRescale");
        let text = format!(
            "New size: {wanted}; reason: {}; error: {error}",
            self.reason
        );
        self.events.push(Event::warning("FailedRescale", text));
        self.error = Some(format!("failed to rescale: {error}"));
        self.unwritten(observed)
    }

    /// The same pass with nothing remembered as scaled, because nothing is written.
    #[must_use]
    pub fn unwritten(mut self, observed: &Observed) -> Self {
        if let (Some(memory), before) = (&mut self.memory, &observed.memory) {
            let before = before.clone().unwrap_or_default();
            memory.scale_up_events = before.scale_up_events;
            memory.scale_down_events = before.scale_down_events;
        }
        self
    }
}

/// Puts the condition back as it was, where it was.
fn restore_scaled_to_zero(status: &mut Status, before: &Status) {
    let known = before.conditions.iter().find(|c| c.kind == "ScaledToZero");
    let place = status
        .conditions
        .iter_mut()
        .find(|c| c.kind == "ScaledToZero");
    match (known, place) {
        (Some(known), Some(place)) => place.clone_from(known),
        (Some(known), None) => status.conditions.push(known.clone()),
        (None, _) => status.remove("ScaledToZero"),
    }
}

/// Whether a target at zero may be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtZero {
    No,
    Asleep,
    Wakeable,
}

struct Pass<'a> {
    seen: &'a Observed,
    hold: Option<&'a ByHand>,
    in_force: InForce,
    decision: Decision,
}

impl<'a> Pass<'a> {
    fn new(seen: &'a Observed, hold: Option<&'a ByHand>) -> Self {
        let mut status = seen.status.clone();
        status.observed_generation = None;
        let decision = Decision {
            replicas: status.desired_replicas,
            write: None,
            status,
            events: Vec::new(),
            memory: seen.memory.clone(),
            error: None,
            reason: String::new(),
            next_change: None,
            trace: Vec::with_capacity(12),
        };
        let spec = &seen.spec;
        let in_force = InForce::of(spec.bounds(), &spec.schedules, seen.now);
        let mut pass = Self {
            seen,
            hold,
            in_force,
            decision,
        };
        if !spec.schedules.is_empty() {
            pass.tell_schedules();
        }
        pass
    }

    /// Says which schedules are in force; only autoscalers that have some come here.
    fn tell_schedules(&mut self) {
        self.decision.next_change = self.in_force.next_change();
        let broken = std::mem::take(&mut self.in_force.broken);
        let (upcoming, begins) = self.in_force.upcoming.clone().unzip();
        let step = Step::Scheduled {
            windows: self.in_force.windows.clone(),
            upcoming,
            begins,
        };
        let sentence = step.sentence();
        self.decision.trace.push(step);
        for (name, error) in &broken {
            let (name, error) = (Arc::clone(name), error.to_string());
            let step = Step::Unscheduled { name, error };
            let text = step.sentence();
            self.decision
                .events
                .push(Event::warning("InvalidSchedule", text.as_str()));
            self.decision.trace.push(step);
            self.set("ScheduleActive", Holds::No, "InvalidSchedule", &text);
        }
        if broken.is_empty() {
            let active = !self.in_force.windows.is_empty();
            let (holds, reason) = if active {
                (Holds::Yes, "InForce")
            } else {
                (Holds::No, "NotInForce")
            };
            self.set("ScheduleActive", holds, reason, &sentence);
        }
    }

    fn set(&mut self, kind: &str, holds: Holds, reason: &str, message: &str) {
        self.decision
            .status
            .set(self.seen.now, kind, holds, (reason, message));
    }

    fn unreadable(&mut self, error: &str) {
        let message =
            format!("the HPA controller was unable to get the target's current scale: {error}");
        self.set("AbleToScale", Holds::No, "FailedGetScale", &message);
        self.decision
            .events
            .push(Event::warning("FailedGetScale", error));
        self.decision.error = Some(error.to_owned());
        self.decision.trace.push(Step::Unreadable {
            error: error.to_owned(),
        });
        // Parity: only the condition is touched.
        self.decision.status.observed_generation = self.seen.status.observed_generation;
    }

    fn run(&mut self, scale: &Scale) {
        let message = "the HPA controller was able to get the target's current scale";
        self.set("AbleToScale", Holds::Yes, "SucceededGetScale", message);
        let current = scale.spec_replicas;
        if self.decision.memory.is_none() {
            self.decision.memory = Some(Memory::begin(current, self.seen.now));
        }
        let range = self.in_force.range;
        self.decision.trace.push(Step::Found {
            current,
            min: range.min,
            max: range.max,
        });
        let at_zero = self.at_zero(current, range);
        if at_zero == AtZero::Asleep {
            return self.stay_asleep();
        }
        let raised = range.min > self.seen.spec.min();
        let wanted = if current > range.max {
            self.outside(Bound::Max, range.max)
        } else if current < range.min && (at_zero == AtZero::No || raised) {
            self.outside(Bound::Min, range.min)
        } else {
            match self.measured(scale, range) {
                Some(wanted) => wanted,
                None => return self.blocked(current),
            }
        };
        self.settle(current, wanted, range);
    }

    fn at_zero(&mut self, current: i32, range: Range) -> AtZero {
        if current != 0 {
            return AtZero::No;
        }
        if !self.seen.settings.scale_to_zero {
            self.decision.status.remove("ScaledToZero");
            return AtZero::Asleep;
        }
        let ours = self.seen.status.holds("ScaledToZero");
        let wakeable = ours && (range.min > 0 || self.seen.spec.has_outside_metric());
        if wakeable {
            AtZero::Wakeable
        } else {
            AtZero::Asleep
        }
    }

    fn stay_asleep(&mut self) {
        let message = "scaling is disabled since the replica count of the target is zero";
        self.set("ScalingActive", Holds::No, "ScalingDisabled", message);
        self.decision.status.current_metrics = None;
        self.decision.status.current_replicas = 0;
        self.decision.status.desired_replicas = 0;
        self.decision.replicas = 0;
        self.decision.trace.push(Step::Disabled);
        self.hold_back(0, 0);
        self.decision.trace.push(Step::Settled { from: 0, to: 0 });
    }

    fn outside(&mut self, bound: Bound, replicas: i32) -> i32 {
        self.decision.status.current_metrics = None;
        let bounds = self.seen.spec.bounds();
        let (side, field, schedule) = match bound {
            Bound::Max => ("above", "Spec.MaxReplicas", self.in_force.bounding(bounds)),
            Bound::Min => ("below", "Spec.MinReplicas", self.in_force.raising(bounds)),
        };
        self.decision.reason = match schedule {
            None => format!("Current number of replicas {side} {field}"),
            Some(schedule) => {
                let name = &schedule.name;
                format!("Current number of replicas {side} the bound of schedule {name:?}")
            }
        };
        self.decision
            .trace
            .push(Step::OutsideRange { bound, replicas });
        replicas
    }

    fn blocked(&mut self, current: i32) {
        let error = self.decision.error.clone().unwrap_or_default();
        self.decision
            .events
            .push(Event::warning("FailedComputeMetricsReplicas", error));
        self.decision.status.current_replicas = current;
        self.decision.replicas = self.hold_back(current, current);
        self.decision.trace.push(Step::Settled {
            from: current,
            to: current,
        });
    }

    /// The count to settle on: `wanted`, or `current` while somebody holds the target.
    fn hold_back(&mut self, current: i32, wanted: i32) -> i32 {
        let Some(hold) = self.hold else { return wanted };
        self.decision.trace.push(hold.step(wanted));
        current
    }

    /// Shows and tells the beginning and the end of a hold.
    fn mark_held(&mut self) {
        let was_held = self.seen.status.holds("Held");
        let Some(hold) = self.hold else {
            if was_held {
                self.decision.status.remove("Held");
                let text = "no longer held by hand: scaling goes on";
                self.decision.events.push(Event::normal("Resumed", text));
            }
            return;
        };
        let mut steps = self.decision.trace.iter().rev();
        let told = steps.find(|step| matches!(step, Step::HeldByHand { .. }));
        let message = told.map_or_else(|| hold.text(), Step::sentence);
        self.set("Held", Holds::Yes, "HeldByHand", &message);
        if !was_held {
            self.decision
                .events
                .push(Event::normal("Held", hold.text()));
        }
    }

    /// The count the metrics ask for, stabilised and limited; `None` where too little is known.
    fn measured(&mut self, scale: &Scale, range: Range) -> Option<i32> {
        self.decision.status.current_metrics = None;
        self.check_selector(&scale.selector)?;
        let current = scale.spec_replicas;
        let (proposal, name) = self.largest_proposal(current)?;
        // Parity: the original starts from zero, so a negative proposal counts as zero.
        let proposal = proposal.max(0);
        if proposal > current {
            let name = if proposal > 0 { name.as_str() } else { "" };
            self.decision.reason = format!("{name} above target");
        } else if proposal < current {
            self.decision.reason = "All metrics below target".into();
        }
        let stabilized = self.stabilize(current, proposal);
        let limited = self.limit(current, stabilized, range);
        if current == 0 && limited < range.min {
            let (wanted, replicas) = (limited, range.min);
            let (floor, reason) = (Some(range.min), Limit::TooFewReplicas);
            self.decision.trace.push(Step::Limited {
                wanted,
                floor,
                ceiling: None,
                reason,
                rate: None,
                replicas,
            });
            return Some(replicas);
        }
        Some(limited)
    }

    fn check_selector(&mut self, selector: &Selection) -> Option<()> {
        let (condition, event, message) = match selector {
            Selection::Valid(_) if self.seen.rivals.is_empty() => return Some(()),
            Selection::Valid(text) => {
                let rivals = self.seen.rivals.join(" ");
                let message =
                    format!("pods by selector {text} are controlled by multiple HPAs: [{rivals}]");
                ("AmbiguousSelector", "AmbiguousSelector", message)
            }
            Selection::Missing => {
                let message = "the HPA target's scale is missing a selector".to_owned();
                ("InvalidSelector", "SelectorRequired", message)
            }
            Selection::Invalid(why) => {
                let message = format!(
                    "couldn't convert selector into a corresponding internal selector object: {why}"
                );
                ("InvalidSelector", "InvalidSelector", message)
            }
        };
        self.set("ScalingActive", Holds::No, condition, &message);
        let text = if event == "SelectorRequired" {
            "selector is required"
        } else {
            &message
        };
        self.decision.events.push(Event::warning(event, text));
        self.decision.trace.push(Step::Unselectable {
            error: message.clone(),
        });
        self.decision.error = Some(text.to_owned());
        None
    }

    fn largest_proposal(&mut self, current: i32) -> Option<(i32, String)> {
        let metrics = &self.seen.spec.metrics;
        let mut statuses: Vec<Value> = Vec::with_capacity(metrics.len());
        let mut failures: Vec<Failure> = Vec::new();
        let (mut replicas, mut winner) = (0, String::new());
        for (index, metric) in metrics.iter().enumerate() {
            match metric.propose(index, self.seen, current, &mut self.decision.trace) {
                Ok(proposal) => {
                    statuses.push(proposal.status);
                    if replicas == 0 || proposal.replicas > replicas {
                        (replicas, winner) = (proposal.replicas, proposal.name);
                    }
                }
                Err(failure) => {
                    statuses.push(placeholder());
                    let event = Event::warning(failure.reason, failure.error.as_str());
                    self.decision.events.push(event);
                    failures.push(failure);
                }
            }
        }
        self.decision.status.current_metrics = Some(statuses);
        let (failed, of) = (failures.len(), metrics.len());
        if let Some(first) = failures.first() {
            self.decision.error = Some(format!(
                "invalid metrics ({failed} invalid out of {of}), first error is: {}",
                first.outer
            ));
            if failed >= of || replicas < current {
                let message = format!(
                    "the HPA was unable to compute the replica count: {}",
                    first.error
                );
                self.set("ScalingActive", Holds::No, first.reason, &message);
                self.decision.trace.push(Step::Blocked {
                    failed,
                    metrics: of,
                });
                return None;
            }
        }
        let message =
            format!("the HPA was able to successfully calculate a replica count from {winner}");
        self.set("ScalingActive", Holds::Yes, "ValidMetricFound", &message);
        self.decision.trace.push(Step::Chosen {
            name: winner.clone(),
            replicas,
        });
        Some((replicas, winner))
    }

    fn stabilize(&mut self, current: i32, proposal: i32) -> i32 {
        let (settings, now) = (&self.seen.settings, self.seen.now);
        let memory = self.decision.memory.get_or_insert_default();
        let step = match &self.seen.spec.behavior {
            None => stabilize::without_behavior(proposal, memory, settings, now),
            Some(behavior) => {
                stabilize::with_behavior((current, proposal), memory, behavior, settings, now)
            }
        };
        let Step::Stabilized { replicas, .. } = step else {
            return proposal;
        };
        self.decision.trace.push(step);
        if replicas == proposal {
            let message = "recommended size matches current size";
            self.set("AbleToScale", Holds::Yes, "ReadyForNewScale", message);
        } else if self.seen.spec.behavior.is_some() && proposal >= current {
            let message = "recent recommendations were lower than current one, \
                           applying the lowest recent recommendation";
            self.set("AbleToScale", Holds::Yes, "ScaleUpStabilized", message);
        } else {
            let message = "recent recommendations were higher than current one, \
                           applying the highest recent recommendation";
            self.set("AbleToScale", Holds::Yes, "ScaleDownStabilized", message);
        }
        replicas
    }

    fn limit(&mut self, current: i32, wanted: i32, range: Range) -> i32 {
        let memory = &*self.decision.memory.get_or_insert_default();
        let step = match &self.seen.spec.behavior {
            None => limit::without_behavior(current, wanted, range),
            Some(behavior) => {
                limit::with_behavior(current, wanted, range, (behavior, memory), self.seen.now)
            }
        };
        let Step::Limited {
            reason, replicas, ..
        } = step
        else {
            return wanted;
        };
        self.decision.trace.push(step);
        let holds = if replicas == wanted {
            Holds::No
        } else {
            Holds::Yes
        };
        self.set("ScalingLimited", holds, reason.reason(), reason.message());
        replicas
    }

    fn settle(&mut self, current: i32, wanted: i32, range: Range) {
        let wanted = self.hold_back(current, wanted);
        self.decision.replicas = wanted;
        self.decision.status.current_replicas = current;
        self.decision.status.desired_replicas = wanted;
        self.decision.trace.push(Step::Settled {
            from: current,
            to: wanted,
        });
        if wanted == current {
            return;
        }
        self.decision.write = Some(wanted);
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        self.set("AbleToScale", Holds::Yes, "SucceededRescale", &message);
        self.decision.status.last_scale_time = Some(whole_seconds(self.seen.now));
        let text = format!("New size: {wanted}; reason: {}", self.decision.reason);
        self.decision
            .events
            .push(Event::normal("SuccessfulRescale", text));
        let behavior = self.seen.spec.behavior.as_ref();
        let memory = self.decision.memory.get_or_insert_default();
        memory.record_scale(behavior, current, wanted, self.seen.now);
        self.mark_zero(wanted, range);
    }

    fn mark_zero(&mut self, wanted: i32, range: Range) {
        if !self.seen.settings.scale_to_zero {
            return self.decision.status.remove("ScaledToZero");
        }
        if wanted == 0 && range.min == 0 && self.seen.spec.has_outside_metric() {
            let message = "the HPA controller scaled the target to zero";
            self.set("ScaledToZero", Holds::Yes, "ScaledToZero", message);
        } else {
            let message = "the target is not scaled to zero by the HPA controller";
            self.set("ScaledToZero", Holds::No, "NotScaledToZero", message);
        }
    }
}
