//! A small SPDY/3.1 client, and sessions over it.

use crate::rig::{PODS, Rig};
use crate::streams::rig;
use rstest::rstest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

/// What a server says on a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) accepted: bool,
    pub(crate) reset: bool,
    pub(crate) ended: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Heard {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }

    fn is_over(&self) -> bool {
        self.reset || self.ended
    }
}

/// The client's end of a connection.
pub(crate) struct Client<IO> {
    io: IO,
    begun: bool,
    next: u32,
    pub(crate) heard: BTreeMap<u32, Heard>,
    pub(crate) pongs: Vec<u32>,
    pub(crate) going_away: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self {
            io,
            begun: false,
            next: 1,
            heard: BTreeMap::new(),
            pongs: Vec::new(),
            going_away: false,
        }
    }

    async fn control(&mut self, kind: u8, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let head = [0x80, 3, 0, kind, 0, length[1], length[2], length[3]];
        self.io.write_all(&[&head, body].concat()).await.unwrap();
    }

    /// Opens a stream with these headers.
    pub(crate) async fn open(&mut self, headers: &[(&str, &str)]) -> u32 {
        let number = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
        let mut block = number(headers.len()).to_vec();
        for (name, value) in headers {
            for text in [name, value] {
                block.extend(number(text.len()));
                block.extend(text.as_bytes());
            }
        }
        // Stored, not compressed.
        let length = u16::try_from(block.len()).unwrap();
        let mut body = self.next.to_be_bytes().to_vec();
        body.extend([0; 6]);
        if !std::mem::replace(&mut self.begun, true) {
            body.extend([0x78, 0x01]);
        }
        body.push(0);
        body.extend(length.to_le_bytes());
        body.extend((!length).to_le_bytes());
        body.extend(block);
        self.control(1, &body).await;
        self.next += 2;
        self.next - 2
    }

    pub(crate) async fn send(&mut self, id: u32, bytes: &[u8]) {
        self.data(id, 0, bytes).await;
    }

    pub(crate) async fn finish(&mut self, id: u32) {
        self.data(id, 1, b"").await;
    }

    pub(crate) async fn reset(&mut self, id: u32) {
        let body = [id.to_be_bytes(), 5_u32.to_be_bytes()].concat();
        self.control(3, &body).await;
    }

    async fn ping(&mut self, number: u32) {
        self.control(6, &number.to_be_bytes()).await;
    }

    async fn data(&mut self, id: u32, flags: u8, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let head = [&id.to_be_bytes()[..], &[flags], &length[1..]].concat();
        self.io.write_all(&[&head, bytes].concat()).await.unwrap();
    }

    /// Hears one frame; `false` at the end of the connection.
    pub(crate) async fn hear(&mut self) -> bool {
        let mut head = [0; 8];
        if self.io.read_exact(&mut head).await.is_err() {
            return false;
        }
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]);
        let mut body = vec![0; usize::try_from(length).unwrap()];
        self.io.read_exact(&mut body).await.unwrap();
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
        if head[0] & 0x80 == 0 {
            let stream = self.heard.entry(number(&head)).or_default();
            let is_open = stream.accepted && !stream.ended;
            assert!(is_open, "data on a stream that is not open");
            stream.bytes.extend(body);
            stream.ended = head[4] & 1 == 1;
            return true;
        }
        match head[3] {
            2 => self.heard.entry(number(&body)).or_default().accepted = true,
            3 => self.heard.entry(number(&body)).or_default().reset = true,
            6 => self.pongs.push(number(&body)),
            7 => self.going_away = true,
            other => panic!("an unexpected frame of type {other}"),
        }
        true
    }

    /// Hears until these streams are over, or everything is.
    pub(crate) async fn hear_out(&mut self, ids: &[u32]) {
        let over = |heard: &BTreeMap<u32, Heard>| {
            ids.iter()
                .all(|id| heard.get(id).is_some_and(Heard::is_over))
        };
        while !over(&self.heard) {
            if !self.hear().await {
                return;
            }
        }
    }
}

/// Switches to SPDY: the client, and the protocol in it that was agreed on.
pub(crate) async fn switch(
    rig: &Rig,
    path: &str,
    offered: &str,
) -> Result<(Client<DuplexStream>, String), String> {
    let mut io = rig.connection();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\
         x-stream-protocol-version: {offered}\r\ncontent-length: 0\r\n\r\n"
    );
    io.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(io.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    if !answer.starts_with("HTTP/1.1 101") {
        return Err(answer);
    }
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-stream-protocol-version: "));
    Ok((Client::new(io), line.unwrap().to_owned()))
}

const ALL: &str = "v4.channel.k8s.io, v3.channel.k8s.io, v2.channel.k8s.io, channel.k8s.io";

fn exec(options: &str) -> String {
    format!("{PODS}/p/exec?{options}")
}

#[tokio::test(start_paused = true)]
async fn a_session_has_a_stream_for_everything() {
    let rig = rig().await;
    let path = exec("command=exit&command=3&stdin=true&stdout=true&stderr=true");
    let (mut client, protocol) = switch(&rig, &path, ALL).await.unwrap();
    assert_eq!(protocol, "v4.channel.k8s.io");
    let mut ids = BTreeMap::new();
    for kind in ["error", "stdin", "stdout", "stderr", "resize"] {
        ids.insert(kind, client.open(&[("streamType", kind)]).await);
    }
    client.ping(7).await;
    client.send(ids["stdin"], b"hello").await;
    while client
        .heard
        .get(&ids["stdout"])
        .is_none_or(|heard| heard.bytes.is_empty())
    {
        assert!(client.hear().await);
    }
    client.finish(ids["stdin"]).await;
    client
        .hear_out(&[ids["error"], ids["stdout"], ids["stderr"]])
        .await;
    assert_eq!(client.heard[&ids["stdout"]].text(), "hello");
    let status: Value = serde_json::from_slice(&client.heard[&ids["error"]].bytes).unwrap();
    assert_eq!(status["status"], "Failure");
    let cause = json!({"reason": "ExitCode", "message": "3"});
    assert_eq!(status["details"]["causes"][0], cause);
    assert_eq!(client.pongs, [7]);
    while client.hear().await {}
    assert!(client.going_away);
}

#[rstest]
#[case("v5.channel.k8s.io, v4.channel.k8s.io", "v5.channel.k8s.io", true)]
#[case("v3.channel.k8s.io", "v3.channel.k8s.io", false)]
#[case("channel.k8s.io", "channel.k8s.io", false)]
#[tokio::test(start_paused = true)]
async fn the_end_is_told_in_the_protocols_words(
    #[case] offered: &str,
    #[case] want: &str,
    #[case] in_json: bool,
) {
    let rig = rig().await;
    let path = exec("command=print&command=3&stdout=true");
    let (mut client, protocol) = switch(&rig, &path, offered).await.unwrap();
    assert_eq!(protocol, want);
    let error = client.open(&[("streamtype", "error")]).await;
    let stdout = client.open(&[("streamtype", "stdout")]).await;
    client.hear_out(&[error, stdout]).await;
    assert_eq!(client.heard[&stdout].text(), "hi");
    let text = client.heard[&error].text();
    assert_eq!(text.starts_with('{'), in_json, "{text}");
    assert!(text.contains("command terminated with non-zero exit code: 3"));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_begin_says_why_on_its_error_stream() {
    let rig = rig().await;
    let path = exec("command=missing&stdout=true");
    let (mut client, _) = switch(&rig, &path, ALL).await.unwrap();
    let error = client.open(&[("streamtype", "error")]).await;
    let stdout = client.open(&[("streamtype", "stdout")]).await;
    client.hear_out(&[error, stdout]).await;
    assert!(client.heard[&error].text().contains("no such program"));
    assert!(client.heard[&stdout].ended);
}

#[tokio::test(start_paused = true)]
async fn streams_of_no_known_type_are_reset() {
    let rig = rig().await;
    let path = exec("command=print&command=3&stdout=true");
    let (mut client, _) = switch(&rig, &path, ALL).await.unwrap();
    let odd = client.open(&[("streamtype", "odd")]).await;
    client.hear_out(&[odd]).await;
    assert!(client.heard[&odd].reset);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_opens_nothing_is_let_go() {
    let rig = rig().await;
    let path = exec("command=print&command=3&stdout=true");
    let (mut client, _) = switch(&rig, &path, ALL).await.unwrap();
    while client.hear().await {}
    assert!(client.going_away);
}

#[rstest]
#[case::unknown("v9.channel.k8s.io", "HTTP/1.1 403")]
#[case::none("", "HTTP/1.1 400")]
#[tokio::test(start_paused = true)]
async fn protocols_must_be_agreed_on(#[case] offered: &str, #[case] want: &str) {
    let rig = rig().await;
    let path = exec("command=print&command=3&stdout=true");
    let refused = switch(&rig, &path, offered).await.err().unwrap();
    assert!(refused.starts_with(want), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn abandoned_sessions_leave_no_tasks() {
    let rig = rig().await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for open_streams in [0, 1, 3] {
        let path = exec("command=exit&command=3&stdin=true&stdout=true");
        let (mut client, _) = switch(&rig, &path, ALL).await.unwrap();
        for kind in ["error", "stdin", "stdout"].into_iter().take(open_streams) {
            client.open(&[("streamtype", kind)]).await;
        }
        if open_streams > 0 {
            assert!(client.hear().await);
        }
    }
    // The paused clock moves on only when nothing has anything left to do.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(tasks(), before);
}
