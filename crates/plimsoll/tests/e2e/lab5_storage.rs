//! Lab 5, step 2: claims, and data that outlives pods and the cluster's process.

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::{Outcome, check};

const MANIFEST: &str = include_str!("../../../../examples/storage.yaml");

const ELSEWHERE: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: elsewhere}
spec:
  nodeSelector: {kubernetes.io/hostname: node-2}
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: kubetm/app, volumeMounts: [{name: data, mountPath: /applog}]}
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: replica-pvc1}}
";

const WAITING: &str = r"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: patient}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 10Mi}}
";

const FILES: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red}
---
apiVersion: v1
kind: Pod
metadata: {name: files, labels: {mood: calm}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: kubetm/app
    volumeMounts:
    - {name: settings, mountPath: /settings}
    - {name: settings, mountPath: /fixed, subPath: colour}
    - {name: about, mountPath: /about}
    - {name: data, mountPath: /data}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - name: about
    downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
  - {name: data, persistentVolumeClaim: {claimName: patient}}
";

pub(crate) fn whole(kubectl: &Kubectl) -> Outcome {
    let scratch = tempfile::tempdir()?;
    let cluster = Cluster::start_in(scratch.path(), &["--nodes", "2"])?;
    let k = kubectl.on(&cluster.kubeconfig());
    classes(&k)?;
    shared_by_a_replica_set(&k)?;
    on_one_node(&k)?;
    one_for_each(&k)?;
    first_consumer(&k)?;
    files_that_change(&k)?;
    drop(cluster);
    let cluster = Cluster::start_in(scratch.path(), &["--nodes", "2"])?;
    let k = kubectl.on(&cluster.kubeconfig());
    found_after_a_restart(&k)?;
    deleted_with_its_claim(&k, &cluster)
}

fn apply(k: &Kubectl, manifest: &str) -> Outcome {
    let printed = k.feed("apply -f -", manifest);
    check!(printed.ok, "{}{}", printed.out, printed.err);
    check!(printed.err.is_empty(), "{}", printed.err);
    Ok(())
}

fn classes(k: &Kubectl) -> Outcome {
    let classes = k.ok("get sc")?;
    let line = |name: &str| classes.lines().find(|line| line.starts_with(name));
    let standard = line("standard (default)").unwrap_or_default();
    check!(standard.contains("WaitForFirstConsumer"), "{classes}");
    let fast = line("fast").unwrap_or_default();
    check!(
        fast.contains("plimsoll.dev/local") && fast.contains("Immediate"),
        "{classes}"
    );
    Ok(())
}

fn shared_by_a_replica_set(k: &Kubectl) -> Outcome {
    apply(k, MANIFEST)?;
    k.until("get pvc replica-pvc1", 30, |out| out.contains("Bound"))?;
    let listed = k.ok("get pvc,pv")?;
    check!(
        listed.contains("default/replica-pvc1") && listed.contains("1G") && listed.contains("RWO"),
        "{listed}"
    );
    let described = k.ok("describe pvc replica-pvc1")?;
    check!(
        described.contains("ProvisioningSucceeded") && described.contains("Used By:"),
        "{described}"
    );
    k.ok("wait --for=condition=Ready pod -l type=web --timeout=60s")?;
    let names = k.ok("get pods -l type=web -o jsonpath={.items[*].metadata.name}")?;
    let names: Vec<&str> = names.split_whitespace().collect();
    let [first, second] = names.as_slice() else {
        return Err(format!("not two pods: {names:?}").into());
    };
    k.ok(&format!(
        "exec {first} -- sh -c 'echo from-{first} > /applog/shared.log'"
    ))?;
    let read = k.ok(&format!("exec {second} -- cat /applog/shared.log"))?;
    check!(read == format!("from-{first}\n"), "{read}");
    k.ok("delete pod -l type=web")?;
    k.ok("wait --for=condition=Ready pod -l type=web --timeout=60s")?;
    let read = k.ok("exec rs/replica-pvc -- cat /applog/shared.log")?;
    check!(read == format!("from-{first}\n"), "{read}");
    Ok(())
}

/// A pod on another node cannot have the volume while the first node uses it.
fn on_one_node(k: &Kubectl) -> Outcome {
    apply(k, ELSEWHERE)?;
    let events = "get events --field-selector involvedObject.name=elsewhere";
    let told = k.until(events, 30, |out| out.contains("FailedAttachVolume"))?;
    check!(told.contains("Multi-Attach error for volume"), "{told}");
    check!(
        told.contains("Volume is already used by pod(s) replica-pvc-"),
        "{told}"
    );
    k.ok("scale rs replica-pvc --replicas=0")?;
    k.ok("wait --for=condition=Ready pod elsewhere --timeout=60s")?;
    k.ok("exec elsewhere -- cat /applog/shared.log")?;
    k.ok("delete pod elsewhere")?;
    Ok(())
}

fn one_for_each(k: &Kubectl) -> Outcome {
    k.ok("rollout status sts/stateful-pvc --timeout=60s")?;
    for name in ["volume-stateful-pvc-0", "volume-stateful-pvc-1"] {
        let claim = k.ok(&format!("get pvc {name}"))?;
        check!(claim.contains("Bound"), "{claim}");
    }
    k.ok("exec stateful-pvc-0 -- sh -c 'echo zero > /applog/app.log'")?;
    k.ok("exec stateful-pvc-1 -- sh -c 'echo one > /applog/app.log'")?;
    k.ok("delete pod stateful-pvc-0")?;
    k.ok("rollout status sts/stateful-pvc --timeout=60s")?;
    let read = k.ok("exec stateful-pvc-0 -- cat /applog/app.log")?;
    check!(read == "zero\n", "{read}");
    k.ok("scale sts stateful-pvc --replicas=0")?;
    k.until("get pods -l type=db -o name", 60, str::is_empty)?;
    let claims = k.ok("get pvc -o name")?;
    check!(
        claims.matches("volume-stateful-pvc-").count() == 2,
        "{claims}"
    );
    k.ok("scale sts stateful-pvc --replicas=2")?;
    k.ok("rollout status sts/stateful-pvc --timeout=60s")?;
    let read = k.ok("exec stateful-pvc-1 -- cat /applog/app.log")?;
    check!(read == "one\n", "{read}");
    Ok(())
}

/// A claim of the default class waits for the pod that uses it, and then stays on its node.
fn first_consumer(k: &Kubectl) -> Outcome {
    apply(k, WAITING)?;
    let events = "get events --field-selector involvedObject.name=patient";
    k.until(events, 30, |out| {
        out.contains("waiting for first consumer to be created before binding")
    })?;
    let claim = k.ok("get pvc patient")?;
    check!(
        claim.contains("Pending") && claim.contains("standard"),
        "{claim}"
    );
    apply(k, FILES)?;
    k.ok("wait --for=condition=Ready pod files --timeout=60s")?;
    let claim = k.ok("get pvc patient")?;
    check!(claim.contains("Bound"), "{claim}");
    let node = k.ok("get pod files -o jsonpath={.spec.nodeName}")?;
    let volume = k.ok("get pvc patient -o jsonpath={.spec.volumeName}")?;
    let described = k.ok(&format!("describe pv {volume}"))?;
    let wanted = format!("kubernetes.io/hostname in [{node}]");
    check!(described.contains(&wanted), "no {wanted} in:\n{described}");
    Ok(())
}

fn files_that_change(k: &Kubectl) -> Outcome {
    let read = k.ok("exec files -- cat /settings/colour /fixed")?;
    check!(read == "redred", "{read}");
    k.ok(r#"patch configmap settings -p '{"data":{"colour":"blue","shape":"round"}}'"#)?;
    k.until("exec files -- cat /settings/colour", 30, |out| {
        out == "blue"
    })?;
    let read = k.ok("exec files -- cat /settings/shape /fixed")?;
    check!(read == "roundred", "{read}");
    let read = k.ok("exec files -- cat /about/labels")?;
    check!(read == "mood=\"calm\"", "{read}");
    k.ok("label pod files mood=busy --overwrite")?;
    k.until("exec files -- cat /about/labels", 30, |out| {
        out == "mood=\"busy\""
    })?;
    let refused = k.run("exec files -- sh -c 'echo x > /settings/colour'");
    check!(
        !refused.ok && refused.err.contains("Read-only"),
        "{}",
        refused.err
    );
    k.ok("exec files -- sh -c 'echo kept > /data/file'")?;
    Ok(())
}

fn found_after_a_restart(k: &Kubectl) -> Outcome {
    k.ok("rollout status sts/stateful-pvc --timeout=60s")?;
    let read = "exec stateful-pvc-0 -- cat /applog/app.log";
    k.until(read, 60, |out| out == "zero\n")?;
    k.until("exec files -- cat /data/file", 60, |out| out == "kept\n")?;
    Ok(())
}

fn deleted_with_its_claim(k: &Kubectl, cluster: &Cluster) -> Outcome {
    let claims = ["default_patient", "default_replica-pvc1"];
    let left = || -> Result<Vec<String>, std::io::Error> {
        let entries = std::fs::read_dir(cluster.dir().join("volumes"))?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    for claim in claims {
        check!(
            left()?.iter().any(|name| name.ends_with(claim)),
            "no {claim} in {:?}",
            left()?
        );
    }
    k.ok("delete pvc patient --wait=false")?;
    let listed = k.ok("get pvc patient")?;
    check!(listed.contains("Terminating"), "in use and gone: {listed}");
    k.ok("delete pod files")?;
    k.ok("delete pvc replica-pvc1")?;
    k.until("get pvc -o name", 30, |out| !out.contains("/patient"))?;
    k.until("get pv", 30, |out| {
        !out.contains("patient") && !out.contains("replica-pvc1")
    })?;
    for claim in claims {
        check!(
            !left()?.iter().any(|name| name.ends_with(claim)),
            "left: {:?}",
            left()?
        );
    }
    Ok(())
}
