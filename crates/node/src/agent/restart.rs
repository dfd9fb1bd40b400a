//! Whether a container that has ended runs again: the pod's policy, the container's own, and its
//! exceptions by exit code.

use super::state::{Afterwards, ContainerState};
use super::view::{Container, Pod, Role};

/// What becomes of an ended container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays ended.
    Stay,
    /// It is run again.
    Restart,
    /// Every container of the pod starts afresh, init containers first.
    RestartAll,
}

/// Whether and how a container that ended with this code is run again. One that its node stopped,
/// for a probe or a resize, is run again whatever its code, unless nothing of it ever may.
pub fn verdict(pod: &Pod, spec: &Container, state: &ContainerState, code: i32) -> Verdict {
    if state.role == Role::Ephemeral {
        return Verdict::Stay;
    }
    if let Some(verdict) = by_rule(spec, code) {
        return verdict;
    }
    let own = spec.restart_policy.as_deref().filter(|p| !p.is_empty());
    let policy = own.unwrap_or_else(|| pod.restart_policy());
    let again = match (state.role, policy) {
        (Role::Ephemeral, _) | (_, "Never") => false,
        (Role::Init, _) | (Role::Main, "OnFailure") => {
            code != 0 || state.afterwards == Afterwards::Again
        }
        (Role::Main | Role::Sidecar, _) => true,
    };
    if again {
        Verdict::Restart
    } else {
        Verdict::Stay
    }
}

/// The first of the container's exceptions that fits the code.
fn by_rule(spec: &Container, code: i32) -> Option<Verdict> {
    let rule = spec.restart_policy_rules.iter().find(|rule| {
        let Some(codes) = &rule.exit_codes else {
            return false;
        };
        let listed = codes.values.iter().flatten().any(|value| *value == code);
        match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    })?;
    match rule.action.as_str() {
        "Restart" => Some(Verdict::Restart),
        "RestartAllContainers" => Some(Verdict::RestartAll),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::state::PodState;
    use jiff::Timestamp;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(policy: &str, more: &Value) -> Pod {
        let mut container = json!({"name": "app"});
        for (key, value) in more.as_object().into_iter().flatten() {
            container[key] = value.clone();
        }
        let spec = json!({"restartPolicy": policy, "containers": [container]});
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    fn on(codes: &[i32], operator: &str, action: &str) -> Value {
        json!({"restartPolicyRules": [{"action": action,
            "exitCodes": {"operator": operator, "values": codes}}]})
    }

    #[rstest]
    #[case::always("Always", json!({}), 0, Verdict::Restart)]
    #[case::on_failure_ok("OnFailure", json!({}), 0, Verdict::Stay)]
    #[case::on_failure_bad("OnFailure", json!({}), 1, Verdict::Restart)]
    #[case::never("Never", json!({}), 1, Verdict::Stay)]
    #[case::own_policy_wins("Always", json!({"restartPolicy": "Never"}), 1, Verdict::Stay)]
    #[case::own_policy_restarts("Never", json!({"restartPolicy": "OnFailure"}), 1, Verdict::Restart)]
    #[case::a_rule_fits("Never", on(&[42], "In", "Restart"), 42, Verdict::Restart)]
    #[case::a_rule_does_not_fit("Never", on(&[42], "In", "Restart"), 41, Verdict::Stay)]
    #[case::a_rule_by_exclusion("Never", on(&[42], "NotIn", "Restart"), 1, Verdict::Restart)]
    #[case::all_of_them("Never", on(&[3], "In", "RestartAllContainers"), 3, Verdict::RestartAll)]
    fn decides(
        #[case] policy: &str,
        #[case] more: Value,
        #[case] code: i32,
        #[case] want: Verdict,
    ) {
        let pod = pod(policy, &more);
        let state = PodState::new(&pod, Timestamp::UNIX_EPOCH);
        let spec = &pod.spec.containers[0];
        assert_eq!(verdict(&pod, spec, &state.containers[0], code), want);
    }

    #[rstest]
    #[case::on_failure("OnFailure", Verdict::Restart)]
    #[case::never("Never", Verdict::Stay)]
    fn a_clean_end_under_a_failing_probe(#[case] policy: &str, #[case] want: Verdict) {
        let pod = pod(policy, &json!({}));
        let mut state = PodState::new(&pod, Timestamp::UNIX_EPOCH);
        state.containers[0].afterwards = Afterwards::Again;
        let spec = &pod.spec.containers[0];
        assert_eq!(verdict(&pod, spec, &state.containers[0], 0), want);
    }
}
