//! Changing the resources of a running pod: what is asked, what the node has granted, and what the
//! containers really have.

use super::demand::Amounts;
use super::state::ContainerState;
use super::view::{Container, Pod, Resources};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A resize that is not finished. Without one, a pod has what its spec says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resize {
    /// What the node has granted, one a container.
    pub allocated: Vec<Resources>,
    /// What the containers have, one a container.
    pub actuated: Vec<Resources>,
    /// Why the spec is not granted yet.
    pub pending: Option<Pending>,
    /// Why what is granted could not be put into effect.
    pub error: Option<String>,
    /// Generation of the spec that was granted last.
    pub generation: Option<i64>,
    /// Container whose bounds are being changed now.
    pub applying: Option<usize>,
    /// When what failed is tried again.
    pub retry_at: Option<Timestamp>,
}

/// Why a resize is not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// `Deferred` or `Infeasible`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What is to be done for a container that does not have what it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It does not run: its next start brings it into effect.
    Note(usize),
    /// Change its bounds in place.
    Apply(usize),
    /// Its policy wants a restart.
    Restart(usize),
}

impl Resize {
    /// A resize of a pod whose containers have what `before` says.
    pub fn of(before: &Pod) -> Self {
        let all: Vec<Resources> = before
            .containers()
            .map(|(_, c)| c.resources.clone())
            .collect();
        Self {
            allocated: all.clone(),
            actuated: all,
            generation: before.metadata.generation,
            ..Self::default()
        }
    }

    /// The resize that an earlier run of this program had not granted, by the status that it left.
    pub fn left(pod: &Pod) -> Option<Self> {
        let seen = |name: &str| {
            let main = pod.status.container_statuses.iter();
            let mut all = main.chain(&pod.status.init_container_statuses);
            all.find(|seen| seen.name == name)
        };
        let had = |container: &Container| {
            let mut resources = container.resources.clone();
            let seen = seen(&container.name).filter(|seen| !seen.allocated_resources.is_empty())?;
            if Amounts::of(&seen.allocated_resources) == Amounts::of(&resources.requests) {
                return None;
            }
            put_back(&mut resources.requests, &seen.allocated_resources);
            put_back(&mut resources.limits, &seen.resources.limits);
            Some(resources)
        };
        let differing: Vec<Option<Resources>> = pod.containers().map(|(_, c)| had(c)).collect();
        differing.iter().flatten().next()?;
        let pairs = differing.into_iter().zip(pod.containers());
        let all: Vec<Resources> = pairs
            .map(|(had, (_, container))| had.unwrap_or_else(|| container.resources.clone()))
            .collect();
        Some(Self {
            allocated: all.clone(),
            actuated: all,
            ..Self::default()
        })
    }

    /// Whether the spec asks for something else than was granted.
    pub fn differs_from(&self, pod: &Pod) -> bool {
        let wanted = pod.containers().map(|(_, container)| &container.resources);
        wanted
            .zip(&self.allocated)
            .any(|(wanted, has)| wanted != has)
    }

    /// Takes note that the spec is granted.
    pub fn grant(&mut self, pod: &Pod) {
        self.allocated = pod.containers().map(|(_, c)| c.resources.clone()).collect();
        let allocated = self.allocated.iter().skip(self.actuated.len());
        self.actuated.extend(allocated.cloned().collect::<Vec<_>>());
        self.generation = pod.metadata.generation;
        self.pending = None;
        self.error = None;
        self.retry_at = None;
    }

    /// Whether what was granted is not in effect everywhere.
    pub fn in_progress(&self) -> bool {
        self.allocated != self.actuated
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.pending.is_none() && self.applying.is_none() && !self.in_progress()
    }

    /// Takes note that a container has what it was granted.
    pub fn actuate(&mut self, index: usize) {
        let granted = self.allocated.get(index).cloned();
        if let (Some(granted), Some(has)) = (granted, self.actuated.get_mut(index)) {
            *has = granted;
        }
    }

    /// The next thing to do, if any may be done now.
    pub fn next(&self, pod: &Pod, states: &[ContainerState], now: Timestamp) -> Option<Step> {
        if self.applying.is_some() || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        let pairs = self.allocated.iter().zip(&self.actuated).enumerate();
        for (index, (granted, has)) in pairs.filter(|(_, (granted, has))| granted != has) {
            let (Some(spec), Some(state)) = (pod.container(index), states.get(index)) else {
                continue;
            };
            if !state.is_running() {
                return Some(Step::Note(index));
            }
            if state.stop.is_some() {
                continue;
            }
            if wants_restart(spec, granted, has) {
                return Some(Step::Restart(index));
            }
            return Some(Step::Apply(index));
        }
        None
    }

    /// What events tell of it: the containers' resources, the generation, and what went wrong.
    pub fn summary(&self, pod: &Pod, error: Option<&str>) -> String {
        let mut summary = Map::new();
        for (key, list) in [
            ("containers", &pod.spec.containers),
            ("initContainers", &pod.spec.init_containers),
        ] {
            let shown = |c: &&Container| {
                key == "containers" || c.restart_policy.as_deref() == Some("Always")
            };
            let list: Vec<Value> = list
                .iter()
                .filter(shown)
                .map(|c| json!({"name": c.name, "resources": shown_resources(&c.resources)}))
                .collect();
            if !list.is_empty() {
                summary.insert(key.into(), list.into());
            }
        }
        let generation = pod.metadata.generation.unwrap_or(0);
        summary.insert("generation".into(), generation.into());
        if let Some(error) = error {
            summary.insert("error".into(), error.into());
        }
        Value::Object(summary).to_string()
    }
}

/// Requests and limits as the API shows them: without empty maps.
pub fn shown_resources(resources: &Resources) -> Value {
    let mut shown = Map::new();
    if !resources.limits.is_empty() {
        shown.insert("limits".into(), json!(resources.limits));
    }
    if !resources.requests.is_empty() {
        shown.insert("requests".into(), json!(resources.requests));
    }
    Value::Object(shown)
}

fn put_back(amounts: &mut BTreeMap<String, String>, before: &BTreeMap<String, String>) {
    for (name, amount) in amounts {
        if let Some(before) = before.get(name) {
            amount.clone_from(before);
        }
    }
}

/// Whether the policy of a resource that changes wants the container restarted.
fn wants_restart(spec: &Container, granted: &Resources, has: &Resources) -> bool {
    let policies = spec.resize_policy.iter();
    let mut restarting = policies.filter(|policy| policy.restart_policy == "RestartContainer");
    restarting.any(|policy| {
        let name = &policy.resource_name;
        granted.limits.get(name) != has.limits.get(name)
            || granted.requests.get(name) != has.requests.get(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::state::{Live, PodState};
    use rstest::rstest;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn pod(cpu: &str, policy: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 2},
            "spec": {"containers": [{"name": "app", "resizePolicy": policy,
                "resources": {"requests": {"cpu": cpu}}}]},
        }))
        .unwrap()
    }

    fn state(pod: &Pod, runs: bool) -> PodState {
        let mut state = PodState::new(pod, at(0));
        if runs {
            let live = Live {
                id: "r://1".into(),
                image_id: "i".into(),
                since: at(0),
            };
            state.containers[0].running(live);
        }
        state
    }

    #[rstest]
    #[case::in_place("2", json!([]), true, Some(Step::Apply(0)))]
    #[case::not_running("2", json!([]), false, Some(Step::Note(0)))]
    #[case::by_restart("2", json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]), true, Some(Step::Restart(0)))]
    #[case::other_resource("2", json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]), true, Some(Step::Apply(0)))]
    #[case::unchanged("1", json!([]), true, None)]
    fn a_grant_is_put_into_effect(
        #[case] cpu: &str,
        #[case] policy: Value,
        #[case] runs: bool,
        #[case] want: Option<Step>,
    ) {
        let (before, after) = (pod("1", &policy), pod(cpu, &policy));
        let mut resize = Resize::of(&before);
        resize.grant(&after);
        let state = state(&after, runs);
        assert_eq!(resize.next(&after, &state.containers, at(0)), want);
        resize.actuate(0);
        assert!(resize.is_done());
    }

    #[rstest]
    #[case::more_was_asked(json!({"cpu": "1"}), json!({"cpu": "2"}), Some("1"))]
    #[case::same_otherwise_written(json!({"cpu": "2"}), json!({"cpu": "2000m"}), None)]
    #[case::never_ran(json!({}), json!({"cpu": "2"}), None)]
    fn what_was_not_granted_before_a_restart_is_still_pending(
        #[case] allocated: Value,
        #[case] asked: Value,
        #[case] want: Option<&str>,
    ) {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [
                {"name": "side"},
                {"name": "app", "resources": {"limits": asked, "requests": asked}},
            ]},
            "status": {"containerStatuses": [{"name": "app", "allocatedResources": allocated,
                "resources": {"limits": allocated, "requests": allocated}}]},
        }))
        .unwrap();
        let left = Resize::left(&pod);
        let got = left.as_ref().map(|resize| {
            assert!(resize.differs_from(&pod));
            let app = &resize.allocated[1];
            assert_eq!(app.limits, app.requests);
            app.requests["cpu"].clone()
        });
        assert_eq!(got.as_deref(), want);
        if let Some(left) = left {
            let milli = crate::agent::demand::of_allocated(&pod, &left.allocated).cpu_milli;
            assert_eq!(milli, 1000);
        }
    }

    #[test]
    fn a_failure_is_not_tried_again_before_its_time() {
        let (before, after) = (pod("1", &json!([])), pod("2", &json!([])));
        let mut resize = Resize::of(&before);
        assert!(resize.differs_from(&after));
        resize.grant(&after);
        resize.retry_at = Some(at(10));
        let state = state(&after, true);
        assert_eq!(resize.next(&after, &state.containers, at(9)), None);
        assert!(resize.next(&after, &state.containers, at(10)).is_some());
        assert_eq!(
            resize.summary(&after, Some("no")),
            r#"{"containers":[{"name":"app","resources":{"requests":{"cpu":"2"}}}],"generation":2,"error":"no"}"#
        );
    }
}
