//! The TLS listener: HTTP/2 and HTTP/1.1 with upgrades, client certificates optional.

mod caller;
#[cfg(test)]
mod tests;

use crate::auth::Identity;
use caller::Caller;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Rest after a failed accept, e.g. when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// HTTP/2 peers are asked this often whether they are there: a watch may be silent for long.
const ALIVE_EVERY: Duration = Duration::from_secs(30);
/// And have this long to answer.
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
/// Requests at once on one HTTP/2 connection: client-go runs every watch of a process on one.
const STREAMS: u32 = 10_000;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Identity of its client certificate, if it showed one; the handshake has checked it.
    pub identity: Option<Identity>,
    /// Its address.
    pub address: SocketAddr,
}

/// Why the listener failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something else listens there.
    #[error("{0} is in use: stop the other program or choose another port")]
    InUse(SocketAddr),
    /// It cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address` (port 0 for any free one).
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let failed = |source: std::io::Error| {
            if source.kind() == std::io::ErrorKind::AddrInUse {
                ServeError::InUse(address)
            } else {
                ServeError::Bind { address, source }
            }
        };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets requests finish for at most `grace`.
    ///
    /// Streams such as watches end when the handler ends them, or when the grace is over.
    pub async fn serve<H, F, B, E>(
        self,
        tls: Arc<ServerConfig>,
        handler: H,
        stop: CancellationToken,
        grace: Duration,
    ) where
        H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
        E: Into<BoxError> + 'static,
    {
        let greet = move |certificates: &[CertificateDer<'static>], address| {
            let caller = Caller::of(certificates.first().map(AsRef::as_ref));
            let handler = handler.clone();
            move |mut request: Request<Incoming>| {
                let identity = caller.identify(&mut request);
                handler(request, Peer { identity, address })
            }
        };
        self.serve_with(tls, greet, stop, grace).await;
    }

    /// As [`Listener::serve`], with a handler for each connection, made by `greet` from the
    /// certificates that the client showed.
    pub(crate) async fn serve_with<G, H, F, B, E>(
        self,
        tls: Arc<ServerConfig>,
        greet: G,
        stop: CancellationToken,
        grace: Duration,
    ) where
        G: Fn(&[CertificateDer<'static>], SocketAddr) -> H + Clone + Send + Sync + 'static,
        H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
        E: Into<BoxError> + 'static,
    {
        let acceptor = TlsAcceptor::from(tls);
        let connections = TaskTracker::new();
        let abort = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.tcp.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (acceptor, greet) = (acceptor.clone(), greet.clone());
            let (stop, abort) = (stop.clone(), abort.clone());
            connections.spawn(async move {
                let serving = accepted_connection(&acceptor, stream, address, (greet, stop));
                abort.run_until_cancelled(serving).await;
            });
        }
        drop(self.tcp);
        connections.close();
        if timeout(grace, connections.wait()).await.is_err() {
            abort.cancel();
            connections.wait().await;
        }
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "small answers may be delayed");
    }
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "no agreement on TLS");
            None
        }
        Err(_elapsed) => {
            tracing::debug!(%address, "TLS took too long");
            None
        }
    }
}

/// Agrees on TLS, then serves the connection.
async fn accepted_connection<G, H, F, B, E>(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    (greet, stop): (G, CancellationToken),
) where
    G: Fn(&[CertificateDer<'static>], SocketAddr) -> H,
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    E: Into<BoxError> + 'static,
{
    if let Some(stream) = handshake(acceptor, stream, address).await {
        let shown = stream.get_ref().1.peer_certificates();
        let handler = greet(shown.unwrap_or_default(), address);
        connection(stream, address, handler, stop).await;
    }
}

/// Serves one connection until it ends, or until it is idle after `stop`.
async fn connection<H, F, B, E>(
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    handler: H,
    stop: CancellationToken,
) where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    E: Into<BoxError> + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        // For the audit log.
        request.extensions_mut().insert(address);
        handler(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(ALIVE_EVERY)
        .keep_alive_timeout(ALIVE_WITHIN)
        .max_concurrent_streams(STREAMS);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "a connection ended badly");
    }
}
