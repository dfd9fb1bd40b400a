//! What may change of a pod that runs: its resources and its ephemeral containers.

use super::container;
use super::scope::{Errors, Scope, same};
use super::volume;
use crate::status::{CauseReason, FieldError};
use serde_json::Value;

/// What ephemeral containers have no use for.
const NOT_EPHEMERAL: [&str; 7] = [
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resources",
    "resizePolicy",
];

/// What is wrong with the resources that a resize asks for.
pub fn resize(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::new();
    let [new, old] = [new, old].map(|pod| Scope::root(pod).at("spec"));
    for list in ["containers", "initContainers"] {
        for (container, before) in new.items(list).iter().zip(old.items(list)) {
            container::resources(&container.at("resources"), &mut errors);
            let others = |container: &Scope<'_>, side: &str| {
                let mut amounts = container.at("resources").at(side).value.clone();
                if let Some(map) = amounts.as_object_mut() {
                    map.retain(|name, _| !matches!(name.as_str(), "cpu" | "memory"));
                }
                amounts
            };
            let kept = ["requests", "limits"]
                .iter()
                .all(|side| same(&others(container, side), &others(&before, side)));
            let stays = |key: &str| same(container.at(key).value, before.at(key).value);
            if !kept || !stays("resizePolicy") {
                errors.push(new.forbidden("only cpu and memory resources are mutable"));
            }
            let runs_on = list == "containers" || container.at("restartPolicy").text() == "Always";
            if !runs_on && !stays("resources") {
                let why = "only cpu and memory resources for sidecar containers are mutable";
                errors.push(new.forbidden(why));
            }
        }
    }
    let whole = new.at("resources");
    if same(whole.value, old.at("resources").value) {
        super::lifecycle::whole(&new, &mut errors);
    } else {
        // Departs: the node agents change the bounds of containers only.
        errors.push(whole.forbidden("pod-level resources are immutable"));
    }
    errors
}

/// What is wrong with the ephemeral containers of a pod that had others before.
pub fn ephemeral(new: &Value, old: &Value) -> Vec<FieldError> {
    let spec = Scope::root(new).at("spec");
    let mut all = Errors::new();
    let volumes = volume::volumes(&spec, &mut all);
    container::containers(&spec, &volumes, &mut all);
    let mut errors: Errors = all
        .into_iter()
        .filter(|error| error.field.starts_with("spec.ephemeralContainers"))
        .collect();
    let names: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.items(list))
        .map(|container| container.at("name").text())
        .collect();
    let before = Scope::root(old).at("spec").items("ephemeralContainers");
    for container in spec.items("ephemeralContainers") {
        for key in NOT_EPHEMERAL {
            let field = container.at(key);
            if !field.is_empty() {
                errors.push(field.forbidden("cannot be set for an Ephemeral Container"));
            }
        }
        let target = container.at("targetContainerName");
        if !target.is_empty() && !names.contains(&target.text()) {
            errors.push(FieldError {
                field: target.path.clone(),
                reason: CauseReason::FieldValueNotFound,
                detail: format!("Not found: {}", target.value),
            });
        }
        let name = container.at("name").text();
        let earlier = before.iter().find(|c| c.at("name").text() == name);
        if earlier.is_some_and(|earlier| !same(earlier.value, container.value)) {
            let why = format!("existing ephemeral containers {name:?} may not be changed");
            errors.push(spec.at("ephemeralContainers").forbidden(&why));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn pod(resources: &Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
    }

    fn texts(errors: &Errors) -> String {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.join("|")
    }

    #[rstest]
    #[case::fine(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "3"}}), "")]
    #[case::above_its_limit(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1")]
    #[case::other_resource(json!({"requests": {"ephemeral-storage": "1Gi"}}),
        "spec: Forbidden: only cpu and memory resources are mutable")]
    fn resizes(#[case] resources: Value, #[case] want: &str) {
        assert_eq!(texts(&resize(&pod(&resources), &pod(&json!({})))), want);
    }

    #[rstest]
    #[case::within_the_pods("1", "2", "")]
    #[case::beyond_the_pods(
        "3",
        "2",
        "spec.containers[0].resources.limits.cpu: Invalid value: \"3\": must be less than or equal to pod limits of 2"
    )]
    #[case::the_pods_own(
        "1",
        "3",
        "spec.resources: Forbidden: pod-level resources are immutable"
    )]
    fn the_pod_as_a_whole_stays(#[case] cpu: &str, #[case] whole: &str, #[case] want: &str) {
        let pod = |cpu: &str, whole: &str| {
            let mut pod = pod(&json!({"limits": {"cpu": cpu}}));
            pod["spec"]["resources"] = json!({"limits": {"cpu": whole}});
            pod
        };
        assert_eq!(texts(&resize(&pod(cpu, whole), &pod("1", "2"))), want);
    }

    #[test]
    fn of_init_containers_only_sidecars_are_resized() {
        let pod = |policy: &str, cpu: &str| {
            json!({"spec": {"initContainers": [{"name": "i", "restartPolicy": policy,
                "resources": {"requests": {"cpu": cpu}}}]}})
        };
        assert_eq!(texts(&resize(&pod("Always", "2"), &pod("Always", "1"))), "");
        assert_eq!(
            texts(&resize(&pod("Never", "2"), &pod("Never", "1"))),
            "spec: Forbidden: only cpu and memory resources for sidecar containers are mutable"
        );
    }

    #[rstest]
    #[case::fine(json!({"name": "e", "image": "i", "targetContainerName": "c"}), "")]
    #[case::image(json!({"name": "e"}), "spec.ephemeralContainers[0].image: Required value")]
    #[case::ports(json!({"name": "e", "image": "i", "ports": [{"containerPort": 1, "protocol": "TCP"}]}),
        "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container")]
    #[case::target(json!({"name": "e", "image": "i", "targetContainerName": "x"}),
        "spec.ephemeralContainers[0].targetContainerName: Not found: \"x\"")]
    #[case::name(json!({"name": "c", "image": "i"}), "spec.ephemeralContainers[0].name: Duplicate value: \"c\"")]
    fn ephemerals(#[case] container: Value, #[case] want: &str) {
        let old = pod(&json!({}));
        let mut new = old.clone();
        let mut container = container;
        container["imagePullPolicy"] = "Always".into();
        container["terminationMessagePolicy"] = "File".into();
        new["spec"]["ephemeralContainers"] = json!([container]);
        assert_eq!(texts(&ephemeral(&new, &old)), want);
    }
}
