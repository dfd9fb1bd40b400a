//! What a new node of a group will be, told from its machine type and tags.
//!
//! Departs: upstream offers pods the whole machine. Here the node keeps back what it will keep
//! back in truth, so that pods planned on it fit: memory that the hypervisor and the kernel take
//! (7.5 %), the eviction threshold, and on EKS the reservation and number of pods of its images.

use super::model::{Managed, ScalingGroup, Shape};
use super::{labels, tags};
use crate::nodes::catalog;
use plimsoll_api::nodegroup::ProviderTemplate;
use plimsoll_quantity::Quantity;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Pods of a node whose pods have addresses of a network of their own (the kubelet's default).
const PODS: u32 = 110;
/// Memory below which the kubelet evicts, in MiB (its default).
const EVICTION_MIB: u64 = 100;
/// What kube-proxy as a static pod asks for, in millicores; upstream adds such a pod.
const PROXY_MILLI: u64 = 100;

type Resources = BTreeMap<String, Quantity>;

/// The shape of a type the table has.
pub(super) fn known(kind: &str) -> Option<Shape> {
    let found = catalog::lookup(kind)?;
    Some(Shape {
        vcpus: found.vcpus,
        memory_mib: found.memory_mib,
        arch: Some(found.arch.into()),
        max_pods: Some(found.max_pods),
        gpus: found.gpus,
        gpu_resource: found.gpu_resource.map(Into::into),
        price_per_hour: Some(found.price_per_hour),
        kind: Some(kind.into()),
        disk_gib: None,
    })
}

/// A machine of which only the least is known.
pub(super) fn at_least(vcpus: u32, memory_mib: u64, gpus: u32) -> Shape {
    Shape {
        vcpus,
        memory_mib,
        arch: Some("amd64".into()),
        max_pods: None,
        gpus,
        gpu_resource: (gpus > 0).then(|| "nvidia.com/gpu".into()),
        price_per_hour: None,
        kind: None,
        disk_gib: None,
    }
}

/// What any machine out of several types has at least; what they differ in is left open. The price
/// is the highest.
///
/// Departs: upstream takes the first type and hopes.
pub(super) fn worst(mut shapes: Vec<Shape>) -> Option<Shape> {
    let last = shapes.pop()?;
    let both = |a: Shape, b: Shape| Shape {
        vcpus: a.vcpus.min(b.vcpus),
        memory_mib: a.memory_mib.min(b.memory_mib),
        arch: a.arch.filter(|arch| b.arch.as_ref() == Some(arch)),
        max_pods: a.max_pods.zip(b.max_pods).map(|(a, b)| a.min(b)),
        gpus: a.gpus.min(b.gpus),
        gpu_resource: a
            .gpu_resource
            .filter(|name| b.gpu_resource.as_ref() == Some(name)),
        price_per_hour: a
            .price_per_hour
            .zip(b.price_per_hour)
            .map(|(a, b)| a.max(b)),
        kind: a.kind.filter(|kind| b.kind.as_ref() == Some(kind)),
        disk_gib: a.disk_gib.zip(b.disk_gib).map(|(a, b)| a.min(b)),
    };
    Some(shapes.into_iter().fold(last, both))
}

/// What is known of a group's next node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The group.
    pub group: &'a ScalingGroup,
    /// Its machine.
    pub shape: Option<&'a Shape>,
    /// What EKS says of it.
    pub managed: Option<&'a Managed>,
}

/// The template of a group; `None` if neither its type nor its tags tell cpu and memory.
pub(super) fn template(seen: &Seen<'_>, region: &str) -> Option<ProviderTemplate> {
    let Seen {
        group,
        shape,
        managed,
    } = *seen;
    let mut told = managed.map_or_else(Resources::new, |managed| tags::resources(&managed.tags));
    told.extend(tags::resources(&group.tags));
    let (mut capacity, mut allocatable) = shape
        .map(|shape| sizes(shape, tags::is_eks(&group.tags)))
        .unwrap_or_default();
    if shape.is_none() {
        let pods = Quantity::from_value(PODS.into());
        capacity.insert("pods".to_owned(), pods);
        allocatable.insert("pods".to_owned(), pods);
    }
    capacity.extend(told.clone());
    allocatable.extend(told);
    if !["cpu", "memory"]
        .iter()
        .all(|name| allocatable.contains_key(*name))
    {
        return None;
    }
    let labels = labels::labels(seen, region);
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": label("kubernetes.io/hostname"), "labels": labels},
        "spec": {"taints": labels::taints(seen)},
        "status": {
            "capacity": written(&capacity),
            "allocatable": written(&allocatable),
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"architecture": label("kubernetes.io/arch"), "operatingSystem": label("kubernetes.io/os")},
        },
    });
    let price_per_hour = shape.and_then(|shape| shape.price_per_hour);
    Some(ProviderTemplate {
        node,
        price_per_hour,
    })
}

fn written(resources: &Resources) -> Map<String, Value> {
    let pair =
        |(name, amount): (&String, &Quantity)| (name.clone(), Value::from(amount.to_string()));
    resources.iter().map(pair).collect()
}

/// Capacity and allocatable.
fn sizes(shape: &Shape, is_eks: bool) -> (Resources, Resources) {
    let pods = shape.max_pods.filter(|_| is_eks).unwrap_or(PODS);
    let seen_mib = shape.memory_mib - shape.memory_mib * 75 / 1000;
    let cpu_milli = u64::from(shape.vcpus) * 1000;
    let (kept_milli, kept_mib) = if is_eks {
        (
            eks_milli(shape.vcpus),
            255 + 11 * u64::from(pods) + EVICTION_MIB,
        )
    } else {
        (PROXY_MILLI, EVICTION_MIB)
    };
    let side = |milli: u64, mib: u64, disk_percent: u64| {
        let mut side = Resources::new();
        let mut set = |name: &str, text: String| {
            if let Ok(amount) = text.parse() {
                side.insert(name.to_owned(), amount);
            }
        };
        set("cpu", format!("{milli}m"));
        set("memory", format!("{mib}Mi"));
        set("pods", pods.to_string());
        if let Some(disk) = shape.disk_gib {
            set(
                "ephemeral-storage",
                format!("{}Mi", disk.saturating_mul(1024) / 100 * disk_percent),
            );
        }
        if let Some(name) = shape.gpu_resource.as_ref().filter(|_| shape.gpus > 0) {
            set(name, shape.gpus.to_string());
        }
        side
    };
    let allocatable = side(
        cpu_milli.saturating_sub(kept_milli),
        seen_mib.saturating_sub(kept_mib),
        90,
    );
    (side(cpu_milli, seen_mib, 100), allocatable)
}

/// What the images of EKS keep of so many cores, in millicores: 6 % of the first, 1 % of the
/// second, 0.5 % of the next two, 0.25 % of the rest.
fn eks_milli(vcpus: u32) -> u64 {
    let tenths: u64 = (0..vcpus)
        .map(|core| [600, 100, 50, 50].get(core as usize).copied().unwrap_or(25))
        .sum();
    tenths.div_ceil(10)
}

#[cfg(test)]
mod tests {
    use super::{Seen, at_least, eks_milli, known, template, worst};
    use crate::nodes::aws::fake::{group, machine};
    use crate::nodes::aws::model::{Managed, Phase, ScalingGroup, Shape};
    use rstest::rstest;
    use serde_json::{Value, json};

    const TAG: &str = "k8s.io/cluster-autoscaler/node-template";

    fn seen<'a>(group: &'a ScalingGroup, shape: Option<&'a Shape>) -> Seen<'a> {
        Seen {
            group,
            shape,
            managed: None,
        }
    }

    fn node_of(kind: Option<&str>, tags: &[(&str, &str)]) -> Option<Value> {
        let mut workers = group("workers", 0);
        workers.tags = tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let shape = kind.and_then(known);
        Some(template(&seen(&workers, shape.as_ref()), "us-east-1")?.node)
    }

    #[test]
    fn a_group_outside_eks_keeps_the_eviction_threshold_and_a_proxy() {
        let node = node_of(Some("t3.medium"), &[]).unwrap();
        let status = &node["status"];
        assert_eq!(
            status["capacity"],
            json!({"cpu": "2", "memory": "3789Mi", "pods": "110"})
        );
        assert_eq!(
            status["allocatable"],
            json!({"cpu": "1900m", "memory": "3689Mi", "pods": "110"})
        );
    }

    // Figures of reference §19 E10: 3789 − 442 − 100 MiB, 1930 millicores, 17 pods.
    #[test]
    fn a_group_of_eks_keeps_what_its_images_keep() {
        let node = node_of(Some("t3.medium"), &[("eks:nodegroup-name", "ng-1")]).unwrap();
        assert_eq!(
            node["status"]["allocatable"],
            json!({"cpu": "1930m", "memory": "3247Mi", "pods": "17"})
        );
        assert_eq!(
            node["metadata"]["labels"]["eks.amazonaws.com/nodegroup"],
            "ng-1"
        );
    }

    #[rstest]
    #[case(1, 60)]
    #[case(2, 70)]
    #[case(4, 80)]
    #[case(8, 90)]
    #[case(96, 310)]
    fn keeps_cores_as_eks_does(#[case] vcpus: u32, #[case] milli: u64) {
        assert_eq!(eks_milli(vcpus), milli);
    }

    #[test]
    fn tags_have_the_last_word() {
        let resource = format!("{TAG}/resources/memory");
        let disk = format!("{TAG}/resources/ephemeral-storage");
        let label = format!("{TAG}/label/kubernetes.io/arch");
        let taint = format!("{TAG}/taint/dedicated");
        let tags = [
            (&*resource, "1Gi"),
            (&*disk, "20Gi"),
            (&*label, "arm64"),
            (&*taint, "gpu:NoSchedule"),
        ];
        let node = node_of(Some("m5.large"), &tags).unwrap();
        assert_eq!(node["status"]["allocatable"]["memory"], "1Gi");
        assert_eq!(node["status"]["capacity"]["ephemeral-storage"], "20Gi");
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/arch"], "arm64");
        assert_eq!(
            node["spec"]["taints"],
            json!([{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}])
        );
    }

    #[test]
    fn tags_alone_are_enough() {
        let (cpu, memory) = (
            format!("{TAG}/resources/cpu"),
            format!("{TAG}/resources/memory"),
        );
        let node = node_of(None, &[(&*cpu, "2"), (&*memory, "4Gi")]).unwrap();
        assert_eq!(
            node["status"]["allocatable"],
            json!({"cpu": "2", "memory": "4Gi", "pods": "110"})
        );
        assert_eq!(node_of(None, &[(&*cpu, "2")]), None);
    }

    #[test]
    fn gpus_are_resources() {
        let node = node_of(Some("g5.12xlarge"), &[]).unwrap();
        assert_eq!(node["status"]["allocatable"]["nvidia.com/gpu"], "4");
    }

    #[test]
    fn several_types_count_by_the_least_of_each() {
        let types = ["m5.large", "c5.xlarge", "t3.large"].map(|kind| known(kind).unwrap());
        let least = worst(types.to_vec()).unwrap();
        assert_eq!(
            (least.vcpus, least.memory_mib, least.max_pods),
            (2, 8192, Some(29))
        );
        assert_eq!((least.kind, least.arch.as_deref()), (None, Some("amd64")));
        assert_eq!(least.price_per_hour, Some(0.17));
        let mixed = worst(vec![
            known("m5.large").unwrap(),
            known("m6g.large").unwrap(),
        ])
        .unwrap();
        assert_eq!(mixed.arch, None);
        assert_eq!(
            worst(vec![at_least(2, 4096, 0), known("m5.large").unwrap()])
                .unwrap()
                .price_per_hour,
            None
        );
        assert_eq!(worst(Vec::new()), None);
    }

    #[test]
    fn the_next_node_comes_to_the_emptiest_zone() {
        let mut workers = group("workers", 1);
        workers.zones = vec!["us-east-1a".into(), "us-east-1b".into()];
        workers.machines = vec![machine("i-1", Phase::Serving)];
        let shape = known("m5.large");
        let node = template(&seen(&workers, shape.as_ref()), "us-east-1");
        let node = node.unwrap().node;
        assert_eq!(
            node["metadata"]["labels"]["topology.kubernetes.io/zone"],
            "us-east-1b"
        );
    }

    #[test]
    fn eks_tells_labels_and_taints_and_the_groups_tags_more() {
        let mut workers = group("workers", 0);
        let tag = |key: &str, value: &str| (format!("{TAG}/{key}"), value.to_owned());
        workers.tags = [
            tag("label/team", "blue"),
            tag("taint/dedicated", "batch:NoSchedule"),
            ("eks:nodegroup-name".to_owned(), "ng-1".to_owned()),
        ]
        .into();
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let taint =
            |value: &str| json!({"key": "dedicated", "value": value, "effect": "NoSchedule"});
        let spot = json!({"key": "spot", "value": "", "effect": "NoExecute"});
        let managed = Managed {
            labels: [label("team", "red"), label("tier", "web")].into(),
            taints: vec![taint("gpu"), spot.clone()],
            tags: [
                tag("resources/example.com/fpga", "1"),
                tag("label/from", "eks"),
            ]
            .into(),
            ..Managed::default()
        };
        let shape = known("t3.medium");
        let seen = Seen {
            managed: Some(&managed),
            ..seen(&workers, shape.as_ref())
        };
        let node = template(&seen, "us-east-1").unwrap().node;
        let labels = &node["metadata"]["labels"];
        let told = ["team", "tier", "from", "eks.amazonaws.com/nodegroup"].map(|key| &labels[key]);
        assert_eq!(told, ["blue", "web", "eks", "ng-1"]);
        assert_eq!(node["spec"]["taints"], json!([spot, taint("batch")]));
        assert_eq!(node["status"]["capacity"]["example.com/fpga"], "1");
    }

    #[test]
    fn windows_is_told_by_eks() {
        let workers = group("workers", 0);
        let managed = Managed {
            is_windows: true,
            ..Managed::default()
        };
        let shape = known("m5.large");
        let seen = Seen {
            managed: Some(&managed),
            ..seen(&workers, shape.as_ref())
        };
        let node = template(&seen, "us-east-1").unwrap().node;
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "windows");
    }
}
