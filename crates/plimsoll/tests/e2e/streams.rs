//! exec, cp, attach, debug, logs, port-forward and proxies against containers that really run, over
//! WebSocket and over the SPDY that kubectl falls back to.

use crate::cluster::Cluster;
use crate::ending::{end, first_line};
use crate::kubectl::{Kubectl, Printed, printed};
use crate::{Outcome, check};
use libtest_mimic::Failed;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

/// How kubectl carries streams.
#[derive(Debug, Clone, Copy)]
enum Over {
    WebSocket,
    Spdy,
}

pub(crate) fn all(kubectl: &Kubectl) -> Outcome {
    let cluster = Cluster::start(&[])?;
    let k = kubectl.on(&cluster.kubeconfig());
    k.ok("run box --image=busybox --command -- sh -c 'echo out; echo err >&2; sleep 1000'")?;
    k.ok("create deployment web --image=nginx")?;
    k.ok("expose deployment web --port 80")?;
    k.ok("wait --for=condition=Ready pod/box --timeout=30s")?;
    k.ok("rollout status deployment/web --timeout=30s")?;
    for over in [Over::WebSocket, Over::Spdy] {
        exec(&k, over)?;
        copy(&k, over, cluster.dir())?;
        forward(&k, over)?;
        attach(&k, over)?;
    }
    logs(&k)?;
    debug(&k)?;
    proxies(&k)
}

/// Runs a command with this on its standard input.
fn run(k: &Kubectl, over: Over, line: &str, input: &[u8]) -> Result<Printed, Failed> {
    let output = end(start(k, over, line)?, input.to_vec(), line)?;
    Ok(printed(&output))
}

fn start(k: &Kubectl, over: Over, line: &str) -> Result<Child, Failed> {
    let mut command = k.command(line);
    let websockets = match over {
        Over::WebSocket => "true",
        Over::Spdy => "false",
    };
    for name in ["REMOTE_COMMAND", "PORT_FORWARD"] {
        command.env(format!("KUBECTL_{name}_WEBSOCKETS"), websockets);
    }
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command.stderr(Stdio::piped()).spawn()?)
}

fn exec(k: &Kubectl, over: Over) -> Outcome {
    let line = "exec box -- sh -c 'echo hi; echo no >&2; exit 3'";
    let got = run(k, over, line, b"")?;
    check!(!got.ok && got.out == "hi\n", "{over:?}: {got:?}");
    let told = got.err.contains("no\n") && got.err.contains("exit code 3");
    check!(told, "{over:?}: {}", got.err);
    let large = "0123456789abcde\n".repeat(200_000);
    let got = run(k, over, "exec -i box -- cat", large.as_bytes())?;
    check!(
        got.out == large,
        "{over:?}: {} bytes came back",
        got.out.len()
    );
    let got = run(k, over, "exec box -- nope", b"")?;
    check!(
        got.err.contains("executable file not found"),
        "{over:?}: {got:?}"
    );
    Ok(())
}

/// There and back again.
fn copy(k: &Kubectl, over: Over, dir: &Path) -> Outcome {
    let (from, back) = (dir.join("from"), dir.join(format!("back-{over:?}")));
    std::fs::create_dir_all(from.join("inner"))?;
    std::fs::write(from.join("one"), "1")?;
    std::fs::write(from.join("inner/large"), vec![b'x'; 300_000])?;
    let there = format!("box:/tmp/there-{over:?}");
    for (from, to) in [
        (from.display().to_string(), there.clone()),
        (there, back.display().to_string()),
    ] {
        let got = run(k, over, &format!("cp {from} {to}"), b"")?;
        check!(got.ok, "{over:?}: {got:?}");
    }
    check!(std::fs::read(back.join("one"))? == b"1", "{over:?}: one");
    let large = std::fs::read(back.join("inner/large"))?;
    check!(
        large == vec![b'x'; 300_000],
        "{over:?}: {} bytes",
        large.len()
    );
    Ok(())
}

/// A `kubectl port-forward`, ended when dropped.
struct Forwarding {
    child: Child,
    /// Kept open: kubectl goes on writing to it.
    _out: BufReader<ChildStdout>,
    port: u16,
}

impl Forwarding {
    fn start(k: &Kubectl, over: Over, what: &str) -> Result<Self, Failed> {
        let mut child = start(k, over, &format!("port-forward {what}"))?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let first = first_line(stdout);
        let (line, out) = first.inspect_err(|_| drop(child.kill()))?;
        let port = line
            .strip_prefix("Forwarding from 127.0.0.1:")
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        let mut forwarding = Self {
            child,
            _out: out,
            port: 0,
        };
        let Some(port) = port else {
            return Err(format!("not forwarded: {line:?}{}", forwarding.end()).into());
        };
        forwarding.port = port;
        Ok(forwarding)
    }

    fn get(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        // A connection that stalls is an error, not a test without an end.
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        // A client that has said everything still gets its answer.
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Ends it and returns what it complained about.
    fn end(&mut self) -> String {
        self.child.kill().ok();
        self.child.wait().ok();
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut text).ok();
        }
        text
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.end();
    }
}

fn forward(k: &Kubectl, over: Over) -> Outcome {
    for what in ["deployment/web :80", "service/web :80"] {
        let forwarding = Forwarding::start(k, over, what)?;
        let many: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..30).map(|_| scope.spawn(|| forwarding.get())).collect();
            all.into_iter()
                .map(|one| one.join().expect("no panic"))
                .collect()
        });
        for answer in many {
            let answer = answer?;
            check!(
                answer.contains("Welcome to nginx"),
                "{over:?} {what}: {answer}"
            );
        }
    }
    let mut closed = Forwarding::start(k, over, "pod/box :81")?;
    let answer = closed.get().unwrap_or_default();
    check!(answer.is_empty(), "{over:?}: {answer}");
    let said = closed.end();
    check!(said.contains("connection refused"), "{over:?}: {said}");
    Ok(())
}

fn attach(k: &Kubectl, over: Over) -> Outcome {
    let name = format!("echo-{over:?}").to_lowercase();
    let line = format!("run {name} --image=busybox -i --restart=Never --command -- cat");
    let got = run(k, over, &line, b"through attach\n")?;
    check!(
        got.ok && got.out.contains("through attach"),
        "{over:?}: {got:?}"
    );
    Ok(())
}

fn logs(k: &Kubectl) -> Outcome {
    let all = k.ok("logs box")?;
    check!(all.contains("out\n") && all.contains("err\n"), "{all}");
    let one = k.ok("logs box --tail=1 --timestamps")?;
    check!(one.lines().count() == 1 && one.contains("Z "), "{one}");
    let refused = k.run("logs box --previous");
    let want = "previous terminated container \"box\" in pod \"box\" not found";
    check!(refused.err.contains(want), "{}", refused.err);
    k.ok("logs deployment/web --all-containers")?;
    Ok(())
}

/// A container beside the others, that sees their processes; a copy of a pod; a pod on a node.
fn debug(k: &Kubectl) -> Outcome {
    k.ok("debug box --image=busybox --target=box -c look -- sh -c 'ps; echo seen'")?;
    let seen = k.until("logs box -c look", 20, |text| text.contains("seen"))?;
    check!(seen.contains("sleep 1000"), "{seen}");
    let path = "{.status.ephemeralContainerStatuses[0].state.terminated.exitCode}";
    k.until(&format!("get pod box -o jsonpath={path}"), 20, |code| {
        code == "0"
    })?;
    k.ok("debug box --copy-to=copy --container=box --image=busybox -- sh -c 'echo copied'")?;
    k.until("logs copy -c box", 20, |text| text.contains("copied"))?;
    let node = k.ok("get nodes -o name")?;
    let node = node.trim();
    k.ok(&format!("debug {node} --image=busybox -- ls /host"))?;
    let pods = k.until("get pods -o name", 20, |pods| {
        pods.contains("node-debugger")
    })?;
    let pod = pods.lines().find(|pod| pod.contains("node-debugger"));
    let logs = format!("logs {}", pod.unwrap_or_default());
    k.until(&logs, 20, |text| text.contains("etc\n"))?;
    Ok(())
}

fn proxies(k: &Kubectl) -> Outcome {
    let page = k.ok("get --raw /api/v1/namespaces/default/services/web/proxy/")?;
    check!(page.contains("Welcome to nginx"), "{page}");
    let node = k.ok("get nodes -o jsonpath={.items[0].metadata.name}")?;
    for (path, want) in [
        ("healthz", "ok"),
        (
            "metrics/resource",
            "container_cpu_usage_seconds_total{container=\"box\"",
        ),
        (
            "metrics/cadvisor",
            "container_memory_working_set_bytes{container=\"box\"",
        ),
        ("stats/summary", "\"podRef\""),
        ("pods", "\"kind\":\"PodList\""),
        ("containerLogs/default/box/box", "out"),
    ] {
        let text = k.ok(&format!("get --raw /api/v1/nodes/{node}/proxy/{path}"))?;
        check!(text.contains(want), "{path}: {text}");
    }
    let dump = k.ok("cluster-info dump")?;
    check!(
        dump.contains("==== START logs for container box of pod default/box ===="),
        "{dump}"
    );
    Ok(())
}
