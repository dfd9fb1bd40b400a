//! Lab 5, step 3: names and Services, as pods see them.

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::{Outcome, check};

/// A StatefulSet behind a headless Service, one behind an address, and who asks.
const MANIFEST: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: stateful-headless}
spec:
  clusterIP: None
  selector: {type: db}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {type: db}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {type: none}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  selector: {type: db}
  sessionAffinity: ClientIP
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: stateful-pvc}
spec:
  replicas: 2
  serviceName: stateful-headless
  selector: {matchLabels: {type: db}}
  template:
    metadata: {labels: {type: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: container, image: "kubetm/app", ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: request-pod}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: container, image: "kubetm/init", command: ["sh", "-c", "sleep 3600"]}
"#;

pub(crate) fn lab(kubectl: &Kubectl) -> Outcome {
    let cluster = Cluster::start(&["--nodes", "2"])?;
    let k = kubectl.on(&cluster.kubeconfig());
    let made = k.feed("apply -f -", MANIFEST);
    check!(made.ok, "{}", made.err);
    let wait = "wait --for=condition=Ready --timeout=60s";
    k.ok("rollout status sts/stateful-pvc --timeout=60s")?;
    k.ok(&format!("{wait} pod/request-pod"))?;
    headless(&k)?;
    behind_an_address(&k)?;
    from_the_host(&k)?;
    Ok(())
}

/// A line as typed in the pod that asks.
fn inside(k: &Kubectl, line: &str) -> String {
    let printed = k.run(&format!("exec request-pod -- {line}"));
    printed.out + &printed.err
}

/// Every pod of the set has a name of its own, and they all have one together.
fn headless(k: &Kubectl) -> Outcome {
    let addresses = k.ok("get pods -l type=db -o jsonpath={.items[*].status.podIP}")?;
    let addresses: Vec<&str> = addresses.split_whitespace().collect();
    check!(addresses.len() == 2, "{addresses:?}");
    let found = inside(k, "nslookup stateful-headless");
    for address in &addresses {
        check!(found.contains(address), "no {address} in {found}");
    }
    for (pod, address) in ["stateful-pvc-0", "stateful-pvc-1"].iter().zip(&addresses) {
        let name = format!("{pod}.stateful-headless");
        let found = inside(k, &format!("nslookup {name}"));
        check!(found.contains(address), "no {address} in {found}");
        let told = k.ok(&format!("exec request-pod -- curl -s {name}:8080/hostname"))?;
        check!(told.contains(pod), "{name} answers {told}");
    }
    let missing = k.run("exec request-pod -- nslookup stateful-pvc-9.stateful-headless");
    check!(!missing.ok, "{}", missing.out);
    Ok(())
}

/// One address for all, aliases of it, and nobody behind one.
fn behind_an_address(k: &Kubectl) -> Outcome {
    for name in [
        "web",
        "web.default",
        "web.default.svc.cluster.local",
        "alias",
    ] {
        let told = k.ok(&format!(
            "exec request-pod -- curl -s http://{name}/hostname"
        ))?;
        check!(told.contains("stateful-pvc-"), "{name} answers {told}");
    }
    let own = k.ok("exec stateful-pvc-0 -- curl -s http://web/hostname")?;
    check!(
        own.contains("stateful-pvc-"),
        "the own Service answers {own}"
    );
    let first = k.ok("exec request-pod -- curl -s http://sticky/hostname")?;
    for _ in 0..10 {
        let again = k.ok("exec request-pod -- curl -s http://sticky/hostname")?;
        check!(again == first, "{again} instead of {first}");
    }
    let refused = inside(k, "curl -s -S http://nobody/");
    check!(
        refused.to_lowercase().contains("refused") || refused.contains("Failed to connect"),
        "{refused}"
    );
    Ok(())
}

/// The node port, and an address for a load balancer.
fn from_the_host(k: &Kubectl) -> Outcome {
    let port = k.ok("get svc web -o jsonpath={.spec.ports[0].nodePort}")?;
    let told = get(&format!("127.0.0.1:{port}"));
    check!(told.contains("stateful-pvc-"), "port {port} answers {told}");
    let spec = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "balanced"},
        "spec": {"type": "LoadBalancer", "selector": {"type": "db"},
            "ports": [{"port": 18431, "targetPort": 8080}]}}"#;
    let made = k.feed("create -f -", spec);
    check!(made.ok, "{}", made.err);
    let at = "get svc balanced -o jsonpath={.status.loadBalancer.ingress[0].ip}";
    k.until(at, 20, |out| out.starts_with("127.0.0."))?;
    let address = k.ok(at)?;
    let reached = crate::kubectl::wait(10, || {
        get(&format!("{address}:18431")).contains("stateful-pvc-")
    });
    check!(reached.is_ok(), "nobody answers at {address}:18431");
    Ok(())
}

/// What a web server says to `GET /hostname`; empty if it cannot be reached.
fn get(address: &str) -> String {
    use std::io::{Read, Write};
    let said = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        write!(
            stream,
            "GET /hostname HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    said().unwrap_or_default()
}
