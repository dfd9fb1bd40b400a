//! The HTTP server of a node, as far as tools read it: what a kubelet serves on port 10250. It is
//! reached through `nodes/NAME/proxy`, which has checked who asks.

mod configz;
mod files;
mod metrics;
mod reading;
mod summary;

use super::{Agents, Node};
use bytes::Bytes;
use futures::StreamExt;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::node::{Connection, ContainerRef, LogOptions, LogStream, NodeBackend};
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;

/// Bytes that may wait in a connection, each way.
const BUFFER: usize = 64 * 1024;
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;
type Answer = Response<Body>;

/// Opens a connection to a node's server.
pub(super) fn connect(agents: &Agents, node: Arc<Node>) -> Connection {
    let (near, far) = tokio::io::duplex(BUFFER);
    let served = agents.clone();
    agents.spawn(async move {
        let service = service_fn(move |request| {
            let (agents, node) = (served.clone(), Arc::clone(&node));
            async move { Ok::<_, Infallible>(answer(&agents, &node, &request).await) }
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(far), service);
        if let Err(error) = serving.await {
            tracing::debug!(%error, "a connection to a node's server ended badly");
        }
    });
    Box::new(near)
}

async fn answer(agents: &Agents, node: &Node, request: &Request<Incoming>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(405, TEXT, "Method Not Allowed\n");
    }
    let path = request.uri().path();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let query = request.uri().query().unwrap_or_default();
    match parts.as_slice() {
        ["healthz", ..] | ["livez" | "readyz"] => plain(200, TEXT, "ok"),
        ["pods" | "runningpods"] => pods(agents, node).await,
        ["metrics"] => plain(200, METRICS, metrics::own(agents, node)),
        ["metrics", "resource"] => {
            let reading = reading::Reading::take(agents, node).await;
            plain(200, METRICS, metrics::resource(&reading))
        }
        ["metrics", "cadvisor"] => {
            let reading = reading::Reading::take(agents, node).await;
            plain(200, METRICS, metrics::cadvisor(&reading))
        }
        ["metrics", "probes"] => plain(200, METRICS, ""),
        ["stats", "summary"] | ["stats"] => {
            let reading = reading::Reading::take(agents, node).await;
            json(&summary::summary(&reading))
        }
        ["configz"] => json(&configz::configz(agents)),
        ["containerLogs", namespace, pod, container] => {
            let container = ContainerRef {
                namespace: (*namespace).to_owned(),
                pod: (*pod).to_owned(),
                container: (*container).to_owned(),
            };
            logs(agents, node, container, query).await
        }
        ["logs"] if !path.ends_with('/') => moved("/logs/"),
        ["logs", rest @ ..] => files::serve(agents, node, rest).await,
        _ => plain(404, TEXT, "404 page not found\n"),
    }
}

async fn pods(agents: &Agents, node: &Node) -> Answer {
    let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", node.name);
    match agents.shared.cluster.get::<Value>(&path).await {
        Ok(list) => json(&list),
        Err(error) => plain(500, TEXT, format!("{error}\n")),
    }
}

async fn logs(agents: &Agents, node: &Node, container: ContainerRef, query: &str) -> Answer {
    let entry = agents
        .shared
        .board
        .get(&container.namespace, &container.pod);
    if entry.is_none_or(|entry| entry.node.name != node.name) {
        let message = format!("pod {:?} does not exist\n", container.pod);
        return plain(404, TEXT, message);
    }
    let options = match options(query, agents.shared.clock.now()) {
        Ok(options) => options,
        Err(message) => return plain(400, TEXT, message),
    };
    match agents.logs(container, options).await {
        Ok(chunks) => {
            let frames = chunks.map(|chunk| Ok(http_body::Frame::data(chunk)));
            typed(200, TEXT, StreamBody::new(frames).boxed_unsync())
        }
        Err(error) => plain(error.code, TEXT, format!("{}\n", error.message)),
    }
}

/// The same parameters as `pods/log` has.
fn options(query: &str, now: Timestamp) -> Result<LogOptions, String> {
    let mut options = LogOptions::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
        let yes = !matches!(value, "false" | "0");
        let number = || {
            let parsed = value.parse::<u64>();
            parsed.map_err(|_| format!("{key} must be a number not below 0, not {value:?}\n"))
        };
        match key {
            "follow" => options.follow = yes,
            "previous" => options.previous = yes,
            "timestamps" => options.timestamps = yes,
            "tailLines" => options.tail_lines = Some(number()?),
            "limitBytes" => options.limit_bytes = Some(number()?),
            "sinceSeconds" => {
                let seconds = i64::try_from(number()?).unwrap_or(i64::MAX);
                let since = now.checked_sub(SignedDuration::from_secs(seconds));
                options.since = Some(since.unwrap_or(Timestamp::MIN));
            }
            "stream" => {
                let stream = LogStream::parse(value);
                options.stream = stream.ok_or_else(|| format!("no such stream: {value:?}\n"))?;
            }
            _ => {}
        }
    }
    Ok(options)
}

fn typed(code: u16, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

fn plain(code: u16, content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    typed(code, content_type, Full::new(text.into()).boxed_unsync())
}

fn json(value: &Value) -> Answer {
    plain(200, JSON, value.to_string())
}

fn moved(to: &'static str) -> Answer {
    let mut answer = plain(301, HTML, "");
    let to = HeaderValue::from_static(to);
    answer.headers_mut().insert(LOCATION, to);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_those_of_the_log_subresource() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let got = options(
            "follow=false&tailLines=3&sinceSeconds=60&stream=Stderr",
            now,
        )
        .unwrap();
        let want = LogOptions {
            tail_lines: Some(3),
            since: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            stream: LogStream::Stderr,
            ..LogOptions::default()
        };
        assert_eq!(got, want);
        assert!(options("tailLines=-1", now).is_err());
    }
}
