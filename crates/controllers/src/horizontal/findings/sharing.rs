//! Several autoscalers with one target.

use super::{Finding, FindingKind, some_of};
use crate::horizontal::key::ScalerKey;
use std::collections::BTreeSet;

/// Finds the other autoscalers of a target, whether or not it has pods yet.
pub(super) fn shared(
    target: &str,
    own: &ScalerKey,
    scalers: &BTreeSet<ScalerKey>,
) -> Option<Finding> {
    if scalers.len() < 2 {
        return None;
    }
    let others: Vec<String> = scalers
        .iter()
        .filter(|scaler| *scaler != own)
        .map(|scaler| format!("{} {}", scaler.kind.kind(), scaler.object.name))
        .collect();
    let named = some_of(others.iter().map(String::as_str));
    Some(Finding {
        kind: FindingKind::SharedTarget,
        object: others.join(","),
        message: format!("{target} is also the target of {named}: each undoes what the other does"),
        advice: "keep one autoscaler for each target and put all metrics into it".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::shared;
    use crate::horizontal::key::{ScalerKey, ScalerKind};
    use crate::runtime::ObjectKey;
    use rstest::rstest;

    #[rstest]
    #[case::alone(&[ScalerKind::Horizontal], &["one"], None)]
    #[case::two_of_a_kind(
        &[ScalerKind::Horizontal, ScalerKind::Horizontal],
        &["one", "two"],
        Some("HorizontalPodAutoscaler two")
    )]
    #[case::two_kinds_of_one_name(
        &[ScalerKind::Horizontal, ScalerKind::Pod],
        &["one", "one"],
        Some("PodAutoscaler one")
    )]
    fn others_are_named(
        #[case] kinds: &[ScalerKind],
        #[case] names: &[&str],
        #[case] want: Option<&str>,
    ) {
        let key = |(kind, name): (&ScalerKind, &&str)| ScalerKey {
            kind: *kind,
            object: ObjectKey::new("n", name),
        };
        let own = ScalerKey::horizontal(ObjectKey::new("n", "one"));
        let scalers = kinds.iter().zip(names).map(key).collect();
        let found = shared("Deployment web", &own, &scalers);
        assert_eq!(found.as_ref().map(|found| &*found.object), want);
    }
}
