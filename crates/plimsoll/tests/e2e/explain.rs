//! `explain --watch` and `--last`, `hold` and `resume`, as a person types them.

use crate::cluster::Cluster;
use crate::ending::ended;
use crate::kubectl::{Kubectl, wait};
use crate::typed::{self, command, run};
use crate::{Outcome, check};
use libtest_mimic::Failed;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

/// A deployment that uses next to nothing, and an autoscaler that wants three of it.
const SETUP: &[&str] = &[
    "create deployment web --image=k8s.gcr.io/pause --replicas=2",
    "set resources deployment web --requests=cpu=100m",
    "autoscale deployment web --min=2 --max=5 --cpu-percent=50",
];

pub(crate) fn all(kubectl: &Kubectl) -> Outcome {
    let cluster = Cluster::start(&["--nodes", "1", "--runtime", "simulated"])?;
    let config = cluster.kubeconfig();
    let k = kubectl.on(&config);
    for line in SETUP {
        k.ok(line)?;
    }
    k.ok("rollout status deploy/web --timeout=60s")?;
    let evaluated = || run(&config, "explain hpa/web").is_ok_and(|said| said.contains("minimum"));
    wait(60, evaluated).map_err(|()| "web is never evaluated")?;
    log(&config, &k)?;
    let mut watching = Watching::start(&config)?;
    holds(&config, &k, &watching)?;
    check!(watching.interrupt()?, "--watch does not end well on Ctrl-C");
    refuses(&config)
}

fn log(config: &Path, k: &Kubectl) -> Outcome {
    let said = run(config, "explain hpa")?;
    check!(said.starts_with("NAME  REPLICAS  WHY\nweb   2"), "{said}");
    let said = run(config, "explain hpa/web --last 1h")?;
    check!(said.contains("  held at 2"), "{said}");
    let said = run(config, "explain hpa/web --last 1h -o json")?;
    check!(said.contains("\"kind\": \"DecisionList\""), "{said}");
    let said = k.ok("get decisions")?;
    check!(said.contains("HorizontalPodAutoscaler/web"), "{said}");
    Ok(())
}

fn holds(config: &Path, k: &Kubectl, watching: &Watching) -> Outcome {
    let said = run(config, "hold hpa/web --for 30m --at 4 --reason release")?;
    check!(said.starts_with("hpa/web held at 4 until 20"), "{said}");
    watching.wait_for("(release)")?;
    check!(
        k.ok("get deploy web -o jsonpath={.spec.replicas}")? == "4",
        "not scaled"
    );
    k.until("describe hpa web", 30, |said| said.contains("HeldByHand"))?;
    let said = run(config, "explain hpa/web")?;
    check!(said.contains("held by hand until 20"), "{said}");
    check!(
        run(config, "resume hpa/web")? == "hpa/web resumed\n",
        "resume"
    );
    check!(
        run(config, "resume hpa/web")? == "hpa/web was not held\n",
        "resume twice"
    );
    k.until("get events", 30, |events| {
        events.contains("no longer held by hand")
    })?;
    k.until("describe hpa web", 30, |said| !said.contains("HeldByHand"))?;
    Ok(())
}

fn refuses(config: &Path) -> Outcome {
    let lines = [
        (
            "explain hpa/none",
            "there is no HorizontalPodAutoscaler \"none\"",
        ),
        ("explain deployment/web", "is no kind of autoscaler"),
        ("explain hpa/web --last soon", "neither a time"),
        (
            "hold hpa/none",
            "there is no HorizontalPodAutoscaler \"none\"",
        ),
        ("hold hpa/web --for 0s", "must be more than nothing"),
        ("hold hpa", "say which one"),
    ];
    typed::refuses(config, &lines)
}

/// A running `explain --watch`.
struct Watching {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Watching {
    fn start(config: &Path) -> Result<Self, Failed> {
        let mut command = command(config, "explain hpa/web --watch");
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let said = Arc::new(Mutex::new(String::new()));
        let mut out = child.stdout.take().ok_or("no output")?;
        let kept = Arc::clone(&said);
        drop(std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = out.read(&mut buffer) {
                let text = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
                if let Ok(mut kept) = kept.lock() {
                    kept.push_str(&text);
                }
            }
        }));
        Ok(Self { child, said })
    }

    fn wait_for(&self, wanted: &str) -> Outcome {
        let has = || self.said.lock().is_ok_and(|said| said.contains(wanted));
        let seen = wait(30, has);
        seen.map_err(|()| format!("--watch never says {wanted:?}: {:?}", self.said).into())
    }

    /// Presses Ctrl-C; whether it ended well.
    fn interrupt(&mut self) -> Result<bool, Failed> {
        let pid = i32::try_from(self.child.id())?;
        let pid = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT)?;
        Ok(ended(&mut self.child)?.success())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}
