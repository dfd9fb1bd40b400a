//! Service routing and names over real loopback sockets.

#![cfg(test)]

use async_trait::async_trait;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use plimsoll_clock::Clock;
use plimsoll_node::dns;
use plimsoll_node::proxy::table::{Directory, Service, Slice, Table};
use plimsoll_node::proxy::{Config, Proxy};
use plimsoll_node::runtime::Network;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// The host's loopback range as the pods' network.
#[derive(Debug)]
struct Loopback;

#[async_trait]
impl Network for Loopback {
    async fn listen(&self, address: SocketAddr) -> std::io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    async fn bind_udp(&self, address: SocketAddr) -> std::io::Result<UdpSocket> {
        UdpSocket::bind(address).await
    }

    async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        TcpStream::connect(address).await
    }

    fn reachable_from_host(&self) -> bool {
        true
    }
}

fn table(vip: &str, endpoints: &[(&str, bool)], extra: &serde_json::Value) -> Table {
    let mut spec = json!({"clusterIP": vip, "ports": [{"port": 18080, "protocol": "TCP"}]});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let meta = json!({"name": "web", "namespace": "default"});
    let service: Service = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(ip, ready)| json!({"addresses": [ip], "conditions": {"ready": ready}}))
        .collect();
    let slice: Slice = serde_json::from_value(json!({
        "metadata": {"name": "web-1", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": endpoints, "ports": [{"name": "", "protocol": "TCP", "port": 18081}],
    }))
    .unwrap();
    let mut table = Table::default();
    table.put_service(service);
    table.put_slice(slice);
    table
}

fn proxy(services: &Directory) -> Proxy {
    Proxy::start(Config {
        services: services.clone(),
        network: Arc::new(Loopback),
        clock: Clock::system(),
        seed: 7,
        node_ports: None,
        fixed: BTreeMap::new(),
        except: Vec::new(),
    })
}

/// A server that answers with its own address once the client has finished speaking.
async fn serve(ip: &'static str) {
    let listener = TcpListener::bind((ip, 18081)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = String::new();
                stream.read_to_string(&mut heard).await.unwrap();
                stream
                    .write_all(format!("{ip} {heard}").as_bytes())
                    .await
                    .unwrap();
            });
        }
    });
}

async fn call(vip: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((vip, 18080)).await?;
    stream.write_all(b"hello").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Calls until the listener stands.
async fn first_call(vip: &str) -> String {
    for _ in 0..500 {
        if let Ok(answer) = call(vip).await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody listens on {vip}");
}

#[tokio::test]
async fn connections_spread_and_a_dead_endpoint_loses_none() {
    serve("127.77.1.1").await;
    serve("127.77.1.2").await;
    // The third endpoint is said to be ready, but nothing listens there.
    let endpoints = [
        ("127.77.1.1", true),
        ("127.77.1.2", true),
        ("127.77.1.3", true),
    ];
    let services = Directory::fixed(table("127.77.0.1", &endpoints, &json!({})));
    let proxy = proxy(&services);
    first_call("127.77.0.1").await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..99 {
        *seen.entry(call("127.77.0.1").await.unwrap()).or_default() += 1;
    }
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, ["127.77.1.1 hello", "127.77.1.2 hello"]);
    assert!(seen.values().all(|n| *n > 25), "{seen:?}");
    assert_eq!(proxy.connections()["default/web"], 100);
}

#[tokio::test]
async fn a_client_with_affinity_stays_and_new_endpoints_apply_to_new_connections() {
    serve("127.77.3.1").await;
    serve("127.77.3.2").await;
    let sticky = json!({"sessionAffinity": "ClientIP"});
    let both = [("127.77.3.1", true), ("127.77.3.2", true)];
    let services = Directory::fixed(table("127.77.2.1", &both, &sticky));
    let _proxy = proxy(&services);
    let first = first_call("127.77.2.1").await;
    for _ in 0..20 {
        assert_eq!(call("127.77.2.1").await.unwrap(), first);
    }
    let left = if first.starts_with("127.77.3.1 ") {
        "127.77.3.2"
    } else {
        "127.77.3.1"
    };
    services.replace(table("127.77.2.1", &[(left, true)], &sticky));
    assert!(call("127.77.2.1").await.unwrap().starts_with(left));
    services.replace(table("127.77.2.1", &[(left, false)], &sticky));
    for _ in 0..500 {
        if let Err(error) = call("127.77.2.1").await
            && error.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a Service without ready endpoints still takes connections");
}

#[tokio::test]
async fn names_are_answered_over_udp_and_tcp() {
    let services = Directory::fixed(table("10.96.0.20", &[], &json!({})));
    let address: SocketAddr = "127.77.4.1:15353".parse().unwrap();
    let _server = dns::Server::start(dns::Config {
        services,
        network: Arc::new(Loopback),
        address,
        domain: "cluster.local".to_owned(),
        service_range: (Ipv4Addr::new(10, 96, 0, 0), 12),
        upstream: Vec::new(),
    });
    let mut query = Message::query();
    let name = Name::from_ascii("web.default.svc.cluster.local.").unwrap();
    query.add_query(Query::query(name, RecordType::A));
    let packet = query.to_vec().unwrap();
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    stream
        .write_u16(u16::try_from(packet.len()).unwrap())
        .await
        .unwrap();
    stream.write_all(&packet).await.unwrap();
    let length = stream.read_u16().await.unwrap();
    let mut by_tcp = vec![0; usize::from(length)];
    stream.read_exact(&mut by_tcp).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 512];
    socket.send_to(&packet, address).await.unwrap();
    let length = socket.recv(&mut buffer).await.unwrap();
    for bytes in [&by_tcp[..], &buffer[..length]] {
        let answer = Message::from_vec(bytes).unwrap();
        assert_eq!(answer.answers[0].data.to_string(), "10.96.0.20");
    }
    let mut other = Message::query();
    other.add_query(Query::query(
        Name::from_ascii("example.org.").unwrap(),
        RecordType::A,
    ));
    socket
        .send_to(&other.to_vec().unwrap(), address)
        .await
        .unwrap();
    let length = socket.recv(&mut buffer).await.unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
}
