//! The nodes' own HTTPS servers, as on port 10250 of a kubelet: who asks and whether they may is
//! decided here, the answer is that of `nodes/NAME/proxy`.

use crate::auth::{Attributes, Identity};
use crate::http::Body;
use crate::http::respond::{self, Response};
use crate::serve::{Listener, Peer};
use crate::server::ApiServer;
use http::header::{AUTHORIZATION, HeaderName};
use http::{Method, Request, Uri};
use hyper::body::Incoming;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const TEXT: &str = "text/plain; charset=utf-8";

/// Serves one node until `stop`, then lets requests finish for at most `grace`.
pub async fn serve(
    server: ApiServer,
    node: &str,
    (listener, tls): (Listener, Arc<ServerConfig>),
    stop: CancellationToken,
    grace: Duration,
) {
    let node: Arc<str> = node.into();
    let handler = move |request: Request<Incoming>, peer: Peer| {
        let (server, node) = (server.clone(), Arc::clone(&node));
        async move { Ok::<_, Infallible>(answer(&server, &node, peer.identity, request).await) }
    };
    listener.serve(tls, handler, stop, grace).await;
}

async fn answer(
    server: &ApiServer,
    node: &str,
    certificate: Option<Identity>,
    mut request: Request<Incoming>,
) -> http::Response<Body> {
    let authenticator = &server.0.authenticator;
    let who = authenticator.authenticate(certificate.as_ref(), request.headers());
    let Ok(who) = who else {
        return respond::plain(401, TEXT, "Unauthorized");
    };
    if let Err(refusal) = admit(server, node, &who, &request) {
        return *refusal;
    }
    let Some(uri) = behind(node, request.uri()) else {
        return respond::plain(400, TEXT, "400 Bad Request\n");
    };
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.remove(AUTHORIZATION);
    let is_impersonation = |name: &HeaderName| name.as_str().starts_with("impersonate-");
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|n| is_impersonation(n))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
    let kubelet = Identity::in_process("kubelet");
    server.handle(Some(kubelet), request).await
}

/// Lets a request in, or says why not in a kubelet's words.
fn admit(
    server: &ApiServer,
    node: &str,
    who: &Identity,
    request: &Request<Incoming>,
) -> Result<(), Box<Response>> {
    let verb = verb(request.method());
    let subresources = subresources(request.uri().path());
    let may = subresources.iter().any(|subresource| {
        let asked = Attributes {
            verb,
            resource: "nodes",
            subresource,
            name: node,
            path: request.uri().path(),
            ..Attributes::default()
        };
        server.authorize(who, &asked).allowed
    });
    if may {
        return Ok(());
    }
    let said = format!(
        "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])\n",
        who.user,
        subresources.join(" ")
    );
    Err(Box::new(respond::plain(403, TEXT, said)))
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

/// The subresources of `nodes` of which one must be allowed.
fn subresources(path: &str) -> &'static [&'static str] {
    let first = path.split('/').find(|part| !part.is_empty());
    match first.unwrap_or_default() {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "spec" => &["spec"],
        "checkpoint" => &["checkpoint"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        _ => &["proxy"],
    }
}

/// The path of the same thing at the API server.
fn behind(node: &str, uri: &Uri) -> Option<Uri> {
    let asked = uri.path_and_query()?;
    format!("/api/v1/nodes/{node}/proxy{asked}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/metrics/resource", &["metrics"])]
    #[case("/stats/summary", &["stats"])]
    #[case("/pods", &["pods", "proxy"])]
    #[case("/containerLogs/a/b/c", &["proxy"])]
    #[case("//metrics", &["metrics"])]
    #[case("/", &["proxy"])]
    fn paths_need_what_kubelets_ask_for(#[case] path: &str, #[case] want: &[&str]) {
        assert_eq!(subresources(path), want);
    }

    #[test]
    fn the_query_goes_along() {
        let uri: Uri = "https://n1:10250/containerLogs/a/b/c?tailLines=3"
            .parse()
            .unwrap();
        let want = "/api/v1/nodes/n1/proxy/containerLogs/a/b/c?tailLines=3";
        assert_eq!(behind("n1", &uri).unwrap().to_string(), want);
    }
}
