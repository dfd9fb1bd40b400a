//! Opens connections: finds the address, dials, agrees on TLS.

use super::resolve::{self, Backend};
use super::{OutboundError, ServiceRef};
use crate::store::Store;
use async_trait::async_trait;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Reaches endpoints of Services: pods live in a network of their own.
#[async_trait]
pub trait Connect: Send + Sync + std::fmt::Debug {
    /// Connects to an endpoint.
    ///
    /// # Errors
    /// As a socket's `connect`.
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream>;
}

/// Connects from the host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

#[async_trait]
impl Connect for Direct {
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// What hosts of URLs stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Names and addresses as the host sees them.
    Hosts,
    /// `NAME.NAMESPACE.svc`.
    Services,
}

/// Opens the connections of one client pool.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) store: Store,
    pub(super) network: Arc<dyn Connect>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) reach: Reach,
}

impl Connector {
    async fn open(self, uri: Uri) -> Result<Stream, OutboundError> {
        let host = uri.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let encrypted = uri.scheme_str() != Some("http");
        let usual = if encrypted { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        let tcp = match self.reach {
            Reach::Hosts => dial_host(&host, port).await?,
            Reach::Services => self.dial_service(&host, port).await?,
        };
        if !encrypted {
            return Ok(Stream::new(tcp, false));
        }
        let name = ServerName::try_from(host)
            .map_err(|_| OutboundError::Tls("the server's name is not a DNS name".to_owned()))?;
        let tls = TlsConnector::from(self.tls)
            .connect(name, tcp)
            .await
            .map_err(|error| OutboundError::Tls(tls_failure(&error)))?;
        let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Stream::new(tls, is_h2))
    }

    async fn dial_service(&self, host: &str, port: u16) -> Result<TcpStream, OutboundError> {
        let mut parts = host.split('.');
        let (Some(name), Some(namespace)) = (parts.next(), parts.next()) else {
            return Err(OutboundError::NoHost(host.to_owned()));
        };
        let wanted = ServiceRef {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port,
            path: String::new(),
        };
        let addresses = match resolve::service(&self.store, &wanted)? {
            Backend::External(host, port) => return dial_host(&host, port).await,
            Backend::Endpoints(addresses) => addresses,
        };
        let mut failure = OutboundError::NoEndpoints(name.to_owned());
        for address in addresses {
            match self.network.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = dial_failure(address, &error),
            }
        }
        Err(failure)
    }
}

async fn dial_host(host: &str, port: u16) -> Result<TcpStream, OutboundError> {
    let addresses = tokio::net::lookup_host((host, port)).await;
    let addresses = addresses.map_err(|_| OutboundError::NoHost(host.to_owned()))?;
    let mut failure = OutboundError::NoHost(host.to_owned());
    for address in addresses {
        match Direct.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = dial_failure(address, &error),
        }
    }
    Err(failure)
}

fn dial_failure(address: SocketAddr, error: &io::Error) -> OutboundError {
    const KNOWN: [(io::ErrorKind, &str); 4] = [
        (io::ErrorKind::ConnectionRefused, "connection refused"),
        (io::ErrorKind::HostUnreachable, "no route to host"),
        (io::ErrorKind::NetworkUnreachable, "network is unreachable"),
        (io::ErrorKind::TimedOut, "connection timed out"),
    ];
    let known = KNOWN.iter().find(|(kind, _)| *kind == error.kind());
    let why = known.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned());
    OutboundError::Dial { address, why }
}

/// The two failures that people meet, in the words they search for.
fn tls_failure(error: &io::Error) -> String {
    use rustls::CertificateError as Bad;
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(Bad::UnknownIssuer)) => {
            "failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        }
        Some(rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            "failed to verify certificate: x509: certificate has expired or is not yet valid"
                .to_owned()
        }
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!("failed to verify certificate: x509: {why}")
        }
        Some(other) => other.to_string(),
        None => error.to_string(),
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = OutboundError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, OutboundError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OutboundError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().open(uri))
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection, encrypted or not.
pub(super) struct Stream {
    io: TokioIo<Box<dyn Io>>,
    is_h2: bool,
}

impl Stream {
    fn new(io: impl Io + 'static, is_h2: bool) -> Self {
        Self {
            io: TokioIo::new(Box::new(io)),
            is_h2,
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.is_h2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
