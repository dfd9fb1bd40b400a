//! Sessions over WebSocket: the first byte of a message names a channel.

use super::Wish;
use crate::call::Call;
use crate::http::respond::Response;
use crate::streams::session::{self, Outlet, Report};
use crate::streams::upgrade::Takeover;
use crate::streams::websocket::{self, Coding, Sender};
use bytes::Bytes;
use futures::StreamExt;
use plimsoll_api::node::{Input, Output, StreamOptions};
use plimsoll_api::status::ApiError;
use serde_json::Value;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Version 5 only: the next byte names a channel that the client has finished writing.
const CLOSE: u8 = 255;

/// Protocols spoken. Version 1 has no name of its own, or none at all.
const PROTOCOLS: [(&str, Coding, Report); 6] = [
    ("v5.channel.k8s.io", Coding::Binary, Report::Json),
    ("v4.channel.k8s.io", Coding::Binary, Report::Json),
    ("v4.base64.channel.k8s.io", Coding::Base64, Report::Json),
    ("channel.k8s.io", Coding::Binary, Report::Text),
    ("base64.channel.k8s.io", Coding::Base64, Report::Text),
    ("", Coding::Binary, Report::Text),
];

/// Switches to WebSocket and runs the session.
pub(super) fn open(call: &Call, wish: Wish) -> Result<Response, ApiError> {
    let names = PROTOCOLS.map(|(name, ..)| name);
    let chosen = websocket::choose(&call.headers, &names)?;
    let (name, coding, report) = PROTOCOLS.get(chosen).copied().unwrap_or(PROTOCOLS[0]);
    let response = websocket::switching(call, name)?;
    Takeover::of(call)?.run(async move |upgraded| {
        let (sender, receiver) = websocket::speak(upgraded).await;
        let ending = wish.ending();
        let mut outlet = Channels {
            sender,
            coding,
            report,
        };
        // Tells the client that the connection stands.
        let first = first_channel(&wish.options);
        if !websocket::say(&mut outlet.sender, coding.channel(first, b"")).await {
            return;
        }
        let mut input = receiver
            .take_while(|message| {
                let goes_on = message.as_ref().is_ok_and(|message| !message.is_close());
                std::future::ready(goes_on)
            })
            .filter_map(|message| {
                let read = message.ok().and_then(|message| coding.read(&message));
                std::future::ready(read.and_then(|(channel, bytes)| event(channel, bytes)))
            });
        session::run(wish.grant(), ending, &mut outlet, &mut input).await;
        websocket::close(outlet.sender, input.into_inner().into_inner()).await;
    });
    Ok(response)
}

fn first_channel(options: &StreamOptions) -> u8 {
    match options {
        StreamOptions { stdout: true, .. } => STDOUT,
        StreamOptions { stderr: true, .. } => STDERR,
        StreamOptions { .. } => ERROR,
    }
}

/// What a client's message means; `None` for what carries nothing.
fn event(channel: u8, bytes: Bytes) -> Option<Input> {
    match channel {
        STDIN if bytes.is_empty() => None,
        STDIN => Some(Input::Stdin(bytes)),
        RESIZE => session::size(&serde_json::from_slice(&bytes).ok()?),
        CLOSE if *bytes == [STDIN] => Some(Input::CloseStdin),
        _ => None,
    }
}

/// The server's channels.
struct Channels {
    sender: Sender,
    coding: Coding,
    report: Report,
}

impl Outlet for Channels {
    async fn output(&mut self, output: Output) -> bool {
        let (channel, bytes) = match output {
            Output::Stdout(bytes) => (STDOUT, bytes),
            Output::Stderr(bytes) => (STDERR, bytes),
        };
        websocket::say(&mut self.sender, self.coding.channel(channel, &bytes)).await
    }

    async fn finish(&mut self, status: &Value) {
        let text = self.report.write(status);
        if !text.is_empty() {
            let message = self.coding.channel(ERROR, text.as_bytes());
            websocket::say(&mut self.sender, message).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::bytes(STDIN, b"hi", Some(Input::Stdin("hi".into())))]
    #[case::size(RESIZE, b"{\"Width\":80,\"Height\":24}", Some(Input::Resize { width: 80, height: 24 }))]
    #[case::end_of_stdin(CLOSE, &[STDIN], Some(Input::CloseStdin))]
    #[case::end_of_something_else(CLOSE, &[STDOUT], None)]
    #[case::no_size(RESIZE, b"nonsense", None)]
    #[case::nothing(STDIN, b"", None)]
    fn channels_carry_input_sizes_and_the_end_of_stdin(
        #[case] channel: u8,
        #[case] bytes: &'static [u8],
        #[case] want: Option<Input>,
    ) {
        assert_eq!(event(channel, Bytes::from_static(bytes)), want);
    }
}
