//! `explain pod/NAME`: why a pod runs where it runs, or fits nowhere.

use super::{Format, print};
use crate::reach::Cluster;
use anyhow::bail;
use plimsoll_controllers::pods::{NodeView, PodView};
use plimsoll_controllers::runtime::Cached;
use plimsoll_controllers::scheduler::explanation::{
    DeviceLists, Explanation, Lists, Obstacle, Room, Scored, Standing, explain,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Nodes named in one line.
const NAMED: usize = 5;

/// The name of the pod, if a target is one.
pub(super) fn named(target: &str) -> Option<&str> {
    let (kind, name) = target.split_once('/')?;
    matches!(kind, "pod" | "pods" | "po").then_some(name)
}

/// Prints the explanation of one pod.
pub(super) async fn run(
    cluster: &Cluster,
    name: &str,
    format: Option<Format>,
) -> anyhow::Result<()> {
    if name.is_empty() || name.contains('/') {
        bail!("{name:?} is no name of a pod");
    }
    let lists = lists(cluster).await?;
    let namespace = &cluster.namespace;
    let Some(explanation) = explain(&lists, namespace, name) else {
        bail!("there is no pod {name:?} in namespace {namespace:?}");
    };
    let groups = match explanation.standing {
        Standing::Pending => super::node::of_pod(cluster, name).await?,
        Standing::Scheduled
        | Standing::Gated
        | Standing::Foreign
        | Standing::Terminating
        | Standing::Finished => None,
    };
    let whole = Whole {
        explanation: &explanation,
        node_groups: groups.as_ref(),
    };
    print(&whole, format, || {
        let mut lines = text(&explanation);
        lines.extend(groups.iter().flat_map(super::node::pod_lines));
        lines
    })
}

/// What the scheduler and the node autoscaler make of a pod.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    #[serde(flatten)]
    explanation: &'a Explanation,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_groups: Option<&'a Value>,
}

/// Every read. Nodes and pods must be readable; the rest matters to some pods only.
pub(crate) async fn lists(cluster: &Cluster) -> anyhow::Result<Lists> {
    let nodes = list::<NodeView>(cluster, "/api/v1/nodes").await;
    let pods = list::<PodView>(cluster, "/api/v1/pods").await;
    let pods = pods.map_err(|error| cluster.told(error))?;
    let mut rest = Rest {
        cluster,
        unread: Vec::new(),
    };
    Ok(Lists {
        nodes: nodes.map_err(|error| cluster.told(error))?,
        devices: rest.devices(&pods).await,
        pods,
        namespaces: rest.list("/api/v1/namespaces").await,
        claims: rest.list("/api/v1/persistentvolumeclaims").await,
        volumes: rest.list("/api/v1/persistentvolumes").await,
        classes: rest.list("/apis/storage.k8s.io/v1/storageclasses").await,
        budgets: rest.list("/apis/policy/v1/poddisruptionbudgets").await,
        services: rest.list("/api/v1/services").await,
        replica_sets: rest.list("/apis/apps/v1/replicasets").await,
        stateful_sets: rest.list("/apis/apps/v1/statefulsets").await,
        replication_controllers: rest.list("/api/v1/replicationcontrollers").await,
        csi_nodes: rest.list("/apis/storage.k8s.io/v1/csinodes").await,
        unread: rest.unread,
    })
}

/// What may be left out.
struct Rest<'a> {
    cluster: &'a Cluster,
    unread: Vec<String>,
}

impl Rest<'_> {
    /// Devices, where a pod claims any: not every cluster has them.
    async fn devices(&mut self, pods: &[PodView]) -> DeviceLists {
        let claims = |pod: &PodView| !pod.placement.device_claims.is_empty();
        if !pods.iter().any(claims) {
            return DeviceLists::default();
        }
        DeviceLists {
            claims: self.list("/apis/resource.k8s.io/v1/resourceclaims").await,
            templates: self
                .list("/apis/resource.k8s.io/v1/resourceclaimtemplates")
                .await,
            classes: self.list("/apis/resource.k8s.io/v1/deviceclasses").await,
            slices: self.list("/apis/resource.k8s.io/v1/resourceslices").await,
        }
    }

    /// What can be read; what cannot is noted.
    async fn list<V: Cached>(&mut self, path: &str) -> Vec<V> {
        let read = list(self.cluster, path).await;
        if read.is_err() {
            let plural = path.rsplit('/').next().unwrap_or_default();
            self.unread.push(plural.to_owned());
        }
        read.unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Items<W> {
    items: Vec<W>,
}

/// Every object of a kind.
pub(crate) async fn list<V: Cached>(cluster: &Cluster, path: &str) -> Result<Vec<V>, kube::Error> {
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    let list: Items<V::Wire> = cluster.send(request).await?;
    Ok(list.items.into_iter().map(V::from_wire).collect())
}

/// The explanation as people read it.
fn text(explanation: &Explanation) -> Vec<String> {
    let Explanation {
        namespace,
        name,
        summary,
        ..
    } = explanation;
    let mut lines = vec![format!("pod/{name} in {namespace}: {summary}")];
    for obstacle in &explanation.obstacles {
        lines.extend(obstacle_lines(obstacle));
    }
    let best = explanation.fitting.iter().take(NAMED);
    lines.extend(best.map(score_line));
    if let Some(room) = &explanation.preemption {
        lines.push(room_line(room));
    }
    if let Some(node) = &explanation.nominated_node {
        lines.push(format!("  room is being made on {node}"));
    }
    if !explanation.unread.is_empty() {
        let unread = explanation.unread.join(", ");
        lines.push(format!("  could not read {unread}: not considered"));
    }
    lines
}

fn obstacle_lines(obstacle: &Obstacle) -> [String; 2] {
    let Obstacle {
        reason,
        nodes,
        lift,
    } = obstacle;
    let place = match nodes.len() {
        0 => "everywhere".to_owned(),
        count => {
            let named = nodes.iter().take(NAMED).map(String::as_str);
            let named = named.collect::<Vec<_>>().join(", ");
            let plural = if count == 1 { "" } else { "s" };
            let more = match count.saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{count} node{plural} ({named}{more})")
        }
    };
    [format!("  {place}: {reason}"), format!("        {lift}")]
}

fn score_line(scored: &Scored) -> String {
    let Scored { node, scores } = scored;
    let parts = [
        ("taints", scores.taint_toleration),
        ("node affinity", scores.node_affinity),
        ("spread", scores.pod_topology_spread),
        ("pod affinity", scores.inter_pod_affinity),
        ("resources", scores.node_resources_fit),
        ("balance", scores.node_resources_balanced_allocation),
        ("images", scores.image_locality),
    ];
    let parts = parts.iter().map(|(what, score)| format!("{what} {score}"));
    let parts: Vec<String> = parts.collect();
    format!("  {node} scores {}: {}", scores.total, parts.join(", "))
}

fn room_line(room: &Room) -> String {
    let Room {
        node,
        victims,
        violations,
        candidates,
    } = room;
    let budget = match violations {
        0 => String::new(),
        count => format!(", against {count} of whose disruption budgets"),
    };
    let of = if *candidates > 1 {
        format!(", the least harmful of {candidates} nodes")
    } else {
        String::new()
    };
    format!(
        "  preemption: {node} could be cleared of {}{budget}{of}",
        victims.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::{named, text};
    use plimsoll_controllers::scheduler::explanation::{Explanation, Obstacle, Room, Standing};

    fn waiting() -> Explanation {
        let nodes = ["a", "b", "c", "d", "e", "f"];
        Explanation {
            namespace: "default".into(),
            name: "web".into(),
            standing: Standing::Pending,
            node: None,
            nominated_node: Some("a".into()),
            summary: "0/6 nodes are available: 6 Insufficient cpu.".into(),
            fitting: Vec::new(),
            obstacles: vec![Obstacle {
                reason: "Insufficient cpu".into(),
                nodes: nodes.iter().map(|n| (*n).to_owned()).collect(),
                lift: "it asks for 500m".into(),
            }],
            preemption: Some(Room {
                node: "a".into(),
                victims: vec!["default/low (priority 0)".into()],
                violations: 0,
                candidates: 6,
            }),
            unread: vec!["storageclasses".into()],
        }
    }

    #[test]
    fn a_pod_that_waits_reads_as_reasons_with_their_remedies() {
        assert_eq!(
            text(&waiting()),
            [
                "pod/web in default: 0/6 nodes are available: 6 Insufficient cpu.",
                "  6 nodes (a, b, c, d, e and 1 more): Insufficient cpu",
                "        it asks for 500m",
                "  preemption: a could be cleared of default/low (priority 0), the least harmful of \
                 6 nodes",
                "  room is being made on a",
                "  could not read storageclasses: not considered",
            ]
        );
    }

    #[test]
    fn only_pods_are_pods() {
        assert_eq!(named("pod/web"), Some("web"));
        assert_eq!(named("po/web"), Some("web"));
        assert_eq!(named("hpa/web"), None);
        assert_eq!(named("web"), None);
    }
}
