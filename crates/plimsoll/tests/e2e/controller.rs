//! The example controller, written with kube-rs, against a cluster.

use crate::Outcome;
use crate::check;
use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const WEBSITE: &str = include_str!("../../../../examples/website.yaml");

/// Ends the controller with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Where cargo puts examples: beside the folder of this test.
fn example() -> Result<PathBuf, std::io::Error> {
    let here = std::env::current_exe()?;
    let profile = here.parent().and_then(Path::parent);
    Ok(profile
        .unwrap_or(Path::new("."))
        .join("examples/website_controller"))
}

/// It installs its definition, follows what people do to Websites, and cleans up after them.
pub(crate) fn follows(kubectl: &Kubectl) -> Outcome {
    let cluster = Cluster::start(&["--runtime", "simulated"])?;
    let on = kubectl.on(&cluster.kubeconfig());
    let log = std::fs::File::create(cluster.dir().join("controller.log"))?;
    let child = Command::new(example()?)
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    let _running = Running(child);
    on.until("get crd websites.demo.plimsoll.dev -o name", 20, |_| true)?;
    on.ok("wait --for=condition=Established crd/websites.demo.plimsoll.dev --timeout=10s")?;
    let applied = on.feed("apply -f -", WEBSITE);
    check!(applied.ok, "{}{}", applied.out, applied.err);
    let ready = "get website hello -o jsonpath={.status.ready}";
    on.until(ready, 30, |n| n == "2")?;
    on.ok("scale --replicas=5 deployment/hello")?;
    // The controller owns the number and takes it back.
    let number = "get deployment hello -o jsonpath={.spec.replicas}";
    on.until(number, 20, |n| n == "2")?;
    on.ok("patch website hello --type=merge -p {\"spec\":{\"replicas\":3,\"words\":\"again\"}}")?;
    on.until(ready, 30, |n| n == "3")?;
    let words = on.ok("get configmap hello -o jsonpath={.data.words}")?;
    check!(words == "again", "{words}");
    let listed = on.ok("get site")?;
    check!(
        listed.contains("REPLICAS") && listed.contains("READY"),
        "{listed}"
    );
    on.ok("delete website hello")?;
    on.until("get deployments,configmaps -o name", 20, |left| {
        !left.contains("hello")
    })?;
    Ok(())
}
