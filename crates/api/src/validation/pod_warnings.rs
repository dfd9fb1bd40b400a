//! What is allowed in a pod's spec, but rarely meant.

use super::scope::Scope;
use std::collections::BTreeMap;

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Labels of nodes that have newer names.
const OLD_LABELS: &[(&str, &str, &str)] = &[
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    (
        "beta.kubernetes.io/instance-type",
        "v1.17",
        "node.kubernetes.io/instance-type",
    ),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "v1.17",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "v1.17",
        "topology.kubernetes.io/zone",
    ),
];

/// Kinds of volumes that are on their way out, or gone.
const OLD_VOLUMES: &[(&str, &str)] = &[
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    (
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
];

/// The warnings about a pod or a pod template.
pub(super) fn of(owner: &Scope<'_>) -> Vec<String> {
    let spec = owner.at("spec");
    let mut warnings = Vec::new();
    for (key, field) in spec.at("nodeSelector").entries() {
        if let Some(text) = newer_label(key) {
            warnings.push(format!("{}: {text}", field.path));
        }
    }
    annotations(owner, &mut warnings);
    volumes(&spec, &mut warnings);
    pull_secrets(&spec, &mut warnings);
    for constraint in spec.items("topologySpreadConstraints") {
        null_selector(&constraint, &mut warnings);
    }
    affinity(&spec, &mut warnings);
    for list in LISTS {
        for container in spec.items(list) {
            environment(&container, &mut warnings);
            fractions(&container, &mut warnings);
        }
    }
    ports(&spec, &mut warnings);
    let grace = spec.at("terminationGracePeriodSeconds");
    if grace.integer().is_some_and(|seconds| seconds < 0) {
        let why = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.push(format!("{}: {why}", grace.path));
    }
    warnings
}

fn newer_label(key: &str) -> Option<String> {
    let (_, since, newer) = OLD_LABELS.iter().find(|(old, ..)| *old == key)?;
    Some(format!("deprecated since {since}; use {newer:?} instead"))
}

fn annotations(owner: &Scope<'_>, warnings: &mut Vec<String>) {
    for (key, field) in owner.path(&["metadata", "annotations"]).entries() {
        let text = if key == "seccomp.security.alpha.kubernetes.io/pod"
            || key.starts_with("container.seccomp.security.alpha.kubernetes.io/")
        {
            "non-functional in v1.27+; use the \"seccompProfile\" field instead"
        } else if key.starts_with("container.apparmor.security.beta.kubernetes.io/") {
            "deprecated since v1.30; use the \"appArmorProfile\" field instead"
        } else {
            continue;
        };
        warnings.push(format!("{}: {text}", field.path));
    }
}

fn volumes(spec: &Scope<'_>, warnings: &mut Vec<String>) {
    for volume in spec.items("volumes") {
        for (kind, text) in OLD_VOLUMES {
            if volume.at(kind).present() {
                warnings.push(format!("{}: {text}", volume.at(kind).path));
            }
        }
    }
}

fn pull_secrets(spec: &Scope<'_>, warnings: &mut Vec<String>) {
    let mut seen = Vec::new();
    for secret in spec.items("imagePullSecrets") {
        let name = secret.at("name");
        if name.is_empty() {
            warnings.push(format!("{}: invalid empty name \"\"", secret.path));
        } else if seen.contains(&name.text()) {
            warnings.push(format!("{}: duplicate name {:?}", name.path, name.text()));
        }
        seen.push(name.text());
    }
}

fn null_selector(term: &Scope<'_>, warnings: &mut Vec<String>) {
    let selector = term.at("labelSelector");
    if !selector.present() {
        let text = "a null labelSelector results in matching no pod";
        warnings.push(format!("{}: {text}", selector.path));
    }
}

fn affinity(spec: &Scope<'_>, warnings: &mut Vec<String>) {
    let (required, preferred) = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    );
    for side in ["podAffinity", "podAntiAffinity"] {
        let pods = spec.path(&["affinity", side]);
        for term in pods.items(required) {
            null_selector(&term, warnings);
        }
        for term in pods.items(preferred) {
            null_selector(&term.at("podAffinityTerm"), warnings);
        }
    }
    let node = spec.path(&["affinity", "nodeAffinity"]);
    let terms = node.at(required).items("nodeSelectorTerms");
    let wishes = node
        .items(preferred)
        .into_iter()
        .map(|p| p.at("preference"));
    for term in terms.into_iter().chain(wishes) {
        for requirement in term.items("matchExpressions") {
            let key = requirement.at("key");
            if let Some(text) = newer_label(key.text()) {
                warnings.push(format!("{}: {} is {text}", key.path, key.text()));
            }
        }
    }
}

fn environment(container: &Scope<'_>, warnings: &mut Vec<String>) {
    let mut seen = Vec::new();
    for variable in container.items("env") {
        let name = variable.at("name").text();
        if seen.contains(&name) {
            warnings.push(format!(
                "{}: hides previous definition of {name:?}, which may be unexpected",
                variable.path
            ));
        }
        seen.push(name);
    }
}

/// Nobody means half a byte.
fn fractions(container: &Scope<'_>, warnings: &mut Vec<String>) {
    for side in ["limits", "requests"] {
        let amounts = container.at("resources").at(side);
        for name in ["memory", "ephemeral-storage"] {
            let Some(amount) = amounts.at(name).quantity() else {
                continue;
            };
            if amount.nano() % 1_000_000_000 != 0 {
                warnings.push(format!(
                    "{}[{name}]: fractional byte value \"{amount}\" is invalid, must be an integer",
                    amounts.path
                ));
            }
        }
    }
}

fn ports(spec: &Scope<'_>, warnings: &mut Vec<String>) {
    let mut numbers: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut names: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (index, container) in spec.items("containers").into_iter().enumerate() {
        for port in container.items("ports") {
            let shape = ["hostIP", "hostPort", "containerPort", "protocol"];
            let shape = shape.map(|key| port.at(key).value.to_string()).join("/");
            let place = (container.path.clone(), shape);
            if let Some(first) = numbers.get(&place) {
                let text = "duplicate port definition with";
                warnings.push(format!("{}: {text} {first}", port.path));
            } else {
                numbers.insert(place, port.path.clone());
            }
            let name = port.at("name").text();
            match names.get(name) {
                Some((other, first)) if *other != index => warnings.push(format!(
                    "{}: duplicate port name {name:?} with {first}, services and probes that select ports by name will use {first}",
                    port.path
                )),
                None if !name.is_empty() => {
                    names.insert(name.to_owned(), (index, port.path.clone()));
                }
                Some(_) | None => {}
            }
        }
    }
}
