//! `pods/log`.

use super::{backend, container, pod};
use crate::call::Call;
use crate::http::body;
use crate::http::respond::{self, Response};
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::meta;
use plimsoll_api::node::LogOptions;
use plimsoll_api::status::ApiError;
use serde_json::Value;

const TEXT: &str = "text/plain";

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
    let chunks = backend(call)?.logs(container, options).await?;
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
    let number = |key: &str| -> Result<Option<u64>, ApiError> {
        match query.get(key).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "{key}: Invalid value: {text:?}: must be a number not below 0"
                ))
            }),
        }
    };
    let since = match (number("sinceSeconds")?, query.get("sinceTime")) {
        (Some(_), Some(_)) => {
            let message = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            return Err(ApiError::bad_request(message));
        }
        (Some(seconds), None) => {
            let span = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Some(
                call.server
                    .now()
                    .checked_sub(span)
                    .unwrap_or(Timestamp::MIN),
            )
        }
        (None, Some(text)) => Some(text.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "sinceTime: Invalid value: {text:?}: must be an RFC 3339 time"
            ))
        })?),
        (None, None) => None,
    };
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        since,
        tail_lines: number("tailLines")?,
        limit_bytes: number("limitBytes")?,
    })
}
