//! What is logged about one request, from its arrival to its answer.

use super::policy::{Level, Stage, Verdict};
use crate::auth::{Attributes, Decision, Identity};
use crate::call::Call;
use crate::dispatch::verb;
use crate::http::Body;
use crate::http::body;
use crate::http::negotiate;
use crate::http::query::Query;
use crate::http::respond::{self, Response};
use crate::http::route::{Route, route};
use crate::remarks::Remarks;
use crate::resource::decode;
use crate::reviews::user_info;
use crate::server::ApiServer;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{CONTENT_ENCODING, USER_AGENT};
use http::request::Parts;
use http_body_util::BodyExt as _;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Map, Value, json};
use std::io::Read as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The most of a packed answer that is unpacked for the log, in bytes.
const MOST_UNPACKED: u64 = 64 << 20;

/// The log entry of a request, as far as it is known; nothing if the request is not logged.
#[derive(Debug, Default)]
pub(crate) struct Trail(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    server: ApiServer,
    verdict: Verdict,
    long: bool,
    event: Map<String, Value>,
}

impl Trail {
    /// Begins, if there is a log and its policy wants the request.
    pub(crate) fn begin(
        server: &ApiServer,
        who: &Result<Identity, ApiError>,
        parts: &Parts,
        audit_id: &str,
    ) -> Self {
        let Some(audit) = server.0.audit.get() else {
            return Self(None);
        };
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let route = route(parts.uri.path());
        let verb = verb(&parts.method, &route, &query);
        let nobody = Identity::new("", &[]);
        let who = who.as_ref().unwrap_or(&nobody);
        let asked = attributes(&route, verb, parts.uri.path());
        let verdict = audit.policy.verdict(who, &asked);
        if verdict.level == Level::None {
            return Self(None);
        }
        let mut event = Map::new();
        let level = format!("{:?}", verdict.level);
        for (field, value) in [
            ("kind", json!("Event")),
            ("apiVersion", json!("audit.k8s.io/v1")),
            ("level", json!(level)),
            ("auditID", json!(audit_id)),
            ("stage", Value::Null),
            (
                "requestURI",
                json!(
                    parts
                        .uri
                        .path_and_query()
                        .map(http::uri::PathAndQuery::as_str)
                ),
            ),
            ("verb", json!(verb)),
            (
                "user",
                if who.user.is_empty() {
                    json!({})
                } else {
                    user_info(who)
                },
            ),
        ] {
            event.insert(field.to_owned(), value);
        }
        describe(&mut event, parts, &route);
        let now = stamp(server);
        event.insert("requestReceivedTimestamp".into(), now.into());
        let streams = ["exec", "attach", "portforward", "proxy"];
        let long = verb == "watch"
            || streams.contains(&asked.subresource)
            || (asked.subresource == "log" && query.flag("follow"));
        let open = Open {
            server: server.clone(),
            verdict,
            long,
            event,
        };
        open.log(Stage::RequestReceived);
        Self(Some(Box::new(open)))
    }

    /// The request is answered as if `who` had asked.
    pub(crate) fn impersonated(&mut self, who: &Identity) {
        if let Some(open) = &mut self.0
            && meta::at(&json!(open.event), &["user"]) != Some(&user_info(who))
        {
            open.event.insert("impersonatedUser".into(), user_info(who));
        }
    }

    /// What was decided about it.
    pub(crate) fn decided(&mut self, decision: &Decision) {
        if let Some(open) = &mut self.0 {
            let word = if decision.allowed { "allow" } else { "forbid" };
            let annotations = json!({
                "authorization.k8s.io/decision": word,
                "authorization.k8s.io/reason": decision.reason,
            });
            open.event.insert("annotations".into(), annotations);
        }
    }

    /// What admission remarked: notes its annotations, and gives back its warnings.
    pub(crate) fn remarked(&mut self, remarks: Remarks) -> Vec<String> {
        let (warnings, notes) = remarks.into_parts();
        let Some(open) = self.0.as_mut().filter(|_| !notes.is_empty()) else {
            return warnings;
        };
        let annotations = open.event.entry("annotations").or_insert_with(|| json!({}));
        let annotations = meta::as_object(annotations);
        for (key, value) in notes {
            annotations.entry(key).or_insert(value.into());
        }
        warnings
    }

    /// Its body, if the policy wants it.
    pub(crate) fn requested(&mut self, call: &Call) {
        let Some(open) = &mut self.0 else { return };
        if open.verdict.level < Level::Request || call.body.is_empty() {
            return;
        }
        let object = match call.verb {
            "patch" => serde_json::from_slice(&call.body).ok(),
            _ => match call.path.subresource.as_deref() {
                Some(sub) => decode::subresource(call, sub)
                    .or_else(|_| decode::object(call))
                    .ok(),
                None => decode::object(call).ok(),
            },
        };
        let object = object.or_else(|| serde_json::from_slice(&call.body).ok());
        // What cannot be read at all is refused in a moment, and said so in the answer.
        if let Some(object) = object {
            let object = open.trimmed(object);
            open.event.insert("requestObject".into(), object);
        }
    }

    /// Logs the answer: at once, or for a stream when it begins and when it ends.
    pub(crate) async fn complete(self, response: Response) -> Response {
        let Some(mut open) = self.0 else {
            return response;
        };
        let code = response.status();
        let mut status = json!({"metadata": {}, "code": code.as_u16()});
        if open.long && !code.is_client_error() && !code.is_server_error() {
            open.event.insert("responseStatus".into(), status);
            open.log(Stage::ResponseStarted);
            return response.map(|body| Body::new(Followed { body, open }));
        }
        let wants_body = open.verdict.level == Level::RequestResponse;
        let failed = code.is_client_error() || code.is_server_error();
        if !wants_body && !failed {
            open.event.insert("responseStatus".into(), status);
            open.log(Stage::ResponseComplete);
            return response;
        }
        let (parts, body) = response.into_parts();
        let bytes = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) => {
                return respond::failure(&ApiError::internal(error), &negotiate::plain_json());
            }
        };
        let packed = parts.headers.contains_key(CONTENT_ENCODING);
        if let Some(object) = read(&bytes, packed) {
            if failed && meta::text(&object, &["kind"]) == "Status" {
                status = object.clone();
                let map = meta::as_object(&mut status);
                map.shift_remove("kind");
                map.shift_remove("apiVersion");
            }
            if wants_body {
                let object = open.trimmed(object);
                open.event.insert("responseObject".into(), object);
            }
        }
        open.event.insert("responseStatus".into(), status);
        open.log(Stage::ResponseComplete);
        Response::from_parts(parts, body::full(bytes))
    }
}

impl Open {
    fn log(&self, stage: Stage) {
        let audit = self.server.0.audit.get();
        let Some(audit) = audit.filter(|_| self.verdict.logs(stage)) else {
            return;
        };
        let mut event = self.event.clone();
        event.insert("stage".into(), stage.name().into());
        let now = stamp(&self.server);
        event.insert("stageTimestamp".into(), now.into());
        // What came last is read last: who was allowed to do it.
        if let Some(annotations) = event.shift_remove("annotations") {
            event.insert("annotations".into(), annotations);
        }
        audit
            .log
            .write(serde_json::to_vec(&event).unwrap_or_default());
    }

    /// Without managed fields, if the policy leaves them out.
    fn trimmed(&self, mut object: Value) -> Value {
        if self.verdict.omit_managed_fields {
            let drop_fields = |object: &mut Value| {
                let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
                metadata.map(|metadata| metadata.shift_remove("managedFields"));
            };
            drop_fields(&mut object);
            let items = object.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(drop_fields);
        }
        object
    }
}

/// JSON that may be packed; protobuf and text are not logged.
fn read(bytes: &Bytes, packed: bool) -> Option<Value> {
    if !packed {
        return serde_json::from_slice(bytes).ok();
    }
    let mut whole = Vec::new();
    let mut unpacked = GzDecoder::new(bytes.as_ref()).take(MOST_UNPACKED);
    unpacked.read_to_end(&mut whole).ok()?;
    serde_json::from_slice(&whole).ok()
}

fn attributes<'a>(route: &'a Route, verb: &'a str, path: &'a str) -> Attributes<'a> {
    let mut asked = Attributes {
        verb,
        path,
        ..Attributes::default()
    };
    if let Route::Resource(path) = route {
        asked.group = &path.group;
        asked.resource = &path.plural;
        asked.subresource = path.subresource.as_deref().unwrap_or_default();
        asked.namespace = path.namespace.as_deref().unwrap_or_default();
        asked.name = path.name.as_deref().unwrap_or_default();
    }
    asked
}

/// From where, with what program, about which object.
fn describe(event: &mut Map<String, Value>, parts: &Parts, route: &Route) {
    if let Some(address) = parts.extensions.get::<SocketAddr>() {
        event.insert("sourceIPs".into(), json!([address.ip().to_string()]));
    }
    let agent = parts.headers.get(USER_AGENT).and_then(|v| v.to_str().ok());
    if let Some(agent) = agent {
        event.insert("userAgent".into(), agent.into());
    }
    let Route::Resource(path) = route else { return };
    let mut reference = Map::new();
    for (field, value) in [
        ("resource", Some(&path.plural)),
        ("namespace", path.namespace.as_ref()),
        ("name", path.name.as_ref()),
        ("apiGroup", Some(&path.group)),
        ("apiVersion", Some(&path.version)),
        ("subresource", path.subresource.as_ref()),
    ] {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            reference.insert(field.into(), value.as_str().into());
        }
    }
    event.insert("objectRef".into(), reference.into());
}

fn stamp(server: &ApiServer) -> String {
    server.now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// A stream whose end is logged.
#[derive(Debug)]
struct Followed {
    body: Body,
    open: Box<Open>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.open.log(Stage::ResponseComplete);
    }
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
