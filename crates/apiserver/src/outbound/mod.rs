//! Calls from the API server to others: webhooks, conversion and extension servers.
//!
//! A call goes to a URL or to a Service. Services are resolved here to an endpoint that is ready
//! and dialled through [`Connect`], since pods need not be reachable from the host. Connections
//! are kept and shared by calls to the same place with the same trust.

mod connector;
mod resolve;
#[cfg(test)]
mod tests;
mod trust;

pub use connector::{Connect, Direct};
pub(crate) use trust::{AcceptAnyone, Trust};

use crate::pki::KeyedCert;
use crate::store::Store;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connector::{Connector, Reach};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::{Mutex, RwLock};
use plimsoll_api::meta;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use trust::Protocols;

/// How long a connection is kept without a request on it.
const IDLE: Duration = Duration::from_secs(90);
/// Different ways of connecting that are kept at once; a bound, not a target.
const MOST_CLIENTS: usize = 256;

/// An error of somebody else's making.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of an outgoing request.
pub(crate) type RequestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Where a call goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A URL outside the cluster, dialled from the host.
    Url(Uri),
    /// A Service of the cluster.
    Service(ServiceRef),
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceRef {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) port: u16,
    /// Path of the URL, with its leading slash.
    pub(crate) path: String,
}

/// Where a call goes, whom it trusts there and who it says it is.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) place: Place,
    pub(crate) trust: Trust,
    /// The client certificate to show.
    pub(crate) certificate: Option<Arc<KeyedCert>>,
}

/// Why a call failed. The words are those that users of Go clients know.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum OutboundError {
    /// The configuration names no usable place.
    #[error("{0}")]
    Unusable(String),
    /// The Service does not exist.
    #[error("service {0:?} not found")]
    NoService(String),
    /// The Service has no such port.
    #[error("no service port {port} found for service {service:?}")]
    NoPort {
        /// The Service.
        service: String,
        /// The port asked for.
        port: u16,
    },
    /// Nothing behind the Service is ready.
    #[error("no endpoints available for service {0:?}")]
    NoEndpoints(String),
    /// The host has no address.
    #[error("dial tcp: lookup {0}: no such host")]
    NoHost(String),
    /// Nobody answers at the address.
    #[error("dial tcp {address}: connect: {why}")]
    Dial {
        /// Where.
        address: SocketAddr,
        /// Why.
        why: String,
    },
    /// No agreement on TLS.
    #[error("tls: {0}")]
    Tls(String),
    /// The connection broke, or what came was not HTTP.
    #[error("{0}")]
    Http(String),
    /// The time was up.
    #[error("context deadline exceeded")]
    TimedOut,
    /// The answer is longer than allowed.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
}

/// A complete answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) body: Bytes,
}

/// Bounds of one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For the whole call, from dialling to the last byte.
    pub(crate) timeout: Duration,
    /// Most bytes of the answer's body.
    pub(crate) body_bytes: usize,
}

impl Destination {
    /// Reads a `WebhookClientConfig`: `url` or `service`, and `caBundle`.
    ///
    /// # Errors
    /// [`OutboundError::Unusable`].
    pub(crate) fn from_client_config(config: &Value) -> Result<Self, OutboundError> {
        let bundle = meta::text(config, &["caBundle"]);
        let trust = Trust::from_base64(bundle)?;
        let url = meta::text(config, &["url"]);
        let place = if let Some(service) = config.get("service").filter(|s| s.is_object()) {
            Place::Service(ServiceRef::from_json(service))
        } else if url.is_empty() {
            let why = "webhook configuration must have either service or URL";
            return Err(OutboundError::Unusable(why.to_owned()));
        } else {
            let parsed = url
                .parse::<Uri>()
                .ok()
                .filter(|uri| uri.host().is_some() && uri.scheme().is_some());
            Place::Url(
                parsed
                    .ok_or_else(|| OutboundError::Unusable(format!("parse {url:?}: not a URL")))?,
            )
        };
        Ok(Self {
            place,
            trust,
            certificate: None,
        })
    }

    /// The URL of the call, with `query` (without its question mark) added.
    pub(crate) fn url(&self, query: &str) -> String {
        let mut url = match &self.place {
            Place::Url(uri) => uri.to_string(),
            Place::Service(service) => format!("{}{}", service.origin(), service.path),
        };
        if !query.is_empty() {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(query);
        }
        url
    }

    fn reach(&self) -> Reach {
        match &self.place {
            Place::Url(_) => Reach::Hosts,
            Place::Service(_) => Reach::Services,
        }
    }
}

impl ServiceRef {
    /// Reads a `ServiceReference` (port 443 and path `/` unless it says otherwise).
    pub(crate) fn from_json(service: &Value) -> Self {
        let port = meta::integer(service, &["port"]).and_then(|port| u16::try_from(port).ok());
        let path = meta::text(service, &["path"]);
        Self {
            namespace: meta::text(service, &["namespace"]).to_owned(),
            name: meta::text(service, &["name"]).to_owned(),
            port: port.unwrap_or(443),
            path: format!("/{}", path.trim_start_matches('/')),
        }
    }

    /// `https://NAME.NAMESPACE.svc:PORT`; the host is also what its certificate must be for.
    pub(crate) fn origin(&self) -> String {
        let Self {
            namespace,
            name,
            port,
            ..
        } = self;
        format!("https://{name}.{namespace}.svc:{port}")
    }
}

/// What makes connections interchangeable.
type Way = (Trust, Option<String>, Reach, Protocols);
type Pool = Client<Connector, RequestBody>;

/// Makes calls. Costs nothing until the first one.
pub(crate) struct Outbound {
    store: Store,
    network: RwLock<Arc<dyn Connect>>,
    clients: Mutex<BTreeMap<Way, Pool>>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}

impl Outbound {
    /// Calls that find Services in `store` and dial them from the host.
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            network: RwLock::new(Arc::new(Direct)),
            clients: Mutex::default(),
        }
    }

    /// Dials endpoints of Services another way from now on.
    pub(crate) fn set_network(&self, network: Arc<dyn Connect>) {
        *self.network.write() = network;
        self.clients.lock().clear();
    }

    /// Whether a call to the Service would find somebody to dial now.
    ///
    /// # Errors
    /// [`OutboundError::NoService`], [`OutboundError::NoPort`] and [`OutboundError::NoEndpoints`].
    pub(crate) fn resolves(&self, service: &ServiceRef) -> Result<(), OutboundError> {
        resolve::service(&self.store, service).map(drop)
    }

    /// Sends a request whose URI is absolute and answers as soon as the head is there. Redirects
    /// are answers like any other.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub(crate) async fn send(
        &self,
        to: &Destination,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, OutboundError> {
        let client = self.client(to, Protocols::Any).await?;
        client.request(request).await.map_err(|e| explained(&e))
    }

    /// As [`Outbound::send`], over HTTP/1.1 only: the one that can be upgraded.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub(crate) async fn send_upgradable(
        &self,
        to: &Destination,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, OutboundError> {
        let client = self.client(to, Protocols::Http1).await?;
        client.request(request).await.map_err(|e| explained(&e))
    }

    /// Posts JSON and reads the whole answer.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub(crate) async fn post(
        &self,
        to: &Destination,
        (query, agent): (&str, &'static str),
        body: Bytes,
        limits: Limits,
    ) -> Result<Answer, OutboundError> {
        let json = HeaderValue::from_static("application/json");
        let request = Request::post(to.url(query))
            .header(CONTENT_TYPE, json.clone())
            .header(ACCEPT, json)
            .header(USER_AGENT, HeaderValue::from_static(agent))
            .body(complete(body))
            .map_err(|error| OutboundError::Unusable(error.to_string()))?;
        self.whole(to, request, limits).await
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub(crate) async fn whole(
        &self,
        to: &Destination,
        request: Request<RequestBody>,
        limits: Limits,
    ) -> Result<Answer, OutboundError> {
        let answer = async {
            let response = self.send(to, request).await?;
            let (head, body) = response.into_parts();
            let limit = limits.body_bytes;
            let body = Limited::new(body, limit).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    OutboundError::TooLarge(limit)
                } else {
                    OutboundError::Http(error.to_string())
                }
            })?;
            Ok(Answer {
                code: head.status,
                body: body.to_bytes(),
            })
        };
        tokio::time::timeout(limits.timeout, answer)
            .await
            .unwrap_or(Err(OutboundError::TimedOut))
    }

    async fn client(&self, to: &Destination, protocols: Protocols) -> Result<Pool, OutboundError> {
        let shown = to.certificate.as_ref().map(|c| c.cert.clone());
        let way = (to.trust.clone(), shown, to.reach(), protocols);
        if let Some(known) = self.clients.lock().get(&way) {
            return Ok(known.clone());
        }
        let tls = trust::config(&to.trust, to.certificate.as_deref(), protocols).await?;
        let connector = Connector {
            store: self.store.clone(),
            network: Arc::clone(&self.network.read()),
            tls: Arc::new(tls),
            reach: to.reach(),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let mut clients = self.clients.lock();
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        Ok(clients.entry(way).or_insert(client).clone())
    }
}

/// A request body that is there already.
pub(crate) fn complete(bytes: Bytes) -> RequestBody {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// What a failed request comes down to.
fn explained(error: &hyper_util::client::legacy::Error) -> OutboundError {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(known) = innermost.downcast_ref::<OutboundError>() {
            return known.clone();
        }
        match innermost.source() {
            Some(source) => innermost = source,
            None => return OutboundError::Http(innermost.to_string()),
        }
    }
}

/// Decodes base64 as API objects carry it.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}
