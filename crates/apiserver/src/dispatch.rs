//! From a request to its answer: route, identify, authorise, hand over.

use crate::aggregation::{self, Extension};
use crate::audit::Trail;
use crate::auth::rbac::refusal;
use crate::auth::{Attributes, Identity, impersonate};
use crate::call::Call;
use crate::flow::{Class, Ticket};
use crate::http::body;
use crate::http::negotiate::{self, Offer, Wanted};
use crate::http::query::Query;
use crate::http::respond::{self, Response};
use crate::http::route::{Route, route};
use crate::metrics::Labels;
use crate::remarks::Remarks;
use crate::resource::present::protobuf_type;
use crate::server::ApiServer;
use crate::{discovery, local, maintenance, openapi, resource, system};
use http::request::Parts;
use http::{Method, Request};
use plimsoll_api::kind::Kind;
use plimsoll_api::status::ApiError;
use std::sync::Arc;

/// Answers any request; failures become `Status` answers.
pub(crate) async fn answer<B>(
    server: ApiServer,
    who: Result<Identity, ApiError>,
    mut request: Request<B>,
) -> Response
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let upgrade = hyper::upgrade::on(&mut request);
    let (parts, request_body) = request.into_parts();
    let audit_id = audit_id(&server, &parts);
    let mut trail = Trail::begin(&server, &who, &parts, &audit_id);
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let failing = negotiate::for_failure(&parts.headers, &query);
    let is_head = parts.method == Method::HEAD;
    let began = tokio::time::Instant::now();
    let _in_flight = server.0.metrics.begin(&parts.method);
    let (mut counted, mut class, mut warnings) = (Labels::default(), Class::default(), Vec::new());
    let outcome = async {
        let identity = impersonate(&server, who?, &parts.headers)?;
        trail.impersonated(&identity);
        let incoming = Incoming::new(&server, identity, &parts, query)?;
        counted = incoming.labels();
        let _ticket = incoming.begin(&server, &parts, (&mut class, &mut trail))?;
        if let Some(extension) = &incoming.extension {
            let whole = (parts, body::passing(request_body), upgrade);
            return Ok(incoming.hand_on(&server, extension, whole).await);
        }
        let Some(kind) = incoming.kind()? else {
            return incoming.answer_elsewhere(&server, &parts).await;
        };
        let Route::Resource(path) = incoming.route else {
            return Ok(respond::not_found_page());
        };
        let (body, passing) = body::take(request_body, path.subresource.as_deref()).await?;
        let call = Call {
            server: server.clone(),
            identity: incoming.identity,
            kind,
            path,
            verb: incoming.verb,
            query: incoming.query,
            wanted: incoming.wanted,
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            incoming: parking_lot::Mutex::new(passing),
            upgrade: parking_lot::Mutex::new(Some(upgrade)),
            remarks: Remarks::default(),
        };
        trail.requested(&call);
        let outcome = resource::serve(&call).await;
        warnings = trail.remarked(call.remarks);
        outcome
    }
    .await;
    let mut response = outcome.unwrap_or_else(|error| respond::failure(&error, &failing));
    respond::complete(&mut response, &audit_id, &warnings);
    class.mark(&mut response);
    if is_head {
        drop_body(&mut response);
    }
    let code = response.status().as_u16();
    server.0.metrics.answered(&counted, code, began.elapsed());
    trail.complete(response).await
}

/// The one name that a field selector asks for: such a list is about that object.
fn selected_name(selector: &str) -> &str {
    let mut terms = selector.split(',').filter_map(|term| {
        let value = term.strip_prefix("metadata.name=")?;
        Some(value.strip_prefix('=').unwrap_or(value))
    });
    terms.next().unwrap_or_default()
}

/// What HEAD answers. Departs: upstream refuses HEAD for resources.
fn drop_body(response: &mut Response) {
    *response.body_mut() = body::full(bytes::Bytes::new());
}

/// The id by which the audit log and the answer name the request: the client's, else a new one.
fn audit_id(server: &ApiServer, parts: &Parts) -> String {
    let sent = parts.headers.get("audit-id").and_then(|v| v.to_str().ok());
    match sent.filter(|id| !id.is_empty()) {
        Some(id) => id.chars().take(64).collect(),
        None => server.0.random.audit_id(),
    }
}

/// A request whose head has been understood.
struct Incoming {
    identity: Identity,
    route: Route,
    verb: &'static str,
    query: Query,
    wanted: Wanted,
    /// The kind a path names, if it is one of the store's resources.
    kind: Option<Arc<Kind>>,
    /// The other server that the path is for.
    extension: Option<Extension>,
}

impl Incoming {
    fn new(
        server: &ApiServer,
        identity: Identity,
        parts: &Parts,
        query: Query,
    ) -> Result<Self, ApiError> {
        let route = route(parts.uri.path());
        let verb = verb(&parts.method, &route, &query);
        let extension = aggregation::serving(server, &route);
        let kind = match &route {
            Route::Resource(path) => {
                let kinds = server.kinds();
                let found = kinds.find(&path.group, &path.version, &path.plural);
                found.map(Arc::clone)
            }
            Route::CoreVersions
            | Route::Groups
            | Route::Group(_)
            | Route::GroupVersion(_, _)
            | Route::OpenApiIndex
            | Route::OpenApi(_)
            | Route::Other(_) => None,
        };
        let (offer, strict) = offer(kind.as_deref(), &route, verb);
        let wanted = match negotiate::wanted(&parts.headers, &query, offer) {
            Err(error) if strict && extension.is_none() => return Err(error),
            Err(_) => negotiate::plain_json(),
            Ok(wanted) => wanted,
        };
        Ok(Self {
            identity,
            route,
            verb,
            query,
            wanted,
            kind,
            extension,
        })
    }

    fn labels(&self) -> Labels {
        match (&self.route, &self.kind) {
            (Route::Resource(path), Some(kind)) => {
                let labels = Labels::of_kind(self.verb, kind, path);
                if self.query.text("dryRun").is_empty() {
                    labels
                } else {
                    labels.dry()
                }
            }
            (_, _) => Labels::of_path(self.verb),
        }
    }

    /// Sorts the request into its flow, and lets it go on if there is room and it may.
    fn begin(
        &self,
        server: &ApiServer,
        parts: &Parts,
        (class, trail): (&mut Class, &mut Trail),
    ) -> Result<Ticket, ApiError> {
        let (flow, asked) = (&server.0.flow, self.asked(parts));
        *class = flow.classify(&self.identity, &asked);
        let ticket = flow.enter(&self.identity, &asked)?;
        let decision = server.authorize(&self.identity, &asked);
        trail.decided(&decision);
        if decision.allowed {
            return Ok(ticket);
        }
        Err(refusal(&self.identity, &asked, &decision.reason))
    }

    /// What is asked for, as authorisation and flow control see it.
    fn asked<'a>(&'a self, parts: &'a Parts) -> Attributes<'a> {
        asked((&self.route, parts.uri.path()), self.verb, &self.query)
    }

    /// The kind a path names, if the rest of the path fits it.
    fn kind(&self) -> Result<Option<Arc<Kind>>, ApiError> {
        let (Route::Resource(path), Some(kind)) = (&self.route, &self.kind) else {
            return Ok(None);
        };
        let misplaced = if kind.namespaced {
            path.namespace.is_none() && path.name.is_some()
        } else {
            path.namespace.is_some()
        };
        if misplaced {
            return Err(ApiError::no_such_resource());
        }
        let unknown = |name: &String| kind.subresource(name).is_none();
        if path.subresource.as_ref().is_some_and(unknown) {
            return Err(ApiError::no_such_resource());
        }
        Ok(Some(Arc::clone(kind)))
    }

    async fn hand_on(
        &self,
        server: &ApiServer,
        extension: &Extension,
        whole: (Parts, body::Body, hyper::upgrade::OnUpgrade),
    ) -> Response {
        let identity = aggregation::on_behalf(&self.route, &self.identity);
        aggregation::forward(server, extension, &identity, whole).await
    }

    async fn answer_elsewhere(
        &self,
        server: &ApiServer,
        parts: &Parts,
    ) -> Result<Response, ApiError> {
        match &self.route {
            Route::Resource(path) => {
                let asked = (&parts.method, &self.query);
                match local::read(server, path, asked, &self.wanted).await? {
                    Some(response) => Ok(response),
                    None if discovery::serves(server, &path.group, &path.version) => {
                        Err(ApiError::no_such_resource())
                    }
                    None => Ok(respond::not_found_page()),
                }
            }
            Route::CoreVersions | Route::Groups | Route::Group(_) | Route::GroupVersion(_, _) => {
                Ok(discovery::answer(
                    server,
                    &self.route,
                    &self.wanted,
                    &parts.headers,
                ))
            }
            Route::OpenApiIndex => Ok(openapi::index(server, &parts.headers)),
            Route::OpenApi(path) => {
                Ok(openapi::document(server, path, &self.query, &parts.headers))
            }
            Route::Other(path) if path.trim_end_matches('/') == "/openapi/v2" => {
                Ok(openapi::version_two(server, &parts.headers))
            }
            Route::Other(path) if maintenance::owns(path) => {
                maintenance::answer(server, &parts.method, path).await
            }
            Route::Other(path) => Ok(system::answer(server, path, &self.query, &self.wanted)),
        }
    }
}

/// What a request asks for, as authorisation sees it.
pub(crate) fn asked<'a>(
    (route, path): (&'a Route, &'a str),
    verb: &'a str,
    query: &'a Query,
) -> Attributes<'a> {
    let mut attributes = Attributes {
        verb,
        path,
        ..Attributes::default()
    };
    if let Route::Resource(path) = route {
        attributes.group = &path.group;
        attributes.resource = &path.plural;
        attributes.subresource = path.subresource.as_deref().unwrap_or_default();
        attributes.namespace = path.namespace.as_deref().unwrap_or_default();
        attributes.name = path.name.as_deref().unwrap_or_default();
        if attributes.name.is_empty() && verb != "create" {
            attributes.name = selected_name(query.text("fieldSelector"));
        } else if (attributes.group, attributes.resource) == ("", "namespaces") {
            // A namespace is in itself: roles bound in it may let it be read.
            attributes.namespace = attributes.name;
        }
    }
    attributes
}

/// Subresources that answer text or turn into streams, and so say nothing about their types.
const STREAMS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// What a path can answer with, and whether it refuses to answer with anything else.
fn offer(kind: Option<&Kind>, route: &Route, verb: &str) -> (Offer, bool) {
    let Route::Resource(path) = route else {
        return (Offer::BuiltIn, false);
    };
    let built_in = kind.is_some_and(|kind| protobuf_type(kind).is_some());
    let offer = match (built_in, verb == "watch") {
        (true, false) => Offer::BuiltIn,
        (true, true) => Offer::BuiltInWatch,
        (false, false) => Offer::Custom,
        (false, true) => Offer::CustomWatch,
    };
    let streams = |name: &String| STREAMS.contains(&name.as_str());
    (offer, !path.subresource.as_ref().is_some_and(streams))
}

pub(crate) fn verb(method: &Method, route: &Route, query: &Query) -> &'static str {
    let Route::Resource(path) = route else {
        return match *method {
            Method::GET => "get",
            Method::HEAD => "head",
            Method::POST => "post",
            Method::PUT => "put",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "options",
        };
    };
    let watching = path.watch || query.flag("watch");
    match (method, path.name.is_some()) {
        (&Method::GET | &Method::HEAD, _) if watching && path.subresource.is_none() => "watch",
        (&Method::GET | &Method::HEAD, true) => "get",
        (&Method::GET | &Method::HEAD, false) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, true) => "delete",
        (&Method::DELETE, false) => "deletecollection",
        (_, _) => "options",
    }
}
