//! Sending a request on, and its answer back.

use super::html::Rewriter;
use super::links::Links;
use super::target::{Scheme, Target};
use super::tls;
use crate::call::Call;
use crate::http::Body;
use crate::http::body;
use crate::http::respond::Response;
use crate::streams::upgrade::{self, Takeover};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzDecoder, GzEncoder};
use futures::StreamExt;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST,
    HeaderMap, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING, UPGRADE,
};
use http::{Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use plimsoll_api::node::Connection;
use plimsoll_api::status::ApiError;
use std::io::{self, Write};
use std::time::Duration;

/// How long a target may take to be reached.
const CONNECT: Duration = Duration::from_secs(30);
/// Headers that are about one connection only.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("te"),
    HeaderName::from_static("trailer"),
    TRANSFER_ENCODING,
    UPGRADE,
];
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Passes a request on to its target under another path.
pub(super) async fn forward(
    call: &Call,
    target: Target,
    path: String,
    links: Links,
) -> Result<Response, ApiError> {
    let unreachable = |why: &dyn std::fmt::Display| {
        let message = format!("error trying to reach service: {why}");
        ApiError::new(503, "ServiceUnavailable", message)
    };
    let connection = connect(&target).await.map_err(|error| {
        unreachable(&format_args!("dial tcp {}: {}", target.host, said(&error)))
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection))
        .await
        .map_err(|error| unreachable(&error))?;
    // Ends with the answer's body, or with whoever reads it.
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a proxied connection ended badly");
        }
    });
    let request = request(call, &target, &path, &links)?;
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| unreachable(&error))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(call, answer);
    }
    Ok(pass_back(answer, links))
}

async fn connect(target: &Target) -> io::Result<Connection> {
    let connecting = async {
        let connection = target.nodes.connect(target.destination.clone()).await?;
        match target.scheme {
            Scheme::Http => Ok(connection),
            Scheme::Https => tls::wrap(connection, &target.host).await,
        }
    };
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "i/o timeout");
    tokio::time::timeout(CONNECT, connecting)
        .await
        .map_err(late)?
}

/// What went wrong, as clients are used to read it.
fn said(error: &io::Error) -> String {
    let kind = error.kind();
    if error.raw_os_error().is_none() {
        error.to_string()
    } else if kind == io::ErrorKind::ConnectionRefused {
        "connect: connection refused".to_owned()
    } else if kind == io::ErrorKind::HostUnreachable {
        "connect: no route to host".to_owned()
    } else if kind == io::ErrorKind::NetworkUnreachable {
        "connect: network is unreachable".to_owned()
    } else if kind == io::ErrorKind::TimedOut {
        "i/o timeout".to_owned()
    } else {
        error.to_string()
    }
}

fn request(
    call: &Call,
    target: &Target,
    path: &str,
    links: &Links,
) -> Result<Request<Body>, ApiError> {
    let body = call.incoming.lock().take();
    let body = body.unwrap_or_else(|| body::full(Bytes::new()));
    let mut request = Request::new(body);
    *request.method_mut() = call.method.clone();
    let uri = path.parse();
    *request.uri_mut() =
        uri.map_err(|e: http::uri::InvalidUri| ApiError::bad_request(e.to_string()))?;
    let upgrading = call.headers.get(UPGRADE).cloned();
    let upgrading = upgrading.filter(|_| upgrade::wants(&call.headers, ""));
    let size = request.body().size_hint().exact();
    let headers = request.headers_mut();
    *headers = end_to_end(&call.headers);
    // Said even where a body is unusual, so that it is sent all the same.
    match size {
        Some(0) => {}
        Some(size) => drop(headers.insert(CONTENT_LENGTH, HeaderValue::from(size))),
        None if headers.contains_key(CONTENT_LENGTH) => {}
        None => drop(headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"))),
    }
    // They are for this server, and would give its rights away.
    headers.remove(AUTHORIZATION);
    headers.remove(EXPECT);
    let personal: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("impersonate-"))
        .cloned()
        .collect();
    for name in personal {
        headers.remove(name);
    }
    let value = |text: &str| HeaderValue::from_str(text).map_err(ApiError::internal);
    headers.insert(HOST, value(&target.host)?);
    headers.insert(FORWARDED_URI, value(&format!("{}{path}", links.prefix))?);
    if let Some(protocol) = upgrading {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    Ok(request)
}

/// The headers that are not about one connection only.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in upgrade::list(headers, &CONNECTION) {
        kept.remove(name.as_str());
    }
    for name in HOP_BY_HOP {
        kept.remove(name);
    }
    kept
}

/// Joins the two connections once both have switched protocols.
fn switch(call: &Call, mut answer: http::Response<Incoming>) -> Result<Response, ApiError> {
    let theirs = hyper::upgrade::on(&mut answer);
    let mut response = http::Response::new(body::full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    Takeover::of(call)?.run(async move |ours| {
        let theirs = match theirs.await {
            Ok(theirs) => theirs,
            Err(error) => return tracing::debug!(%error, "the target did not switch protocols"),
        };
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        if let Err(error) = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await {
            tracing::debug!(%error, "a proxied connection broke");
        }
    });
    Ok(response)
}

fn pass_back(answer: http::Response<Incoming>, links: Links) -> Response {
    let (parts, incoming) = answer.into_parts();
    let mut headers = end_to_end(&parts.headers);
    let location = headers.get(LOCATION).and_then(|to| to.to_str().ok());
    let location = location.and_then(|to| links.rewrite(to));
    if let Some(to) = location.and_then(|to| HeaderValue::from_str(&to).ok()) {
        headers.insert(LOCATION, to);
    }
    let packing = Packing::of(&headers).filter(|_| is_html(&headers));
    let body = match packing {
        Some(packing) => {
            headers.remove(CONTENT_LENGTH);
            rewritten(incoming, links, packing)
        }
        None => incoming.map_err(Into::into).boxed_unsync(),
    };
    let mut response = http::Response::new(body);
    *response.status_mut() = parts.status;
    *response.headers_mut() = headers;
    response
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
}

/// How a page is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
}

impl Packing {
    /// `None` for what cannot be rewritten.
    fn of(headers: &HeaderMap) -> Option<Self> {
        match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => Some(Self::Plain),
            Some(b"gzip") => Some(Self::Gzip),
            Some(_) => None,
        }
    }
}

/// A page with its links rewritten while it passes.
fn rewritten(incoming: Incoming, links: Links, packing: Packing) -> Body {
    let page = Page {
        rewriter: Rewriter::new(links),
        unpack: (packing == Packing::Gzip).then(|| GzDecoder::new(Vec::new())),
        pack: (packing == Packing::Gzip).then(|| GzEncoder::new(Vec::new(), Compression::fast())),
    };
    let start = Some((page, BodyStream::new(incoming)));
    let chunks = futures::stream::unfold(start, async |state| {
        let (mut page, mut frames) = state?;
        match frames.next().await {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                let out = page.push(&data);
                let failed = out.is_err();
                let frame = out.map(http_body::Frame::data).map_err(Into::into);
                Some((frame, (!failed).then_some((page, frames))))
            }
            Some(Err(error)) => Some((Err(error.into()), None)),
            None => {
                let out = page.finish();
                Some((out.map(http_body::Frame::data).map_err(Into::into), None))
            }
        }
    });
    StreamBody::new(chunks).boxed_unsync()
}

/// A page on its way.
struct Page {
    rewriter: Rewriter,
    unpack: Option<GzDecoder<Vec<u8>>>,
    pack: Option<GzEncoder<Vec<u8>>>,
}

impl Page {
    fn push(&mut self, data: &[u8]) -> io::Result<Bytes> {
        let out = match &mut self.unpack {
            Some(unpack) => {
                unpack.write_all(data)?;
                unpack.flush()?;
                self.rewriter.push(&std::mem::take(unpack.get_mut()))
            }
            None => self.rewriter.push(data),
        };
        self.packed(&out)
    }

    fn packed(&mut self, out: &[u8]) -> io::Result<Bytes> {
        match &mut self.pack {
            Some(pack) => {
                pack.write_all(out)?;
                pack.flush()?;
                Ok(std::mem::take(pack.get_mut()).into())
            }
            None => Ok(Bytes::copy_from_slice(out)),
        }
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        let mut out = match self.unpack.take() {
            Some(mut unpack) => {
                unpack.try_finish()?;
                self.rewriter.push(&std::mem::take(unpack.get_mut()))
            }
            None => Vec::new(),
        };
        out.extend(self.rewriter.finish());
        match self.pack.take() {
            Some(mut pack) => {
                pack.write_all(&out)?;
                pack.finish().map(Bytes::from)
            }
            None => Ok(out.into()),
        }
    }
}
