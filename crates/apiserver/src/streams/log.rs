//! `pods/log`.

use super::upgrade::Takeover;
use super::websocket::{self, Coding};
use super::{backend, container, pod};
use crate::call::Call;
use crate::http::body;
use crate::http::respond::{self, Response};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::meta;
use plimsoll_api::node::{LogOptions, LogStream};
use plimsoll_api::status::{ApiError, FieldError};
use serde_json::Value;

const TEXT: &str = "text/plain";
/// Protocols spoken over WebSocket.
const PROTOCOLS: [(&str, Coding); 3] = [
    ("binary.k8s.io", Coding::Binary),
    ("base64.binary.k8s.io", Coding::Base64),
    ("", Coding::Binary),
];

/// Streams a container's log.
pub(crate) async fn read(call: &Call) -> Result<Response, ApiError> {
    let pod = pod(call)?;
    let container = container(call, &pod)?;
    let options = options(call)?;
    if meta::text(&pod, &["spec", "nodeName"]).is_empty() {
        return Ok(respond::plain(204, TEXT, ""));
    }
    if !options.previous {
        refuse_waiting(&pod, &container.container)?;
    }
    let asked = websocket::is_asked(&call.headers);
    let chunks = backend(call)?.logs(container, options).await?;
    if asked {
        return open(call, chunks);
    }
    Ok(respond::streaming(TEXT, body::stream(chunks)))
}

/// A container that has never run has no log.
fn refuse_waiting(pod: &Value, container: &str) -> Result<(), ApiError> {
    let statuses = [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ];
    let found = statuses
        .iter()
        .flat_map(|list| meta::list(pod, &["status", list]))
        .find(|status| meta::text(status, &["name"]) == container);
    let reason = match found {
        None => "ContainerCreating",
        Some(status) => {
            let ran = meta::at(status, &["lastState", "terminated"]).is_some();
            match meta::at(status, &["state", "waiting"]) {
                Some(waiting) if !ran => meta::text(waiting, &["reason"]),
                Some(_) | None => return Ok(()),
            }
        }
    };
    Err(ApiError::bad_request(format!(
        "container {container:?} in pod {:?} is waiting to start: {reason}",
        meta::name(pod)
    )))
}

fn options(call: &Call) -> Result<LogOptions, ApiError> {
    let query = &call.query;
    let mut wrong = Vec::new();
    let mut number = |key: &str, least: i64| -> Result<Option<u64>, ApiError> {
        let Some(text) = query.get(key).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let number: i64 = text.parse().map_err(|_| {
            let message = format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
            ApiError::bad_request(message)
        })?;
        if number < least {
            let why = match least {
                0 => "must be greater than or equal to 0",
                _ => "must be greater than 0",
            };
            wrong.push(FieldError::invalid(key, &number.into(), why));
        }
        Ok(u64::try_from(number).ok())
    };
    let tail_lines = number("tailLines", 0)?;
    let limit_bytes = number("limitBytes", 1)?;
    let seconds = number("sinceSeconds", 1)?;
    let time = match query.get("sinceTime").filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse::<Timestamp>().map_err(|error| {
            ApiError::bad_request(format!("sinceTime: cannot parse {text:?}: {error}"))
        })?),
        None => None,
    };
    if seconds.is_some() && time.is_some() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        wrong.push(FieldError::forbidden("", why));
    }
    // Departs: upstream only where a feature gate is on.
    let name = query.get("stream").unwrap_or("All");
    let stream = LogStream::parse(name);
    if stream.is_none() {
        wrong.push(FieldError::not_supported(
            "stream",
            &name.into(),
            &LogStream::NAMES,
        ));
    } else if tail_lines.is_some() && stream != Some(LogStream::All) {
        let why = "`tailLines` and specific `stream` are mutually exclusive for now";
        wrong.push(FieldError::forbidden("", why));
    }
    if !wrong.is_empty() {
        return Err(ApiError::invalid("", "PodLogOptions", call.name(), &wrong));
    }
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        since: time.or_else(|| Some(ago(call, seconds?))),
        tail_lines,
        limit_bytes,
        stream: stream.unwrap_or_default(),
    })
}

fn ago(call: &Call, seconds: u64) -> Timestamp {
    let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    let since = call.server.now().checked_sub(span);
    since.unwrap_or(Timestamp::MIN)
}

/// The log in WebSocket messages, after an empty one that says that the connection stands.
fn open(call: &Call, chunks: BoxStream<'static, Bytes>) -> Result<Response, ApiError> {
    let chosen = websocket::choose(&call.headers, &PROTOCOLS.map(|(name, _)| name))?;
    let (name, coding) = PROTOCOLS.get(chosen).copied().unwrap_or(PROTOCOLS[0]);
    let response = websocket::switching(call, name)?;
    Takeover::of(call)?.run(async move |upgraded| {
        let (mut sender, mut receiver) = websocket::speak(upgraded).await;
        let messages = futures::stream::once(std::future::ready(Bytes::new())).chain(chunks);
        let outgoing = async {
            let mut messages = std::pin::pin!(messages);
            while let Some(bytes) = messages.next().await {
                if !websocket::say(&mut sender, coding.plain(bytes)).await {
                    return;
                }
            }
        };
        let leaves = async { while let Some(Ok(_)) = receiver.next().await {} };
        let left = tokio::select! {
            biased;
            () = leaves => true,
            () = outgoing => false,
        };
        if !left {
            websocket::close(sender, receiver).await;
        }
    });
    Ok(response)
}
