//! One HTTPS connection, used by one client.

use super::server::Target;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy::connect::HttpConnector;
use kube::client::ConfigExt;
use tower::ServiceExt;

/// A connection with its credentials.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

impl Connection {
    /// Connects and agrees on TLS.
    pub(super) async fn open(target: &Target) -> Result<Self> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let uri = target.config.cluster_url.clone();
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let connector = target
            .config
            .rustls_https_connector_with_connector(connector)?;
        let stream = connector
            .oneshot(uri)
            .await
            .map_err(|error| anyhow::anyhow!("cannot connect to {host}: {error}"))?;
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: HeaderValue::from_str(&host)?,
            authorization: target.authorization.clone(),
        })
    }

    /// Sends a request; a refusal is an error with the server's words.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse()?;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.authorization {
            headers.insert(AUTHORIZATION, token.clone());
        }
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.into_body().collect().await?.to_bytes();
        bail!(
            "{path}: {status}: {}",
            String::from_utf8_lossy(&text).trim()
        )
    }

    /// Sends a request and returns the whole answer.
    pub(super) async fn read(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Bytes> {
        let response = self.send(method, path, body).await?;
        let answer = response.into_body().collect().await;
        Ok(answer
            .with_context(|| format!("reading {path}"))?
            .to_bytes())
    }

    /// Sends a request and counts the bytes of the answer without keeping them.
    pub(super) async fn count(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<usize> {
        let mut incoming = self.send(method, path, body).await?.into_body();
        let mut length = 0;
        while let Some(frame) = incoming.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(length)
    }
}
