//! Revisions and what else a Deployment writes on its ReplicaSets.

use crate::pods::{DeploymentView, ReplicaSetView};
use crate::runtime::Meta;
use serde_json::{Map, Value};

/// Which rollout an object belongs to.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier revisions of a ReplicaSet that came back.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// `spec.replicas` of the Deployment when the set was scaled last.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same plus surge.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const ROLLBACK: &str = "deprecated.deployment.rollback.to";
/// Longest text of [`HISTORY`], in bytes.
const HISTORY_LIMIT: usize = 2000;

/// The revision of an object; 0 without.
pub(super) fn revision(meta: &Meta) -> i64 {
    number(meta, REVISION).unwrap_or_default()
}

/// A number in an annotation.
pub(super) fn number<T: std::str::FromStr>(meta: &Meta, key: &str) -> Option<T> {
    meta.annotation(key)?.parse().ok()
}

/// One more than the highest revision of the old sets.
pub(super) fn next_revision<'a>(old: impl IntoIterator<Item = &'a ReplicaSetView>) -> i64 {
    old.into_iter()
        .map(|set| revision(&set.meta))
        .max()
        .unwrap_or_default()
        .saturating_add(1)
}

/// What the newest set's annotations must become; empty if they are right.
pub(super) fn changes(
    deployment: &DeploymentView,
    set: Option<&ReplicaSetView>,
    next: i64,
) -> Map<String, Value> {
    const OWN: [&str; 6] = [REVISION, HISTORY, DESIRED, MAX, LAST_APPLIED, ROLLBACK];
    let mut changes = Map::new();
    let now = |key: &str| set.and_then(|set| set.meta.annotation(key));
    let copied = deployment
        .meta
        .annotations
        .iter()
        .filter(|(key, _)| !OWN.contains(&&**key));
    for (key, value) in copied {
        if now(key) != Some(value) {
            changes.insert(key.to_string(), Value::from(&**value));
        }
    }
    let current = set.map(|set| revision(&set.meta)).unwrap_or_default();
    if current < next {
        changes.insert(REVISION.into(), next.to_string().into());
        if current > 0 {
            changes.insert(HISTORY.into(), history(now(HISTORY), current).into());
        }
    }
    changes
}

fn history(before: Option<&str>, current: i64) -> String {
    let current = current.to_string();
    let mut revisions: Vec<&str> = before.into_iter().flat_map(|h| h.split(',')).collect();
    if !revisions.contains(&&*current) {
        revisions.push(&current);
    }
    let mut text = revisions.join(",");
    while text.len() > HISTORY_LIMIT {
        let Some((_, rest)) = text.split_once(',') else {
            break;
        };
        text = rest.to_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::history;

    #[test]
    fn history_lists_each_revision_once_and_forgets_the_oldest() {
        assert_eq!(history(None, 1), "1");
        assert_eq!(history(Some("1,3"), 3), "1,3");
        assert_eq!(history(Some("1"), 4), "1,4");
        let long = vec!["1000"; 399].join(",");
        let cut = history(Some(&format!("1,{long}")), 5000);
        assert!(cut.len() <= 2000 && cut.ends_with(",5000") && cut.starts_with("1000"));
    }
}
