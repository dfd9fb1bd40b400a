//! What load balancers ask nodes: `healthCheckNodePort`.

use super::balance::Backends;
use super::table::{Directory, ServiceName, Table};
use serde_json::json;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client that has not asked within this is dropped.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest request that is read (bytes).
const MOST: usize = 8192;

/// Answers one request: 200 if the Service has ready endpoints, else 503.
pub(super) async fn tell(
    services: &Directory,
    name: &ServiceName,
    mut client: TcpStream,
) -> io::Result<()> {
    tokio::time::timeout(PATIENCE, asked(&mut client)).await??;
    let count = services.read(|table| ready(table, name));
    client.write_all(answer(name, count).as_bytes()).await?;
    client.shutdown().await
}

/// Reads a request up to its empty line.
async fn asked(client: &mut TcpStream) -> io::Result<()> {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
        let length = client.read(&mut buffer).await?;
        if length == 0 || seen.len() > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        seen.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
    Ok(())
}

fn ready(table: &Table, name: &ServiceName) -> usize {
    let Some(service) = table.service(name) else {
        return 0;
    };
    let counts = service.spec.ports.iter().map(|port| {
        let protocol = if port.protocol.is_empty() {
            "TCP"
        } else {
            &port.protocol
        };
        Backends::new(table, name, &port.name, protocol).ready_count()
    });
    counts.max().unwrap_or_default()
}

fn answer((namespace, name): &ServiceName, count: usize) -> String {
    let status = if count > 0 {
        "200 OK"
    } else {
        "503 Service Unavailable"
    };
    let body = json!({
        "service": {"namespace": namespace, "name": name},
        "localEndpoints": count, "serviceProxyHealthy": true,
    })
    .to_string();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\
         X-Content-Type-Options: nosniff\r\nX-Load-Balancing-Endpoint-Weight: {count}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_without_endpoints_is_unhealthy() {
        let name = ("default".to_owned(), "web".to_owned());
        assert!(answer(&name, 0).starts_with("HTTP/1.1 503 "));
        let told = answer(&name, 3);
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        let (_, body) = told.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let service = json!({"namespace": "default", "name": "web"});
        let want = json!({
            "service": service, "localEndpoints": 3, "serviceProxyHealthy": true,
        });
        assert_eq!(body, want);
    }
}
