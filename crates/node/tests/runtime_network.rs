//! Pods that talk to each other, to Services' addresses, and to the host.

#![allow(missing_docs, reason = "a test program")]

mod runtime_host;

use plimsoll_node::launcher::Rung;
use plimsoll_node::runtime::builtin::BuiltIn;
use plimsoll_node::runtime::{Limits, Runtime, RuntimeError};
use runtime_host::{built_in, container, sandbox, shell};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_pod_serves_others_the_host_and_the_main_process() {
    for rung in [Rung::Root, Rung::Rootless] {
        let Some(host) = built_in(rung).await else {
            continue;
        };
        serve_and_call(&host.runtime, host.directory.path()).await;
        host.runtime.shutdown().await;
    }
}

#[expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a part of the test above"
)]
#[expect(
    clippy::too_many_lines,
    reason = "one story: start, call, count, resize, stop"
)]
#[expect(
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test measures"
)]
async fn serve_and_call(runtime: &BuiltIn, logs: &std::path::Path) {
    runtime.create_sandbox(sandbox(10)).await.unwrap();
    runtime.create_sandbox(sandbox(11)).await.unwrap();
    let mut server = container(10, logs, &[]);
    server.image = "registry.k8s.io/hpa-example".into();
    server.limits = Limits {
        cpu_request_milli: 200,
        cpu_limit_milli: Some(500),
        memory_limit_bytes: Some(64 << 20),
    };
    let before = std::time::Instant::now();
    let server = runtime.start(server).await.unwrap();
    println!("start: {:?}", before.elapsed());
    let client = runtime
        .start(container(11, logs, &["sleep", "inf"]))
        .await
        .unwrap();
    let call = "for i in 1 2 3 4 5 6 7 8 9 10; do wget -q -O- http://10.244.1.10 && break; sleep 0.1; done";
    let (text, code) = shell(runtime, &client.container_id, call).await;
    assert_eq!((text.as_str(), code), ("OK!", 0));

    let address: SocketAddr = "10.244.1.10:80".parse().unwrap();
    let mut stream = runtime.network().connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("OK!"), "{answer}");

    let vip = runtime
        .network()
        .listen("10.96.0.77:80".parse().unwrap())
        .await
        .unwrap();
    let accept = tokio::spawn(async move {
        let (mut stream, from) = vip.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nVIP")
            .await
            .unwrap();
        from
    });
    let (text, _) = shell(runtime, &client.container_id, "curl -s http://10.96.0.77").await;
    assert_eq!(text, "VIP");
    assert_eq!(accept.await.unwrap().ip().to_string(), "10.244.1.11");

    if runtime.network().reachable_from_host() {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("OK!"), "{answer}");
    }

    let before = std::time::Instant::now();
    shell(runtime, &client.container_id, "true").await;
    println!("exec: {:?}", before.elapsed());

    let limit = "for i in 1 2 3 4 5 6; do for j in 1 2 3 4 5 6 7 8 9 10; do wget -q -O- http://10.244.1.10; done; done";
    let first = runtime.counters().await.unwrap();
    let started = std::time::Instant::now();
    shell(runtime, &client.container_id, limit).await;
    let took = started.elapsed();
    let second = runtime.counters().await.unwrap();
    let id = &server.container_id;
    let used = second.containers[id].cpu_nanos - first.containers[id].cpu_nanos;
    println!(
        "60 requests in {took:?}: {} ms CPU each, {} m, working set {} KiB",
        used / 60_000_000,
        u128::from(used) * 1000 / took.as_nanos(),
        second.containers[id].memory_bytes / 1024
    );
    assert!(
        u128::from(used) * 1000 / took.as_nanos() < 600,
        "the limit is 500m"
    );
    assert!(second.nodes["node-1"].cpu_nanos > 0);

    let low = Limits {
        memory_limit_bytes: Some(4096),
        ..Limits::default()
    };
    let refused = runtime.resize(id, low).await;
    assert!(
        matches!(refused, Err(RuntimeError::ResizeDeferred { .. })),
        "{refused:?}"
    );

    runtime.signal(id, 15).await.unwrap();
    let mut exit = server.exit;
    let ended = tokio::time::timeout(Duration::from_secs(5), exit.wait_for(Option::is_some));
    let ended = ended.await.unwrap().unwrap().clone().unwrap();
    assert_eq!(ended.code, 0, "{ended:?}");
    runtime.remove(id).await.unwrap();

    runtime.signal(&client.container_id, 9).await.unwrap();
    let mut exit = client.exit;
    let ended = exit
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert_eq!((ended.code, ended.signal), (137, Some(9)));
    runtime.remove_sandbox("uid-10").await.unwrap();
    runtime.remove_sandbox("uid-11").await.unwrap();
}
