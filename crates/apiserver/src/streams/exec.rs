//! `pods/exec` and `pods/attach`.

use super::websocket::{Ending, Handshake};
use super::{backend, container, pod};
use crate::call::Call;
use crate::http::respond::Response;
use plimsoll_api::meta;
use plimsoll_api::node::StreamOptions;
use plimsoll_api::status::ApiError;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new process.
    Exec,
    /// The container's main process.
    Attach,
}

/// Opens a session and hands the connection over to it.
pub(crate) async fn open(call: &Call, purpose: Purpose) -> Result<Response, ApiError> {
    let pod = pod(call)?;
    let container = container(call, &pod)?;
    let name = meta::name(&pod);
    if meta::text(&pod, &["spec", "nodeName"]).is_empty() {
        return Err(ApiError::bad_request(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    let phase = meta::text(&pod, &["status", "phase"]);
    if matches!(phase, "Succeeded" | "Failed") {
        let what = if purpose == Purpose::Exec {
            "exec into"
        } else {
            "attach to"
        };
        return Err(ApiError::bad_request(format!(
            "cannot {what} a container in a completed pod; current phase is {phase}"
        )));
    }
    let options = options(call, purpose)?;
    let handshake = Handshake::of(call)?;
    let nodes = backend(call)?;
    match purpose {
        Purpose::Exec => {
            let session = nodes.exec(container, options).await;
            handshake.carry(session, Ending::ByCode)
        }
        Purpose::Attach => {
            let session = nodes.attach(container, options).await;
            handshake.carry(session, Ending::Quiet)
        }
    }
}

fn options(call: &Call, purpose: Purpose) -> Result<StreamOptions, ApiError> {
    let query = &call.query;
    let tty = query.flag("tty");
    let options = StreamOptions {
        command: query.all("command").map(str::to_owned).collect(),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr") && !tty,
        tty,
    };
    if purpose == Purpose::Exec && options.command.is_empty() {
        return Err(ApiError::bad_request("you must specify at least 1 command"));
    }
    if !options.stdin && !options.stdout && !options.stderr {
        return Err(ApiError::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    Ok(options)
}
