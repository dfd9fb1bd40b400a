//! EKS's answers, as far as they are read.

use super::model::Managed;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Deserialize)]
struct Described {
    nodegroup: Nodegroup,
}

/// EKS writes `null` for what is not set.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Nodegroup {
    labels: Option<BTreeMap<String, String>>,
    taints: Option<Vec<Taint>>,
    tags: Option<BTreeMap<String, String>>,
    instance_types: Option<Vec<String>>,
    disk_size: Option<u64>,
    ami_type: Option<String>,
    capacity_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Taint {
    key: Option<String>,
    value: Option<String>,
    effect: Option<String>,
}

impl Taint {
    /// As v1 has it; `None` if there is no such effect.
    ///
    /// Departs: upstream leaves the effect as EKS writes it, which no toleration names.
    fn as_v1(&self) -> Option<Value> {
        let effect = match self.effect.as_deref()? {
            "NO_SCHEDULE" => "NoSchedule",
            "NO_EXECUTE" => "NoExecute",
            "PREFER_NO_SCHEDULE" => "PreferNoSchedule",
            _ => return None,
        };
        let (key, value) = (self.key.as_deref()?, self.value.as_deref());
        Some(json!({"key": key, "value": value.unwrap_or_default(), "effect": effect}))
    }
}

/// What a node group is.
///
/// # Errors
/// The answer is none.
pub(super) fn nodegroup(body: &str) -> Result<Managed, serde_json::Error> {
    let Described { nodegroup } = serde_json::from_str(body)?;
    let mut labels = nodegroup.labels.unwrap_or_default();
    if let Some(capacity) = nodegroup.capacity_type.filter(|kind| !kind.is_empty()) {
        labels
            .entry("eks.amazonaws.com/capacityType".to_owned())
            .or_insert(capacity);
    }
    let image = nodegroup.ami_type.unwrap_or_default();
    let taints = nodegroup.taints.unwrap_or_default();
    let kinds = nodegroup.instance_types.unwrap_or_default();
    Ok(Managed {
        labels,
        taints: taints.iter().filter_map(Taint::as_v1).collect(),
        tags: nodegroup.tags.unwrap_or_default(),
        kinds: kinds.into_iter().map(Arc::from).collect(),
        disk_gib: nodegroup.disk_size.filter(|size| *size > 0),
        arch: arch(&image),
        is_windows: image.starts_with("WINDOWS"),
    })
}

/// The architecture in the name of a kind of image: `AL2023_x86_64_STANDARD`, `AL2_ARM_64`,
/// `AL2_x86_64_GPU`, `BOTTLEROCKET_ARM_64`, `CUSTOM`.
fn arch(image: &str) -> Option<&'static str> {
    if image.contains("ARM_64") {
        Some("arm64")
    } else if image.contains("x86_64") || image.starts_with("WINDOWS") {
        Some("amd64")
    } else {
        None
    }
}

/// Code and message of an answer that is no success: the code is the header's, or the body's.
pub(super) fn refusal(error_type: &str, body: &str) -> (String, String) {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| body.get(*name)?.as_str());
        found.unwrap_or_default()
    };
    let named = match error_type {
        "" => text(["__type", "code"]),
        named => named,
    };
    // `AccessDeniedException:http://…`, `com.amazonaws.eks#AccessDeniedException`.
    let code = named.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    (code.to_owned(), text(["message", "Message"]).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn reads_a_node_group() {
        let body = json!({"nodegroup": {
            "nodegroupName": "ng", "amiType": "AL2023_ARM_64_STANDARD", "capacityType": "SPOT",
            "diskSize": 20, "instanceTypes": ["m6g.large"], "labels": {"team": "blue"},
            "taints": [
                {"key": "a", "value": "b", "effect": "NO_SCHEDULE"},
                {"key": "c", "effect": "NO_EXECUTE"},
                {"key": "d", "value": null, "effect": "PREFER_NO_SCHEDULE"},
                {"key": "e", "value": "f", "effect": "NEVER"},
                {"effect": "NO_SCHEDULE"},
            ],
            "tags": {"k": "v"}, "scalingConfig": {"minSize": 0},
        }});
        let found = nodegroup(&body.to_string()).unwrap();
        let labels: Vec<_> = found.labels.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(
            labels,
            [("eks.amazonaws.com/capacityType", "SPOT"), ("team", "blue")]
        );
        let taint = |key: &str, value: &str, effect: &str| json!({"key": key, "value": value, "effect": effect});
        let want = [
            taint("a", "b", "NoSchedule"),
            taint("c", "", "NoExecute"),
            taint("d", "", "PreferNoSchedule"),
        ];
        assert_eq!(found.taints, want);
        assert_eq!((found.disk_gib, found.arch), (Some(20), Some("arm64")));
        assert_eq!((found.kinds.len(), found.tags.len()), (1, 1));
    }

    #[test]
    fn what_is_not_set_is_null() {
        let body = r#"{"nodegroup": {"labels": null, "taints": null, "tags": null, "instanceTypes": null,
            "diskSize": null, "amiType": "CUSTOM"}}"#;
        assert_eq!(nodegroup(body).unwrap(), Managed::default());
        assert!(nodegroup("{}").is_err());
        assert!(nodegroup("<html>").is_err());
    }

    #[rstest]
    #[case::header(
        "AccessDeniedException:http://a/b",
        r#"{"message":"no"}"#,
        "AccessDeniedException",
        "no"
    )]
    #[case::body(
        "",
        r#"{"__type":"eks#ResourceNotFoundException","Message":"none"}"#,
        "ResourceNotFoundException",
        "none"
    )]
    #[case::neither("", "<html>", "", "")]
    fn reads_refusals(
        #[case] header: &str,
        #[case] body: &str,
        #[case] code: &str,
        #[case] message: &str,
    ) {
        let want = (code.to_owned(), message.to_owned());
        assert_eq!(refusal(header, body), want);
    }

    #[rstest]
    #[case("AL2_x86_64_GPU", Some("amd64"))]
    #[case("BOTTLEROCKET_ARM_64_NVIDIA", Some("arm64"))]
    #[case("WINDOWS_FULL_2022_x86_64", Some("amd64"))]
    #[case("CUSTOM", None)]
    fn images_tell_the_architecture(#[case] image: &str, #[case] want: Option<&str>) {
        assert_eq!(arch(image), want);
    }
}
