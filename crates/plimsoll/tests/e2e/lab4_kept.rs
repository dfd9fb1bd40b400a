//! Lab 4, step 5: what keeps a node, each said and each lifted.

use crate::cluster::{Cluster, plimsoll};
use crate::ending::Ending;
use crate::kubectl::{Kubectl, wait};
use crate::lab4::{start, until_nodes};
use crate::{Outcome, check};
use libtest_mimic::Failed;

/// Each keeper gets a node of its own.
const GROUP: &str = "kept:0:6:cpu=1,memory=1Gi,boot=1s";

/// Who keeps a node, by which reason, and the command that lifts it.
const KEEPERS: [(&str, &str, &str); 5] = [
    ("bare", "NotReplicated", "delete pod bare"),
    ("local", "LocalStorageRequested", "delete deploy local"),
    ("unsafe", "NotSafeToEvictAnnotation", "delete deploy unsafe"),
    (
        "system",
        "UnmovableKubeSystemPod",
        "delete deploy system -n kube-system",
    ),
    ("busy", "NotUnderutilized", "delete deploy busy"),
];

/// A pod that shares its node with none of the others.
fn template(name: &str, cpu: &str) -> (String, String) {
    let metadata = format!("labels: {{keeper: \"true\", app: {name}}}");
    let spec = format!(
        "affinity: {{podAntiAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{{topologyKey: kubernetes.io/hostname, labelSelector: {{matchLabels: {{keeper: \"true\"}}}}, namespaces: [default, kube-system]}}]}}}}, containers: [{{name: c, image: registry.k8s.io/pause, resources: {{requests: {{cpu: {cpu}}}}}}}]"
    );
    (metadata, spec)
}

fn deployment(name: &str, namespace: &str, extra: (&str, &str), cpu: &str) -> String {
    let (metadata, spec) = template(name, cpu);
    let (annotations, volumes) = extra;
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{{metadata}{annotations}}}\n    spec: {{{spec}{volumes}}}\n"
    )
}

fn manifest() -> String {
    let (metadata, spec) = template("bare", "100m");
    let bare = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: bare, namespace: default, {metadata}}}\nspec: {{{spec}}}\n"
    );
    let with_volume = ", volumes: [{name: scratch, emptyDir: {}}]";
    let annotated = ", annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: \"false\"}";
    [
        bare,
        deployment("local", "default", ("", with_volume), "100m"),
        deployment("unsafe", "default", (annotated, ""), "100m"),
        deployment("system", "kube-system", ("", ""), "100m"),
        deployment("busy", "default", ("", ""), "600m"),
    ]
    .concat()
}

pub(crate) fn each(kubectl: &Kubectl) -> Outcome {
    let cluster = start(GROUP)?;
    let k = kubectl.on(&cluster.kubeconfig());
    k.until("get serviceaccount default", 60, |_| true)?;
    let made = k.feed("apply -f -", &manifest());
    check!(made.ok, "{}{}", made.out, made.err);
    until_nodes(&k, 5, 90)?;
    let mut kept = Vec::new();
    for (name, reason, _) in KEEPERS {
        kept.push((node_of(&k, name)?, reason));
    }
    // Twice as long as nodes must be unneeded.
    let gone = wait(14, || k.run("get nodes -o name").out.lines().count() < 5);
    check!(gone.is_err(), "a kept node went:\n{}", k.ok("get nodes")?);
    for (node, reason) in &kept {
        said(&cluster, node, reason)?;
    }
    for ((node, _), (_, _, lift)) in kept.iter().zip(KEEPERS) {
        k.ok(lift)?;
        k.until("get nodes -o name", 60, |out| !out.contains(node.as_str()))?;
    }
    k.until("get nodes -o name", 30, str::is_empty)?;
    described(&k)
}

/// The pods that describe the cluster's own parts went with the last node, and come with the next.
fn described(k: &Kubectl) -> Outcome {
    k.ok("create deployment again --image=registry.k8s.io/pause")?;
    let node = node_of(k, "again")?;
    let parts = format!(
        "get pods -n kube-system -l tier=control-plane --no-headers --field-selector=spec.nodeName={node}"
    );
    k.until(&parts, 60, |out| {
        out.lines().count() == 8 && out.lines().all(|line| line.contains("Running"))
    })?;
    Ok(())
}

fn node_of(k: &Kubectl, name: &str) -> Result<String, Failed> {
    let shown = "jsonpath={.items[0].spec.nodeName}";
    k.until(
        &format!("get pods -A -l app={name} -o {shown}"),
        60,
        |out| !out.is_empty(),
    )
}

/// The node's explanation names what keeps it.
fn said(cluster: &Cluster, node: &str, reason: &str) -> Outcome {
    let mut asking = plimsoll();
    asking.args(["explain", &format!("node/{node}"), "-o", "json"]);
    asking.env("KUBECONFIG", cluster.kubeconfig());
    let output = asking.ends()?;
    let text = String::from_utf8_lossy(&output.stdout);
    check!(text.contains(reason), "no {reason} in {text}{output:?}");
    Ok(())
}
