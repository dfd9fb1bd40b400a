//! Hands requests on to other servers, with the caller's identity in headers.

use super::registration::Registration;
use crate::auth::Identity;
use crate::http::body;
use crate::http::respond::{self, Response};
use crate::http::route::Route;
use crate::outbound::RequestBody;
use crate::server::ApiServer;
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::sync::Arc;

const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
const REMOTE_UID: HeaderName = HeaderName::from_static("x-remote-uid");
const REMOTE_GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const REMOTE_EXTRA: &str = "x-remote-extra-";
/// Headers about one connection.
const HOP_BY_HOP: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
];

/// The server a request is handed on to.
#[derive(Debug, Clone)]
pub(crate) struct Extension(pub(super) Arc<Registration>);

/// Hands a request on and answers what the other server answers, as it comes. The caller may do
/// what it asks: that has been decided here; the other server may still refuse.
pub(crate) async fn forward(
    server: &ApiServer,
    extension: &Extension,
    identity: &Identity,
    (parts, body, upgrade): (Parts, RequestBody, OnUpgrade),
) -> Response {
    let Extension(registration) = extension;
    if !registration.available {
        return unavailable("service unavailable");
    }
    let switching = switches(&parts.headers);
    let request = match outgoing(registration, identity, parts, body) {
        Ok(request) => request,
        Err(why) => return unavailable(&why),
    };
    let mut to = match registration.destination() {
        Ok(to) => to,
        Err(why) => return unavailable(&why),
    };
    to.certificate = server.front_proxy_certificate();
    let outbound = &server.0.outbound;
    let answer = if switching {
        outbound.send_upgradable(&to, request).await
    } else {
        outbound.send(&to, request).await
    };
    match answer {
        Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            switched(answer, upgrade)
        }
        Ok(answer) => incoming(answer),
        Err(error) => {
            tracing::debug!(%error, apiservice = registration.name, "a request was not handed on");
            unavailable(&error.to_string())
        }
    }
}

/// Says who the caller is, as front proxies do.
pub(super) fn identify(headers: &mut HeaderMap, identity: &Identity) {
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    };
    add(REMOTE_USER, &identity.user);
    if !identity.uid.is_empty() {
        add(REMOTE_UID, &identity.uid);
    }
    for group in &identity.groups {
        add(REMOTE_GROUP, group);
    }
    for (key, values) in &identity.extra {
        let name = format!("{REMOTE_EXTRA}{}", escaped(key));
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            continue;
        };
        for value in values {
            add(name.clone(), value);
        }
    }
}

/// A key with everything that a header's name cannot hold as `%XX`.
fn escaped(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte) {
            out.push(char::from(byte.to_ascii_lowercase()));
        } else {
            out.extend(["%", &format!("{byte:02x}")]);
        }
    }
    out
}

fn switches(headers: &HeaderMap) -> bool {
    let asks = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
        text.split(',').any(|token| token.trim() == "upgrade")
    };
    headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().any(asks)
}

fn outgoing(
    registration: &Registration,
    identity: &Identity,
    parts: Parts,
    body: RequestBody,
) -> Result<Request<RequestBody>, String> {
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let uri = format!("{}{path}", registration.service.origin());
    let uri: Uri = uri
        .parse()
        .map_err(|_| format!("parse {uri:?}: not a URL"))?;
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    *headers = parts.headers;
    let protocol = switches(headers)
        .then(|| headers.get(UPGRADE).cloned())
        .flatten();
    strip(headers);
    // Credentials were for us; who the caller is the other server hears from us alone.
    headers.remove(AUTHORIZATION);
    headers.remove(HOST);
    let claims = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-remote-") || name.starts_with("impersonate-")
    };
    let claimed: Vec<HeaderName> = headers.keys().filter(|n| claims(n)).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    identify(headers, identity);
    Ok(request)
}

fn strip(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    for name in [TE, TRAILER, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// The other server's answer. It breaks off where the connection to that server does.
fn incoming(answer: http::Response<Incoming>) -> Response {
    let (mut head, content) = answer.into_parts();
    strip(&mut head.headers);
    let mut response = http::Response::new(body::passing(content));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    response
}

/// Joins the two connections.
fn switched(mut answer: http::Response<Incoming>, client: OnUpgrade) -> Response {
    let other = hyper::upgrade::on(&mut answer);
    tokio::spawn(async move {
        let (Ok(client), Ok(other)) = tokio::join!(client, other) else {
            tracing::debug!("a connection that was to be handed on did not switch");
            return;
        };
        let (mut client, mut other) = (TokioIo::new(client), TokioIo::new(other));
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut other).await {
            tracing::debug!(%error, "a connection that was handed on broke");
        }
    });
    let mut response = http::Response::new(body::full(bytes::Bytes::new()));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    response
}

fn unavailable(why: &str) -> Response {
    respond::plain(503, "text/plain; charset=utf-8", format!("{why}\n"))
}

/// Whom another server should believe is asking: for OpenAPI documents, which everybody may read
/// here, the server itself.
pub(crate) fn on_behalf(route: &Route, identity: &Identity) -> Identity {
    if matches!(route, Route::OpenApi(_)) {
        Identity::new("system:aggregator", &["system:authenticated"])
    } else {
        identity.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_travel_in_headers() {
        let mut identity = Identity::new("jane", &["dev", "system:authenticated"]);
        identity.uid = "7".to_owned();
        let key = "authentication.kubernetes.io/credential-id".to_owned();
        identity.extra.insert(key, vec!["JTI=1".to_owned()]);
        let mut headers = HeaderMap::new();
        identify(&mut headers, &identity);
        assert_eq!(headers["x-remote-user"], "jane");
        assert_eq!(headers["x-remote-uid"], "7");
        assert_eq!(headers.get_all("x-remote-group").iter().count(), 2);
        let extra = "x-remote-extra-authentication.kubernetes.io%2fcredential-id";
        assert_eq!(headers[extra], "JTI=1");
    }
}
