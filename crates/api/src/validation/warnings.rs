//! What is allowed, but rarely meant: the texts of `Warning` headers.

use super::pod_warnings;
use super::scope::Scope;
use crate::{meta, names};
use serde_json::Value;

/// The warnings about an object of the kind; `None` if there are never any.
pub(crate) fn of(group: &str, kind: &str) -> Option<fn(&Value) -> Vec<String>> {
    let warnings: fn(&Value) -> Vec<String> = match (group, kind) {
        ("", "Pod") => pod,
        ("", "PodTemplate") => pod_template,
        ("", "Node") => node,
        ("", "PersistentVolume") => volume,
        ("", "PersistentVolumeClaim") => claim,
        ("", "ReplicationController")
        | ("apps", "ReplicaSet" | "Deployment" | "StatefulSet" | "DaemonSet") => workload,
        ("batch", "Job") => job,
        ("batch", "CronJob") => cron_job,
        ("networking.k8s.io", "Ingress") => ingress,
        _ => return None,
    };
    Some(warnings)
}

fn pod(pod: &Value) -> Vec<String> {
    let used = "this is used in the Pod's hostname";
    let mut warnings = name(pod, used);
    warnings.extend(pod_warnings::of(&Scope::root(pod)));
    warnings
}

fn pod_template(template: &Value) -> Vec<String> {
    pod_warnings::of(&Scope::root(template).at("template"))
}

fn workload(object: &Value) -> Vec<String> {
    let in_names = matches!(
        meta::text(object, &["kind"]),
        "StatefulSet" | "ReplicaSet" | "ReplicationController"
    );
    let mut warnings = Vec::new();
    if in_names {
        warnings.extend(name(object, "this is used in Pod names and hostnames"));
    }
    let template = Scope::root(object).path(&["spec", "template"]);
    warnings.extend(pod_warnings::of(&template));
    warnings
}

fn job(job: &Value) -> Vec<String> {
    let mut warnings = name(job, "this is used in Pod names and hostnames");
    let template = Scope::root(job).path(&["spec", "template"]);
    warnings.extend(pod_warnings::of(&template));
    warnings
}

fn cron_job(job: &Value) -> Vec<String> {
    let mut warnings = name(job, "this is used in Pod names and hostnames");
    let spec = Scope::root(job).at("spec");
    if spec.at("schedule").text().contains("TZ") {
        let text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        warnings.push(format!("spec.schedule: {text}"));
    }
    let template = spec.path(&["jobTemplate", "spec", "template"]);
    warnings.extend(pod_warnings::of(&template));
    warnings
}

/// A name that ends up in host names should be a DNS label.
fn name(object: &Value, used: &str) -> Vec<String> {
    let Err(why) = names::is_dns_label(meta::name(object)) else {
        return Vec::new();
    };
    let text = format!(
        "metadata.name: {used}, which can result in surprising behavior; a DNS label is recommended: [{why}]"
    );
    vec![text]
}

fn node(node: &Value) -> Vec<String> {
    let spec = Scope::root(node).at("spec");
    let mut warnings = Vec::new();
    if spec.at("configSource").present() {
        warnings.push("spec.configSource: the feature is no longer supported".to_owned());
    }
    if !spec.at("externalID").is_empty() {
        let text = "spec.externalID: this field is deprecated, and is unused by Kubernetes";
        warnings.push(text.to_owned());
    }
    warnings
}

fn volume(volume: &Value) -> Vec<String> {
    let policy = meta::text(volume, &["spec", "persistentVolumeReclaimPolicy"]);
    let mut warnings = Vec::new();
    if policy == "Recycle" {
        let text = "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        warnings.push(text.to_owned());
    }
    old_class(volume, &mut warnings);
    warnings
}

fn claim(claim: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    old_class(claim, &mut warnings);
    warnings
}

fn old_class(object: &Value, warnings: &mut Vec<String>) {
    let key = "volume.beta.kubernetes.io/storage-class";
    if meta::at(object, &["metadata", "annotations", key]).is_some() {
        warnings.push(format!(
            "metadata.annotations[{key}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
}

fn ingress(ingress: &Value) -> Vec<String> {
    let key = "kubernetes.io/ingress.class";
    if meta::at(ingress, &["metadata", "annotations", key]).is_none() {
        return Vec::new();
    }
    vec![format!(
        "annotation {key:?} is deprecated, please use 'spec.ingressClassName' instead"
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::label(json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
        &["spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"])]
    #[case::environment(json!({"containers": [{"env": [{"name": "A"}, {"name": "A"}]}]}),
        &["spec.containers[0].env[1]: hides previous definition of \"A\", which may be unexpected"])]
    #[case::ports(json!({"containers": [{"ports": [{"containerPort": 1}, {"containerPort": 1}]}]}),
        &["spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"])]
    #[case::port_names(json!({"containers": [{"ports": [{"name": "a"}]}, {"ports": [{"name": "a"}]}]}),
        &["spec.containers[1].ports[0]: duplicate port name \"a\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]"])]
    #[case::fraction(json!({"containers": [{"resources": {"requests": {"memory": "500m"}}}]}),
        &["spec.containers[0].resources.requests[memory]: fractional byte value \"500m\" is invalid, must be an integer"])]
    #[case::volume(json!({"volumes": [{"name": "v", "gitRepo": {}}]}),
        &["spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"])]
    #[case::nothing(json!({"containers": [{"env": [{"name": "A"}, {"name": "B"}]}]}), &[])]
    fn warns_about_pods(#[case] spec: Value, #[case] want: &[&str]) {
        assert_eq!(pod(&json!({"metadata": {"name": "p"}, "spec": spec})), want);
    }

    #[test]
    fn a_dotted_name_makes_a_strange_hostname() {
        let warnings = pod(&json!({"metadata": {"name": "a.b"}}));
        assert!(
            warnings[0].starts_with("metadata.name: this is used in the Pod's hostname, which")
        );
    }
}
