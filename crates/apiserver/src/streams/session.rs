//! A running exec or attach and its client: bytes both ways until the process ends or the client
//! leaves.

use futures::{Stream, StreamExt};
use plimsoll_api::meta;
use plimsoll_api::node::{Input, Output, Session};
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};

/// How the exit code reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// As a failure with an `ExitCode` cause.
    ByCode,
    /// Always a success (attach).
    Quiet,
}

/// How a Status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// As JSON.
    Json,
    /// A failure's message; nothing for a success.
    Text,
}

impl Report {
    /// The bytes for the error channel.
    pub(super) fn write(self, status: &Value) -> String {
        match self {
            Self::Json => status.to_string(),
            Self::Text if meta::text(status, &["status"]) == "Success" => String::new(),
            Self::Text => meta::text(status, &["message"]).to_owned(),
        }
    }
}

/// Where a session's output goes.
pub(super) trait Outlet: Send {
    /// Passes output on; `false` once the client has left.
    fn output(&mut self, output: Output) -> impl Future<Output = bool> + Send;

    /// Passes on how it ended, which is the last thing to say.
    fn finish(&mut self, status: &Value) -> impl Future<Output = ()> + Send;
}

/// Moves bytes both ways until the session ends or the client leaves. `input` ends when it has.
pub(super) async fn run(
    session: impl Future<Output = Result<Session, ApiError>> + Send,
    ending: Ending,
    outlet: &mut impl Outlet,
    input: &mut (impl Stream<Item = Input> + Unpin + Send),
) {
    let session = match session.await {
        Ok(session) => session,
        // kubectl would take a refused upgrade for a server that does not speak the protocol.
        Err(why) => return outlet.finish(&why.to_status()).await,
    };
    let Session {
        input: typed,
        mut output,
        exit,
    } = session;
    let outgoing = async {
        while let Some(chunk) = output.recv().await {
            if !outlet.output(chunk).await {
                return;
            }
        }
        let status = exit_status(exit.await.ok(), ending);
        outlet.finish(&status).await;
    };
    let incoming = async {
        let mut typed = Some(typed);
        while let Some(event) = input.next().await {
            // A process that no longer reads is no reason to end the session.
            if let Some(sender) = &typed
                && sender.send(event).await.is_err()
            {
                typed = None;
            }
        }
    };
    tokio::select! {
        biased;
        () = outgoing => {}
        () = incoming => {}
    }
}

/// The Status that ends a session.
fn exit_status(code: Option<i32>, ending: Ending) -> Value {
    match (code, ending) {
        (Some(0), _) | (_, Ending::Quiet) => json!({"metadata": {}, "status": "Success"}),
        (Some(code), Ending::ByCode) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        (None, Ending::ByCode) => {
            ApiError::internal("the session ended without an exit code").to_status()
        }
    }
}

/// The size in `{"Width":W,"Height":H}`.
pub(super) fn size(value: &Value) -> Option<Input> {
    let cells = |key: &str| meta::integer(value, &[key]).and_then(|n| u16::try_from(n).ok());
    Some(Input::Resize {
        width: cells("Width")?,
        height: cells("Height")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_become_causes() {
        assert_eq!(exit_status(Some(0), Ending::ByCode)["status"], "Success");
        let failed = exit_status(Some(3), Ending::ByCode);
        assert_eq!(failed["details"]["causes"][0]["message"], "3");
        assert_eq!(exit_status(Some(3), Ending::Quiet)["status"], "Success");
    }

    #[test]
    fn old_protocols_get_the_message_only() {
        let failed = exit_status(Some(3), Ending::ByCode);
        let text = "command terminated with non-zero exit code: 3";
        assert_eq!(Report::Text.write(&failed), text);
        let fine = exit_status(Some(0), Ending::ByCode);
        assert_eq!(Report::Text.write(&fine), "");
    }
}
