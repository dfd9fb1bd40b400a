//! Lab 4, step 3: pods and nodes scale together, out and in.

use crate::kubectl::Kubectl;
use crate::lab4::{start, until_nodes};
use crate::{Outcome, check};

/// Like the lab's t2.micro: one core, two to four of them, four pods of php-apache on each.
const GROUP: &str = "micro:2:4:cpu=1,memory=1Gi,boot=2s";

const MANIFEST: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: php-apache
spec:
  replicas: 2
  selector: {matchLabels: {run: php-apache}}
  template:
    metadata: {labels: {run: php-apache}}
    spec:
      containers:
      - name: php-apache
        image: registry.k8s.io/hpa-example
        ports: [{containerPort: 80}]
        resources: {limits: {cpu: 500m}, requests: {cpu: 240m}}
---
apiVersion: v1
kind: Service
metadata:
  name: php-apache
spec:
  selector: {run: php-apache}
  ports: [{port: 80}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: php-apache
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: php-apache}
  minReplicas: 2
  maxReplicas: 20
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 5}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 5}
";

pub(crate) fn together(kubectl: &Kubectl) -> Outcome {
    let cluster = start(GROUP)?;
    let k = kubectl.on(&cluster.kubeconfig());
    until_nodes(&k, 2, 60)?;
    let made = k.feed("apply -f -", MANIFEST);
    check!(made.ok, "{}{}", made.out, made.err);
    k.ok("rollout status deploy/php-apache --timeout=60s")?;
    k.until("get hpa php-apache", 60, |out| out.contains("%/5%"))?;

    let line = "run load -it --rm --image=busybox:1.28 --restart=Never -- /bin/sh -c 'while sleep 0.01; do wget -q -O- http://php-apache; done'";
    let mut load = k.on_terminal(line);
    load.wait_for("OK!OK!OK!", 60)?;
    // More than two nodes hold: eight pods, less the load's.
    k.until(
        "get hpa php-apache -o jsonpath={.status.desiredReplicas}",
        90,
        |out| out.trim().parse::<u32>().is_ok_and(|count| count >= 9),
    )?;
    let told =
        "get events --field-selector=reason=TriggeredScaleUp -o jsonpath={.items[*].message}";
    k.until(told, 30, |out| {
        out.contains("pod triggered scale-up: [{micro 2->")
    })?;
    let nodes = k.until("get nodes --no-headers", 90, |out| {
        out.lines().filter(|line| line.contains(" Ready ")).count() >= 3
    })?;
    check!(nodes.lines().count() <= 4, "{nodes}");
    let placed = "get pods -l run=php-apache --field-selector=status.phase=Running -o name";
    k.until(placed, 90, |out| out.lines().count() >= 9)?;

    load.type_in("\u{3}");
    load.wait_for("pod \"load\" deleted", 60)?;
    load.end(30)?;
    k.until(
        "get deploy php-apache -o jsonpath={.spec.replicas}",
        120,
        |out| out == "2",
    )?;
    until_nodes(&k, 2, 120)
}
