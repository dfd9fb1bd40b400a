//! Logs, exec and attach over an upgraded connection.

use crate::rig::{Bound, PODS, Rig};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use plimsoll_api::node::{
    ContainerRef, Input, LogOptions, NodeBackend, Output, Session, StreamOptions,
};
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Echoes its input until that ends, then exits with the number in its command.
#[derive(Debug)]
struct Echo;

#[async_trait]
impl NodeBackend for Echo {
    async fn logs(
        &self,
        container: ContainerRef,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Bytes>, ApiError> {
        let text = format!("{} {:?}\n", container.container, options.tail_lines);
        Ok(futures::stream::iter([Bytes::from(text)]).boxed())
    }

    async fn exec(&self, _: ContainerRef, options: StreamOptions) -> Result<Session, ApiError> {
        if options.command == ["missing"] {
            return Err(ApiError::internal("no such program"));
        }
        let (input, mut typed) = mpsc::channel(4);
        let (shown, output) = mpsc::channel(4);
        let (ended, exit) = oneshot::channel();
        tokio::spawn(async move {
            while let Some(event) = typed.recv().await {
                match event {
                    Input::Stdin(bytes) => shown.send(Output::Stdout(bytes)).await.unwrap(),
                    Input::Resize { width, height } => {
                        let text = format!("{width}x{height}").into();
                        shown.send(Output::Stderr(text)).await.unwrap();
                    }
                    Input::CloseStdin => break,
                }
            }
            drop(shown);
            ended.send(options.command[1].parse().unwrap()).unwrap();
        });
        Ok(Session {
            input,
            output,
            exit,
        })
    }

    async fn attach(
        &self,
        container: ContainerRef,
        options: StreamOptions,
    ) -> Result<Session, ApiError> {
        self.exec(container, options).await
    }
}

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.server.set_nodes(Arc::new(Echo));
    rig.default_account().await;
    rig.pod("p", Bound::Yes).await;
    rig
}

/// Opens `exec` with these options on the pod, as a client that speaks WebSocket.
async fn open(rig: &Rig, options: &str) -> WebSocketStream<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (server, identity) = (rig.server.clone(), rig.identity.clone());
    let service = hyper::service::service_fn(move |request| {
        let (server, identity) = (server.clone(), identity.clone());
        async move { Ok::<_, Infallible>(server.handle(Some(identity), request).await) }
    });
    let io = hyper_util::rt::TokioIo::new(theirs);
    let connection = hyper::server::conn::http1::Builder::new();
    tokio::spawn(connection.serve_connection(io, service).with_upgrades());
    let mut request = format!("ws://localhost{PODS}/p/exec?{options}")
        .into_client_request()
        .unwrap();
    let protocols = "v5.channel.k8s.io,v4.channel.k8s.io".parse().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", protocols);
    let (socket, answer) = tokio_tungstenite::client_async(request, ours)
        .await
        .unwrap();
    assert_eq!(
        answer.headers()["sec-websocket-protocol"],
        "v5.channel.k8s.io"
    );
    socket
}

#[tokio::test(start_paused = true)]
async fn exec_carries_input_output_sizes_and_the_exit_code() {
    let rig = rig().await;
    let mut socket = open(
        &rig,
        "command=exit&command=3&stdin=true&stdout=true&stderr=true",
    )
    .await;
    for frame in [
        &b"\x00hello"[..],
        b"\x04{\"Width\":80,\"Height\":24}",
        &[255, 0],
    ] {
        socket
            .send(Message::Binary(frame.to_vec().into()))
            .await
            .unwrap();
    }
    let mut frames = Vec::new();
    while let Some(Ok(Message::Binary(bytes))) = socket.next().await {
        frames.push(bytes.to_vec());
    }
    assert_eq!(frames[0], b"\x01hello");
    assert_eq!(frames[1], b"\x0280x24");
    let status: Value = serde_json::from_slice(&frames[2][1..]).unwrap();
    assert_eq!((frames[2][0], &status["status"]), (3, &json!("Failure")));
    assert_eq!(
        status["details"]["causes"][0],
        json!({"reason": "ExitCode", "message": "3"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_begin_says_why_on_its_error_channel() {
    let rig = rig().await;
    let mut socket = open(&rig, "command=missing&stdout=true").await;
    let Some(Ok(Message::Binary(bytes))) = socket.next().await else {
        panic!("no frame")
    };
    let status: Value = serde_json::from_slice(&bytes[1..]).unwrap();
    assert_eq!((bytes[0], &status["status"]), (3, &json!("Failure")));
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("no such program")
    );
}

#[tokio::test(start_paused = true)]
async fn exec_without_an_upgrade_or_a_node_is_refused() {
    let rig = rig().await;
    let path = format!("{PODS}/p/exec?command=ls&stdout=true");
    rig.get(&path)
        .await
        .expect_failure(400, "BadRequest", "Upgrade request required");
    rig.pod("q", Bound::No).await;
    let path = format!("{PODS}/q/exec?command=ls&stdout=true");
    rig.get(&path)
        .await
        .expect_failure(400, "BadRequest", "pod q does not have a host assigned");
    let forward = rig.get(&format!("{PODS}/p/portforward")).await;
    forward.expect_failure(501, "NotImplemented", "port-forward");
}

#[tokio::test(start_paused = true)]
async fn logs_wait_for_a_container_that_has_run() {
    let rig = rig().await;
    let path = format!("{PODS}/p/log?tailLines=5");
    let early = rig.get(&path).await;
    let message = "container \"main\" in pod \"p\" is waiting to start: ContainerCreating";
    early.expect_failure(400, "BadRequest", message);
    let status = json!({"status": {"containerStatuses": [{
        "name": "main", "state": {"running": {}}, "ready": true, "restartCount": 0,
        "image": "nginx", "imageID": "",
    }]}});
    rig.patch(&format!("{PODS}/p/status"), "strategic-merge", &status)
        .await
        .expect(200);
    assert_eq!(rig.get(&path).await.text, "main Some(5)\n");
    let other = rig.get(&format!("{PODS}/p/log?container=x")).await;
    other.expect_failure(400, "BadRequest", "container x is not valid for pod p");
}
