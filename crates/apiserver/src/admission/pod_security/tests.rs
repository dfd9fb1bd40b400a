//! The messages people meet, rule by rule.

use super::baseline::Subject;
use super::policy::Policy;
use super::{details, violations};
use rstest::rstest;
use serde_json::{Value, json};

/// A pod that meets every standard.
fn hardened() -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "a",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    })
}

fn told(level: &str, pod: &Value) -> String {
    let (level, version) = level.split_once(':').unwrap_or((level, "latest"));
    let labels = json!({
        "pod-security.kubernetes.io/enforce": level,
        "pod-security.kubernetes.io/enforce-version": version,
    });
    let standard = Policy::parse(&json!({"metadata": {"labels": labels}})).enforce;
    let null = Value::Null;
    let subject = Subject {
        metadata: pod.get("metadata").unwrap_or(&null),
        spec: pod.get("spec").unwrap_or(pod),
    };
    details(&violations(subject, standard))
}

trait OwnUsers {
    /// The same pod, with users of its own.
    fn own_users(self) -> Value;
}

impl OwnUsers for Value {
    fn own_users(mut self) -> Value {
        self["hostUsers"] = json!(false);
        self
    }
}

fn with(path: &str, value: Value) -> Value {
    let mut pod = hardened();
    if let Some(place) = pod.pointer_mut(path) {
        *place = value;
    } else {
        let (parent, key) = path.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = value;
    }
    pod
}

#[test]
fn a_plain_pod_breaks_four_rules_of_restricted() {
    let pod = json!({"containers": [{"name": "nginx"}]});
    assert_eq!(
        told("restricted", &pod),
        "allowPrivilegeEscalation != false (container \"nginx\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"nginx\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"nginx\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"nginx\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(told("baseline", &pod), "");
    assert_eq!(told("restricted", &hardened()), "");
}

#[rstest]
#[case::namespaces("baseline", with("/hostNetwork", json!(true)), "host namespaces (hostNetwork=true)")]
#[case::privileged("baseline", with("/containers/0/securityContext/privileged", json!(true)),
    "privileged (container \"a\" must not set securityContext.privileged=true)")]
#[case::capabilities("baseline", with("/containers/0/securityContext/capabilities/add", json!(["SYS_ADMIN", "CHOWN"])),
    "non-default capabilities (container \"a\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add)")]
#[case::capabilities_restricted("restricted", with("/containers/0/securityContext/capabilities/add", json!(["CHOWN"])),
    "unrestricted capabilities (container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)")]
#[case::host_path("baseline", with("/volumes", json!([{"name": "v", "hostPath": {"path": "/"}}])), "hostPath volumes (volume \"v\")")]
#[case::volumes("restricted", with("/volumes", json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "nfs": {}}])),
    "restricted volume types (volumes \"v\", \"w\" use restricted volume types \"hostPath\", \"nfs\")")]
#[case::ports("baseline", with("/containers/0/ports", json!([{"hostPort": 80}, {"hostPort": 443}])),
    "hostPort (container \"a\" uses hostPorts 80, 443)")]
#[case::seccomp("baseline", with("/securityContext/seccompProfile", json!({"type": "Unconfined"})),
    "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")")]
#[case::sysctl("baseline", with("/securityContext/sysctls", json!([{"name": "kernel.msgmax"}])), "forbidden sysctls (kernel.msgmax)")]
#[case::newer_sysctl("baseline:v1.28", with("/securityContext/sysctls", json!([{"name": "net.ipv4.tcp_rmem"}])), "forbidden sysctls (net.ipv4.tcp_rmem)")]
#[case::newer_sysctl_now("baseline", with("/securityContext/sysctls", json!([{"name": "net.ipv4.tcp_rmem"}])), "")]
#[case::proc("baseline", with("/containers/0/securityContext/procMount", json!("Unmasked")),
    "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")")]
#[case::selinux("baseline", with("/securityContext/seLinuxOptions", json!({"type": "spc_t", "user": "u"})),
    "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set)")]
#[case::windows("baseline", with("/securityContext/windowsOptions", json!({"hostProcess": true})),
    "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)")]
#[case::apparmor("baseline", with("/containers/0/securityContext/appArmorProfile", json!({"type": "Unconfined"})),
    "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")")]
#[case::probe("baseline", with("/containers/0/livenessProbe", json!({"httpGet": {"host": "10.0.0.1"}})),
    "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"10.0.0.1\")")]
#[case::probe_before("baseline:v1.33", with("/containers/0/livenessProbe", json!({"httpGet": {"host": "10.0.0.1"}})), "")]
#[case::root("restricted", with("/securityContext/runAsNonRoot", json!(false)),
    "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)")]
#[case::user("restricted", with("/containers/0/securityContext/runAsUser", json!(0)),
    "runAsUser=0 (container \"a\" must not set runAsUser=0)")]
#[case::user_before("restricted:v1.22", with("/containers/0/securityContext/runAsUser", json!(0)), "")]
#[case::own_users("baseline", with("/containers/0/securityContext/procMount", json!("Unmasked")).own_users(), "")]
#[case::own_users_before("baseline:v1.34", with("/containers/0/securityContext/procMount", json!("Unmasked")).own_users(),
    "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")")]
#[case::own_users_restricted("restricted", with("/containers/0/securityContext/procMount", json!("Unmasked")).own_users(),
    "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")")]
#[case::own_root("restricted", with("/containers/0/securityContext/runAsUser", json!(0)).own_users(), "")]
#[case::everything_goes("privileged", with("/hostNetwork", json!(true)), "")]
fn tells(#[case] level: &str, #[case] pod: Value, #[case] want: &str) {
    assert_eq!(told(level, &pod), want);
}

#[test]
fn annotations_count_as_profiles() {
    let key = "container.apparmor.security.beta.kubernetes.io/a";
    let pod = json!({"metadata": {"annotations": {key: "unconfined"}}, "spec": hardened()});
    let want = format!(
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to \"{key}=\"unconfined\"\")"
    );
    assert_eq!(told("baseline", &pod), want);
}
