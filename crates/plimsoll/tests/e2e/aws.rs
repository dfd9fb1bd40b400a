//! Node autoscaling against AWS's API: `plimsoll run --cloud-provider=aws` beside a cluster, with
//! moto's server as AWS. What kubelets would do (a Node for each instance) the test does.

use crate::cluster::Cluster;
use crate::kubectl::{Kubectl, wait};
use crate::moto::Moto;
use crate::runner::Runner;
use crate::{Outcome, check};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use std::io::Write as _;
use std::path::Path;

const GROUP: &str = "lab-workers";
const TAGS: [(&str, &str); 2] = [
    ("k8s.io/cluster-autoscaler/enabled", "true"),
    ("k8s.io/cluster-autoscaler/lab", "owned"),
];

/// The test, or the same ignored where there is no server.
pub(crate) fn trial(kubectl: Option<Kubectl>, version: &str) -> Trial {
    let home = std::env::var_os("PLIMSOLL_E2E_MOTO");
    if home.is_none() {
        let line = "skipped: the AWS API: PLIMSOLL_E2E_MOTO is not set (see .ci/fetch-moto)\n";
        std::io::stderr().write_all(line.as_bytes()).ok();
    }
    let both = kubectl.filter(|_| home.is_some());
    let ignored = both.is_none();
    let run = move || both.map_or(Ok(()), |kubectl| whole(&kubectl));
    let name = format!("aws::groups_grow_and_shrink with kubectl {version}");
    Trial::test(name, run).with_ignored_flag(ignored)
}

/// A `plimsoll run` that takes moto at this port for AWS.
fn start(dir: &Path, kubeconfig: &Path, port: u16) -> Result<Runner, Failed> {
    let [(first, _), (second, _)] = TAGS;
    Runner::start(dir, "run", kubeconfig, |command| {
        command
            .args([
                "--cloud-provider=aws",
                "--scale-down-unneeded-time=3s",
                "--scale-down-delay-after-add=1s",
                "--node-delete-delay-after-taint=0s",
                "--serve=",
            ])
            .arg(format!(
                "--node-group-auto-discovery=asg:tag={first},{second}"
            ))
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
    })
}

fn whole(kubectl: &Kubectl) -> Outcome {
    let moto = Moto::start()?;
    moto.launch_template("small", "t3.medium")?;
    moto.group(GROUP, "small", [1, 4, 1], &TAGS)?;
    let without = "--without=horizontal,metrics";
    let cluster = Cluster::start(&["--runtime=simulated", "--nodes=1", without])?;
    let on = kubectl.on(&cluster.kubeconfig());
    // Where the lease is kept.
    on.ok("create namespace plimsoll-system")?;
    let own = on.ok("get nodes -o jsonpath={.items[0].metadata.name}")?;
    on.ok(&format!("cordon {own}"))?;
    join(&on, &moto)?;
    let runner = start(cluster.dir(), &cluster.kubeconfig(), moto.port)?;
    grows(&on, &moto, &runner)?;
    shrinks(&on, &moto).map_err(|error| {
        let why = error.message().unwrap_or_default();
        format!("{why}\nthe log says:\n{}", runner.said()).into()
    })
}

/// Three pods of 1500m each: t3.medium has room for one.
fn grows(on: &Kubectl, moto: &Moto, runner: &Runner) -> Outcome {
    let container =
        json!({"name": "web", "image": "web", "resources": {"requests": {"cpu": "1500m"}}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    });
    let applied = on.feed("apply -f -", &deployment.to_string());
    check!(applied.ok, "{}{}", applied.out, applied.err);
    runner.wait_for(&format!("Final scale-up plan: [{{{GROUP} 1->3 (max: 4)}}]"))?;
    wait(30, || {
        moto.seen(GROUP).is_ok_and(|(desired, _)| desired == 3)
    })
    .map_err(|()| {
        format!(
            "not three machines: {:?}\n{}",
            moto.seen(GROUP),
            runner.said()
        )
    })?;
    join(on, moto)?;
    let placed = "get pods -l app=web -o jsonpath={.items[*].spec.nodeName}";
    on.until(placed, 30, |names| names.split_whitespace().count() == 3)?;
    on.until("get events -o jsonpath={.items[*].message}", 30, |said| {
        said.contains(&format!(
            "pod triggered scale-up: [{{{GROUP} 1->3 (max: 4)}}]"
        ))
    })?;
    Ok(())
}

fn shrinks(on: &Kubectl, moto: &Moto) -> Outcome {
    on.ok("delete deployment web --cascade=orphan")?;
    on.ok("delete replicasets -l app=web --cascade=orphan")?;
    on.ok("delete pods -l app=web --force --grace-period=0")?;
    wait(60, || {
        moto.seen(GROUP)
            .is_ok_and(|(desired, left)| (desired, left.len()) == (1, 1))
    })
    .map_err(|()| format!("not one machine: {:?}", moto.seen(GROUP)).into())
}

/// Makes a ready Node of each instance that has none.
fn join(on: &Kubectl, moto: &Moto) -> Outcome {
    let (_, machines) = moto.seen(GROUP)?;
    for id in machines {
        let name = format!("ip-{id}");
        if on.run(&format!("get node {name}")).ok {
            continue;
        }
        let labels = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "node.kubernetes.io/instance-type": "t3.medium", "topology.kubernetes.io/zone": "us-east-1a",
        });
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
            "spec": {"providerID": format!("aws:///us-east-1a/{id}")},
        });
        let made = on.feed("create -f -", &node.to_string());
        check!(made.ok, "{}{}", made.out, made.err);
        let sizes = json!({"cpu": "2", "memory": "3800Mi", "pods": "110"});
        let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady"});
        let status =
            json!({"status": {"capacity": sizes, "allocatable": sizes, "conditions": [ready]}});
        on.ok(&format!(
            "patch node {name} --subresource=status --type=merge -p {status}"
        ))?;
    }
    Ok(())
}
