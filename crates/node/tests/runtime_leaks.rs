//! What is left of containers when processes of the launcher are killed: nothing.

#![allow(missing_docs, reason = "a test program")]

mod runtime_host;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plimsoll_clock::Clock;
use plimsoll_node::launcher::Rung;
use plimsoll_node::runtime::process::Processes;
use plimsoll_node::runtime::{Runtime, RuntimeError, Started};
use runtime_host::{Host, built_in, container, program, sandbox, shell};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A runtime with a container in it whose process can be told from all others.
async fn with_container(rung: Rung, number: u8) -> Option<(Host, Started, String)> {
    let host = built_in(rung).await?;
    let made = host.runtime.create_sandbox(sandbox(number)).await;
    made.expect("a sandbox is made");
    let seconds = format!("9{}{number}", std::process::id());
    let spec = container(number, host.directory.path(), &["sleep", &seconds]);
    let started = host.runtime.start(spec).await.expect("it starts");
    assert!(lives(&seconds));
    Some((host, started, seconds))
}

fn lives(word: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("there is /proc").flatten();
    let mut lines = processes.filter_map(|p| fs::read(p.path().join("cmdline")).ok());
    lines.any(|line| line.split(|b| *b == 0).any(|w| w == word.as_bytes()))
}

/// The groups of a helper, in every hierarchy.
fn groups(pid: u32) -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    let own = format!("plimsoll-{pid}-");
    let hierarchies = fs::read_dir(&root).into_iter().flatten().flatten();
    let places = hierarchies.map(|h| h.path()).chain([root]);
    let inside = places
        .filter_map(|place| fs::read_dir(place).ok())
        .flatten();
    let named = inside.flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with(&own))
    });
    named.map(|entry| entry.path()).collect()
}

fn second_stage(pid: u32) -> i32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).expect("the first stage lives");
    children.trim().parse().expect("it has one child")
}

fn end_process(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it lives");
}

/// Waits for a condition of the machine.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect(what);
}

#[tokio::test]
async fn a_killed_helper_takes_everything_along_and_is_missed() {
    for rung in [Rung::Root, Rung::Rootless] {
        let Some((host, mut started, word)) = with_container(rung, 60).await else {
            continue;
        };
        let pid = host.runtime.launcher().pid().unwrap();
        end_process(second_stage(pid), Signal::SIGKILL);
        let why = tokio::time::timeout(PATIENCE, host.runtime.breakdown()).await;
        assert!(why.unwrap().contains("has ended"));
        let exit = started
            .exit
            .wait_for(Option::is_some)
            .await
            .unwrap()
            .clone();
        assert_eq!(exit.unwrap().code, 137);
        let refused = host.runtime.create_sandbox(sandbox(61)).await.unwrap_err();
        assert!(matches!(refused, RuntimeError::Sandbox(_)), "{refused}");
        host.runtime.shutdown().await;
        assert!(!lives(&word));
        assert_eq!(groups(pid), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn the_groups_of_a_killed_first_stage_are_swept_by_the_next_cluster() {
    let Some((host, _started, word)) = with_container(Rung::Root, 62).await else {
        return;
    };
    let pid = host.runtime.launcher().pid().unwrap();
    end_process(i32::try_from(pid).unwrap(), Signal::SIGKILL);
    tokio::time::timeout(PATIENCE, host.runtime.breakdown())
        .await
        .unwrap();
    until("the container has ended", || !lives(&word)).await;
    host.runtime.shutdown().await;
    let next = built_in(Rung::Root).await.unwrap();
    assert_eq!(groups(pid), Vec::<PathBuf>::new());
    let own = next.runtime.launcher().pid().unwrap();
    next.runtime.shutdown().await;
    assert_eq!(groups(own), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_signal_for_everybody_does_not_end_the_helper_before_its_main_process() {
    let Some((host, started, word)) = with_container(Rung::Root, 63).await else {
        return;
    };
    let pid = host.runtime.launcher().pid().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        end_process(i32::try_from(pid).unwrap(), signal);
        end_process(second_stage(pid), signal);
    }
    let (text, code) = shell(&host.runtime, &started.container_id, "echo here").await;
    assert_eq!((text.as_str(), code), ("here\n", 0));
    // As when the main process is killed: the line breaks, and nobody asks for anything.
    drop(host);
    until("nothing is left", || {
        !lives(&word) && groups(pid).is_empty()
    })
    .await;
}

#[tokio::test]
async fn plain_processes_end_with_their_pod_those_of_exec_too() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Processes::start(&program(), directory.path(), Clock::system()).unwrap();
    runtime.create_sandbox(sandbox(64)).await.unwrap();
    let word = format!("9{}64", std::process::id());
    let line = format!("sleep {word}; true");
    let spec = container(64, directory.path(), &["sh", "-c", &line]);
    let started = runtime.start(spec).await.unwrap();
    let beside = format!("9{}65", std::process::id());
    let command = vec!["sleep".to_owned(), beside.clone()];
    let session = runtime
        .exec(&started.container_id, command, false, false)
        .await
        .unwrap();
    until("both run", || lives(&word) && lives(&beside)).await;
    runtime.remove_sandbox("uid-64").await.unwrap();
    until("both have ended", || !lives(&word) && !lives(&beside)).await;
    drop(session);
}
