//! CapacityQuotas and CapacityBuffers on a group of simulated nodes, as a person uses them.

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::lab4::{QUICK, until_nodes};
use crate::typed::{says, until};
use crate::{Outcome, check};
use libtest_mimic::Failed;

const DEPLOYMENT: &str = include_str!("../../../../examples/nodes.yaml");
const QUOTA: &str = include_str!("../../../../examples/capacity-quota.yaml");
const BUFFERS: &str = include_str!("../../../../examples/capacity-buffer.yaml");

/// A cluster of one group, with these flags.
fn start(flags: &[&str]) -> Result<Cluster, Failed> {
    let group = "workers:1:9:cpu=2,memory=4Gi,boot=1s,runtime=simulated";
    let mut arguments = vec!["--nodes", "0", "--runtime", "simulated"];
    arguments.extend(["--node-group", group]);
    arguments.extend(flags);
    arguments.extend(QUICK);
    Cluster::start(&arguments)
}

fn apply(k: &Kubectl, manifest: &str) -> Outcome {
    let applied = k.feed("apply -f -", manifest);
    check!(applied.ok, "{applied:?}");
    Ok(())
}

/// Growth stops at a quota, says so everywhere, and goes on when it is raised.
pub(crate) fn quotas(kubectl: &Kubectl) -> Outcome {
    let cluster = start(&["--capacity-quotas-enabled"])?;
    let config = cluster.kubeconfig();
    let k = kubectl.on(&config);
    until_nodes(&k, 1, 60)?;
    apply(&k, QUOTA)?;
    apply(&k, DEPLOYMENT)?;
    let row = |words: &'static str| {
        move |out: &str| {
            let cells: Vec<&str> = out.split_whitespace().collect();
            let wanted: Vec<&str> = words.split(' ').collect();
            cells.starts_with(&wanted)
        }
    };
    k.until("get cq --no-headers", 30, row("workers 1 3 2 64 True"))?;
    k.ok("scale --replicas=30 deploy/nginx-to-scaleout")?;
    let told =
        "get events --field-selector=reason=NotTriggerScaleUp -o jsonpath={.items[*].message}";
    let words = "1 exceeded quota: \"CapacityQuota/workers\", resources: nodes (nodes 3 of 3 used)";
    k.until(told, 60, |out| out.contains(words))?;
    until_nodes(&k, 3, 30)?;
    k.until(
        "get capacityquotas --no-headers",
        30,
        row("workers 3 3 6 64"),
    )?;
    let pending =
        "get pods --field-selector=status.phase=Pending -o jsonpath={.items[0].metadata.name}";
    let pod = k.until(pending, 30, |name| !name.is_empty())?;
    let full = "exceeded quota: \"CapacityQuota/workers\", resources: nodes (nodes 3 of 3 used)";
    until(&config, &format!("explain pod/{pod}"), full)?;
    let lift = "a higher limit: kubectl edit capacityquota workers (nodes 4 or more)";
    let limits = "CapacityQuota/workers limits it: cpu 6 of 64, nodes 3 of 3 used";
    says(&config, "explain ng/workers", &[full, lift, limits])?;
    says(
        &config,
        "whatif add pods 9 --like deploy/nginx-to-scaleout",
        &[full],
    )?;
    raised(&k, row("workers 5 5 10 64"))?;
    refused(&k)?;
    k.ok("delete cq workers")?;
    until_nodes(&k, 8, 60)
}

fn raised(k: &Kubectl, row: impl Fn(&str) -> bool) -> Outcome {
    let patch =
        "patch cq workers --type=merge -p {\"spec\":{\"limits\":{\"resources\":{\"nodes\":5}}}}";
    k.ok(patch)?;
    let triggered =
        "get events --field-selector=reason=TriggeredScaleUp -o jsonpath={.items[*].message}";
    k.until(triggered, 30, |out| {
        out.contains("[{workers 3->5 (max: 9)}]")
    })?;
    until_nodes(k, 5, 30)?;
    k.until("get cq workers --no-headers", 30, row)?;
    let described = k.ok("describe capacityquota workers")?;
    for wanted in [
        "cluster-autoscaler.kubernetes.io/valid",
        "CapacityQuota is valid",
        "ReconciliationSucceeded",
    ] {
        check!(described.contains(wanted), "no {wanted:?} in:\n{described}");
    }
    Ok(())
}

/// What upstream's definition refuses, and that people are told about fields.
fn refused(k: &Kubectl) -> Outcome {
    let wrong = QUOTA.replace("nodes: 3", "nodes: 500m");
    let answer = k.feed("apply -f -", &wrong);
    check!(
        !answer.ok && answer.err.contains("must be non-negative integers"),
        "{answer:?}"
    );
    let explained = k.ok("explain capacityquota.spec.limits.resources")?;
    check!(explained.contains("nvidia.com/gpu"), "{explained}");
    Ok(())
}

/// Room is there before the pods, is taken by them, is made anew, and goes with its buffer.
pub(crate) fn buffers(kubectl: &Kubectl) -> Outcome {
    let cluster = start(&[
        "--capacity-buffer-controller-enabled",
        "--capacity-buffer-pod-injection-enabled",
    ])?;
    let k = kubectl.on(&cluster.kubeconfig());
    until_nodes(&k, 1, 60)?;
    apply(&k, BUFFERS)?;
    // There is no Deployment yet.
    let condition = |name: &str, kind: &str| {
        format!("get cb {name} -o jsonpath={{.status.conditions[?(@.type==\"{kind}\")].message}}")
    };
    let missing = "there is no Deployment \"nginx-to-scaleout\"";
    k.until(&condition("surge", "ReadyForProvisioning"), 30, |out| {
        out == missing
    })?;
    apply(&k, DEPLOYMENT)?;
    k.ok("rollout status deploy/nginx-to-scaleout --timeout=60s")?;
    let whole = "2 of 2 pods have room on nodes, 0 will have on nodes to come";
    k.until(&condition("spare", "Provisioning"), 60, |out| out == whole)?;
    // One pod, half of it rounded up.
    let one = "1 of 1 pods have room on nodes, 0 will have on nodes to come";
    k.until(&condition("surge", "Provisioning"), 60, |out| out == one)?;
    let shown = k.ok("get cb --no-headers")?;
    let cells: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().take(4).collect())
        .collect();
    check!(
        cells
            == [
                ["spare", "2", "True", "True"],
                ["surge", "1", "True", "True"]
            ],
        "{shown}"
    );
    until_nodes(&k, 2, 30)?;
    taken(&k, &condition("spare", "Provisioning"), whole)?;
    followed(&k)?;
    k.ok("delete cb --all")?;
    k.ok("delete deploy nginx-to-scaleout whole")?;
    until_nodes(&k, 1, 90)
}

/// A real pod does not wait, and its room is made anew.
fn taken(k: &Kubectl, provisioning: &str, whole: &str) -> Outcome {
    k.ok("create deployment whole --image=registry.k8s.io/pause")?;
    k.ok("set resources deployment whole --requests=cpu=1,memory=256Mi")?;
    k.ok("rollout status deploy/whole --timeout=60s")?;
    k.ok("scale --replicas=2 deploy/whole")?;
    k.ok("rollout status deploy/whole --timeout=60s")?;
    until_nodes(k, 3, 60)?;
    k.until(provisioning, 60, |out| out == whole)?;
    Ok(())
}

/// The share follows the Deployment, up to the limit.
fn followed(k: &Kubectl) -> Outcome {
    for (replicas, wanted) in [(4, "2"), (20, "4"), (1, "1")] {
        k.ok(&format!(
            "scale --replicas={replicas} deploy/nginx-to-scaleout"
        ))?;
        let held = "get cb surge -o jsonpath={.status.replicas}";
        k.until(held, 60, |out| out == wanted)?;
    }
    Ok(())
}
