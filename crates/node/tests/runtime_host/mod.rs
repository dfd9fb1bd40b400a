//! What the runtime tests share: the program they start, and pods to put into it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test file uses a part of it"
)]

use plimsoll_api::node::{Input, Output, Session};
use plimsoll_clock::Clock;
use plimsoll_node::launcher::{LauncherConfig, Rung, probe};
use plimsoll_node::runtime::builtin::BuiltIn;
use plimsoll_node::runtime::{ContainerSpec, Limits, NodeSlice, Runtime, SandboxSpec, Security};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// The example program that is nothing but helper and applets.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a program");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("target/PROFILE/deps/TEST");
    let program = profile.join("examples/node_host");
    assert!(
        program.exists(),
        "first: cargo build -p plimsoll-node --example node_host"
    );
    program
}

/// Starts the built-in runtime on a rung; `None`, and a line that says why, where it cannot.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub async fn built_in(rung: Rung) -> Option<Host> {
    if let Some(why) = probe(&program(), rung).await.refused {
        println!("skipped: {rung:?}: {why}");
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let config = LauncherConfig::new(directory.path().join("run"));
    let runtime = BuiltIn::start(&program(), rung, &config, Clock::system())
        .await
        .expect("the helper starts where the probe works");
    println!("{}", runtime.describe());
    runtime.add_node(node()).await.expect("a node");
    Some(Host { runtime, directory })
}

/// Starts the built-in runtime on the best rung that works here.
pub async fn best() -> Option<Host> {
    match built_in(Rung::Root).await {
        Some(host) => Some(host),
        None => built_in(Rung::Rootless).await,
    }
}

/// A running runtime and the directory for its logs.
#[derive(Debug)]
pub struct Host {
    /// The runtime.
    pub runtime: BuiltIn,
    /// Where logs go.
    pub directory: tempfile::TempDir,
}

/// A node of 1 core and 1 GiB.
pub fn node() -> NodeSlice {
    NodeSlice {
        node: "node-1".into(),
        cpu_milli: 1000,
        memory_bytes: 1 << 30,
    }
}

/// A pod's sandbox; `number` is the last part of its address.
pub fn sandbox(number: u8) -> SandboxSpec {
    SandboxSpec {
        node: "node-1".into(),
        uid: format!("uid-{number}"),
        pod: ("default".into(), format!("pod-{number}")),
        ip: IpAddr::V4(Ipv4Addr::new(10, 244, 1, number)),
        hostname: format!("pod-{number}"),
        host_network: false,
        resolv_conf: "nameserver 10.96.0.10\nsearch default.svc.cluster.local\n".into(),
        hosts: format!("127.0.0.1 localhost\n10.244.1.{number} pod-{number}\n"),
        share_processes: false,
        limits: Limits::default(),
    }
}

/// A container of that pod which runs `command` in the busybox image.
pub fn container(number: u8, logs: &Path, command: &[&str]) -> ContainerSpec {
    ContainerSpec {
        pod_uid: format!("uid-{number}"),
        name: "main".into(),
        attempt: 0,
        image: "busybox:1.28".into(),
        command: command.iter().map(ToString::to_string).collect(),
        args: Vec::new(),
        env: vec![("GREETING".into(), "hello".into())],
        working_dir: None,
        mounts: Vec::new(),
        limits: Limits::default(),
        security: Security::default(),
        stdin: false,
        stdin_once: false,
        tty: false,
        target: None,
        log_path: logs.join(format!("{number}.log")),
    }
}

/// Everything a session says, and its exit code.
pub async fn drain(mut session: Session) -> (String, i32) {
    let mut text = Vec::new();
    while let Some(output) = session.output.recv().await {
        match output {
            Output::Stdout(bytes) | Output::Stderr(bytes) => text.extend_from_slice(&bytes),
        }
    }
    let code = session.exit.await.expect("a session has an exit code");
    (String::from_utf8_lossy(&text).into_owned(), code)
}

/// Runs a shell line in a container.
pub async fn shell(runtime: &dyn Runtime, id: &str, line: &str) -> (String, i32) {
    let command = ["sh", "-c", line].map(str::to_owned).to_vec();
    drain(
        runtime
            .exec(id, command, false, false)
            .await
            .expect("exec starts"),
    )
    .await
}

/// Types into a session.
pub async fn type_in(session: &Session, text: &str) {
    let bytes = text.as_bytes().to_vec().into();
    session
        .input
        .send(Input::Stdin(bytes))
        .await
        .expect("the session takes input");
}
