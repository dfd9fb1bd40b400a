//! Room for a Job's pods, asked for as a whole, with kubectl.

use crate::cluster::Cluster;
use crate::kubectl::{Kubectl, wait};
use crate::lab4::{QUICK, until_nodes};
use crate::{Outcome, check};

/// What a person applies.
const MANIFEST: &str = include_str!("../../../../examples/provisioning-request.yaml");
/// Three pods of the example fit a node.
const GROUP: &str = "workers:1:6:cpu=1800m,memory=4Gi,boot=2s,runtime=simulated";

pub(crate) fn whole(kubectl: &Kubectl) -> Outcome {
    let mut arguments = vec![
        "--nodes",
        "0",
        "--node-group",
        GROUP,
        "--runtime",
        "simulated",
    ];
    arguments.push("--enable-provisioning-requests");
    arguments.extend(QUICK);
    let cluster = Cluster::start(&arguments)?;
    let k = kubectl.on(&cluster.kubeconfig());
    until_nodes(&k, 1, 60)?;
    let applied = k.feed("apply -f -", MANIFEST);
    check!(applied.ok, "{applied:?}");
    k.ok("wait --for=condition=Provisioned provreq/training --timeout=30s")?;
    let shown = k.ok("get provreqs")?;
    for column in ["CLASS", "ACCEPTED", "PROVISIONED", "FAILED", "AGE"] {
        check!(shown.contains(column), "no {column} in:\n{shown}");
    }
    let message =
        "get provreq training -o jsonpath={.status.conditions[?(@.type==\"Provisioned\")].message}";
    let message = k.ok(message)?;
    check!(message.contains("{workers 1->2 (max: 6)}"), "{message}");
    // Room is kept, far longer than a node that nobody needs stays.
    until_nodes(&k, 2, 60)?;
    let gone = wait(12, || {
        k.run("get nodes --no-headers").out.lines().count() < 2
    });
    check!(gone.is_err(), "{}", k.ok("get nodes")?);
    let described = k.ok("describe provreq training")?;
    check!(described.contains("CapacityIsProvisioned"), "{described}");
    k.ok("patch job training -p {\"spec\":{\"suspend\":false}}")?;
    k.ok("wait --for=condition=BookingExpired provreq/training --timeout=60s")?;
    let pods = k.ok("get pods -l app=training -o jsonpath={.items[*].spec.nodeName}")?;
    check!(pods.split_whitespace().count() == 6, "{pods}");
    // The older version is the same, with a warning.
    let old = k.run("get provisioningrequests.v1beta1.autoscaling.x-k8s.io");
    check!(old.ok && old.err.contains("deprecated"), "{old:?}");
    refused(&k)
}

/// What cannot be asked for.
fn refused(k: &Kubectl) -> Outcome {
    let changed =
        k.run("patch provreq training --type=merge -p {\"spec\":{\"parameters\":{\"a\":\"b\"}}}");
    check!(
        !changed.ok && changed.err.contains("Value is immutable"),
        "{changed:?}"
    );
    let many = MANIFEST.replace("count: 6", "count: 16385");
    let many = many.replace("name: training", "name: many");
    let many = k.feed("apply -f -", &many);
    check!(
        !many.ok && many.err.contains("should be less than or equal to 16384"),
        "{many:?}"
    );
    Ok(())
}
