//! The baseline standard.

use super::policy::Version;
use super::report::{
    Setters, Violation, bad_containers, containers, context, every_container, is_true, name,
    plural, quoted,
};
use plimsoll_api::meta;
use serde_json::Value;
use std::collections::BTreeSet;

/// Capabilities that container runtimes grant by themselves.
const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Kernel settings that stay within the pod, with the version that first allowed them.
const SYSCTLS: &[(&str, u32)] = &[
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

/// A pod, or the template of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) metadata: &'a Value,
    pub(super) spec: &'a Value,
}

/// The version since which a pod with users of its own may do more.
pub(super) const USER_NAMESPACES: u32 = 35;

impl<'a> Subject<'a> {
    /// Whether the pod's users are not those of its host.
    pub(super) fn has_own_users(self) -> bool {
        self.spec.get("hostUsers") == Some(&Value::Bool(false))
    }

    /// A pod or a template.
    pub(super) fn of(owner: &'a Value) -> Self {
        let part = |key: &str| owner.get(key).unwrap_or(&Value::Null);
        Self {
            metadata: part("metadata"),
            spec: part("spec"),
        }
    }
}

/// One rule.
pub(super) type Rule = fn(Subject<'_>, Version) -> Option<Violation>;

/// Rules that hold at the restricted level as they are.
pub(super) const RULES: &[Rule] = &[
    app_armor,
    host_namespaces,
    host_ports,
    probe_hosts,
    privileged,
    proc_mount,
    se_linux,
    sysctls,
    host_process,
];

/// Rules that the restricted level replaces by stricter ones.
pub(super) const REPLACED: &[Rule] = &[capabilities, host_paths, seccomp];

fn app_armor(pod: Subject<'_>, _: Version) -> Option<Violation> {
    let prefix = "container.apparmor.security.beta.kubernetes.io/";
    let forbidden = |context: &Value| {
        let kind = meta::text(context, &["appArmorProfile", "type"]);
        let allowed = matches!(kind, "" | "RuntimeDefault" | "Localhost");
        (!allowed).then(|| kind.to_owned())
    };
    let setters = Setters::find(pod.spec, forbidden);
    let annotations = meta::at(pod.metadata, &["annotations"]).and_then(Value::as_object);
    let mut values: Vec<String> = setters.values.iter().cloned().collect();
    let mut bad = Vec::new();
    for (key, value) in annotations.into_iter().flatten() {
        let profile = value.as_str().unwrap_or_default();
        let allowed =
            matches!(profile, "" | "runtime/default") || profile.starts_with("localhost/");
        if key.starts_with(prefix) && !allowed {
            bad.push(format!("{key}={profile:?}"));
        }
    }
    if setters.is_empty() && bad.is_empty() {
        return None;
    }
    let mut who: Vec<String> = Some(setters.names())
        .filter(|names| !names.is_empty())
        .into_iter()
        .collect();
    if !bad.is_empty() {
        who.push(plural(bad.len(), "annotation", "annotations").to_owned());
    }
    bad.sort();
    values.extend(bad);
    let reason = plural(
        values.len(),
        "forbidden AppArmor profile",
        "forbidden AppArmor profiles",
    );
    let (who, values) = (who.join(" and "), quoted(&values));
    let detail = format!("{who} must not set AppArmor profile type to {values}");
    Some(Violation::new(reason, detail))
}

fn host_namespaces(pod: Subject<'_>, _: Version) -> Option<Violation> {
    let fields = ["hostNetwork", "hostPID", "hostIPC"];
    let used: Vec<String> = fields
        .iter()
        .filter(|field| is_true(pod.spec, &[field]))
        .map(|field| format!("{field}=true"))
        .collect();
    (!used.is_empty()).then(|| Violation::new("host namespaces", used.join(", ")))
}

fn host_ports(pod: Subject<'_>, _: Version) -> Option<Violation> {
    let used = |container: &Value| -> Vec<i64> {
        meta::list(container, &["ports"])
            .iter()
            .filter_map(|port| meta::integer(port, &["hostPort"]))
            .filter(|port| *port != 0)
            .collect()
    };
    let bad = bad_containers(pod.spec, |container| !used(container).is_empty());
    let ports: BTreeSet<i64> = every_container(pod.spec).flat_map(used).collect();
    let texts: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let verb = plural(bad.len(), "uses", "use");
    let noun = plural(ports.len(), "hostPort", "hostPorts");
    let detail = format!("{} {verb} {noun} {}", containers(&bad), texts.join(", "));
    (!bad.is_empty()).then(|| Violation::new("hostPort", detail))
}

fn probe_hosts(pod: Subject<'_>, version: Version) -> Option<Violation> {
    if !version.since(34) {
        return None;
    }
    let handlers: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let hosts = |container: &Value| -> Vec<String> {
        let found = handlers.iter().filter_map(|path| meta::at(container, path));
        found
            .flat_map(|handler| {
                ["httpGet", "tcpSocket"].map(|way| meta::text(handler, &[way, "host"]))
            })
            .filter(|host| !host.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let bad = bad_containers(pod.spec, |container| !hosts(container).is_empty());
    let used: BTreeSet<String> = every_container(pod.spec).flat_map(hosts).collect();
    let verb = plural(bad.len(), "uses", "use");
    let noun = plural(
        used.len(),
        "probe or lifecycle host",
        "probe or lifecycle hosts",
    );
    let detail = format!("{} {verb} {noun} {}", containers(&bad), quoted(&used));
    (!bad.is_empty()).then(|| Violation::new("probe or lifecycle host", detail))
}

fn privileged(pod: Subject<'_>, _: Version) -> Option<Violation> {
    let bad = bad_containers(pod.spec, |c| is_true(context(c), &["privileged"]));
    let detail = format!(
        "{} must not set securityContext.privileged=true",
        containers(&bad)
    );
    (!bad.is_empty()).then(|| Violation::new("privileged", detail))
}

fn proc_mount(pod: Subject<'_>, version: Version) -> Option<Violation> {
    if version.since(USER_NAMESPACES) && pod.has_own_users() {
        return None;
    }
    unusual_proc_mount(pod)
}

/// Who mounts `/proc` other than usual.
pub(super) fn unusual_proc_mount(pod: Subject<'_>) -> Option<Violation> {
    let kind = |container: &Value| meta::text(context(container), &["procMount"]).to_owned();
    let forbidden = |kind: &str| !matches!(kind, "" | "Default");
    let bad = bad_containers(pod.spec, |container| forbidden(&kind(container)));
    let kinds: BTreeSet<String> = every_container(pod.spec)
        .map(kind)
        .filter(|k| forbidden(k))
        .collect();
    let detail = format!(
        "{} must not set securityContext.procMount to {}",
        containers(&bad),
        quoted(&kinds)
    );
    (!bad.is_empty()).then(|| Violation::new("procMount", detail))
}

fn se_linux(pod: Subject<'_>, version: Version) -> Option<Violation> {
    let forbidden_type = |options: &Value| {
        let kind = meta::text(options, &["type"]);
        let engine = kind == "container_engine_t" && version.since(31);
        let known = matches!(
            kind,
            "" | "container_t" | "container_init_t" | "container_kvm_t"
        );
        (!known && !engine).then(|| kind.to_owned())
    };
    let sets = |options: &Value, key: &str| !meta::text(options, &[key]).is_empty();
    let options = |owner: &Value| owner.get("seLinuxOptions").cloned().unwrap_or_default();
    let setters = Setters::find(pod.spec, |owner| {
        let options = options(owner);
        let kind = forbidden_type(&options);
        let identity = sets(&options, "user") || sets(&options, "role");
        kind.or_else(|| identity.then(String::new))
    });
    if setters.is_empty() {
        return None;
    }
    let kinds: BTreeSet<&String> = setters.values.iter().filter(|v| !v.is_empty()).collect();
    let mut what = Vec::new();
    if !kinds.is_empty() {
        let word = plural(kinds.len(), "type", "types");
        what.push(format!("{word} {}", quoted(kinds)));
    }
    for key in ["user", "role"] {
        let in_pod = sets(&options(context(pod.spec)), key);
        if in_pod || every_container(pod.spec).any(|c| sets(&options(context(c)), key)) {
            what.push(format!("{key} may not be set"));
        }
    }
    let (who, what) = (setters.names(), what.join("; "));
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {what}");
    Some(Violation::new("seLinuxOptions", detail))
}

fn sysctls(pod: Subject<'_>, version: Version) -> Option<Violation> {
    let allowed = |name: &str| {
        let known = SYSCTLS.iter().find(|(known, _)| *known == name);
        known.is_some_and(|(_, minor)| version.since(*minor))
    };
    let bad: Vec<&str> = meta::list(context(pod.spec), &["sysctls"])
        .iter()
        .map(|sysctl| meta::text(sysctl, &["name"]))
        .filter(|name| !allowed(name))
        .collect();
    (!bad.is_empty()).then(|| Violation::new("forbidden sysctls", bad.join(", ")))
}

fn host_process(pod: Subject<'_>, _: Version) -> Option<Violation> {
    let setters = Setters::find(pod.spec, |context| {
        is_true(context, &["windowsOptions", "hostProcess"]).then(String::new)
    });
    let who = setters.names();
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    (!setters.is_empty()).then(|| Violation::new("hostProcess", detail))
}

fn capabilities(pod: Subject<'_>, _: Version) -> Option<Violation> {
    added_capabilities(pod, CAPABILITIES)
        .map(|detail| Violation::new("non-default capabilities", detail))
}

/// Who adds capabilities that are not allowed.
pub(super) fn added_capabilities(pod: Subject<'_>, allowed: &[&str]) -> Option<String> {
    let added = |container: &Value| -> Vec<String> {
        let list = meta::list(context(container), &["capabilities", "add"]);
        let names = list.iter().filter_map(Value::as_str);
        let bad = names.filter(|name| !allowed.contains(name));
        bad.map(str::to_owned).collect()
    };
    let bad = bad_containers(pod.spec, |container| !added(container).is_empty());
    let names: BTreeSet<String> = every_container(pod.spec).flat_map(added).collect();
    (!bad.is_empty()).then(|| {
        let (who, what) = (containers(&bad), quoted(&names));
        format!("{who} must not include {what} in securityContext.capabilities.add")
    })
}

fn host_paths(pod: Subject<'_>, _: Version) -> Option<Violation> {
    let volumes = meta::list(pod.spec, &["volumes"]).iter();
    let bad: Vec<String> = volumes
        .filter(|volume| volume.get("hostPath").is_some_and(|path| !path.is_null()))
        .map(name)
        .collect();
    let detail = format!(
        "{} {}",
        plural(bad.len(), "volume", "volumes"),
        quoted(&bad)
    );
    (!bad.is_empty()).then(|| Violation::new("hostPath volumes", detail))
}

/// A seccomp profile type that no level below privileged allows.
pub(super) fn forbidden_seccomp(context: &Value) -> Option<String> {
    let kind = meta::text(context, &["seccompProfile", "type"]);
    let allowed = matches!(kind, "" | "RuntimeDefault" | "Localhost");
    (!allowed).then(|| kind.to_owned())
}

fn seccomp(pod: Subject<'_>, version: Version) -> Option<Violation> {
    let setters = Setters::find(pod.spec, forbidden_seccomp);
    let (who, what) = (setters.names(), quoted(&setters.values));
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {what}");
    (version.since(19) && !setters.is_empty()).then(|| Violation::new("seccompProfile", detail))
}
