//! Who a container runs as and what it may do: the container's security context over the pod's.

use super::demand::{self, Amounts};
use super::view::{Container, Pod};
use crate::runtime::{Security, USUAL_CAPABILITIES};
use k8s_openapi::api::core::v1::SecurityContext;

/// Capabilities by number, as Linux counts them.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// All of them.
const EVERY: u64 = (1 << CAPABILITIES.len()) - 1;
/// Priority from which on a pod is critical to its node.
const CRITICAL: i32 = 2_000_000_000;

/// What the contexts say; the built-in images' user is root.
///
/// # Errors
/// The container would run as root although it must not, or a capability is unknown.
pub fn of(pod: &Pod, container: &Container, node_memory_bytes: u64) -> Result<Security, String> {
    let none = SecurityContext::default();
    let own = container.security_context.as_deref().unwrap_or(&none);
    let shared = pod.spec.security_context.as_deref();
    let user = own.run_as_user.or(shared.and_then(|s| s.run_as_user));
    let group = own.run_as_group.or(shared.and_then(|s| s.run_as_group));
    let not_root = own
        .run_as_non_root
        .or(shared.and_then(|s| s.run_as_non_root));
    if not_root == Some(true) && user.unwrap_or(0) == 0 {
        let whose = format!(
            "(pod: {:?}, container: {})",
            pod.full_name(),
            container.name
        );
        return Err(match user {
            Some(_) => format!("container's runAsUser breaks non-root policy {whose}"),
            None => format!("container has runAsNonRoot and image will run as root {whose}"),
        });
    }
    let number = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    let further = shared.and_then(|s| s.supplemental_groups.as_deref());
    let of_files = shared.and_then(|s| s.fs_group);
    let groups = further.unwrap_or_default().iter().copied().chain(of_files);
    let privileged = own.privileged == Some(true);
    Ok(Security {
        user: number(user),
        group: number(group),
        groups: groups.map(|id| number(Some(id))).collect(),
        capabilities: if privileged {
            EVERY
        } else {
            capabilities(own)?
        },
        privileged,
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        read_only_root: own.read_only_root_filesystem == Some(true),
        oom_score_adj: oom_score_adj(pod, container, node_memory_bytes),
    })
}

fn capabilities(own: &SecurityContext) -> Result<u64, String> {
    let mut kept = USUAL_CAPABILITIES;
    let Some(change) = &own.capabilities else {
        return Ok(kept);
    };
    let (add, drop) = (change.add.as_deref(), change.drop.as_deref());
    let add: Vec<&str> = add.into_iter().flatten().map(String::as_str).collect();
    let drop: Vec<&str> = drop.into_iter().flatten().map(String::as_str).collect();
    // Everything first, then one by one: `add: [ALL], drop: [X]` keeps all but X, and the reverse.
    if add.iter().any(|name| is_all(name)) {
        kept = EVERY;
    }
    if drop.iter().any(|name| is_all(name)) {
        kept = 0;
    }
    for name in add.into_iter().filter(|name| !is_all(name)) {
        kept |= bit(name)?;
    }
    for name in drop.into_iter().filter(|name| !is_all(name)) {
        kept &= !bit(name)?;
    }
    Ok(kept)
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL")
}

fn bit(name: &str) -> Result<u64, String> {
    let upper = name.to_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let place = CAPABILITIES.iter().position(|known| *known == plain);
    place.map(|place| 1 << place).ok_or_else(|| {
        format!(
            "unknown capability to add or drop: {:?}",
            format!("CAP_{plain}")
        )
    })
}

/// How ready the kernel is to kill the container for memory, by the pod's service class.
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory_bytes: u64) -> i32 {
    if pod
        .spec
        .priority
        .is_some_and(|priority| priority >= CRITICAL)
    {
        return -997;
    }
    match demand::qos(pod) {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let asked = Amounts::of(&container.resources.requests).memory_bytes;
            let share = u128::from(asked) * 1000 / u128::from(node_memory_bytes.max(1));
            // Between the two other classes.
            (1000 - i32::try_from(share).unwrap_or(1000)).clamp(3, 999)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(of_pod: &Value, of_container: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
            "spec": {"securityContext": of_pod,
                "containers": [{"name": "app", "securityContext": of_container}]},
        }))
        .unwrap()
    }

    fn resolve(of_pod: &Value, of_container: &Value) -> Result<Security, String> {
        let pod = pod(of_pod, of_container);
        of(&pod, &pod.spec.containers[0], 1 << 30)
    }

    #[test]
    fn the_containers_context_wins_and_the_pods_groups_add_up() {
        let of_pod = json!({"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000,
            "supplementalGroups": [4000], "runAsNonRoot": true});
        let of_container = json!({"runAsUser": 1001, "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false});
        let security = resolve(&of_pod, &of_container).unwrap();
        assert_eq!((security.user, security.group), (1001, 2000));
        assert_eq!(security.groups, [4000, 3000]);
        assert!(security.read_only_root && security.no_new_privileges && !security.privileged);
    }

    #[rstest]
    #[case::image(json!({"runAsNonRoot": true}),
        "container has runAsNonRoot and image will run as root (pod: \"web_shop(u1)\", container: app)")]
    #[case::user(json!({"runAsNonRoot": true, "runAsUser": 0}),
        "container's runAsUser breaks non-root policy (pod: \"web_shop(u1)\", container: app)")]
    #[case::capability(json!({"capabilities": {"add": ["FLY"]}}),
        "unknown capability to add or drop: \"CAP_FLY\"")]
    fn refuses(#[case] of_container: Value, #[case] want: &str) {
        assert_eq!(resolve(&json!({}), &of_container).unwrap_err(), want);
    }

    #[rstest]
    #[case::usual(json!({}), USUAL_CAPABILITIES)]
    #[case::added(json!({"add": ["NET_ADMIN"]}), USUAL_CAPABILITIES | 1 << 12)]
    #[case::dropped(json!({"drop": ["CAP_CHOWN"]}), USUAL_CAPABILITIES & !1)]
    #[case::only_one(json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}), 1 << 10)]
    #[case::all(json!({"add": ["all"]}), EVERY)]
    fn capabilities_are_named(#[case] change: Value, #[case] want: u64) {
        let security = resolve(&json!({}), &json!({ "capabilities": change })).unwrap();
        assert_eq!(security.capabilities, want);
    }

    #[test]
    fn a_privileged_container_has_all_of_them() {
        let security = resolve(&json!({}), &json!({"privileged": true})).unwrap();
        assert_eq!(security.capabilities, EVERY);
    }

    #[rstest]
    #[case::best_effort(json!({}), 1000)]
    #[case::half_the_node(json!({"requests": {"memory": "512Mi"}}), 500)]
    #[case::more_than_the_node(json!({"requests": {"memory": "2Gi"}}), 3)]
    #[case::next_to_nothing(json!({"requests": {"memory": "1Ki"}}), 999)]
    #[case::guaranteed(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), -997)]
    fn the_kernel_is_told_whom_to_kill_first(#[case] resources: Value, #[case] want: i32) {
        let mut pod = pod(&json!({}), &json!({}));
        pod.spec.containers[0].resources = serde_json::from_value(resources).unwrap();
        assert_eq!(oom_score_adj(&pod, &pod.spec.containers[0], 1 << 30), want);
    }
}
