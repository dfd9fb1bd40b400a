//! `explain node`, `whatif` and `top nodes`, as a person types them.

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::typed::{self, says, until};
use crate::{Outcome, check};
use std::path::Path;

/// What a learner applies in Lab 4.
const MANIFEST: &str = include_str!("../../../../examples/nodes.yaml");

/// On a cluster where nobody adds or removes nodes.
pub(crate) fn anywhere(kubectl: &Kubectl) -> Outcome {
    let shape = ["--node-cpu", "2", "--node-memory", "4Gi"];
    let mut arguments = vec!["--nodes", "2", "--runtime", "simulated"];
    arguments.extend(shape);
    let cluster = Cluster::start(&arguments)?;
    let config = cluster.kubeconfig();
    let k = kubectl.on(&config);
    let applied = k.feed("apply -f -", MANIFEST);
    check!(applied.ok, "{applied:?}");
    k.ok("rollout status deploy/nginx-to-scaleout --timeout=60s")?;
    k.ok("run bare --image=k8s.gcr.io/pause --restart=Never")?;
    k.ok("wait --for=condition=Ready pod/bare --timeout=60s")?;
    let node = k.ok("get pod bare -o jsonpath={.spec.nodeName}")?;
    says(&config, "explain node", &["NAME", "node-1", "node-2"])?;
    let bare = "pod default/bare has no controller that would replace it";
    let lift = "cluster-autoscaler.kubernetes.io/safe-to-evict=true";
    says(&config, &format!("explain node/{node}"), &[bare, lift])?;
    says(
        &config,
        &format!("explain node/{node} -o json"),
        &["\"NotReplicated\""],
    )?;
    says(
        &config,
        "top nodes",
        &["WHY KEPT", "2 nodes: cpu ", "(0 pending)"],
    )?;
    says(
        &config,
        "top nodes --no-headers -o yaml",
        &["cpuRequestedMilli"],
    )?;
    let removed = format!("without node/{node}");
    says(
        &config,
        &format!("whatif remove node/{node}"),
        &[&removed, bare],
    )?;
    let line = "whatif add pods 20 --like deploy/nginx-to-scaleout";
    let asked =
        "20 more pods like deploy/nginx-to-scaleout, each asking for cpu 500m, memory 512Mi";
    let nobody = "no node autoscaler tells its groups here";
    says(&config, line, &[asked, "would wait", nobody])?;
    refuses(&config)
}

fn refuses(config: &Path) -> Outcome {
    let lines = [
        ("explain node/none", "there is no node \"none\""),
        ("explain node/", "is no name of a node"),
        ("explain ng/none", "there is no node group \"none\""),
        ("whatif remove pod/bare", "is no node"),
        ("whatif remove node/none", "there is no node \"none\""),
        (
            "whatif add pods 3 --like svc/kubernetes",
            "has no pods that could be copied",
        ),
        (
            "whatif add pods 3 --like deploy/none",
            "there is no Deployment \"none\"",
        ),
        ("whatif add pods 0 --like deploy/none", "invalid value '0'"),
        ("top nodes -l a=(", "--selector"),
    ];
    typed::refuses(config, &lines)
}

/// Where a group of simulated nodes grows to its maximum and cannot help everybody.
pub(crate) fn groups(kubectl: &Kubectl) -> Outcome {
    let group = "workers:2:3:cpu=2,memory=4Gi,price=0.1,runtime=simulated";
    let mut arguments = vec![
        "--nodes",
        "0",
        "--runtime",
        "simulated",
        "--node-group",
        group,
    ];
    arguments.extend(["--scale-down-unneeded-time=20m", "--scan-interval=1s"]);
    let cluster = Cluster::start(&arguments)?;
    let config = cluster.kubeconfig();
    let k = kubectl.on(&config);
    until(&config, "explain ng", "workers  2 (2-3)")?;
    let applied = k.feed("apply -f -", MANIFEST);
    check!(applied.ok, "{applied:?}");
    until(&config, "explain node", "its group is at its minimum of 2")?;
    let line = "whatif add pods 9 --like deploy/nginx-to-scaleout";
    says(&config, line, &["{workers 2->3 (max: 3)}, 0.1000 $/h"])?;
    k.ok("scale --replicas=20 deploy/nginx-to-scaleout")?;
    let log = "explain ng/workers --last 1h";
    until(&config, log, "grown: {workers 2->3 (max: 3)}")?;
    until(&config, "explain ng/workers", "max node group size reached")?;
    let shown = ["a new node has 2 CPU", "0.1000 $/h", "2 -> 3"];
    says(&config, "explain ng/workers", &shown)?;
    until(&config, "top nodes", "3 nodes: cpu ")?;
    let pending =
        "get pods --field-selector=status.phase=Pending -o jsonpath={.items[0].metadata.name}";
    let pod = k.until(pending, 30, |name| !name.is_empty())?;
    let full = "node group workers: max node group size reached";
    until(&config, &format!("explain pod/{pod}"), full)?;
    let table = k.ok("get nodegroups.explain.plimsoll.dev")?;
    check!(
        table.contains("VERDICT") && table.contains("workers"),
        "{table}"
    );
    k.ok("delete deploy nginx-to-scaleout")?;
    let node = k.ok("get nodes -o jsonpath={.items[2].metadata.name}")?;
    until(
        &config,
        &format!("explain node/{node}"),
        "it is not needed, and waits",
    )?;
    let known = ["the node autoscaler at", "without it: 0.1000 $/h"];
    says(&config, &format!("explain node/{node}"), &known)?;
    says(
        &config,
        &format!("whatif remove node/{node}"),
        &["saves 0.1000 $/h"],
    )
}
