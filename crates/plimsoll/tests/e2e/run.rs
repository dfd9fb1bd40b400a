//! `plimsoll run` as a process of its own, with the rights that `plimsoll install` gives it and no
//! others, over TLS.

use crate::cluster::{Cluster, plimsoll};
use crate::ending::Ending;
use crate::kubectl::{Kubectl, printed, wait};
use crate::runner::Runner;
use crate::{Outcome, check};
use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

const ACCOUNT: &str = "system:serviceaccount:plimsoll-system:plimsoll";
const HOLDER: &str = "get lease plimsoll -n plimsoll-system -o jsonpath={.spec.holderIdentity}";

/// Starts one that serves metrics, and asks kubelets where they say they are.
fn start(dir: &Path, name: &str, kubeconfig: &Path) -> Result<Runner, Failed> {
    let (port, address) = (free_port()?, own_address()?);
    Runner::start(dir, name, kubeconfig, |command| {
        command.args([
            "--metric-resolution=1s",
            "--kubelet-use-node-status-port",
            "--kubelet-preferred-address-types=ExternalIP",
        ]);
        command.arg(format!("--secure-port={port}"));
        command.arg(format!("--advertise-address={address}"));
    })
}

/// A port that nobody listens on at the moment.
fn free_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// An address of this machine that may be an endpoint. Nothing is sent.
fn own_address() -> Result<IpAddr, Failed> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect("192.0.2.1:9")?;
    Ok(socket.local_addr()?.ip())
}

/// Installs, runs, scales, hands over; and nothing was forbidden.
pub(crate) fn whole(kubectl: &Kubectl) -> Outcome {
    let scratch = tempfile::tempdir()?;
    let audit = scratch.path().join("audit.log");
    let audit_flag = format!("--audit-log={}", audit.display());
    let cluster = Cluster::start(&[
        "--runtime=simulated",
        "--nodes=2",
        "--without=horizontal,metrics",
        &audit_flag,
    ])?;
    let k = kubectl.on(&cluster.kubeconfig());
    doctor(&cluster)?;
    install(&k, scratch.path())?;
    let kubeconfig = account(&k, scratch.path())?;
    let first = start(scratch.path(), "first", &kubeconfig)?;
    first.wait_for("obeying HorizontalPodAutoscalers")?;
    scales(&k).map_err(|error| with_log(&error, &first))?;
    serves(&k, &cluster).map_err(|error| with_log(&error, &first))?;
    let second = start(scratch.path(), "second", &kubeconfig)?;
    second.wait_for("another process leads")?;
    takes_over(&k, first, &second)?;
    hands_over(&k, second)?;
    nothing_was_forbidden(&audit)
}

/// Where the namespace of its own objects is missing, it says so once, and what to do.
pub(crate) fn homeless(kubectl: &Kubectl) -> Outcome {
    let scratch = tempfile::tempdir()?;
    let cluster = Cluster::start(&[
        "--runtime=simulated",
        "--nodes=1",
        "--without=horizontal,metrics",
    ])?;
    let k = kubectl.on(&cluster.kubeconfig());
    let runner = start(scratch.path(), "homeless", &cluster.kubeconfig())?;
    let advice = "there is no namespace plimsoll-system: kubectl create namespace plimsoll-system, \
                  or name another one with --leader-elect-resource-namespace";
    runner.wait_for(advice)?;
    // Several attempts later it has not said it again.
    let again = wait(7, || runner.said().matches(advice).count() > 1);
    check!(again.is_err(), "{}", runner.said());
    k.ok("create namespace plimsoll-system")?;
    runner.wait_for("became leader")?;
    let said = runner.said();
    check!(!said.contains("NotFound"), "{said}");
    Ok(())
}

fn with_log(error: &Failed, runner: &Runner) -> Failed {
    let why = error.message().unwrap_or_default();
    format!("{why}\nthe log says:\n{}", runner.said()).into()
}

fn doctor(cluster: &Cluster) -> Outcome {
    let output = plimsoll()
        .arg("doctor")
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .ends()?;
    let said = printed(&output);
    check!(said.ok, "{}{}", said.out, said.err);
    check!(!said.out.contains("WARN"), "{}", said.out);
    check!(said.out.ends_with("ready to install\n"), "{}", said.out);
    Ok(())
}

/// What is printed can be applied, and once more without a change.
fn install(k: &Kubectl, dir: &Path) -> Outcome {
    let output = plimsoll().args(["install", "--replicas=0"]).ends()?;
    check!(output.status.success(), "{output:?}");
    let file = dir.join("install.yaml");
    std::fs::write(&file, output.stdout)?;
    let file = file.display();
    k.ok(&format!("apply --validate=strict -f {file}"))?;
    let again = k.ok(&format!("apply --validate=strict -f {file}"))?;
    let changed = again.lines().find(|line| !line.ends_with(" unchanged"));
    check!(changed.is_none(), "{again}");
    let dry = k.ok(&format!(
        "apply --dry-run=server --validate=strict -f {file}"
    ))?;
    check!(dry.contains("deployment.apps/plimsoll"), "{dry}");
    Ok(())
}

/// Credentials of the service account, as a kubeconfig.
fn account(k: &Kubectl, dir: &Path) -> Result<PathBuf, Failed> {
    let token = k.ok("create token plimsoll -n plimsoll-system")?;
    let mut config: Value = serde_json::from_str(&k.ok("config view --raw -o json")?)?;
    let user = config.pointer_mut("/users/0/user").ok_or("no user")?;
    *user = json!({"token": token.trim()});
    let path = dir.join("account.kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

fn scales(k: &Kubectl) -> Outcome {
    k.ok("create deployment web --image=nginx")?;
    k.ok("set resources deployment web --requests=cpu=1m,memory=512Ki")?;
    let hpa = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {
                "name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    });
    let made = k.feed("create -f -", &hpa.to_string());
    check!(made.ok, "{}", made.err);
    replicas(k, "3")?;
    let described = k.until("describe hpa web", 30, |out| {
        out.contains("SuccessfulRescale")
    })?;
    check!(
        described.contains("horizontal-pod-autoscaler"),
        "{described}"
    );
    let line = k.until("get hpa web --no-headers", 30, |out| out.contains("%/50%"))?;
    check!(line.contains("memory: 200%/50%"), "{line}");
    Ok(())
}

/// Its APIs answer through the API server.
fn serves(k: &Kubectl, cluster: &Cluster) -> Outcome {
    for api in ["v1beta1.metrics.k8s.io", "v1alpha1.explain.plimsoll.dev"] {
        k.ok(&format!(
            "wait --for=condition=Available --timeout=60s apiservice/{api}"
        ))?;
    }
    let top = k.until("top pod", 60, |out| out.contains("web-"))?;
    check!(top.contains("1Mi"), "{top}");
    let nodes = k.until("top node", 30, |out| out.contains("node-2"))?;
    check!(nodes.contains("node-1"), "{nodes}");
    let output = plimsoll()
        .args(["explain", "hpa/web", "--kubeconfig"])
        .arg(cluster.kubeconfig())
        .ends()?;
    let said = printed(&output);
    check!(said.ok, "{}", said.err);
    check!(said.out.contains("hpa/web in default"), "{}", said.out);
    Ok(())
}

fn replicas(k: &Kubectl, wanted: &str) -> Outcome {
    let line = "get deploy web -o jsonpath={.spec.replicas}";
    k.until(line, 60, |out| out == wanted).map(drop)
}

/// The leader dies; the other waits for the lease to run out and goes on.
fn takes_over(k: &Kubectl, first: Runner, second: &Runner) -> Outcome {
    let before = k.ok(HOLDER)?;
    first.end(Signal::SIGKILL)?;
    k.until(HOLDER, 30, |out| !out.is_empty() && out != before)?;
    second.wait_for("obeying HorizontalPodAutoscalers")?;
    k.ok("patch hpa web --type=merge -p '{\"spec\":{\"maxReplicas\":5}}'")?;
    replicas(k, "5").map_err(|error| with_log(&error, second))
}

/// A leader that is asked to stop gives the lease back and ends well.
fn hands_over(k: &Kubectl, second: Runner) -> Outcome {
    let code = second.end(Signal::SIGTERM)?;
    check!(code == Some(0), "exit code {code:?}");
    let holder = k.ok(HOLDER)?;
    check!(holder.is_empty(), "{holder}");
    let events = k.ok("get events -n plimsoll-system --field-selector reason=LeaderElection")?;
    check!(events.contains("became leader"), "{events}");
    Ok(())
}

fn nothing_was_forbidden(audit: &Path) -> Outcome {
    let text = std::fs::read_to_string(audit)?;
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut forbidden = Vec::new();
    for line in text.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if event.pointer("/user/username").and_then(Value::as_str) != Some(ACCOUNT) {
            continue;
        }
        let code = event
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64);
        *answers.entry(format!("{code:?}")).or_default() += 1;
        if code == Some(403) {
            let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
            forbidden.push(format!("{} {}", text("verb"), text("requestURI")));
        }
    }
    check!(!answers.is_empty(), "the audit log does not know {ACCOUNT}");
    forbidden.sort();
    forbidden.dedup();
    check!(forbidden.is_empty(), "forbidden: {forbidden:#?}");
    Ok(())
}

/// The chart makes the same objects as `plimsoll install`.
pub(crate) fn chart(kubectl: &Kubectl) -> Outcome {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path().join("chart");
    let written = plimsoll().args(["install", "--helm"]).arg(&dir).ends()?;
    check!(written.status.success(), "{written:?}");
    let lint = kubectl.helm(&format!("lint {}", dir.display()));
    check!(lint.ok, "{}{}", lint.out, lint.err);
    let cases = [
        ("--set createNamespace=true", ""),
        (
            "--set createNamespace=true --set scope.namespaces={a,b} --set replicas=3 --set \
             networkPolicy.enabled=true --set extraArgs={--metric-resolution=5s}",
            "scope: {namespaces: [a, b]}\nreplicas: 3\nnetworkPolicy: {enabled: true}\n\
             extraArgs: [--metric-resolution=5s]\n",
        ),
        (
            "--set createNamespace=true --set nodeAutoscaling.enabled=true --set \
             nodeAutoscaling.clusterApi=true --set \
             nodeAutoscaling.args={--cloud-provider=clusterapi}",
            "nodeAutoscaling: {enabled: true, clusterApi: true, args: [--cloud-provider=clusterapi]}\n",
        ),
    ];
    for (flags, values) in cases {
        let rendered = kubectl.helm(&format!(
            "template plimsoll {} --namespace plimsoll-system --include-crds {flags}",
            dir.display()
        ));
        check!(rendered.ok, "{}", rendered.err);
        let file = scratch.path().join("values.yaml");
        std::fs::write(&file, values)?;
        let output = plimsoll().args(["install", "--values"]).arg(&file).ends()?;
        check!(output.status.success(), "{output:?}");
        let (ours, mut theirs) = (
            objects(&String::from_utf8(output.stdout)?)?,
            objects(&rendered.out)?,
        );
        if !values.contains("nodeAutoscaling") {
            // Helm knows no conditions on definitions; the manifests leave out what is not used.
            for plural in ["capacitybuffers", "capacityquotas", "provisioningrequests"] {
                let unused = format!("CustomResourceDefinition//{plural}.autoscaling.x-k8s.io");
                check!(theirs.remove(&unused).is_some(), "no {unused}");
            }
        }
        same(&ours, &theirs)?;
    }
    Ok(())
}

fn same(ours: &BTreeMap<String, Value>, theirs: &BTreeMap<String, Value>) -> Outcome {
    let names = |of: &BTreeMap<String, Value>| of.keys().cloned().collect::<Vec<_>>();
    check!(
        names(ours) == names(theirs),
        "{:#?}\n{:#?}",
        names(ours),
        names(theirs)
    );
    for (name, object) in ours {
        let other = theirs.get(name);
        check!(Some(object) == other, "{name}:\n{object:#}\n{other:#?}");
    }
    Ok(())
}

/// The objects of a text of several documents, by kind, namespace and name.
fn objects(text: &str) -> Result<BTreeMap<String, Value>, Failed> {
    let mut objects = BTreeMap::new();
    for document in text.split("---\n") {
        let object: Value = match serde_saphyr::from_str(document) {
            Ok(Value::Null) => continue,
            Ok(object) => object,
            Err(_) if document.trim().is_empty() => continue,
            Err(error) => return Err(format!("{error}:\n{document}").into()),
        };
        let part = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let key = [
            part("/kind"),
            part("/metadata/namespace"),
            part("/metadata/name"),
        ];
        let key = key.map(Option::unwrap_or_default).join("/");
        objects.insert(key, object);
    }
    Ok(objects)
}

/// As a plugin of kubectl, it is called by that name.
pub(crate) fn plugin(kubectl: &Kubectl) -> Outcome {
    let scratch = tempfile::tempdir()?;
    let link = scratch.path().join("kubectl-plimsoll");
    std::os::unix::fs::symlink(plimsoll().get_program(), &link)?;
    let mut command = kubectl.command("plimsoll explain --help");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = vec![scratch.path().to_owned()];
    paths.extend(std::env::split_paths(&path));
    let output = command.env("PATH", std::env::join_paths(paths)?).ends()?;
    let said = printed(&output);
    check!(said.ok, "{}", said.err);
    check!(
        said.out.contains("Usage: kubectl plimsoll explain"),
        "{}",
        said.out
    );
    Ok(())
}
