//! The life of real pods: order of containers, probes, hooks, crashes, memory, resizes, users.

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::{Outcome, check};
use std::path::{Path, PathBuf};

/// One pod for each thing to see; `DIR` is a directory of the host.
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: order}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  volumes: [{name: work, emptyDir: {}}]
  initContainers:
  - name: first
    image: busybox:1.28
    command: [sh, -c, "echo first >> /shared/log"]
    volumeMounts: [{name: work, mountPath: /shared}]
  - name: side
    image: busybox:1.28
    restartPolicy: Always
    command: [sh, -c, "echo side >> /shared/log; exec sleep 600"]
    startupProbe: {exec: {command: [grep, -q, side, /shared/log]}, periodSeconds: 1}
    volumeMounts: [{name: work, mountPath: /shared}]
  containers:
  - name: app
    image: busybox:1.28
    command: [cat, /shared/log]
    volumeMounts: [{name: work, mountPath: /shared}]
---
apiVersion: v1
kind: Pod
metadata: {name: probed}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: busybox:1.28
    command: [sh, -c, "touch /ok; sleep 3; rm /ok; sleep 600"]
    livenessProbe: {exec: {command: [cat, /ok]}, periodSeconds: 1, failureThreshold: 2}
---
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
  - name: app
    image: busybox:1.28
    command: [tail, -n, "1", /dev/zero]
    resources: {limits: {memory: 16Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: sized}
spec:
  containers:
  - name: app
    image: registry.k8s.io/pause:3.9
    resources: {limits: {cpu: 500m, memory: 64Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: hooked}
spec:
  volumes: [{name: host, hostPath: {path: "DIR", type: DirectoryOrCreate}}]
  containers:
  - name: app
    image: busybox:1.28
    command: [sleep, "600"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo started >> /host/log"]}}
      preStop: {exec: {command: [sh, -c, "echo stopping >> /host/log"]}}
    volumeMounts: [{name: host, mountPath: /host}]
  terminationGracePeriodSeconds: 1
---
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  containers: [{name: app, image: "busybox:1.28", command: [sh, -c, "exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: unstartable}
spec:
  restartPolicy: Never
  containers: [{name: app, image: "busybox:1.28", command: [/no/such/program]}]
---
apiVersion: v1
kind: Pod
metadata: {name: someone}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 1000, runAsGroup: 2000, runAsNonRoot: true}
  shareProcessNamespace: true
  containers: [{name: app, image: "busybox:1.28", command: [id]}]
---
apiVersion: v1
kind: Pod
metadata: {name: nobody}
spec:
  securityContext: {runAsNonRoot: true}
  containers: [{name: app, image: "busybox:1.28", command: [id]}]
"#;

pub(crate) fn whole(kubectl: &Kubectl) -> Outcome {
    let cluster = Cluster::start(&["--nodes", "1"])?;
    let k = kubectl.on(&cluster.kubeconfig());
    let host = cluster.dir().join("seen");
    let pods = PODS.replace("DIR", &host.display().to_string());
    let made = k.feed("apply -f -", &pods);
    check!(made.ok, "{}", made.err);
    ends(&k)?;
    restarts(&k)?;
    resizes(&k)?;
    hooks(&k, &host)
}

fn status(k: &Kubectl, pod: &str, path: &str, want: &str) -> Outcome {
    let line = format!("get pod {pod} -o jsonpath={{.status.{path}}}");
    k.until(&line, 60, |said| said == want)?;
    Ok(())
}

fn ends(k: &Kubectl) -> Outcome {
    status(k, "order", "phase", "Succeeded")?;
    let said = k.ok("logs order -c app")?;
    check!(said == "first\nside\n", "{said}");
    status(
        k,
        "greedy",
        "containerStatuses[0].state.terminated.reason",
        "OOMKilled",
    )?;
    status(
        k,
        "greedy",
        "containerStatuses[0].state.terminated.exitCode",
        "137",
    )?;
    status(k, "unstartable", "phase", "Failed")?;
    status(
        k,
        "unstartable",
        "containerStatuses[0].state.terminated.reason",
        "StartError",
    )?;
    status(k, "someone", "phase", "Succeeded")?;
    let said = k.ok("logs someone")?;
    check!(
        said.starts_with("uid=1000") && said.contains("gid=2000"),
        "{said}"
    );
    let waiting = "containerStatuses[0].state.waiting.reason";
    status(k, "nobody", waiting, "CreateContainerConfigError")?;
    let said = k.ok("describe pod nobody")?;
    check!(said.contains("image will run as root"), "{said}");
    Ok(())
}

fn restarts(k: &Kubectl) -> Outcome {
    let waiting = "containerStatuses[0].state.waiting.reason";
    status(k, "crashing", waiting, "CrashLoopBackOff")?;
    let last = "containerStatuses[0].lastState.terminated.exitCode";
    status(k, "crashing", last, "3")?;
    let count = "get pod probed -o jsonpath={.status.containerStatuses[0].restartCount}";
    k.until(count, 60, |said| said.parse::<u32>().is_ok_and(|n| n > 0))?;
    let said = k.ok("describe pod probed")?;
    for part in [
        "Liveness probe failed",
        "failed liveness probe, will be restarted",
    ] {
        check!(said.contains(part), "{part} is not in {said}");
    }
    Ok(())
}

fn resizes(k: &Kubectl) -> Outcome {
    k.ok("wait pod/sized --for=condition=Ready --timeout=60s")?;
    let uid = k.ok("get pod sized -o jsonpath={.metadata.uid}")?;
    let change = r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"250m","memory":"128Mi"},"limits":{"cpu":"250m","memory":"128Mi"}}}]}}"#;
    k.ok(&format!(
        "patch pod sized --subresource=resize --patch '{change}'"
    ))?;
    status(
        k,
        "sized",
        "containerStatuses[0].resources.limits.memory",
        "128Mi",
    )?;
    status(
        k,
        "sized",
        "containerStatuses[0].allocatedResources.cpu",
        "250m",
    )?;
    status(k, "sized", "containerStatuses[0].restartCount", "0")?;
    let quotas = quotas(&uid);
    let right = |text: &String| text.starts_with("25000");
    // Without control groups the governor does it.
    check!(quotas.iter().all(right), "{quotas:?}");
    k.until("describe pod sized", 30, |said| {
        said.contains("ResizeCompleted")
    })?;
    Ok(())
}

/// CPU quotas of the containers of a pod, as the kernel has them.
fn quotas(uid: &str) -> Vec<String> {
    let mut found = Vec::new();
    find(
        Path::new("/sys/fs/cgroup"),
        &format!("pod{uid}"),
        &mut found,
    );
    let containers = found.iter().filter_map(|pod| std::fs::read_dir(pod).ok());
    let files = containers
        .flatten()
        .flatten()
        .flat_map(|entry| ["cpu.cfs_quota_us", "cpu.max"].map(|file| entry.path().join(file)));
    files
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect()
}

fn find(below: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() == name {
                found.push(entry.path());
            }
            find(&entry.path(), name, found);
        }
    }
}

fn hooks(k: &Kubectl, host: &Path) -> Outcome {
    k.ok("wait pod/hooked --for=condition=Ready --timeout=60s")?;
    k.ok("delete pod hooked --wait --timeout=60s")?;
    let log = std::fs::read_to_string(host.join("log"))?;
    check!(log == "started\nstopping\n", "{log}");
    Ok(())
}
