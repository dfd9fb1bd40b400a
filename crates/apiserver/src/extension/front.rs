//! The front door: who asks, and whether they may.

use super::access::Access;
use super::proxies::{Caller, Peer, Proxies};
use crate::auth::rbac::refusal;
use crate::auth::{Identity, bearer};
use crate::dispatch;
use crate::http::Body;
use crate::http::negotiate;
use crate::http::query::Query;
use crate::http::respond::{self, Response};
use crate::http::route::route;
use crate::server::ApiServer;
use http::Request;
use hyper::body::Incoming;
use plimsoll_api::exposition::{Exposition, Page};
use plimsoll_api::status::ApiError;
use rustls_pki_types::CertificateDer;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

/// Paths that anybody may read, so that probes need no credentials.
const OPEN: [&str; 3] = ["/healthz", "/livez", "/readyz"];
/// Where self metrics are.
const METRICS: &str = "/metrics";
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything a request passes before it is answered.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) server: ApiServer,
    pub(super) access: Access,
    pub(super) proxies: Arc<Proxies>,
    pub(super) metrics: Vec<Arc<dyn Exposition>>,
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Front {
    /// Answers the requests of one connection, whose client showed `certificates`.
    pub(super) fn greet(
        self: Arc<Self>,
        certificates: &[CertificateDer<'static>],
        _: SocketAddr,
    ) -> impl Fn(Request<Incoming>) -> Answering + Send + Sync + use<> {
        let peer = Peer::new(Arc::clone(&self.proxies), certificates);
        move |request| {
            let (front, caller) = (Arc::clone(&self), peer.caller());
            Box::pin(async move { Ok(front.answer(&caller, request).await) })
        }
    }

    async fn answer(&self, caller: &Caller, mut request: Request<Incoming>) -> Response {
        let known = caller.identify(request.headers_mut());
        match self.admit(known, &request).await {
            Ok(()) if request.uri().path() == METRICS => self.metrics(),
            // What it may has been decided; there is nobody else to ask behind this door.
            Ok(()) => {
                let trusted = Ok(Identity::in_process("extension"));
                Box::pin(dispatch::answer(self.server.clone(), trusted, request)).await
            }
            Err(error) => {
                let query = Query::parse(request.uri().query().unwrap_or_default());
                let wanted = negotiate::for_failure(request.headers(), &query);
                respond::failure(&error, &wanted)
            }
        }
    }

    /// Lets a request in or says why not.
    async fn admit(
        &self,
        known: Option<Identity>,
        request: &Request<Incoming>,
    ) -> Result<(), ApiError> {
        let (path, headers) = (request.uri().path(), request.headers());
        let probed = path.trim_end_matches('/');
        if OPEN.contains(&probed) {
            return Ok(());
        }
        let who = match (known, bearer(headers)) {
            (Some(identity), _) => identity,
            (None, Some(token)) => self.access.holder(token).await?,
            (None, None) => Identity::anonymous(),
        };
        // The API server in front has dealt with these already; from anybody else they would have
        // to be authorised, and nobody needs that here.
        if headers
            .keys()
            .any(|name| name.as_str().starts_with("impersonate-"))
        {
            let why = "impersonation is the business of the API server in front";
            return Err(ApiError::new(403, "Forbidden", why));
        }
        let route = route(path);
        let query = Query::parse(request.uri().query().unwrap_or_default());
        let verb = dispatch::verb(request.method(), &route, &query);
        let asked = dispatch::asked((&route, path), verb, &query);
        let decision = self.access.decide(&who, &asked).await?;
        if decision.allowed {
            return Ok(());
        }
        Err(refusal(&who, &asked, &decision.reason))
    }

    fn metrics(&self) -> Response {
        let mut page = Page::default();
        for part in &self.metrics {
            part.expose(&mut page);
        }
        let store = self.server.store();
        let own = self
            .server
            .0
            .metrics
            .render(&store.stats(), &store.counts());
        respond::plain(200, METRICS_TYPE, own + &page.into_text())
    }
}
