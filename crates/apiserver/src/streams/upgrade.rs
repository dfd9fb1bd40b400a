//! Connections that stop being HTTP.

use crate::call::Call;
use crate::http::body::full;
use crate::http::respond::{self, Response};
use crate::server::ApiServer;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use plimsoll_api::status::ApiError;

/// Names the protocol inside SPDY; several in order of preference.
pub(super) const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
/// What a server that speaks none of them speaks.
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// The items of a header that is a list, in one line or in several.
pub(super) fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    let items = lines.flat_map(|line| line.split(',')).map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

/// Whether a request asks to switch to a protocol whose name begins so.
pub(super) fn wants(headers: &HeaderMap, protocol: &str) -> bool {
    let asked = list(headers, &CONNECTION)
        .iter()
        .any(|option| option.eq_ignore_ascii_case("upgrade"));
    let named = list(headers, &UPGRADE).iter().any(|name| {
        let start = name.get(..protocol.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(protocol))
    });
    asked && named
}

/// Agrees on SPDY and the protocol in it: its place in `known`, or the answer that refuses.
pub(super) fn choose_spdy(call: &Call, known: &[&'static str]) -> Result<usize, Box<Response>> {
    let offered = list(&call.headers, &PROTOCOL);
    if offered.is_empty() {
        let error =
            ApiError::bad_request("unable to upgrade: X-Stream-Protocol-Version is required");
        return Err(Box::new(respond::failure(&error, &call.wanted)));
    }
    let place = |name: &String| known.iter().position(|one| one == name);
    if let Some(chosen) = offered.iter().find_map(place) {
        return Ok(chosen);
    }
    let text = format!(
        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]\n",
        offered.join(" "),
        known.join(" ")
    );
    let mut response = respond::plain(403, "text/plain; charset=utf-8", text);
    for one in known {
        response
            .headers_mut()
            .append(ACCEPTED, HeaderValue::from_static(one));
    }
    Err(Box::new(response))
}

/// The answer that switches to SPDY with `protocol` in it.
pub(super) fn switching_to_spdy(protocol: &'static str) -> Response {
    let mut response = http::Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert(PROTOCOL, HeaderValue::from_static(protocol));
    response
}

/// A connection to be taken over once its answer has been sent.
#[derive(Debug)]
pub(super) struct Takeover {
    upgrade: OnUpgrade,
    server: ApiServer,
}

impl Takeover {
    /// Takes the connection of a request.
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        let taken = call.upgrade.lock().take();
        let upgrade =
            taken.ok_or_else(|| ApiError::internal("the connection was taken over already"))?;
        Ok(Self {
            upgrade,
            server: call.server.clone(),
        })
    }

    /// Runs `work` on the connection.
    pub(super) fn run<F>(self, work: impl FnOnce(Upgraded) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { upgrade, server } = self;
        tokio::spawn(async move {
            let _counted = Counted::new(server);
            match upgrade.await {
                Ok(upgraded) => work(upgraded).await,
                Err(error) => tracing::debug!(%error, "a stream's connection was not upgraded"),
            }
        });
    }
}

/// Counts a long-running request while it exists.
struct Counted(ApiServer);

impl Counted {
    fn new(server: ApiServer) -> Self {
        server.0.metrics.watching(1);
        Self(server)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.metrics.watching(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("Upgrade", "SPDY/3.1", true)]
    #[case::among_others("keep-alive, upgrade", "spdy/3.1", true)]
    #[case::not_asked("keep-alive", "SPDY/3.1", false)]
    #[case::another("Upgrade", "websocket", false)]
    fn an_upgrade_needs_both_headers(
        #[case] connection: &'static str,
        #[case] upgrade: &'static str,
        #[case] want: bool,
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static(connection));
        headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
        assert_eq!(wants(&headers, "spdy/3.1"), want);
    }
}
