//! Admission of connections to pods, Services and nodes: what is asked about are their options.

use crate::admission::webhook::Subject;
use crate::admission::{self, Operation};
use crate::call::{Call, Run};
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};

/// Asks webhooks about a connection; anything else passes.
pub(super) async fn admit(call: &Call, subresource: &str) -> Result<(), ApiError> {
    let Some((kind, mut options)) = options(call, subresource) else {
        return Ok(());
    };
    let map = meta::as_object(&mut options);
    map.insert("kind".into(), kind.as_str().into());
    map.insert("apiVersion".into(), "v1".into());
    let subject = Subject {
        body: Some(("".into(), "v1".into(), kind.into())),
        ..Subject::of_call(call, Run::Real, Operation::Connect)
    };
    admission::subresource(&subject, &mut options, None).await
}

/// The options of a connection and their kind, e.g. `PodExecOptions`.
fn options(call: &Call, subresource: &str) -> Option<(String, Value)> {
    let query = &call.query;
    let owner = &call.kind.kind;
    let (name, options) = match subresource {
        "exec" | "attach" => {
            let mut options = json!({"container": query.text("container")});
            let map = meta::as_object(&mut options);
            for flag in ["stdin", "stdout", "stderr", "tty"] {
                map.insert(flag.into(), query.flag(flag).into());
            }
            if subresource == "exec" {
                let command: Vec<&str> = query.all("command").collect();
                map.insert("command".into(), json!(command));
                ("Exec", options)
            } else {
                ("Attach", options)
            }
        }
        "portforward" => {
            let ports = query.all("ports").filter_map(|p| p.parse::<u16>().ok());
            ("PortForward", json!({"ports": ports.collect::<Vec<_>>()}))
        }
        "proxy" => ("Proxy", json!({"path": query.text("path")})),
        _ => return None,
    };
    Some((format!("{owner}{name}Options"), options))
}
