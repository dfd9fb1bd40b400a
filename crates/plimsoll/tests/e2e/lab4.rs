//! Lab 4, steps 1, 2, 4 and 6: nodes come with the pods that need them and go when they are no longer
//! needed, with real pods on local nodes, as a learner types it.

use crate::cluster::Cluster;
use crate::kubectl::{Kubectl, wait};
use crate::{Outcome, check};
use libtest_mimic::Failed;
use std::collections::BTreeSet;

/// Upstream's flags, with waits that a test can await.
pub(crate) const QUICK: &[&str] = &[
    "--scale-down-unneeded-time=6s",
    "--scale-down-delay-after-add=3s",
    "--scale-down-delay-after-failure=5s",
    "--unremovable-node-recheck-timeout=3s",
    "--scan-interval=1s",
];

/// A cluster of this group alone.
pub(crate) fn start(group: &str) -> Result<Cluster, Failed> {
    let mut arguments = vec!["--node-group", group];
    arguments.extend(QUICK);
    Cluster::start(&arguments)
}

/// Names of the nodes that are ready, as `kubectl get nodes` shows them.
pub(crate) fn ready_nodes(out: &str) -> Vec<String> {
    let ready = |line: &&str| line.split_whitespace().nth(1) == Some("Ready");
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    out.lines().filter(ready).filter_map(name).collect()
}

/// Waits until so many nodes are ready, and no others are there.
pub(crate) fn until_nodes(k: &Kubectl, count: usize, seconds: u64) -> Outcome {
    k.until("get nodes --no-headers", seconds, |out| {
        out.lines().count() == count && ready_nodes(out).len() == count
    })?;
    Ok(())
}

/// Three pods of the lab fit a node.
const GROUP: &str = "workers:3:6:cpu=1800m,memory=4Gi,boot=2s";

pub(crate) fn whole(kubectl: &Kubectl) -> Outcome {
    let cluster = start(GROUP)?;
    let k = kubectl.on(&cluster.kubeconfig());
    until_nodes(&k, 3, 60)?;
    create(&k)?;
    out(&k)?;
    logged(&cluster)?;
    status(&k)?;
    protected(&k)?;
    back(&k, &cluster)?;
    by_hand(&k)
}

/// Step 2, first half: the Deployment of the lab.
fn create(k: &Kubectl) -> Outcome {
    k.ok("create deployment nginx-to-scaleout --image=nginx")?;
    let out = k.ok(
        "set resources deployment nginx-to-scaleout --requests=cpu=500m,memory=512Mi --limits=cpu=500m,memory=512Mi",
    )?;
    check!(
        out == "deployment.apps/nginx-to-scaleout resource requirements updated\n",
        "{out}"
    );
    k.ok("rollout status deploy/nginx-to-scaleout --timeout=60s")?;
    Ok(())
}

/// Step 2, second half: fifteen pods need five nodes.
fn out(k: &Kubectl) -> Outcome {
    let watched = k.on_terminal("get nodes -w");
    watched.wait_for("Ready", 10)?;
    k.ok("scale --replicas=15 deploy/nginx-to-scaleout")?;
    let events = |reason: &str| {
        format!("get events --field-selector=reason={reason} -o jsonpath={{.items[*].message}}")
    };
    k.until(&events("FailedScheduling"), 30, |out| {
        out.contains("3 Insufficient cpu")
    })?;
    k.until(&events("TriggeredScaleUp"), 30, |out| {
        out.contains("pod triggered scale-up: [{workers 3->5 (max: 6)}]")
    })?;
    until_nodes(k, 5, 60)?;
    k.ok("rollout status deploy/nginx-to-scaleout --timeout=90s")?;
    let pods = k.ok("get pods -l app=nginx-to-scaleout --no-headers -o wide")?;
    let running = pods.lines().filter(|line| line.contains(" Running "));
    check!(running.count() == 15, "{pods}");
    let new = ready_nodes(&k.ok("get nodes --no-headers")?);
    for node in &new {
        let here = pods
            .lines()
            .filter(|line| line.contains(node.as_str()))
            .count();
        check!(here == 3, "{here} pods on {node}:\n{pods}");
        watched.wait_for(node, 10)?;
    }
    watched.kill();
    Ok(())
}

/// The lines people look for in the log.
fn logged(cluster: &Cluster) -> Outcome {
    let log = std::fs::read_to_string(cluster.dir().join("plimsoll.log"))?;
    for wanted in [
        "Final scale-up plan: [{workers 3->5 (max: 6)}]",
        "Estimated 2 nodes needed in workers",
        "Scale-up: setting group workers size to 5",
    ] {
        check!(log.contains(wanted), "no {wanted:?} in:\n{log}");
    }
    Ok(())
}

/// The status of the autoscaler.
fn status(k: &Kubectl) -> Outcome {
    let shown = "get configmap cluster-autoscaler-status -n kube-system -o jsonpath={.data.status}";
    let text = k.until(shown, 30, |out| {
        out.contains("cloudProviderTarget: 5") && out.contains("ready: 5")
    })?;
    for wanted in [
        "autoscalerStatus: Running",
        "name: workers",
        "minSize: 3",
        "maxSize: 6",
        "status: Healthy",
    ] {
        check!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
    Ok(())
}

/// Step 4: as long as a budget lets no pod go, the nodes stay.
fn protected(k: &Kubectl) -> Outcome {
    let out = k.ok("create pdb nginx --selector=app=nginx-to-scaleout --min-available=5")?;
    check!(out == "poddisruptionbudget.policy/nginx created\n", "{out}");
    // One pod of each node is the last to go.
    let placed = "get pods -l app=nginx-to-scaleout --no-headers -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName";
    let mut seen = BTreeSet::new();
    for line in k.ok(placed)?.lines() {
        let (pod, node) = line.split_once(' ').ok_or("two columns")?;
        if seen.insert(node.trim().to_owned()) {
            let cost = "controller.kubernetes.io/pod-deletion-cost=100";
            k.ok(&format!("annotate pod {pod} {cost}"))?;
        }
    }
    k.ok("scale --replicas=5 deploy/nginx-to-scaleout")?;
    let names = "get pods -l app=nginx-to-scaleout -o name";
    k.until(names, 90, |out| out.lines().count() == 5)?;
    // Twice as long as they must be unneeded, no node goes and no pod is evicted.
    let before = k.ok(names)?;
    let gone = wait(14, || {
        let nodes = k.run("get nodes --no-headers").out;
        nodes.lines().count() < 5 || nodes.contains("SchedulingDisabled")
    });
    check!(
        gone.is_err(),
        "a protected node goes:\n{}",
        k.ok("get nodes")?
    );
    check!(k.ok(names)? == before, "a protected pod went");
    Ok(())
}

/// With room in the budget the nodes are drained, down to the minimum of the group.
fn back(k: &Kubectl, cluster: &Cluster) -> Outcome {
    let watched = k.on_terminal("get nodes -w");
    watched.wait_for("Ready", 10)?;
    k.ok("delete pdb nginx")?;
    k.ok("create pdb nginx --selector=app=nginx-to-scaleout --min-available=4")?;
    until_nodes(k, 3, 120)?;
    // What a drain looks like from outside.
    watched.wait_for("SchedulingDisabled", 10)?;
    watched.kill();
    k.until(
        "get pods -l app=nginx-to-scaleout --no-headers",
        60,
        |out| {
            out.lines()
                .filter(|line| line.contains(" Running "))
                .count()
                == 5
                && out.lines().count() == 5
        },
    )?;
    let log = std::fs::read_to_string(cluster.dir().join("plimsoll.log"))?;
    for wanted in ["Scale-down: removing node workers-", "was unneeded for"] {
        check!(log.contains(wanted), "no {wanted:?} in:\n{log}");
    }
    let told = "get events -A --field-selector=reason=ScaleDown -o jsonpath={.items[*].message}";
    let told = k.ok(told)?;
    check!(!told.is_empty(), "no event tells of it");
    // The minimum holds, and nothing is left behind.
    let changed = wait(10, || {
        let nodes = k.run("get nodes --no-headers").out;
        nodes.lines().count() != 3 || nodes.contains("SchedulingDisabled")
    });
    check!(changed.is_err(), "{}", k.ok("get nodes")?);
    let taints = k.ok("get nodes -o jsonpath={.items[*].spec.taints[*].key}")?;
    check!(!taints.contains("ToBeDeleted"), "{taints}");
    Ok(())
}

/// Step 6: nodes are taken out and given back by hand.
fn by_hand(k: &Kubectl) -> Outcome {
    let nodes = ready_nodes(&k.ok("get nodes --no-headers")?);
    let node = nodes.first().ok_or("no node")?;
    let out = k.ok(&format!("cordon {node}"))?;
    check!(out == format!("node/{node} cordoned\n"), "{out}");
    k.ok(&format!(
        "drain {node} --ignore-daemonsets --delete-emptydir-data --timeout=60s"
    ))?;
    let out = k.ok(&format!("uncordon {node}"))?;
    check!(out == format!("node/{node} uncordoned\n"), "{out}");
    until_nodes(k, 3, 30)
}
