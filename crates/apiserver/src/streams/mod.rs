//! Connections that carry more than one answer: logs, exec, attach, port-forward and proxies.

pub(crate) mod exec;
pub(crate) mod log;
pub(crate) mod portforward;
pub(crate) mod proxy;
mod session;
mod spdy;
mod upgrade;
mod websocket;

use crate::auth::Attributes;
use crate::call::Call;
use crate::resource::present::parse;
use plimsoll_api::meta;
use plimsoll_api::node::{ContainerRef, NodeBackend};
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::sync::Arc;

/// The lists a pod's containers are in.
const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The pod the path names.
fn pod(call: &Call) -> Result<Value, ApiError> {
    let entry = call
        .server
        .store()
        .get(&call.key())
        .ok_or_else(|| call.not_found())?;
    parse(&entry.json)
}

/// WebSocket clients ask with GET what others ask with POST; it is the same thing to be allowed.
fn demand_create(call: &Call) -> Result<(), ApiError> {
    if call.verb == "create" {
        return Ok(());
    }
    let asked = Attributes {
        verb: "create",
        group: &call.kind.group,
        resource: &call.kind.plural,
        subresource: call.path.subresource.as_deref().unwrap_or_default(),
        namespace: call.namespace(),
        name: call.name(),
        ..Attributes::default()
    };
    call.server.demand(&call.identity, &asked)
}

/// Who runs the pods.
fn backend(call: &Call) -> Result<Arc<dyn NodeBackend>, ApiError> {
    let nodes = call.server.0.nodes.read().clone();
    nodes.ok_or_else(|| ApiError::new(503, "ServiceUnavailable", "no node agent is running"))
}

/// The container that is asked for, or the only one.
fn container(call: &Call, pod: &Value) -> Result<ContainerRef, ApiError> {
    let name = meta::name(pod);
    let of = |list: &str| -> Vec<String> {
        let containers = meta::list(pod, &["spec", list]).iter();
        containers
            .map(|c| meta::text(c, &["name"]).to_owned())
            .collect()
    };
    let asked = call.query.text("container");
    let main = of("containers");
    let chosen = match (asked, main.as_slice()) {
        ("", [only]) => only.clone(),
        ("", many) => {
            let choices = many.join(" ");
            let init = of("initContainers");
            let init = if init.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: [{}]", init.join(" "))
            };
            return Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{choices}]{init}"
            )));
        }
        (asked, _) if LISTS.iter().any(|list| of(list).iter().any(|c| c == asked)) => {
            asked.to_owned()
        }
        (asked, _) => {
            let message = format!("container {asked} is not valid for pod {name}");
            return Err(ApiError::bad_request(message));
        }
    };
    let namespace = call.namespace().to_owned();
    Ok(ContainerRef {
        namespace,
        pod: name.to_owned(),
        container: chosen,
    })
}
