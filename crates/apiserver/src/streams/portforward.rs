//! `pods/portforward`: connections to ports of a pod, each with a second stream that says what went
//! wrong.

mod channels;
mod spdy;

use super::{backend, demand_create, pod, upgrade, websocket};
use crate::call::Call;
use crate::http::respond::Response;
use bytes::{Bytes, BytesMut};
use plimsoll_api::meta;
use plimsoll_api::node::{Connection, Destination, NodeBackend};
use plimsoll_api::status::ApiError;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes read from a pod at once.
const CHUNK: usize = 32 * 1024;

/// The pod whose ports are asked for.
#[derive(Debug, Clone)]
struct Ports {
    nodes: Arc<dyn NodeBackend>,
    namespace: String,
    pod: String,
    uid: String,
}

/// Hands the connection over to port forwarding.
pub(crate) fn open(call: &Call) -> Result<Response, ApiError> {
    demand_create(call)?;
    let pod = pod(call)?;
    let name = meta::name(&pod);
    if meta::text(&pod, &["spec", "nodeName"]).is_empty() {
        return Err(ApiError::bad_request(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    let ports = Ports {
        nodes: backend(call)?,
        namespace: call.namespace().to_owned(),
        pod: name.to_owned(),
        uid: meta::text(&pod, &["metadata", "uid"]).to_owned(),
    };
    if websocket::is_asked(&call.headers) {
        channels::open(call, ports)
    } else if upgrade::wants(&call.headers, "spdy/3.1") {
        spdy::open(call, ports)
    } else {
        Err(ApiError::bad_request("Upgrade request required"))
    }
}

/// Where the bytes of one connection come from.
trait Source: Send {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// Where the bytes of one connection go.
trait Sink: Send {
    /// Passes bytes on; `false` once nobody wants them.
    fn put(&mut self, bytes: Bytes) -> impl Future<Output = bool> + Send;

    /// Says that nothing more comes.
    fn end(&mut self) -> impl Future<Output = ()> + Send;
}

impl Ports {
    /// Carries one connection until both sides have finished.
    ///
    /// # Errors
    /// What to tell the client.
    async fn carry(
        &self,
        port: u16,
        source: &mut impl Source,
        sink: &mut impl Sink,
    ) -> Result<(), String> {
        let to = Destination::Pod {
            namespace: self.namespace.clone(),
            name: self.pod.clone(),
            port,
        };
        let connected = self.nodes.connect(to).await;
        let carried = match connected {
            Ok(connection) => exchange(connection, source, sink).await,
            Err(error) => Err(error),
        };
        carried.map_err(|error| {
            let Self { pod, uid, .. } = self;
            format!("error forwarding port {port} to pod {pod}, uid {uid}: {error}")
        })
    }
}

/// Moves bytes both ways. Each direction ends by itself, so that either side may finish first.
async fn exchange(
    connection: Connection,
    source: &mut impl Source,
    sink: &mut impl Sink,
) -> std::io::Result<()> {
    let (mut input, mut output) = tokio::io::split(connection);
    let upward = async {
        while let Some(bytes) = source.next().await {
            if output.write_all(&bytes).await.is_err() {
                // What it still has to say is worth reading.
                return;
            }
        }
        let _gone = output.shutdown().await;
    };
    let downward = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            if input.read_buf(&mut buffer).await? == 0 {
                break;
            }
            if !sink.put(buffer.split().freeze()).await {
                return Ok(false);
            }
        }
        sink.end().await;
        Ok(true)
    };
    tokio::pin!(upward, downward);
    tokio::select! {
        biased;
        ended = &mut downward => ended.map(drop),
        () = &mut upward => downward.await.map(drop),
    }
}

/// The port that a client names.
fn parse_port(text: &str) -> Result<u16, String> {
    let number: i64 = text
        .parse()
        .map_err(|_| format!("unable to parse {text:?} as a port"))?;
    match u16::try_from(number) {
        Ok(0) | Err(_) if number < 1 => Err(format!("port {text:?} must be > 0")),
        Ok(port) => Ok(port),
        Err(_) => Err(format!("unable to parse {text:?} as a port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("80", Ok(80))]
    #[case("65535", Ok(65535))]
    #[case("65536", Err("unable to parse \"65536\" as a port"))]
    #[case("0", Err("port \"0\" must be > 0"))]
    #[case("-1", Err("port \"-1\" must be > 0"))]
    #[case("http", Err("unable to parse \"http\" as a port"))]
    fn ports_are_numbers(#[case] text: &str, #[case] want: Result<u16, &str>) {
        assert_eq!(parse_port(text), want.map_err(str::to_owned));
    }
}
