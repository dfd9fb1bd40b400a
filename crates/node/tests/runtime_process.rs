//! Built-in images as plain processes.

#![allow(missing_docs, reason = "a test program")]

mod runtime_host;

use plimsoll_api::node::Input;
use plimsoll_clock::Clock;
use plimsoll_node::runtime::Runtime;
use plimsoll_node::runtime::process::Processes;
use runtime_host::{container, drain, node, program, sandbox, shell, type_in};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_process_serves_at_its_own_loopback_address_and_ends_gracefully() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Processes::start(&program(), directory.path(), Clock::system()).unwrap();
    runtime.add_node(node()).await.unwrap();
    runtime.create_sandbox(sandbox(40)).await.unwrap();
    let mut spec = container(40, directory.path(), &[]);
    spec.image = "nginx".into();
    let mut started = runtime.start(spec).await.unwrap();
    let id = started.container_id.clone();
    let wait = "for i in 1 2 3 4 5 6 7 8 9; do wget -q -O- http://127.244.1.40:8080 && break; sleep 0.2; done";
    let (_, code) = shell(&runtime, &id, wait).await;
    // The port 80 of the image is shifted to 8080.
    assert_eq!(code, 0);
    let mut stream = runtime
        .network()
        .connect("10.244.1.40:80".parse().unwrap())
        .await
        .unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("Welcome"), "{answer}");
    let counted = runtime.counters().await.unwrap();
    assert!(counted.containers[&id].memory_bytes > 0);
    runtime.signal(&id, 15).await.unwrap();
    let ended = tokio::time::timeout(
        Duration::from_secs(5),
        started.exit.wait_for(Option::is_some),
    );
    assert_eq!(ended.await.unwrap().unwrap().as_ref().unwrap().code, 0);
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_shell_runs_on_a_terminal_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Processes::start(&program(), directory.path(), Clock::system()).unwrap();
    runtime.create_sandbox(sandbox(41)).await.unwrap();
    let mut spec = container(41, directory.path(), &["sh"]);
    (spec.tty, spec.stdin, spec.stdin_once) = (true, true, true);
    let started = runtime.start(spec).await.unwrap();
    let command = vec!["sh".to_owned()];
    let session = runtime
        .exec(&started.container_id, command, true, true)
        .await
        .unwrap();
    let (width, height) = (101, 42);
    let resize = Input::Resize { width, height };
    session.input.send(resize).await.unwrap();
    type_in(&session, "stty size; tty; hostname; exit 5\n").await;
    let (text, code) = drain(session).await;
    assert_eq!(code, 5, "{text}");
    for part in ["42 101", "/dev/pts/", "pod-41"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let session = runtime.attach(&started.container_id, true).await.unwrap();
    type_in(&session, "exit 9\n").await;
    assert_eq!(drain(session).await.1, 9);
    runtime.shutdown().await;
}
