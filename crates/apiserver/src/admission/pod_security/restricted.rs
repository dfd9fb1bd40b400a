//! What the restricted standard adds to the baseline.

use super::baseline::{
    Rule, Subject, USER_NAMESPACES, added_capabilities, forbidden_seccomp, unusual_proc_mount,
};
use super::policy::Version;
use super::report::{
    Setters, Violation, bad_containers, containers, context, flag, name, plural, quoted,
};
use plimsoll_api::meta;
use serde_json::Value;
use std::collections::BTreeSet;

/// The rules.
pub(super) const RULES: &[Rule] = &[
    privilege_escalation,
    capabilities,
    proc_mount,
    volumes,
    non_root,
    user,
    seccomp,
];

/// Volume sources that keep to the pod.
const VOLUMES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Some rules mean nothing on Windows.
fn spares_windows(pod: Subject<'_>, version: Version) -> bool {
    version.since(25) && meta::text(pod.spec, &["os", "name"]) == "windows"
}

fn privilege_escalation(pod: Subject<'_>, version: Version) -> Option<Violation> {
    if spares_windows(pod, version) || !version.since(8) {
        return None;
    }
    let bad = bad_containers(pod.spec, |container| {
        flag(context(container), &["allowPrivilegeEscalation"]) != Some(false)
    });
    let who = containers(&bad);
    let detail = format!("{who} must set securityContext.allowPrivilegeEscalation=false");
    (!bad.is_empty()).then(|| Violation::new("allowPrivilegeEscalation != false", detail))
}

fn capabilities(pod: Subject<'_>, version: Version) -> Option<Violation> {
    if spares_windows(pod, version) || !version.since(22) {
        return None;
    }
    let keeping = bad_containers(pod.spec, |container| {
        let dropped = meta::list(context(container), &["capabilities", "drop"]);
        !dropped.iter().any(|name| name == "ALL")
    });
    let mut parts = Vec::new();
    if !keeping.is_empty() {
        let who = containers(&keeping);
        parts.push(format!(
            "{who} must set securityContext.capabilities.drop=[\"ALL\"]"
        ));
    }
    parts.extend(added_capabilities(pod, &["NET_BIND_SERVICE"]));
    (!parts.is_empty()).then(|| Violation::new("unrestricted capabilities", parts.join("; ")))
}

/// Users of its own do not excuse a pod here.
fn proc_mount(pod: Subject<'_>, version: Version) -> Option<Violation> {
    let excused = version.since(USER_NAMESPACES) && pod.has_own_users();
    excused.then(|| unusual_proc_mount(pod))?
}

fn volumes(pod: Subject<'_>, _: Version) -> Option<Violation> {
    let source = |volume: &Value| -> Option<String> {
        let fields = volume.as_object().into_iter().flatten();
        fields
            .filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key.clone())
            .find(|key| !VOLUMES.contains(&key.as_str()))
    };
    let list = meta::list(pod.spec, &["volumes"]);
    let bad: Vec<String> = list
        .iter()
        .filter(|volume| source(volume).is_some())
        .map(name)
        .collect();
    let kinds: BTreeSet<String> = list.iter().filter_map(source).collect();
    let subject = plural(bad.len(), "volume", "volumes");
    let verb = plural(bad.len(), "uses", "use");
    let noun = plural(
        kinds.len(),
        "restricted volume type",
        "restricted volume types",
    );
    let detail = format!(
        "{subject} {} {verb} {noun} {}",
        quoted(&bad),
        quoted(&kinds)
    );
    (!bad.is_empty()).then(|| Violation::new("restricted volume types", detail))
}

fn non_root(pod: Subject<'_>, version: Version) -> Option<Violation> {
    if version.since(USER_NAMESPACES) && pod.has_own_users() {
        return None;
    }
    let said = |owner: &Value| flag(context(owner), &["runAsNonRoot"]);
    let reason = "runAsNonRoot != true";
    let setters = Setters::find(pod.spec, |context| {
        (flag(context, &["runAsNonRoot"]) == Some(false)).then(String::new)
    });
    if !setters.is_empty() {
        let who = setters.names();
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Violation::new(reason, detail));
    }
    if said(pod.spec) == Some(true) {
        return None;
    }
    let silent = bad_containers(pod.spec, |container| said(container).is_none());
    let who = containers(&silent);
    let detail = format!("pod or {who} must set securityContext.runAsNonRoot=true");
    (!silent.is_empty()).then(|| Violation::new(reason, detail))
}

fn user(pod: Subject<'_>, version: Version) -> Option<Violation> {
    if version.since(USER_NAMESPACES) && pod.has_own_users() {
        return None;
    }
    let setters = Setters::find(pod.spec, |context| {
        (meta::integer(context, &["runAsUser"]) == Some(0)).then(String::new)
    });
    let detail = format!("{} must not set runAsUser=0", setters.names());
    (version.since(23) && !setters.is_empty()).then(|| Violation::new("runAsUser=0", detail))
}

fn seccomp(pod: Subject<'_>, version: Version) -> Option<Violation> {
    if spares_windows(pod, version) || !version.since(19) {
        return None;
    }
    let setters = Setters::find(pod.spec, forbidden_seccomp);
    if !setters.is_empty() {
        let (who, what) = (setters.names(), quoted(&setters.values));
        let detail = format!("{who} must not set securityContext.seccompProfile.type to {what}");
        return Some(Violation::new("seccompProfile", detail));
    }
    let says = |owner: &Value| !meta::text(context(owner), &["seccompProfile", "type"]).is_empty();
    if says(pod.spec) {
        return None;
    }
    let silent = bad_containers(pod.spec, |container| !says(container));
    let who = containers(&silent);
    let detail = format!(
        "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
    );
    (!silent.is_empty()).then(|| Violation::new("seccompProfile", detail))
}
