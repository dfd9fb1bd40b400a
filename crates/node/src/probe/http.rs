//! HTTP and HTTPS probes and hooks.

use super::{Target, address, tls};
use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use std::fmt::Display;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};

/// What probes call themselves.
pub(super) const AGENT: &str = "kube-probe/1.36";
/// Redirects on the same host that are followed.
const MOST_REDIRECTS: usize = 10;
/// Most of an answer that is read, in bytes.
const MOST_READ: usize = 10 * 1024;

fn is_https(action: &HTTPGetAction) -> bool {
    let scheme = action.scheme.as_deref();
    scheme.is_some_and(|s| s.eq_ignore_ascii_case("https"))
}

fn path(action: &HTTPGetAction) -> String {
    match action.path.as_deref().unwrap_or_default() {
        "" => "/".to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

/// The address as messages show it.
pub(super) fn url(action: &HTTPGetAction, address: SocketAddr) -> String {
    let scheme = if is_https(action) { "https" } else { "http" };
    format!("{scheme}://{address}{}", path(action))
}

/// Asks the container; any answer from 200 to 399 will do. A redirect on the same host is
/// followed, one to another host is an answer.
pub(super) async fn get(target: &Target<'_>, action: &HTTPGetAction) -> Result<(), String> {
    let address = address(target, action.host.as_deref(), &action.port).await?;
    let mut path = path(action);
    for _ in 0..=MOST_REDIRECTS {
        let response = ask(target, action, (address, &path)).await?;
        let status = response.status();
        if let Some(next) = same_host(&response, address).filter(|_| status.is_redirection()) {
            path = next;
            continue;
        }
        // Read a little so that the server sees its answer taken.
        drop(
            Limited::new(response.into_body(), MOST_READ)
                .collect()
                .await,
        );
        if status.is_success() || status.is_redirection() {
            return Ok(());
        }
        let code = status.as_u16();
        return Err(format!("HTTP probe failed with statuscode: {code}"));
    }
    Err(format!(
        "Get \"{}\": stopped after {MOST_REDIRECTS} redirects",
        url(action, address)
    ))
}

/// The path a redirect leads to, where it stays on the host.
fn same_host<B>(response: &Response<B>, address: SocketAddr) -> Option<String> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let uri: Uri = location.parse().ok()?;
    let stays = uri
        .host()
        .is_none_or(|host| host == address.ip().to_string());
    let path = uri.path_and_query().map(ToString::to_string);
    path.filter(|path| stays && path.starts_with('/'))
}

async fn ask(
    target: &Target<'_>,
    action: &HTTPGetAction,
    (address, path): (SocketAddr, &str),
) -> Result<Response<Incoming>, String> {
    let shown = url(action, address);
    let failed = |e: &dyn Display| format!("Get \"{shown}\": {e}");
    let request = request(action, address, path).map_err(|e| failed(&e))?;
    let connected = target.runtime.network().connect(address).await;
    let stream = connected.map_err(|e| failed(&format!("dial tcp {address}: connect: {e}")))?;
    if is_https(action) {
        let stream = tls::wrap(stream, address.ip())
            .await
            .map_err(|e| failed(&e))?;
        return exchange(stream, request).await.map_err(|e| failed(&e));
    }
    exchange(stream, request).await.map_err(|e| failed(&e))
}

fn request(
    action: &HTTPGetAction,
    address: SocketAddr,
    path: &str,
) -> http::Result<Request<Empty<bytes::Bytes>>> {
    let mut request = Request::get(path);
    let own = action.http_headers.as_deref().unwrap_or_default();
    for header in own.iter().filter(|h| !h.value.is_empty()) {
        request = request.header(&header.name, &header.value);
    }
    // A header that is given, even empty, takes the place of the usual one; there is always a host.
    let given = |name: &http::HeaderName| {
        let mut same = own
            .iter()
            .filter(|h| h.name.eq_ignore_ascii_case(name.as_str()));
        same.any(|h| name != HOST || !h.value.is_empty())
    };
    let host = address.to_string();
    for (name, value) in [
        (HOST, host.as_str()),
        (USER_AGENT, AGENT),
        (ACCEPT, "*/*"),
        (CONNECTION, "close"),
    ] {
        if !given(&name) {
            request = request.header(name, value);
        }
    }
    request.body(Empty::new())
}

async fn exchange<S>(
    stream: S,
    request: Request<Empty<bytes::Bytes>>,
) -> hyper::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    // It ends with the answer: the request closes the connection.
    tokio::spawn(async move { drop(connection.await) });
    sender.send_request(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn action(value: Value) -> HTTPGetAction {
        serde_json::from_value(value).unwrap()
    }

    fn at() -> SocketAddr {
        "10.0.0.1:80".parse().unwrap()
    }

    #[rstest]
    #[case::relative("/login?x=1", Some("/login?x=1"))]
    #[case::same_host("http://10.0.0.1/b", Some("/b"))]
    #[case::other_host("https://example.org/b", None)]
    fn redirects(#[case] location: &str, #[case] want: Option<&str>) {
        let response = Response::builder()
            .header(LOCATION, location)
            .body(())
            .unwrap();
        assert_eq!(same_host(&response, at()).as_deref(), want);
    }

    #[test]
    fn own_headers_take_the_place_of_the_usual_ones() {
        let action = action(json!({"port": 80, "path": "x", "httpHeaders": [
            {"name": "host", "value": "shop.example"}, {"name": "User-Agent", "value": ""},
            {"name": "X-A", "value": "1"}, {"name": "X-A", "value": "2"}]}));
        let request = request(&action, at(), &path(&action)).unwrap();
        assert_eq!(request.uri(), "/x");
        let headers = request.headers();
        assert_eq!(headers[HOST], "shop.example");
        assert!(!headers.contains_key(USER_AGENT));
        assert_eq!(headers.get_all("x-a").iter().count(), 2);
        assert_eq!(headers[ACCEPT], "*/*");
    }

    #[test]
    fn urls_show_their_scheme() {
        let action = action(json!({"port": 80, "scheme": "HTTPS", "path": "/z"}));
        assert_eq!(url(&action, at()), "https://10.0.0.1:80/z");
    }
}
