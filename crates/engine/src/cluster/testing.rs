//! Facts for tests of this module.

use super::{
    ClusterNode, GroupFacts, GroupOptions, NodeTemplate, PendingPod, Readiness, TemplateSource,
};
use crate::placement::{HOSTNAME_LABEL, NodeFacts, PodFacts, PodSpec, Resources};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn node(name: &str, cpu: i64, memory: i64) -> NodeFacts {
    NodeFacts {
        name: name.into(),
        labels: [(HOSTNAME_LABEL.to_owned(), name.to_owned())].into(),
        allocatable: Resources::of(cpu, memory),
        max_pods: 110,
        ..NodeFacts::default()
    }
}

pub(super) fn template(name: &str, cpu: i64, memory: i64) -> NodeTemplate {
    let node = node(name, cpu, memory);
    NodeTemplate {
        capacity: node.allocatable.clone(),
        node,
        daemons: Vec::new(),
        source: TemplateSource::Provider,
        price_per_hour: None,
        gpu: None,
    }
}

pub(super) fn group(id: &str, sizes: (usize, usize), of: NodeTemplate) -> GroupFacts {
    GroupFacts {
        id: id.into(),
        min: 0,
        max: sizes.1,
        target: sizes.0,
        exists: true,
        options: GroupOptions::default(),
        template: Some(Arc::new(of)),
    }
}

pub(super) fn spec(cpu: i64, memory: i64) -> PodSpec {
    PodSpec {
        requests: Resources::of(cpu, memory),
        ..PodSpec::default()
    }
}

/// `count` pods alike, named `NAME-0` and so on.
pub(super) fn pending(name: &str, count: usize, of: PodSpec) -> Vec<PendingPod> {
    let spec = Arc::new(of);
    let pod = |at: usize| PendingPod {
        pod: PodFacts::new("default", &format!("{name}-{at}"), Arc::clone(&spec)),
        created: Some(Timestamp::UNIX_EPOCH),
        controller: Some(name.into()),
        of_daemon_set: false,
        priority: None,
        scale_up_delay: None,
        fingerprint: 0,
    };
    (0..count).map(pod).collect()
}

pub(super) fn existing(name: &str, group: &str, cpu: i64, memory: i64) -> ClusterNode {
    let resources = Resources::of(cpu, memory);
    ClusterNode {
        name: name.into(),
        provider_id: name.into(),
        group: (!group.is_empty()).then(|| group.into()),
        readiness: Readiness::Ready,
        created: None,
        ready_changed: None,
        allocatable: resources.clone(),
        allocatable_known: true,
        capacity: resources,
        annotations: BTreeMap::new(),
        being_deleted: None,
        candidate: None,
        gpu: None,
        device_pools: Vec::new(),
        price_per_hour: None,
    }
}
