//! Logs, exec and attach over an upgraded connection.

use crate::rig::{Bound, PODS, Rig};
use crate::targets::dial;
use async_trait::async_trait;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use plimsoll_api::node::{
    Connection, ContainerRef, Destination, Input, LogOptions, NodeBackend, Output, Session,
    StreamOptions,
};
use plimsoll_api::status::ApiError;
use plimsoll_apiserver::auth::Identity;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Echoes its input until that ends, or prints something, then exits with the number in its
/// command. Its ports are those of [`dial`].
#[derive(Debug)]
pub(crate) struct Echo;

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
        if options.command == ["print", "3"] {
            shown.send(Output::Stdout("hi".into())).await.unwrap();
            ended.send(3).unwrap();
            return Ok(Session {
                input,
                output,
                exit,
            });
        }
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
            let _left = ended.send(options.command[1].parse().unwrap());
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

    async fn connect(&self, to: Destination) -> std::io::Result<Connection> {
        dial(to)
    }
}

pub(crate) async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.server.set_nodes(Arc::new(Echo));
    rig.default_account().await;
    rig.pod("p", Bound::Yes).await;
    rig
}

/// Opens `exec` with these options on the pod, as a client that speaks WebSocket.
async fn open(rig: &Rig, options: &str) -> WebSocketStream<DuplexStream> {
    let path = format!("{PODS}/p/exec?{options}");
    let protocols = "v5.channel.k8s.io,v4.channel.k8s.io";
    let (socket, chosen) = rig.websocket(&path, protocols).await;
    assert_eq!(chosen, "v5.channel.k8s.io");
    socket
}

/// Everything a socket says until it ends.
async fn everything(socket: &mut WebSocketStream<DuplexStream>) -> Vec<Message> {
    let mut said = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_close() {
            said.push(message);
        }
    }
    said
}

#[rstest]
#[case::no_name("", "", Message::Binary(b"\x01hi".to_vec().into()))]
#[case::first("channel.k8s.io", "channel.k8s.io", Message::Binary(b"\x01hi".to_vec().into()))]
#[case::in_base64("base64.channel.k8s.io", "base64.channel.k8s.io", Message::Text("1aGk=".into()))]
#[tokio::test(start_paused = true)]
async fn old_protocols_say_how_it_ended_in_plain_words(
    #[case] offered: &str,
    #[case] want: &str,
    #[case] output: Message,
) {
    let rig = rig().await;
    let path = format!("{PODS}/p/exec?command=print&command=3&stdout=true");
    let (mut socket, chosen) = rig.websocket(&path, offered).await;
    assert_eq!(chosen, want);
    let said = everything(&mut socket).await;
    assert_eq!(said[1], output);
    let text = "command terminated with non-zero exit code: 3";
    let last = said[2].clone().into_data();
    let last = if said[2].is_text() {
        base64::Engine::decode(&STANDARD, &last[1..]).unwrap()
    } else {
        last[1..].to_vec()
    };
    assert_eq!(String::from_utf8(last).unwrap(), text);
}

#[tokio::test(start_paused = true)]
async fn a_protocol_that_nobody_speaks_is_refused() {
    let rig = rig().await;
    let path = format!("{PODS}/p/exec?command=print&command=0&stdout=true");
    let refused = rig.try_websocket(&path, "v9.channel.k8s.io").await;
    assert_eq!(refused.unwrap_err(), 400);
}

#[rstest]
#[case::binary("binary.k8s.io", Message::Binary("main Some(5)\n".into()))]
#[case::base64("base64.binary.k8s.io", Message::Text("bWFpbiBTb21lKDUpCg==".into()))]
#[tokio::test(start_paused = true)]
async fn logs_come_over_websocket_too(#[case] protocol: &str, #[case] want: Message) {
    let rig = rig().await;
    rig.started("p").await;
    let path = format!("{PODS}/p/log?tailLines=5");
    let (mut socket, chosen) = rig.websocket(&path, protocol).await;
    assert_eq!(chosen, protocol);
    let said = everything(&mut socket).await;
    assert!(said[0].is_empty(), "{said:?}");
    assert_eq!(said[1..], [want]);
}

#[rstest]
#[case(
    "tailLines=-1",
    "tailLines: Invalid value: -1: must be greater than or equal to 0"
)]
#[case("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0")]
#[case(
    "sinceSeconds=0",
    "sinceSeconds: Invalid value: 0: must be greater than 0"
)]
#[case("stream=Both", "stream: Unsupported value: \"Both\"")]
#[case("stream=Stdout&tailLines=1", "mutually exclusive")]
#[case("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", "at most one of")]
#[tokio::test(start_paused = true)]
async fn impossible_log_options_are_named(#[case] query: &str, #[case] want: &str) {
    let rig = rig().await;
    rig.started("p").await;
    let answer = rig.get(&format!("{PODS}/p/log?{query}")).await;
    let status = answer.expect_failure(422, "Invalid", want);
    assert_eq!(status["details"]["kind"], "PodLogOptions");
}

/// WebSocket clients ask with GET, but reading a pod is not running something in it.
#[rstest]
#[case::reads(&["get"], Err(403))]
#[case::runs(&["get", "create"], Ok("v5.channel.k8s.io"))]
#[tokio::test(start_paused = true)]
async fn a_websocket_needs_the_right_to_create(
    #[case] verbs: &[&str],
    #[case] want: Result<&str, u16>,
) {
    let rig = rig().await;
    let rules = json!([{"apiGroups": [""], "resources": ["pods/exec"], "verbs": verbs}]);
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    rig.post(&format!("{group}/roles"), &role).await.expect(201);
    let binding = json!({
        "metadata": {"name": "b"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"},
    });
    let path = format!("{group}/rolebindings");
    rig.post(&path, &binding).await.expect(201);
    let jane = Rig {
        server: rig.server.clone(),
        identity: Identity::new("jane", &["system:authenticated"]),
    };
    let path = format!("{PODS}/p/exec?command=print&command=3&stdout=true");
    let got = jane.try_websocket(&path, "v5.channel.k8s.io").await;
    let got = got.map(|(_, protocol)| protocol);
    assert_eq!(got, want.map(str::to_owned));
}

/// A client that has left takes its session with it: nothing of it keeps running.
#[tokio::test(start_paused = true)]
async fn abandoned_sessions_leave_no_tasks() {
    let rig = rig().await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for _ in 0..20 {
        let socket = open(&rig, "command=exit&command=3&stdin=true&stdout=true").await;
        drop(socket);
    }
    // The paused clock moves on only when nothing has anything left to do.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(tasks(), before);
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
    assert_eq!(frames[0], b"\x01", "the connection stands");
    assert_eq!(frames[1], b"\x01hello");
    assert_eq!(frames[2], b"\x0280x24");
    let status: Value = serde_json::from_slice(&frames[3][1..]).unwrap();
    assert_eq!((frames[3][0], &status["status"]), (3, &json!("Failure")));
    assert_eq!(
        status["details"]["causes"][0],
        json!({"reason": "ExitCode", "message": "3"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_begin_says_why_on_its_error_channel() {
    let rig = rig().await;
    let mut socket = open(&rig, "command=missing&stdout=true").await;
    socket.next().await.unwrap().unwrap();
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
    forward.expect_failure(400, "BadRequest", "Upgrade request required");
    let forward = rig.get(&format!("{PODS}/q/portforward")).await;
    forward.expect_failure(400, "BadRequest", "pod q does not have a host assigned");
}

#[tokio::test(start_paused = true)]
async fn logs_wait_for_a_container_that_has_run() {
    let rig = rig().await;
    let path = format!("{PODS}/p/log?tailLines=5");
    let early = rig.get(&path).await;
    let message = "container \"main\" in pod \"p\" is waiting to start: ContainerCreating";
    early.expect_failure(400, "BadRequest", message);
    rig.started("p").await;
    assert_eq!(rig.get(&path).await.text, "main Some(5)\n");
    let other = rig.get(&format!("{PODS}/p/log?container=x")).await;
    other.expect_failure(400, "BadRequest", "container x is not valid for pod p");
}
