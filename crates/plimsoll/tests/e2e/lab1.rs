//! Lab 1, steps 1 to 8: manual and automatic horizontal scaling, as a learner types it.

use crate::cluster::{Cluster, plimsoll};
use crate::ending::Ending;
use crate::kubectl::Kubectl;
use crate::{Outcome, check};
use std::process::Command;

pub(crate) fn whole(kubectl: &Kubectl) -> Outcome {
    let cluster = Cluster::start(&["--nodes", "2"])?;
    let k = kubectl.on(&cluster.kubeconfig());
    components(&k)?;
    create(&k)?;
    scale_by_hand(&k)?;
    top(&k)?;
    reach(&k)?;
    look_inside(&k)?;
    autoscale(&k)?;
    load(&k)?;
    explained(&cluster)
}

/// Step 1: what runs.
fn components(k: &Kubectl) -> Outcome {
    let info = k.ok("cluster-info")?;
    check!(info.contains("is running at"), "{info}");
    let pods = k.ok("get pod -n kube-system")?;
    for part in [
        "apiserver",
        "scheduler",
        "controller-manager",
        "dns",
        "metrics-server",
    ] {
        let line = pods.lines().find(|line| line.contains(part));
        check!(
            line.is_some_and(|l| l.contains("1/1") && l.contains("Running")),
            "{part}:\n{pods}"
        );
    }
    let nodes = k.ok("get nodes")?;
    check!(
        nodes.lines().filter(|l| l.contains(" Ready ")).count() == 2,
        "{nodes}"
    );
    Ok(())
}

/// Step 2: a Deployment, its requests, a Service.
fn create(k: &Kubectl) -> Outcome {
    let out = k.ok("create deployment scalable-app --image=k8s.gcr.io/hpa-example --port=80")?;
    check!(out == "deployment.apps/scalable-app created\n", "{out}");
    let out = k.ok("set resources deployment scalable-app --requests=cpu=200m")?;
    check!(
        out == "deployment.apps/scalable-app resource requirements updated\n",
        "{out}"
    );
    let out = k.ok("expose deployment scalable-app --port=80")?;
    check!(out == "service/scalable-app exposed\n", "{out}");
    k.ok("rollout status deploy/scalable-app --timeout=60s")?;
    let all = k.ok("get deploy,svc,rs")?;
    check!(
        all.contains("deployment.apps/scalable-app   1/1     1            1"),
        "{all}"
    );
    check!(all.contains("service/scalable-app"), "{all}");
    let described = k.ok("describe deploy scalable-app")?;
    for wanted in [
        "Replicas:",
        "RollingUpdateStrategy:",
        "k8s.gcr.io/hpa-example",
        "cpu:",
        "200m",
    ] {
        check!(described.contains(wanted), "no {wanted} in:\n{described}");
    }
    check!(
        described.contains("ScalingReplicaSet"),
        "no event in:\n{described}"
    );
    Ok(())
}

/// Step 3: ten and back to one, in the same ReplicaSet.
fn scale_by_hand(k: &Kubectl) -> Outcome {
    let before = current_replica_set(k)?;
    let out = k.ok("scale --replicas=10 deploy/scalable-app")?;
    check!(out == "deployment.apps/scalable-app scaled\n", "{out}");
    let out = k.ok("rollout status deploy/scalable-app --timeout=60s")?;
    check!(out.contains("successfully rolled out"), "{out}");
    let sets = k.ok("get rs")?;
    let name = before.as_str();
    let line = sets.lines().find(|line| line.starts_with(name));
    let counts: Vec<&str> = line
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(3)
        .collect();
    check!(counts == ["10", "10", "10"], "{sets}");
    // The pod of the first template may still be ending.
    let names = "get pods -l app=scalable-app -o name";
    k.until(names, 60, |out| out.lines().count() == 10)?;
    let spread = k.ok("get pods -l app=scalable-app -o jsonpath={.items[*].spec.nodeName}")?;
    for node in ["node-1", "node-2"] {
        let count = spread.split_whitespace().filter(|n| *n == node).count();
        check!(count == 5, "{count} of 10 pods on {node}: {spread}");
    }
    k.ok("scale --replicas=1 deploy/scalable-app")?;
    k.until("get pods -l app=scalable-app -o name", 60, |out| {
        out.lines().count() == 1
    })?;
    check!(current_replica_set(k)? == before, "another ReplicaSet");
    Ok(())
}

fn current_replica_set(k: &Kubectl) -> Result<String, libtest_mimic::Failed> {
    let out = k.ok("get rs -l app=scalable-app -o jsonpath={range.items[?(@.spec.replicas>0)]}{.metadata.name}{end}");
    match out {
        Ok(name) if !name.is_empty() => Ok(name),
        _ => {
            let name = k.ok("get pods -l app=scalable-app -o jsonpath={.items[0].metadata.ownerReferences[0].name}")?;
            Ok(name)
        }
    }
}

/// Step 4: real figures.
fn top(k: &Kubectl) -> Outcome {
    let nodes = k.until("top node", 30, |out| out.contains("node-2"))?;
    check!(
        nodes.contains("CPU(cores)") && nodes.contains("MEMORY(bytes)"),
        "{nodes}"
    );
    let pods = k.until("top pod", 30, |out| out.contains("scalable-app"))?;
    let line = pods
        .lines()
        .find(|l| l.starts_with("scalable-app"))
        .unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    check!(words.get(1).is_some_and(|w| w.ends_with('m')), "{pods}");
    check!(words.get(2).is_some_and(|w| w.ends_with("Mi")), "{pods}");
    Ok(())
}

/// Pod and Service addresses answer from the host and from a pod.
fn reach(k: &Kubectl) -> Outcome {
    let pod_ip = k.ok("get pod -l app=scalable-app -o jsonpath={.items[0].status.podIP}")?;
    let service_ip = k.ok("get svc scalable-app -o jsonpath={.spec.clusterIP}")?;
    for address in [&pod_ip, &service_ip] {
        let out = Command::new("curl")
            .args(["-s", "-m", "5", &format!("http://{address}")])
            .ends()?;
        let text = String::from_utf8_lossy(&out.stdout);
        check!(
            text.contains("OK!"),
            "curl {address} from the host: {text:?}"
        );
    }
    // What a pod says before kubectl has attached is not told again, here as in Kubernetes: on a
    // busy machine so short a command may be over by then.
    k.until(
        "run once --rm -i --restart=Never --image=busybox:1.28 -q -- wget -q -O- http://scalable-app",
        60,
        |out| out.contains("OK!"),
    )?;
    Ok(())
}

/// Part of step 6: exec, attach, logs.
fn look_inside(k: &Kubectl) -> Outcome {
    let out = k.ok("exec deploy/scalable-app -- cat /etc/hostname")?;
    check!(out.starts_with("scalable-app-"), "{out}");
    let mut shell = k.on_terminal("exec -it deploy/scalable-app -- /bin/sh");
    shell.type_in("echo sum=$((40+2))\n");
    shell.wait_for("sum=42", 10)?;
    shell.type_in("exit 7\n");
    check!(!shell.end(10)?, "exit 7 was a success");
    k.ok("run talker --image=busybox:1.28 --restart=Never -- /bin/sh -c 'for i in 1 2 3; do echo line $i; sleep 0.2; done'")?;
    let followed = k.until("logs -f talker", 30, |out| out.contains("line 3"))?;
    check!(followed == "line 1\nline 2\nline 3\n", "{followed}");
    let tail = k.ok("logs talker --tail=1")?;
    check!(tail == "line 3\n", "{tail}");
    k.until("get pod talker", 30, |out| out.contains("Completed"))?;
    k.ok("delete pod talker")?;
    Ok(())
}

/// Step 5: the autoscaler, first without figures, then at rest.
fn autoscale(k: &Kubectl) -> Outcome {
    let flag = if k.version == "1.32" {
        "--cpu-percent=50"
    } else {
        "--cpu=50%"
    };
    let out = k.ok(&format!(
        "autoscale deploy scalable-app {flag} --min=1 --max=10"
    ))?;
    check!(
        out == "horizontalpodautoscaler.autoscaling/scalable-app autoscaled\n",
        "{out}"
    );
    let hpa = k.until("get hpa", 30, |out| out.contains("%/50%"))?;
    check!(hpa.contains("Deployment/scalable-app"), "{hpa}");
    k.until("get hpa", 30, |out| {
        out.contains(": 0%/50%") || out.contains(": 1%/50%")
    })?;
    Ok(())
}

/// Steps 6 to 8: load from a terminal, out, Ctrl-C, and in again.
fn load(k: &Kubectl) -> Outcome {
    let line = "run load -it --rm --image=busybox:1.28 --restart=Never -- /bin/sh -c 'while sleep 0.01; do wget -q -O- http://scalable-app; done'";
    let mut terminal = k.on_terminal(line);
    terminal.wait_for("OK!OK!OK!", 30)?;
    k.until(
        "get hpa scalable-app -o jsonpath={.status.desiredReplicas}",
        60,
        |out| out.trim().parse::<u32>().is_ok_and(|n| n >= 3),
    )?;
    let ready = |out: &str| {
        out.split_whitespace()
            .filter(|word| *word == "true")
            .count()
            >= 3
    };
    let statuses =
        "get pods -l app=scalable-app -o jsonpath={.items[*].status.containerStatuses[0].ready}";
    k.until(statuses, 60, ready)?;
    spread(k)?;
    // A learner's cluster waits 300 s; the window is the only thing shortened here.
    k.ok("patch hpa scalable-app --type=merge -p '{\"spec\":{\"behavior\":{\"scaleDown\":{\"stabilizationWindowSeconds\":10}}}}'")?;
    terminal.type_in("\u{3}");
    terminal.wait_for("pod \"load\" deleted", 60)?;
    terminal.end(30)?;
    k.until(
        "get deploy scalable-app -o jsonpath={.spec.replicas}",
        120,
        |out| out == "1",
    )?;
    let described = k.ok("describe hpa scalable-app")?;
    for wanted in [
        "Metrics:",
        "Min replicas:",
        "Max replicas:",
        "Deployment pods:",
        "AbleToScale",
        "ScalingActive",
        "ScalingLimited",
        "SuccessfulRescale",
        "reason: cpu resource utilization (percentage of request) above target",
        "All metrics below target",
    ] {
        check!(described.contains(wanted), "no {wanted:?} in:\n{described}");
    }
    Ok(())
}

/// The last decision, in sentences and as a record.
fn explained(cluster: &Cluster) -> Outcome {
    let ask = |extra: &[&str]| {
        let mut command = plimsoll();
        command
            .args(["explain", "hpa/scalable-app", "--kubeconfig"])
            .arg(cluster.kubeconfig());
        command.args(extra).ends()
    };
    let text = String::from_utf8(ask(&[])?.stdout)?;
    for wanted in [
        "hpa/scalable-app in default",
        "pods measured",
        "1 to 10 allowed",
        "1 -> ",
    ] {
        check!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
    let record: serde_json::Value = serde_json::from_slice(&ask(&["-o", "json"])?.stdout)?;
    check!(
        record.get("kind").is_some_and(|kind| kind == "Explanation"),
        "{record}"
    );
    Ok(())
}

/// Step 7: the Service spreads the load over the new pods.
fn spread(k: &Kubectl) -> Outcome {
    k.until("top pod -l app=scalable-app --no-headers", 60, |out| {
        let busy = |line: &&str| {
            let cpu = line
                .split_whitespace()
                .nth(1)
                .and_then(|w| w.strip_suffix('m'));
            cpu.and_then(|m| m.parse::<u32>().ok())
                .is_some_and(|m| m >= 5)
        };
        out.lines().filter(busy).count() >= 3
    })?;
    Ok(())
}
