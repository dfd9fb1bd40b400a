//! Taints and cordons of nodes that are to go, as changes of a node's spec.

use crate::facts::{DELETION_CANDIDATE as SOFT, TO_BE_DELETED as HARD};
use crate::pods::{NodeView, Taint};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Annotation of a node whose removal has begun: `true` if it was cordoned for that, `false` if it
/// was cordoned before and has to stay so.
pub(super) const CORDONED: &str = "plimsoll.dev/cordoned-for-removal";

/// What a node's spec is to become.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edit {
    taints: Vec<Taint>,
    /// `None` leaves it.
    unschedulable: Option<bool>,
    note: Note,
}

/// What becomes of the annotation [`CORDONED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note {
    Leave,
    Set(&'static str),
    Remove,
}

impl Edit {
    /// A merge patch that fails if the node is not what was looked at.
    pub(super) fn patch(&self, node: &NodeView) -> Value {
        let mut patch = json!({
            "metadata": {"resourceVersion": node.meta.resource_version(), "uid": *node.meta.uid},
            "spec": {"taints": crate::runtime::null_if_empty(&self.taints)},
        });
        let mut put = |part: &str, key: &str, value: Value| {
            let part = patch.get_mut(part).and_then(Value::as_object_mut);
            if let Some(part) = part {
                part.insert(key.to_owned(), value);
            }
        };
        match self.unschedulable {
            Some(true) => put("spec", "unschedulable", true.into()),
            Some(false) => put("spec", "unschedulable", Value::Null),
            None => {}
        }
        match self.note {
            Note::Leave => {}
            Note::Set(value) => put("metadata", "annotations", json!({ CORDONED: value })),
            Note::Remove => put("metadata", "annotations", json!({ CORDONED: null })),
        }
        patch
    }
}

fn without(node: &NodeView, key: &str) -> Vec<Taint> {
    let taints = node.taints.iter().filter(|taint| taint.key != key);
    taints.cloned().collect()
}

fn with(node: &NodeView, key: &str, effect: &str, at: Timestamp) -> Vec<Taint> {
    let mut taints = without(node, key);
    taints.push(Taint {
        key: key.to_owned(),
        value: Some(at.as_second().to_string()),
        effect: effect.to_owned(),
        time_added: None,
    });
    taints
}

/// The value of a taint with this key.
fn value<'a>(node: &'a NodeView, key: &str) -> Option<&'a str> {
    let taint = node.taints.iter().find(|taint| taint.key == key)?;
    Some(taint.value.as_deref().unwrap_or_default())
}

/// Whether the node's removal has begun, and with which value of the taint.
pub(super) fn mark(node: &NodeView) -> Option<&str> {
    value(node, HARD)
}

/// Whether something of a begun removal is left on the node.
pub(super) fn is_marked(node: &NodeView) -> bool {
    mark(node).is_some() || node.meta.annotation(CORDONED).is_some()
}

/// Whether the node has the soft taint.
pub(super) fn is_candidate(node: &NodeView) -> bool {
    value(node, SOFT).is_some()
}

/// The removal begins. A node that somebody has cordoned keeps that in mind.
pub(super) fn marked(node: &NodeView, cordon: bool, at: Timestamp) -> Edit {
    let known = node.meta.annotation(CORDONED).is_some();
    let cordoned = if node.unschedulable { "false" } else { "true" };
    Edit {
        taints: with(node, HARD, "NoSchedule", at),
        unschedulable: (cordon && !node.unschedulable).then_some(true),
        note: if cordon && !known {
            Note::Set(cordoned)
        } else {
            Note::Leave
        },
    }
}

/// The removal does not take place; `None` if nothing of it is left. Without the annotation it is
/// another's begun removal, and that one is taken to have cordoned the node.
pub(super) fn released(node: &NodeView, cordon: bool) -> Option<Edit> {
    let cordoned = node.meta.annotation(CORDONED);
    let ours = match cordoned {
        Some(cordoned) => cordoned == "true",
        None => cordon && mark(node).is_some(),
    };
    is_marked(node).then(|| Edit {
        taints: without(node, HARD),
        unschedulable: (ours && node.unschedulable).then_some(false),
        note: cordoned.map_or(Note::Leave, |_| Note::Remove),
    })
}

/// The node is not needed since then; `None` if it has the taint.
pub(super) fn as_candidate(node: &NodeView, since: Timestamp) -> Option<Edit> {
    (!is_candidate(node)).then(|| Edit {
        taints: with(node, SOFT, "PreferNoSchedule", since),
        unschedulable: None,
        note: Note::Leave,
    })
}

/// The node is needed; `None` if it does not have the taint.
pub(super) fn not_candidate(node: &NodeView) -> Option<Edit> {
    is_candidate(node).then(|| Edit {
        taints: without(node, SOFT),
        unschedulable: None,
        note: Note::Leave,
    })
}

#[cfg(test)]
mod tests {
    use super::{CORDONED, as_candidate, mark, marked, not_candidate, released};
    use crate::pods::NodeView;
    use crate::runtime::Cached;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn view(node: &Value) -> NodeView {
        NodeView::from_wire(serde_json::from_value(node.clone()).unwrap())
    }

    fn node(unschedulable: bool) -> Value {
        json!({
            "metadata": {"name": "n", "uid": "u", "resourceVersion": "7", "annotations": {"a": "b"}},
            "spec": {"unschedulable": unschedulable,
                "taints": [{"key": "other", "value": "x", "effect": "NoExecute"}]},
        })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What the API server makes of a merge patch.
    fn apply(node: &Value, patch: &Value) -> Value {
        let mut node = node.clone();
        json_patch::merge(&mut node, patch);
        node
    }

    fn cordoned(node: &Value) -> bool {
        node["spec"]["unschedulable"] == true
    }

    #[test]
    fn a_mark_is_a_taint_and_a_cordon_in_one_guarded_write() {
        let node = node(false);
        let patch = marked(&view(&node), true, at(90)).patch(&view(&node));
        let want = json!({
            "metadata": {"resourceVersion": "7", "uid": "u", "annotations": {CORDONED: "true"}},
            "spec": {"unschedulable": true, "taints": [
                {"key": "other", "value": "x", "effect": "NoExecute"},
                {"key": "ToBeDeletedByClusterAutoscaler", "value": "90", "effect": "NoSchedule"}]},
        });
        assert_eq!(patch, want);
    }

    #[rstest]
    #[case::free(false, true)]
    #[case::cordoned_by_somebody(true, true)]
    #[case::not_to_be_cordoned(false, false)]
    #[case::cordoned_and_not_to_be(true, false)]
    fn a_node_that_is_released_is_as_before(#[case] unschedulable: bool, #[case] cordon: bool) {
        let before = node(unschedulable);
        let edit = marked(&view(&before), cordon, at(90));
        let during = apply(&before, &edit.patch(&view(&before)));
        assert_eq!(cordoned(&during), unschedulable || cordon);
        assert_eq!(mark(&view(&during)), Some("90"));
        // The settings may have changed meanwhile.
        for cordon in [cordon, true] {
            let edit = released(&view(&during), cordon).unwrap();
            let after = apply(&during, &edit.patch(&view(&during)));
            if cordon {
                assert_eq!(released(&view(&after), cordon), None);
            }
            assert_eq!(after["metadata"], before["metadata"]);
            assert_eq!(after["spec"]["taints"], before["spec"]["taints"]);
        }
    }

    #[test]
    fn a_second_mark_renews_the_time_and_remembers_the_first_cordon() {
        let before = node(false);
        let first = apply(
            &before,
            &marked(&view(&before), true, at(90)).patch(&view(&before)),
        );
        let second = apply(
            &first,
            &marked(&view(&first), true, at(500)).patch(&view(&first)),
        );
        assert_eq!(mark(&view(&second)), Some("500"));
        let edit = released(&view(&second), true).unwrap();
        assert!(!cordoned(&apply(&second, &edit.patch(&view(&second)))));
    }

    #[test]
    fn what_another_autoscaler_left_is_undone_whole() {
        let left = json!({"metadata": {"name": "n"}, "spec": {"unschedulable": true, "taints": [
            {"key": "ToBeDeletedByClusterAutoscaler", "value": "1", "effect": "NoSchedule"}]}});
        let edit = released(&view(&left), true).unwrap();
        let after = apply(&left, &edit.patch(&view(&left)));
        assert!(!cordoned(&after) && after["spec"].get("taints").is_none());
    }

    #[test]
    fn a_candidate_is_marked_once() {
        let before = node(true);
        let edit = as_candidate(&view(&before), at(60)).unwrap();
        let during = apply(&before, &edit.patch(&view(&before)));
        let taint = json!({"key": "DeletionCandidateOfClusterAutoscaler", "value": "60",
            "effect": "PreferNoSchedule"});
        assert_eq!(during["spec"]["taints"][1], taint);
        assert_eq!(as_candidate(&view(&during), at(70)), None);
        let edit = not_candidate(&view(&during)).unwrap();
        assert_eq!(apply(&during, &edit.patch(&view(&during))), before);
        assert_eq!(not_candidate(&view(&before)), None);
    }

    proptest! {
        #[test]
        fn whatever_the_taints_only_ours_come_and_go(
            keys in proptest::collection::vec("[a-c]{1,2}", 0..5), cordoned in any::<bool>(),
        ) {
            let taints: Vec<Value> = keys
                .iter()
                .map(|key| json!({"key": key, "effect": "NoSchedule"}))
                .collect();
            let mut before = node(cordoned);
            before["spec"]["taints"] = taints.into();
            let edit = marked(&view(&before), true, at(9));
            let during = apply(&before, &edit.patch(&view(&before)));
            let edit = released(&view(&during), true).unwrap();
            let after = apply(&during, &edit.patch(&view(&during)));
            prop_assert_eq!(view(&after).taints, view(&before).taints);
            prop_assert_eq!(view(&after).unschedulable, cordoned);
        }
    }
}
