//! What a Job's own rules say about failed pods and about partial success.

use super::indexes::Indexes;
use crate::pods::{PodView, null_as_empty};
use serde::Deserialize;

/// What a failure rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum FailureAction {
    /// The whole Job fails.
    FailJob,
    /// The pod's index fails.
    FailIndex,
    /// The failure counts towards no limit.
    Ignore,
    /// The failure counts as it would without a rule.
    Count,
}

impl FailureAction {
    fn text(self) -> &'static str {
        match self {
            Self::FailJob => "FailJob",
            Self::FailIndex => "FailIndex",
            Self::Ignore => "Ignore",
            Self::Count => "Count",
        }
    }
}

/// One rule of `podFailurePolicy`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureRule {
    /// What happens.
    pub action: FailureAction,
    /// When a container ended so.
    #[serde(default)]
    pub on_exit_codes: Option<OnExitCodes>,
    /// When the pod has one of these conditions.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub on_pod_conditions: Vec<OnPodCondition>,
}

/// A requirement on exit codes. A container that succeeded meets none.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnExitCodes {
    /// Only this container; any if absent.
    #[serde(default)]
    pub container_name: Option<String>,
    /// `In` or `NotIn`.
    pub operator: String,
    /// The codes.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub values: Vec<i32>,
}

/// A requirement on a pod condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OnPodCondition {
    /// Type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Status; `True` if absent.
    #[serde(default = "holding")]
    pub status: String,
}

fn holding() -> String {
    "True".to_owned()
}

/// What the rules say about a failed pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) action: FailureAction,
    /// Which rule was met by what.
    pub(super) message: String,
}

/// The judgement of the first rule that a failed pod meets.
pub(super) fn judge(rules: &[FailureRule], pod: &PodView) -> Option<Judgement> {
    let met = |(position, rule): (usize, &FailureRule)| {
        let cause = match &rule.on_exit_codes {
            Some(codes) => exit(codes, pod),
            None => condition(&rule.on_pod_conditions, pod),
        };
        cause.map(|cause| Judgement {
            action: rule.action,
            message: format!(
                "{cause} matching {} rule at index {position}",
                rule.action.text()
            ),
        })
    };
    rules.iter().enumerate().find_map(met)
}

fn exit(codes: &OnExitCodes, pod: &PodView) -> Option<String> {
    let of_interest = codes.container_name.as_deref();
    let exits = pod.attempt.as_ref()?.exits.iter();
    let mut exits = exits.filter(|exit| of_interest.is_none_or(|name| name == &*exit.container));
    let met = exits.find(|exit| {
        exit.code != 0 && (codes.values.contains(&exit.code) == (codes.operator == "In"))
    })?;
    let (container, key, code) = (&met.container, &pod.meta.key, met.code);
    Some(format!(
        "Container {container} for pod {key} failed with exit code {code}"
    ))
}

fn condition(wanted: &[OnPodCondition], pod: &PodView) -> Option<String> {
    let conditions = &pod.attempt.as_ref()?.conditions;
    let met = conditions.iter().find(|(kind, status)| {
        let mut wanted = wanted.iter();
        wanted.any(|pattern| *pattern.kind == **kind && *pattern.status == **status)
    })?;
    Some(format!("Pod {} has condition {}", pod.meta.key, met.0))
}

/// One rule of `successPolicy`: all of what it names must hold.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuccessRule {
    /// These indexes, compressed.
    #[serde(default)]
    pub succeeded_indexes: Option<String>,
    /// So many indexes (of those named, if any are).
    #[serde(default)]
    pub succeeded_count: Option<usize>,
}

impl SuccessRule {
    fn is_met(&self, succeeded: &Indexes, below: u32) -> bool {
        let named = self.succeeded_indexes.as_deref();
        let named = named.map(|text| Indexes::parse(text, below));
        match (&named, self.succeeded_count) {
            (None, None) => false,
            (None, Some(count)) => succeeded.len() >= count,
            (Some(named), count) => succeeded.shared(named) >= count.unwrap_or(named.len()),
        }
    }
}

/// What the first rule says that is met.
pub(super) fn success(rules: &[SuccessRule], succeeded: &Indexes, below: u32) -> Option<String> {
    if succeeded.is_empty() {
        return None;
    }
    let mut rules = rules.iter();
    let position = rules.position(|rule| rule.is_met(succeeded, below))?;
    Some(format!("Matched rules at index {position}"))
}
