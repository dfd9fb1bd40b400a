//! Containers over the built-in launcher. Without the privileges it needs, the tests say so and
//! pass.

#![allow(missing_docs, reason = "a test program")]

mod runtime_host;

use plimsoll_api::node::{Input, Output};
use plimsoll_node::runtime::{Exit, Limits, Runtime, RuntimeError, Started};
use runtime_host::{best, container, drain, sandbox, shell, type_in};
use std::time::Duration;

async fn end(started: &mut Started) -> Exit {
    let ended = tokio::time::timeout(
        Duration::from_secs(20),
        started.exit.wait_for(Option::is_some),
    );
    ended
        .await
        .expect("it ends")
        .expect("the end is told")
        .clone()
        .expect("there is one")
}

#[tokio::test]
async fn a_container_runs_and_its_output_reaches_the_log() {
    let Some(host) = best().await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(5)).await.unwrap();
    let line = "echo $GREETING; hostname; cat /etc/resolv.conf; ls /; id; echo no >&2; exit 3";
    let spec = container(5, host.directory.path(), &["sh", "-c", line]);
    let log = spec.log_path.clone();
    let mut started = host.runtime.start(spec).await.unwrap();
    let exit = end(&mut started).await;
    let text = std::fs::read_to_string(log).unwrap();
    assert_eq!(exit.code, 3, "{text}");
    for part in [
        " stdout F hello\n",
        " stdout F pod-5\n",
        "10.96.0.10",
        "uid=0(root)",
        " stderr F no\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    host.runtime.shutdown().await;
}

#[tokio::test]
async fn exec_runs_in_the_container_with_and_without_a_terminal() {
    let Some(host) = best().await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(6)).await.unwrap();
    let spec = container(6, host.directory.path(), &["sleep", "inf"]);
    let id = host.runtime.start(spec).await.unwrap().container_id;
    let (text, code) = shell(&host.runtime, &id, "cat /proc/1/comm /etc/hosts; exit 7").await;
    assert_eq!(code, 7, "{text}");
    assert!(
        text.starts_with("sleep\n") && text.contains("pod-6"),
        "{text}"
    );

    let session = host
        .runtime
        .exec(&id, vec!["sh".into()], true, true)
        .await
        .unwrap();
    session
        .input
        .send(Input::Resize {
            width: 100,
            height: 40,
        })
        .await
        .unwrap();
    type_in(&session, "echo in-$GREETING; test -t 0 && exit 4\n").await;
    let (text, code) = drain(session).await;
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("in-hello"), "{text}");

    let session = host
        .runtime
        .exec(&id, vec!["cat".into()], false, true)
        .await
        .unwrap();
    type_in(&session, "back").await;
    session.input.send(Input::CloseStdin).await.unwrap();
    assert_eq!(drain(session).await, ("back".into(), 0));

    let refused = host
        .runtime
        .exec(&id, vec!["nope".into()], false, false)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("executable file not found"),
        "{refused}"
    );
    host.runtime.shutdown().await;
}

/// Reads until what has been read is as wanted.
async fn see(session: &mut plimsoll_api::node::Session, wanted: impl Fn(&str) -> bool) {
    let mut seen = String::new();
    while !wanted(&seen) {
        match session.output.recv().await.expect("the shell goes on") {
            Output::Stdout(bytes) | Output::Stderr(bytes) => {
                seen.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }
}

#[tokio::test]
async fn attach_reaches_a_shell_on_a_terminal() {
    let Some(host) = best().await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(7)).await.unwrap();
    let mut spec = container(7, host.directory.path(), &["sh"]);
    (spec.tty, spec.stdin, spec.stdin_once) = (true, true, true);
    let mut started = host.runtime.start(spec).await.unwrap();
    let mut session = host
        .runtime
        .attach(&started.container_id, true)
        .await
        .unwrap();
    // A shell may miss an interrupt between two commands; what cat has echoed, cat is there for.
    type_in(&session, "cat\n").await;
    type_in(&session, "READY\n").await;
    see(&mut session, |text| text.matches("READY").count() == 2).await;
    type_in(&session, "\u{3}").await;
    // What is typed before the prompt may be thrown away together with the interrupted line.
    see(&mut session, |text| {
        text.ends_with("# ") || text.ends_with("$ ")
    })
    .await;
    type_in(&session, "exit 9\n").await;
    assert_eq!(drain(session).await.1, 9);
    assert_eq!(end(&mut started).await.code, 9);
    host.runtime.shutdown().await;
}

#[tokio::test]
async fn memory_over_the_limit_is_an_oom_kill() {
    let Some(host) = best().await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(8)).await.unwrap();
    let mut spec = container(
        8,
        host.directory.path(),
        &["sh", "-c", "exec tail -n 1 /dev/zero"],
    );
    spec.limits = Limits {
        memory_limit_bytes: Some(16 << 20),
        ..Limits::default()
    };
    let mut started = host.runtime.start(spec).await.unwrap();
    let exit = end(&mut started).await;
    assert_eq!(
        exit,
        Exit {
            code: 137,
            signal: Some(9),
            oom_killed: true
        }
    );
    host.runtime.shutdown().await;
}

#[tokio::test]
async fn what_cannot_start_says_why_and_leaves_nothing() {
    let Some(host) = best().await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(9)).await.unwrap();
    let logs = host.directory.path();
    let missing = host
        .runtime
        .start(container(9, logs, &["/bin/nope"]))
        .await
        .unwrap_err();
    assert!(matches!(missing, RuntimeError::Start { .. }), "{missing}");
    let mut unknown = container(9, logs, &[]);
    unknown.image = "example.com/app".into();
    let unknown = host.runtime.start(unknown).await.unwrap_err();
    assert!(
        matches!(unknown, RuntimeError::ImagePull { .. }),
        "{unknown}"
    );
    let lost = host
        .runtime
        .start(container(99, logs, &["sh"]))
        .await
        .unwrap_err();
    assert!(matches!(lost, RuntimeError::Sandbox(_)), "{lost}");
    host.runtime.remove_sandbox("uid-9").await.unwrap();
    host.runtime.remove_sandbox("uid-9").await.unwrap();
    host.runtime.remove_node("node-1").await.unwrap();
    host.runtime.shutdown().await;
}

#[tokio::test]
async fn the_end_of_the_runtime_ends_every_container() {
    let Some(host) = best().await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(12)).await.unwrap();
    let spec = container(12, host.directory.path(), &["sleep", "inf"]);
    let mut started = host.runtime.start(spec).await.unwrap();
    host.runtime.shutdown().await;
    assert_eq!(end(&mut started).await.code, 137);
}

#[tokio::test]
async fn a_command_on_a_leash_ends_with_all_it_started() {
    let Some(host) = best().await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(9)).await.unwrap();
    let spec = container(9, host.directory.path(), &["sleep", "1000"]);
    let id = host.runtime.start(spec).await.unwrap().container_id;
    let command = ["sh", "-c", "echo up; sleep 777; true"].map(String::from);
    let started = host.runtime.exec_leashed(&id, command.to_vec()).await;
    let (mut session, leash) = started.unwrap();
    see(&mut session, |text| text.contains("up")).await;
    drop(leash);
    // The pipes close only when the shell's child is gone, too.
    let (_, code) = drain(session).await;
    assert_eq!(code, 137);
    host.runtime.shutdown().await;
}
