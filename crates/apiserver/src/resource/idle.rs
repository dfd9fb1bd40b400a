//! Kinds that are stored, but that nothing here acts on yet. Who makes such an object hears it.

use plimsoll_api::kind::Kind;

/// Kinds that wait for their controller or their check.
const STORED_ONLY: &[(&str, &str)] = &[
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "NetworkPolicy"),
];

fn lists(list: &[(&str, &str)], kind: &Kind) -> bool {
    list.contains(&(kind.group.as_ref(), kind.kind.as_ref()))
}

/// What to tell who made an object of the kind.
pub(crate) fn warning(kind: &Kind) -> Option<String> {
    lists(STORED_ONLY, kind).then(|| {
        format!(
            "plimsoll stores {} but does not act on them yet",
            kind.plural
        )
    })
}

/// What upstream tells everyone who uses the kind.
pub(crate) fn deprecation(kind: &Kind) -> Option<String> {
    if kind.is("", "Endpoints") {
        let text = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
        return Some(text.to_owned());
    }
    kind.is("", "ComponentStatus")
        .then(|| "v1 ComponentStatus is deprecated in v1.19+".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_kind_is_served() {
        let kinds = plimsoll_api::kinds::built_in();
        for (group, name) in STORED_ONLY {
            let mut served = kinds.iter();
            assert!(
                served.any(|k| k.group == *group && k.kind == *name),
                "{group}/{name}"
            );
        }
    }
}
