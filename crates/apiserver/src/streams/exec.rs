//! `pods/exec` and `pods/attach`.

mod channels;
mod spdy;

use super::session::Ending;
use super::{backend, container, demand_create, pod, upgrade, websocket};
use crate::call::Call;
use crate::http::respond::Response;
use plimsoll_api::meta;
use plimsoll_api::node::{ContainerRef, NodeBackend, Session, StreamOptions};
use plimsoll_api::status::ApiError;
use std::sync::Arc;

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new process.
    Exec,
    /// The container's main process.
    Attach,
}

/// A session that is to be opened once the client is ready for it.
#[derive(Debug)]
struct Wish {
    purpose: Purpose,
    nodes: Arc<dyn NodeBackend>,
    container: ContainerRef,
    options: StreamOptions,
}

impl Wish {
    async fn grant(self) -> Result<Session, ApiError> {
        let Self {
            purpose,
            nodes,
            container,
            options,
        } = self;
        match purpose {
            Purpose::Exec => nodes.exec(container, options).await,
            Purpose::Attach => nodes.attach(container, options).await,
        }
    }

    fn ending(&self) -> Ending {
        match self.purpose {
            Purpose::Exec => Ending::ByCode,
            Purpose::Attach => Ending::Quiet,
        }
    }
}

/// Opens a session and hands the connection over to it.
pub(crate) fn open(call: &Call, purpose: Purpose) -> Result<Response, ApiError> {
    demand_create(call)?;
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
    let wish = Wish {
        purpose,
        options: options(call, purpose)?,
        nodes: backend(call)?,
        container,
    };
    if websocket::is_asked(&call.headers) {
        channels::open(call, wish)
    } else if upgrade::wants(&call.headers, "spdy/3.1") {
        spdy::open(call, wish)
    } else {
        Err(ApiError::bad_request("Upgrade request required"))
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
