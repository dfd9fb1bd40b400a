//! Tolerations, as controllers compare them with taints.

use super::{NodeView, PodView, Taint};
use k8s_openapi::api::core::v1::Toleration;
use serde_json::value::RawValue;

/// The tolerations of a pod; text that cannot be read tolerates nothing.
pub(crate) fn tolerations(raw: Option<&RawValue>) -> Vec<Toleration> {
    let read = |raw: &RawValue| serde_json::from_str::<Option<Vec<Toleration>>>(raw.get()).ok();
    raw.and_then(read).flatten().unwrap_or_default()
}

/// Whether a toleration covers a taint: an absent effect covers all effects, an absent key with
/// `Exists` all keys.
pub(crate) fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    if !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            !key.is_empty() && text(&toleration.value) == taint.value.clone().unwrap_or_default()
        }
        Some(_) => false,
    }
}

/// The first taint of these effects that no toleration covers.
pub(crate) fn untolerated<'a>(
    node: &'a NodeView,
    tolerations: &[Toleration],
    effects: &[&str],
) -> Option<&'a Taint> {
    let stops = |taint: &&Taint| effects.contains(&&*taint.effect);
    node.taints
        .iter()
        .filter(stops)
        .find(|taint| !tolerations.iter().any(|t| covers(t, taint)))
}

impl PodView {
    /// The pod's tolerations, decoded anew each time.
    pub(crate) fn tolerations(&self) -> Vec<Toleration> {
        tolerations(self.placement.tolerations.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::{Taint, covers};
    use rstest::rstest;
    use serde_json::{Value, json};

    #[rstest]
    #[case::equal(json!({"key": "a", "value": "b", "effect": "NoExecute"}), true)]
    #[case::another_value(json!({"key": "a", "value": "c"}), false)]
    #[case::another_effect(json!({"key": "a", "value": "b", "effect": "NoSchedule"}), false)]
    #[case::every_effect(json!({"key": "a", "operator": "Equal", "value": "b"}), true)]
    #[case::exists(json!({"key": "a", "operator": "Exists"}), true)]
    #[case::everything(json!({"operator": "Exists"}), true)]
    #[case::another_key(json!({"key": "x", "operator": "Exists"}), false)]
    #[case::nothing(json!({}), false)]
    #[case::a_foreign_operator(json!({"key": "a", "operator": "Gt", "value": "1"}), false)]
    fn a_toleration_covers(#[case] toleration: Value, #[case] want: bool) {
        let taint = Taint {
            key: "a".into(),
            value: Some("b".into()),
            effect: "NoExecute".into(),
            time_added: None,
        };
        let toleration = serde_json::from_value(toleration).unwrap();
        assert_eq!(covers(&toleration, &taint), want);
    }
}
