//! Who containers run as, what they may do, and how they change their size: over the built-in
//! launcher as root. Without the privileges it needs, the tests say so and pass.

#![allow(missing_docs, reason = "a test program")]

mod runtime_host;

use plimsoll_node::launcher::Rung;
use plimsoll_node::runtime::{Limits, Runtime, RuntimeError, Security};
use runtime_host::{built_in, container, sandbox, shell};
use std::path::{Path, PathBuf};

#[tokio::test]
async fn a_container_runs_as_its_user_with_what_it_may_do() {
    let Some(host) = built_in(Rung::Root).await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(40)).await.unwrap();
    let mut spec = container(40, host.directory.path(), &["sleep", "inf"]);
    spec.working_dir = Some("/new/place".into());
    spec.security = Security {
        user: 1000,
        group: 2000,
        groups: vec![3000],
        no_new_privileges: true,
        oom_score_adj: 700,
        ..Security::default()
    };
    let id = host.runtime.start(spec).await.unwrap().container_id;
    let line = "pwd; cat /proc/1/status /proc/1/oom_score_adj; \
                (echo x > /etc/new) 2>/dev/null || echo refused";
    let (text, _) = shell(&host.runtime, &id, line).await;
    let flat: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for wanted in [
        "/new/place",
        "Uid: 1000 1000 1000 1000",
        "Gid: 2000 2000 2000 2000",
        "Groups: 3000",
        "CapEff: 0000000000000000",
        "CapBnd: 00000000a80425fb",
        "NoNewPrivs: 1",
        "700",
        "refused",
    ] {
        assert!(
            flat.iter().any(|line| line == wanted),
            "{wanted:?} in {text}"
        );
    }
    host.runtime.shutdown().await;
}

#[tokio::test]
async fn a_read_only_root_keeps_its_devices_and_mounts_writable() {
    let Some(host) = built_in(Rung::Root).await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(41)).await.unwrap();
    let mut spec = container(41, host.directory.path(), &["sleep", "inf"]);
    spec.security.read_only_root = true;
    spec.security.capabilities = 1 << 10;
    let id = host.runtime.start(spec).await.unwrap().container_id;
    let line = "(echo x > /etc/new) 2>/dev/null || echo refused; echo x > /dev/null && echo dev; \
                grep CapEff /proc/self/status";
    let (text, _) = shell(&host.runtime, &id, line).await;
    assert_eq!(text, "refused\ndev\nCapEff:\t0000000000000400\n");
    host.runtime.shutdown().await;
}

#[tokio::test]
async fn containers_that_share_processes_see_each_other_and_outlive_each_other() {
    let Some(host) = built_in(Rung::Root).await else {
        return;
    };
    let mut pod = sandbox(42);
    pod.share_processes = true;
    host.runtime.create_sandbox(pod).await.unwrap();
    let first = container(42, host.directory.path(), &["pause"]);
    let mut first = host.runtime.start(first).await.unwrap();
    let mut second = container(42, host.directory.path(), &["sleep", "inf"]);
    second.name = "second".into();
    let second = host.runtime.start(second).await.unwrap().container_id;
    let list = "cat /proc/[0-9]*/comm";
    let seen = |text: &str, name: &str| text.lines().any(|line| line == name);
    let (text, _) = shell(&host.runtime, &second, list).await;
    assert!(seen(&text, "pause") && seen(&text, "sleep"), "{text}");
    host.runtime.signal(&first.container_id, 9).await.unwrap();
    let ended = first.exit.wait_for(Option::is_some).await.unwrap().clone();
    assert_eq!(ended.unwrap().code, 137);
    let (text, _) = shell(&host.runtime, &second, list).await;
    assert!(!seen(&text, "pause") && seen(&text, "sleep"), "{text}");
    host.runtime.shutdown().await;
}

/// Directories of this name below control groups.
fn find(below: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() == name {
                found.push(entry.path());
            }
            find(&entry.path(), name, found);
        }
    }
}

/// Every value of a file in the groups of a pod's containers.
fn values(pod: &str, files: &[&str]) -> Vec<String> {
    let mut pods = Vec::new();
    find(Path::new("/sys/fs/cgroup"), pod, &mut pods);
    let containers = pods
        .iter()
        .flat_map(|pod| std::fs::read_dir(pod).into_iter().flatten());
    let paths: Vec<PathBuf> = containers.flatten().map(|entry| entry.path()).collect();
    let texts = paths
        .iter()
        .flat_map(|path| files.iter().map(|file| path.join(file)));
    let texts = texts.filter_map(|file| std::fs::read_to_string(file).ok());
    texts.map(|text| text.trim().to_owned()).collect()
}

#[tokio::test]
async fn a_resize_reaches_the_control_group_and_spares_what_is_in_use() {
    let Some(host) = built_in(Rung::Root).await else {
        return;
    };
    host.runtime.create_sandbox(sandbox(43)).await.unwrap();
    let mut spec = container(43, host.directory.path(), &["sleep", "inf"]);
    let limits = |cpu: u64, memory: u64| Limits {
        cpu_request_milli: cpu,
        cpu_limit_milli: Some(cpu),
        memory_limit_bytes: Some(memory),
    };
    spec.limits = limits(500, 64 << 20);
    let id = host.runtime.start(spec).await.unwrap().container_id;
    let quota = || values("poduid-43", &["cpu.cfs_quota_us", "cpu.max"]);
    let memory = || values("poduid-43", &["memory.limit_in_bytes", "memory.max"]);
    if quota().is_empty() {
        // No control groups here: the governor does it.
        return host.runtime.shutdown().await;
    }
    assert!(quota()[0].starts_with("50000"), "{:?}", quota());
    host.runtime
        .resize(&id, limits(250, 128 << 20))
        .await
        .unwrap();
    assert!(quota()[0].starts_with("25000"), "{:?}", quota());
    assert_eq!(memory(), [(128_u64 << 20).to_string()]);
    // CPU follows; memory stays where it is.
    let refused = host
        .runtime
        .resize(&id, limits(750, 4096))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, RuntimeError::ResizeDeferred { limit: 4096, .. }),
        "{refused}"
    );
    assert!(quota()[0].starts_with("75000"), "{:?}", quota());
    assert_eq!(memory(), [(128_u64 << 20).to_string()]);
    host.runtime.shutdown().await;
}
