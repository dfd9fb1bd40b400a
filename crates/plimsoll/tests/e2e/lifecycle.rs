//! `up`, `down`, `status`, `logs`, and what survives.

use crate::Outcome;
use crate::cluster::{Cluster, plimsoll};
use crate::ending::Ending;
use crate::kubectl::Kubectl;
use std::net::TcpListener;

/// Fails with a message unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(format!($($why)+).into());
        }
    };
}

/// Runs the binary to its end: exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = plimsoll()
        .args(arguments)
        .ends()
        .expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

pub(crate) fn second_up() -> Outcome {
    let cluster = Cluster::start(&["--runtime", "simulated"])?;
    let dir = cluster.dir().display().to_string();
    let (code, _, err) = run(&["up", "--ephemeral", "--port", "0", "--data-dir", &dir]);
    check!(code == Some(1), "exit code {code:?}");
    check!(err.lines().count() == 1, "not one line: {err}");
    check!(
        err.contains("already runs on") && err.contains("plimsoll down --data-dir"),
        "{err}"
    );
    let (code, out, _) = run(&["status", "--data-dir", &dir]);
    check!(
        code == Some(0) && out.contains("running"),
        "the first one was hurt: {out}"
    );
    Ok(())
}

pub(crate) fn port_taken() -> Outcome {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let dir = tempfile::tempdir()?;
    let path = dir.path().display().to_string();
    let (code, _, err) = run(&["up", "--ephemeral", "--port", &port, "--data-dir", &path]);
    check!(code == Some(1), "exit code {code:?}");
    check!(
        err.contains(&port) && err.contains("in use") && err.contains("port"),
        "{err}"
    );
    check!(err.lines().count() == 1, "not one line: {err}");
    Ok(())
}

pub(crate) fn status_logs_down() -> Outcome {
    let dir = tempfile::tempdir()?;
    let path = dir.path().display().to_string();
    let (code, out, _) = run(&["status", "--data-dir", &path]);
    check!(
        code == Some(3) && out.contains("no cluster runs"),
        "{code:?}: {out}"
    );
    let cluster = Cluster::start_in(dir.path(), &["--runtime", "simulated", "--nodes", "2"])?;
    let (code, out, err) = run(&["status", "--data-dir", &path]);
    check!(code == Some(0), "{out}{err}");
    check!(out.contains("2 of 2 node(s) Ready"), "{out}");
    let (code, _, err) = run(&["logs", "--data-dir", &path]);
    check!(code == Some(0), "{err}");
    let (code, out, err) = run(&["down", "--data-dir", &path]);
    check!(
        code == Some(0) && out.contains("stopped the cluster"),
        "{out}{err}"
    );
    let (_, out, _) = run(&["down", "--data-dir", &path]);
    check!(out.contains("no cluster runs"), "{out}");
    drop(cluster);
    Ok(())
}

pub(crate) fn durable(kubectl: &Kubectl) -> Outcome {
    let dir = tempfile::tempdir()?;
    let first = Cluster::start_in(dir.path(), &["--runtime", "simulated"])?;
    let on = kubectl.on(&first.kubeconfig());
    on.ok("create configmap kept --from-literal=a=1")?;
    let uid = on.ok("get configmap kept -o jsonpath={.metadata.uid}")?;
    first.kill_hard();
    let second = Cluster::start_in(dir.path(), &["--runtime", "simulated"])?;
    let on = kubectl.on(&second.kubeconfig());
    let again = on.ok("get configmap kept -o jsonpath={.metadata.uid}")?;
    check!(uid == again, "another object came back: {uid} then {again}");
    Ok(())
}
