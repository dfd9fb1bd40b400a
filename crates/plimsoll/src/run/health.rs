//! `/healthz`, `/livez`, `/readyz` and `/metrics` over plain HTTP.

use super::parts::{Expositions, NodePulse};
use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long a client may take to send its request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Rest after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How one part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// As it should be, and in words how.
    Fine(String),
    /// Not ready, and why.
    NotYet(String),
}

/// How the parts of the process are. Clones share everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    parts: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

impl Health {
    /// Notes how a part is.
    pub(crate) fn note(&self, part: &'static str, state: State) {
        self.parts.lock().insert(part, state);
    }

    /// Notes that a part is fine.
    pub(crate) fn fine(&self, part: &'static str, how: impl Into<String>) {
        self.note(part, State::Fine(how.into()));
    }

    /// Notes that a part is not ready.
    pub(crate) fn not_yet(&self, part: &'static str, why: impl Into<String>) {
        self.note(part, State::NotYet(why.into()));
    }

    /// Whether all parts are fine, and a report in the form of upstream's `?verbose`.
    fn report(&self) -> (bool, String) {
        let parts = self.parts.lock();
        let mut report = String::new();
        let mut ready = true;
        for (part, state) in parts.iter() {
            // Writing to a string cannot fail.
            match state {
                State::Fine(how) => writeln!(report, "[+]{part} ok: {how}").ok(),
                State::NotYet(why) => {
                    ready = false;
                    writeln!(report, "[-]{part} failed: {why}").ok()
                }
            };
        }
        (ready, report)
    }
}

/// What the endpoints answer from.
pub(crate) struct Endpoints {
    /// Readiness.
    pub(crate) health: Health,
    /// Asked at each scrape.
    pub(super) expositions: Expositions,
    /// Whether node autoscaling goes on.
    pub(super) pulse: NodePulse,
}

impl Endpoints {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
        }
        let verbose = request.uri().query().is_some_and(|q| q.contains("verbose"));
        match request.uri().path() {
            "/healthz" | "/livez" => plain(StatusCode::OK, "ok"),
            "/readyz" => self.readiness(verbose),
            // Parity: whoever watches it restarts the process.
            "/health-check" => match self.pulse.check() {
                Ok(()) => plain(StatusCode::OK, "OK"),
                Err(stuck) => plain(StatusCode::INTERNAL_SERVER_ERROR, stuck.to_string()),
            },
            "/metrics" => {
                let mut answer = plain(StatusCode::OK, self.expositions.page());
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                let kind = http::HeaderValue::from_static(kind);
                answer
                    .headers_mut()
                    .insert(http::header::CONTENT_TYPE, kind);
                answer
            }
            _ => plain(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn readiness(&self, verbose: bool) -> Response<Full<Bytes>> {
        match self.health.report() {
            (true, report) if verbose => plain(StatusCode::OK, report + "readyz check passed\n"),
            (true, _) => plain(StatusCode::OK, "ok"),
            (false, report) => plain(
                StatusCode::INTERNAL_SERVER_ERROR,
                report + "readyz check failed\n",
            ),
        }
    }
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(text.into())));
    *answer.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// Serves the endpoints on an address until dropped; returns where.
pub(crate) async fn serve(
    tasks: &mut JoinSet<()>,
    address: SocketAddr,
    endpoints: Arc<Endpoints>,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr().context("asking for the address")?;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&endpoints)))),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    });
    Ok(bound)
}

async fn connection(stream: TcpStream, endpoints: Arc<Endpoints>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let answer = endpoints.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection failed");
    }
}

#[cfg(test)]
mod tests {
    use super::Health;

    #[test]
    fn one_part_that_is_not_ready_is_named() {
        let health = Health::default();
        health.fine("leader-election", "leading");
        assert_eq!(
            health.report(),
            (true, "[+]leader-election ok: leading\n".to_owned())
        );
        health.not_yet("caches", "waiting for the first lists");
        let (ready, report) = health.report();
        assert!(!ready);
        assert_eq!(
            report,
            "[-]caches failed: waiting for the first lists\n[+]leader-election ok: leading\n"
        );
    }
}
