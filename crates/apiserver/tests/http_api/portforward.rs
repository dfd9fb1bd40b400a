//! Port forwarding: over SPDY, over SPDY inside WebSocket, and over WebSocket channels.

use crate::rig::{PODS, Rig};
use crate::spdy::{Client, switch};
use crate::streams::rig;
use futures::{SinkExt, StreamExt};
use rstest::rstest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

fn path() -> String {
    format!("{PODS}/p/portforward")
}

/// The client's end of SPDY inside a WebSocket.
fn inside(socket: WebSocketStream<DuplexStream>) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut to_server, mut from_server) = socket.split();
    let (mut input, mut output) = tokio::io::split(far);
    tokio::spawn(async move {
        let mut buffer = vec![0; 1000];
        while let Ok(length @ 1..) = input.read(&mut buffer).await {
            let message = Message::Binary(buffer[..length].to_vec().into());
            if to_server.send(message).await.is_err() {
                return;
            }
        }
        let _gone = to_server.close().await;
    });
    tokio::spawn(async move {
        while let Some(Ok(Message::Binary(bytes))) = from_server.next().await {
            if output.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _gone = output.shutdown().await;
    });
    near
}

enum Way {
    Plain,
    Tunnel,
}

async fn client(rig: &Rig, way: &Way) -> Client<DuplexStream> {
    match way {
        Way::Plain => {
            let (client, protocol) = switch(rig, &path(), PROTOCOL).await.unwrap();
            assert_eq!(protocol, PROTOCOL);
            client
        }
        Way::Tunnel => {
            let (socket, protocol) = rig.websocket(&path(), TUNNEL).await;
            assert_eq!(protocol, TUNNEL);
            Client::new(inside(socket))
        }
    }
}

/// Opens the pair of streams of a connection: errors, data.
async fn pair<IO: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<IO>,
    port: &str,
    request: &str,
) -> (u32, u32) {
    let mut ids = Vec::new();
    for kind in ["error", "data"] {
        let headers = [("streamType", kind), ("port", port), ("requestID", request)];
        ids.push(client.open(&headers).await);
    }
    // As kubectl does.
    client.finish(ids[0]).await;
    (ids[0], ids[1])
}

#[rstest]
#[case::plain(Way::Plain)]
#[case::inside_websocket(Way::Tunnel)]
#[tokio::test(start_paused = true)]
async fn many_connections_share_one_and_end_by_themselves(#[case] way: Way) {
    let rig = rig().await;
    let mut client = client(&rig, &way).await;
    let mut pairs = Vec::new();
    for request in 0..50 {
        let (error, data) = pair(&mut client, "7", &request.to_string()).await;
        client
            .send(data, format!("hello {request}").as_bytes())
            .await;
        client.finish(data).await;
        pairs.push((error, data));
    }
    for (request, (error, data)) in pairs.into_iter().enumerate() {
        client.hear_out(&[error, data]).await;
        assert_eq!(client.heard[&data].text(), format!("hello {request}"));
        assert_eq!(client.heard[&error].text(), "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_connection_still_gets_its_answer() {
    let rig = rig().await;
    let mut client = client(&rig, &Way::Plain).await;
    let (error, data) = pair(&mut client, "8", "1").await;
    let chunk = vec![b'x'; 100_000];
    for _ in 0..30 {
        client.send(data, &chunk).await;
    }
    client.finish(data).await;
    client.hear_out(&[error, data]).await;
    assert_eq!(client.heard[&data].text(), "3000000");
}

#[tokio::test(start_paused = true)]
async fn a_pod_may_hang_up_first() {
    let rig = rig().await;
    let mut client = client(&rig, &Way::Plain).await;
    let (error, data) = pair(&mut client, "9", "1").await;
    client.hear_out(&[error, data]).await;
    assert_eq!(client.heard[&data].text(), "hello");
    assert!(client.heard[&data].ended && !client.heard[&data].reset);
}

#[tokio::test(start_paused = true)]
async fn a_closed_port_is_told_on_the_error_stream() {
    let rig = rig().await;
    let mut client = client(&rig, &Way::Plain).await;
    let (error, data) = pair(&mut client, "1", "1").await;
    client.hear_out(&[error, data]).await;
    let text = client.heard[&error].text();
    assert!(
        text.starts_with("error forwarding port 1 to pod p, uid "),
        "{text}"
    );
    assert!(text.ends_with(": connection refused"), "{text}");
    assert!(client.heard[&data].reset);
    // The others go on.
    let (error, data) = pair(&mut client, "9", "2").await;
    client.hear_out(&[error, data]).await;
    assert_eq!(client.heard[&data].text(), "hello");
}

#[tokio::test(start_paused = true)]
async fn a_reset_connection_is_over_at_once() {
    let rig = rig().await;
    let mut client = client(&rig, &Way::Plain).await;
    let (error, data) = pair(&mut client, "7", "1").await;
    client.reset(data).await;
    client.hear_out(&[error]).await;
    assert_eq!(client.heard[&error].text(), "");
}

#[tokio::test(start_paused = true)]
async fn clients_without_request_ids_are_served() {
    let rig = rig().await;
    let mut client = client(&rig, &Way::Plain).await;
    let error = client.open(&[("streamtype", "error"), ("port", "9")]).await;
    let data = client.open(&[("streamtype", "data"), ("port", "9")]).await;
    client.hear_out(&[error, data]).await;
    assert_eq!(client.heard[&data].text(), "hello");
}

#[rstest]
#[case::no_port("data", "")]
#[case::no_number("data", "http")]
#[case::zero("error", "0")]
#[case::no_type("", "7")]
#[tokio::test(start_paused = true)]
async fn streams_that_make_no_sense_are_reset(#[case] kind: &str, #[case] port: &str) {
    let rig = rig().await;
    let mut client = client(&rig, &Way::Plain).await;
    let odd = client
        .open(&[("streamtype", kind), ("port", port), ("requestid", "1")])
        .await;
    client.hear_out(&[odd]).await;
    assert!(client.heard[&odd].reset);
}

#[tokio::test(start_paused = true)]
async fn half_a_pair_is_given_up_in_time() {
    let rig = rig().await;
    let mut client = client(&rig, &Way::Plain).await;
    let error = client
        .open(&[("streamtype", "error"), ("port", "7"), ("requestid", "1")])
        .await;
    client.hear_out(&[error]).await;
    assert_eq!(
        client.heard[&error].text(),
        "error: timed out waiting for streams"
    );
}

#[tokio::test(start_paused = true)]
async fn channels_begin_with_their_port() {
    let rig = rig().await;
    let path = format!("{}?ports=7,1", path());
    let (mut socket, protocol) = rig.websocket(&path, "v4.channel.k8s.io").await;
    assert_eq!(protocol, "v4.channel.k8s.io");
    socket
        .send(Message::Binary(b"\x00hello".to_vec().into()))
        .await
        .unwrap();
    let mut channels = vec![Vec::new(); 4];
    while channels[0].len() < 7 || channels[3].len() < 3 {
        let message = socket.next().await.unwrap().unwrap().into_data();
        channels[usize::from(message[0])].extend_from_slice(&message[1..]);
    }
    assert_eq!(channels[0], b"\x07\x00hello");
    assert_eq!(channels[1], b"\x07\x00");
    assert_eq!(channels[2], b"\x01\x00");
    let why = String::from_utf8(channels[3][2..].to_vec()).unwrap();
    assert!(why.contains("connection refused"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn channels_need_ports() {
    let rig = rig().await;
    let refused = rig.try_websocket(&path(), "v4.channel.k8s.io").await;
    assert_eq!(refused.unwrap_err(), 400);
}

#[tokio::test(start_paused = true)]
async fn abandoned_connections_leave_no_tasks() {
    let rig = rig().await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for way in [Way::Plain, Way::Tunnel] {
        let mut client = client(&rig, &way).await;
        let (_, data) = pair(&mut client, "7", "1").await;
        client.send(data, b"hello").await;
        while client
            .heard
            .get(&data)
            .is_none_or(|heard| heard.bytes.is_empty())
        {
            assert!(client.hear().await);
        }
    }
    // The paused clock moves on only when nothing has anything left to do.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(tasks(), before);
}
