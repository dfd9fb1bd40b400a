//! Which volume serves a claim: pure.

use crate::pods::{AccessModes, ClaimView, NodeView, VolumeView};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node that a volume must reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name.
    pub name: Arc<str>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Place {
    /// What is known of a node.
    pub fn of(node: &NodeView) -> Self {
        let labels = node.meta.labels.iter();
        Self {
            name: Arc::clone(&node.meta.key.name),
            labels: labels
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
        }
    }
}

/// Which volumes may be taken.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// Any that fits.
    Any,
    /// Any that fits and reaches this node.
    Reaching(&'a Place),
    /// Only one that somebody set aside for this very claim.
    SetAside,
}

/// The best volume for a claim: one set aside for it; else the smallest of those whose access modes
/// are exactly the claim's; else the smallest of those that can do more.
///
/// `volumes` may hold any volumes; those that are in use, of another class or too small are passed
/// over. Ties go to the first name.
pub fn best<'a>(
    claim: &ClaimView,
    volumes: &'a [Arc<VolumeView>],
    choice: Choice<'_>,
) -> Option<&'a Arc<VolumeView>> {
    let reaches = |volume: &VolumeView| match choice {
        Choice::Any | Choice::SetAside => true,
        Choice::Reaching(place) => volume.reaches(&place.name, &place.labels),
    };
    let usable = |volume: &&Arc<VolumeView>| {
        !volume.meta.is_deleting() && volume.capacity >= claim.request && reaches(volume)
    };
    let set_aside = |volume: &&Arc<VolumeView>| {
        is_set_aside(volume, claim) && unsuited(volume, claim).is_none()
    };
    if let Some(own) = volumes.iter().filter(usable).find(set_aside) {
        return Some(own);
    }
    if matches!(choice, Choice::SetAside) {
        return None;
    }
    let free = volumes.iter().filter(usable).filter(|volume| {
        volume.claim.is_none() && &*volume.phase == "Available" && unsuited(volume, claim).is_none()
    });
    let selected = free.filter(|volume| {
        let selector = claim.selector.as_ref();
        selector.is_none_or(|selector| selector.matches(&volume.meta.labels))
    });
    selected.min_by(|a, b| {
        let rank = |volume: &VolumeView| surplus(&volume.modes, &claim.modes);
        let order = rank(a).cmp(&rank(b));
        order
            .then_with(|| a.capacity.cmp(&b.capacity))
            .then_with(|| a.meta.key.cmp(&b.meta.key))
    })
}

/// How many more access modes there are than wanted.
fn surplus(offered: &AccessModes, wanted: &AccessModes) -> usize {
    offered.len().saturating_sub(wanted.len())
}

/// Whether the volume is bound to the claim, or was set aside for one of its name.
pub fn is_set_aside(volume: &VolumeView, claim: &ClaimView) -> bool {
    volume.claim.as_ref().is_some_and(|named| {
        named.key == claim.meta.key && (named.uid.is_empty() || *named.uid == *claim.meta.uid)
    })
}

/// Why a volume does not suit a claim that asks for it, in upstream's words.
pub fn unsuited(volume: &VolumeView, claim: &ClaimView) -> Option<&'static str> {
    if volume.capacity < claim.request {
        Some("requested PV is too small")
    } else if *volume.class != *claim.class_name() {
        Some("storageClassName does not match")
    } else if volume.is_block != claim.is_block {
        Some("incompatible volumeMode")
    } else if !claim.modes.is_subset(&volume.modes) {
        Some("incompatible accessMode")
    } else if volume.attributes_class != claim.attributes_class {
        Some("volumeAttributesClassName does not match")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Cached;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn decode<V: Cached>(object: Value) -> V {
        V::from_wire(serde_json::from_value::<V::Wire>(object).unwrap())
    }

    fn claim(mebibytes: u32, modes: &[&str]) -> ClaimView {
        decode(json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "u"},
            "spec": {"storageClassName": "k", "accessModes": modes,
                "resources": {"requests": {"storage": format!("{mebibytes}Mi")}}},
        }))
    }

    fn volume(name: &str, mebibytes: u32, change: &Value) -> Arc<VolumeView> {
        let mut object = json!({
            "metadata": {"name": name},
            "spec": {"storageClassName": "k", "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": format!("{mebibytes}Mi")}},
            "status": {"phase": "Available"},
        });
        for (key, value) in change.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        Arc::new(decode(object))
    }

    fn chosen(claim: &ClaimView, volumes: &[Arc<VolumeView>], choice: Choice<'_>) -> String {
        let found = best(claim, volumes, choice);
        found.map_or_else(String::new, |volume| volume.meta.name().to_owned())
    }

    #[test]
    fn exact_access_modes_come_before_size() {
        let more = json!({"accessModes": ["ReadWriteOnce", "ReadWriteMany"]});
        let volumes = [volume("more", 1, &more), volume("exact", 9, &json!({}))];
        let wanted = claim(1, &["ReadWriteOnce"]);
        assert_eq!(chosen(&wanted, &volumes, Choice::Any), "exact");
        let wanted = claim(1, &["ReadWriteMany"]);
        assert_eq!(chosen(&wanted, &volumes, Choice::Any), "more");
    }

    #[test]
    fn what_was_set_aside_comes_first_even_if_larger() {
        let own = json!({"claimRef": {"namespace": "n", "name": "c"}});
        let others = json!({"claimRef": {"namespace": "n", "name": "d"}});
        let volumes = [
            volume("free", 1, &json!({})),
            volume("others", 1, &others),
            volume("own", 9, &own),
        ];
        let wanted = claim(1, &["ReadWriteOnce"]);
        for choice in [Choice::Any, Choice::SetAside] {
            assert_eq!(chosen(&wanted, &volumes, choice), "own");
        }
        assert_eq!(chosen(&wanted, &volumes[..2], Choice::SetAside), "");
    }

    #[test]
    fn a_chosen_node_must_be_reached() {
        let on = |zone: &str| {
            json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
                [{"key": "zone", "operator": "In", "values": [zone]}]}]}}})
        };
        let volumes = [volume("a", 1, &on("a")), volume("b", 2, &on("b"))];
        let place = Place {
            name: "node".into(),
            labels: BTreeMap::from([("zone".into(), "b".into())]),
        };
        let wanted = claim(1, &["ReadWriteOnce"]);
        assert_eq!(chosen(&wanted, &volumes, Choice::Reaching(&place)), "b");
    }

    proptest! {
        #[test]
        fn the_smallest_that_is_large_enough(wanted in 1..50_u32, sizes in proptest::collection::vec(1..100_u32, 0..20)) {
            let volumes: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(at, size)| volume(&format!("v{at:02}"), *size, &json!({})))
                .collect();
            let found = best(&claim(wanted, &["ReadWriteOnce"]), &volumes, Choice::Any);
            let found = found.map(|volume| volume.capacity.value() >> 20);
            let want = sizes.iter().copied().filter(|size| *size >= wanted).min();
            prop_assert_eq!(found, want.map(i64::from));
        }
    }
}
