//! Sessions over SPDY: one stream for each of error, stdin, stdout, stderr and sizes.

use super::Wish;
use crate::call::Call;
use crate::http::respond::Response;
use crate::streams::session::{self, Outlet, Report};
use crate::streams::spdy::{self, Incoming, Reader, Stream, Writer};
use crate::streams::upgrade::{self, Takeover};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use hyper_util::rt::TokioIo;
use plimsoll_api::node::{Input, Output, StreamOptions};
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::time::Duration;

/// Protocols spoken; each knows more than the one after it: sizes from 3 on, JSON from 4 on.
const PROTOCOLS: [&str; 5] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
];
/// How many of them report in JSON.
const WITH_JSON: usize = 2;
/// How many of them have a stream for sizes.
const WITH_SIZES: usize = 3;
/// How long a client may take to open its streams.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most that may wait for the rest of a size, in bytes.
const LONGEST_SIZE: usize = 4096;

/// Switches to SPDY and runs the session.
pub(super) fn open(call: &Call, wish: Wish) -> Result<Response, ApiError> {
    let chosen = match upgrade::choose_spdy(call, &PROTOCOLS) {
        Ok(chosen) => chosen,
        Err(refusal) => return Ok(*refusal),
    };
    let name = PROTOCOLS.get(chosen).copied().unwrap_or_default();
    Takeover::of(call)?.run(async move |upgraded| {
        let (incoming, driver) = spdy::open(TokioIo::new(upgraded));
        tokio::join!(driver, serve(incoming, wish, chosen));
    });
    Ok(upgrade::switching_to_spdy(name))
}

async fn serve(mut incoming: Incoming, wish: Wish, protocol: usize) {
    let mut streams = Streams::default();
    let gathered = streams.gather(&mut incoming, &wish.options, protocol);
    if !matches!(tokio::time::timeout(PATIENCE, gathered).await, Ok(true)) {
        tracing::debug!("a client did not open the streams of its session");
        return;
    }
    let ending = wish.ending();
    let Streams {
        error,
        stdin,
        stdout,
        stderr,
        resize,
    } = streams;
    let report = if protocol < WITH_JSON {
        Report::Json
    } else {
        Report::Text
    };
    let mut outlet = Outputs {
        report,
        error: error.map(|(_, writer)| writer),
        stdout: stdout.map(|(_, writer)| writer),
        stderr: stderr.map(|(_, writer)| writer),
    };
    let typed = stdin.map_or_else(none, |(reader, _)| bytes(reader));
    let sizes = resize.map_or_else(none, |(reader, _)| sizes_of(reader));
    // Those end when the client has finished with them; the session ends with the connection.
    let left = futures::stream::once(async {
        while let Some(more) = incoming.next().await {
            more.refuse().await;
        }
    });
    let left = left.filter_map(|()| std::future::ready(None));
    let left: BoxStream<'_, Input> = left.boxed();
    let mut input = futures::stream::select_all([typed, sizes, left]);
    session::run(wish.grant(), ending, &mut outlet, &mut input).await;
}

fn none<'a>() -> BoxStream<'a, Input> {
    futures::stream::empty().boxed()
}

type Pair = Option<(Reader, Writer)>;

/// The streams of a session.
#[derive(Debug, Default)]
struct Streams {
    error: Pair,
    stdin: Pair,
    stdout: Pair,
    stderr: Pair,
    resize: Pair,
}

impl Streams {
    /// Takes streams until all that are wanted are there; `false` if the client leaves before.
    async fn gather(
        &mut self,
        incoming: &mut Incoming,
        options: &StreamOptions,
        protocol: usize,
    ) -> bool {
        while !self.are_all(options, protocol) {
            let Some(stream) = incoming.next().await else {
                return false;
            };
            self.take(stream).await;
        }
        true
    }

    fn are_all(&self, options: &StreamOptions, protocol: usize) -> bool {
        let sizes = options.tty && protocol < WITH_SIZES;
        self.error.is_some()
            && (self.stdin.is_some() || !options.stdin)
            && (self.stdout.is_some() || !options.stdout)
            && (self.stderr.is_some() || !options.stderr)
            && (self.resize.is_some() || !sizes)
    }

    async fn take(&mut self, stream: Stream) {
        let place = match stream.headers.text("streamtype") {
            "error" => &mut self.error,
            "stdin" => &mut self.stdin,
            "stdout" => &mut self.stdout,
            "stderr" => &mut self.stderr,
            "resize" => &mut self.resize,
            _ => return stream.refuse().await,
        };
        *place = Some(stream.accept().await);
    }
}

/// What is typed, then its end.
fn bytes<'a>(reader: Reader) -> BoxStream<'a, Input> {
    let typed = futures::stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        Some(match reader.read().await {
            Some(bytes) => (Input::Stdin(bytes), Some(reader)),
            None => (Input::CloseStdin, None),
        })
    });
    typed.boxed()
}

/// The terminal's sizes, JSON objects one after the other.
fn sizes_of<'a>(reader: Reader) -> BoxStream<'a, Input> {
    let start = (reader, Vec::new());
    let sizes = futures::stream::unfold(start, async |(mut reader, mut text)| {
        loop {
            text.extend_from_slice(&reader.read().await?);
            if let Some(size) = last_size(&mut text) {
                return Some((size, (reader, text)));
            }
        }
    });
    sizes.boxed()
}

/// The newest complete size in `text`, of which the rest stays.
fn last_size(text: &mut Vec<u8>) -> Option<Input> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    let mut newest = None;
    while let Some(Ok(value)) = values.next() {
        newest = session::size(&value).or(newest);
    }
    let read = values.byte_offset();
    text.drain(..read);
    if text.len() > LONGEST_SIZE {
        text.clear();
    }
    newest
}

/// The server's streams.
struct Outputs {
    report: Report,
    error: Option<Writer>,
    stdout: Option<Writer>,
    stderr: Option<Writer>,
}

impl Outlet for Outputs {
    async fn output(&mut self, output: Output) -> bool {
        let (writer, bytes) = match output {
            Output::Stdout(bytes) => (&self.stdout, bytes),
            Output::Stderr(bytes) => (&self.stderr, bytes),
        };
        match writer {
            Some(writer) => writer.send(bytes).await.is_ok(),
            None => true,
        }
    }

    async fn finish(&mut self, status: &Value) {
        // The client may have left meanwhile; there is nothing more to do for it then.
        for writer in [self.stdout.take(), self.stderr.take()]
            .into_iter()
            .flatten()
        {
            let _gone = writer.finish().await;
        }
        if let Some(error) = self.error.take() {
            let text = self.report.write(status);
            if !text.is_empty() {
                let _gone = error.send(Bytes::from(text)).await;
            }
            let _gone = error.finish().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_complete_size_counts() {
        let mut text = b"{\"Width\":1,\"Height\":2}\n{\"Width\":3,\"Height\":4}\n{\"Wid".to_vec();
        let size = Input::Resize {
            width: 3,
            height: 4,
        };
        assert_eq!(last_size(&mut text), Some(size));
        text.extend_from_slice(b"th\":5,\"Height\":6}");
        let size = Input::Resize {
            width: 5,
            height: 6,
        };
        assert_eq!(last_size(&mut text), Some(size));
        assert_eq!(last_size(&mut text), None);
    }
}
