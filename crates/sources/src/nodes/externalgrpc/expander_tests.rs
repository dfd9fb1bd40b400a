//! The expander over a real connection.

use super::expander::EXPANDER;
use super::server::unary;
use super::{ExpanderError, GrpcExpander, convert, wire};
use futures::future::BoxFuture;
use plimsoll_api::nodegroup::{ErrorClass, ExpanderService, OfferedOption};
use plimsoll_apiserver::pki::Pki;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

/// Chooses the options whose nodes are labelled as cheap; refuses single options.
#[derive(Debug, Clone)]
struct Chooser;

impl NamedService for Chooser {
    const NAME: &'static str = EXPANDER;
}

impl tower::Service<http::Request<Body>> for Chooser {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/grpcplugin.Expander/BestOptions");
        Box::pin(async move { Ok(unary(request, best).await) })
    }
}

async fn best(offer: wire::Offer) -> Result<wire::Best, Status> {
    let is_cheap = |option: &wire::Offered| {
        let node = convert::object("Node", &offer.nodes[&option.group]).unwrap();
        let pods: Vec<Value> = option
            .pods
            .iter()
            .map(|pod| convert::object("Pod", pod).unwrap())
            .collect();
        assert!(pods.iter().all(|pod| pod["metadata"]["name"] == "web"));
        assert!(option.nodes > 0 && option.debug == "known");
        node["metadata"]["labels"]["cost"] == "low"
    };
    let mut options = offer.options.clone();
    options.retain(is_cheap);
    if offer.options.len() == 1 {
        return Err(Status::failed_precondition("nothing to choose"));
    }
    Ok(wire::Best { options })
}

struct Served {
    address: String,
    authority: tempfile::NamedTempFile,
}

async fn served() -> Served {
    let pki = Pki::ephemeral(&[]).unwrap();
    let own = pki.serving().unwrap();
    let authority = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(authority.path(), pki.ca()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(own.cert, own.key));
    let router = Server::builder()
        .tls_config(tls)
        .unwrap()
        .add_service(Chooser);
    tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
    Served { address, authority }
}

fn option(group: &str, cost: &str) -> OfferedOption {
    let node = json!({"metadata": {"name": group, "labels": {"cost": cost}}});
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c"}]}});
    OfferedOption {
        group: group.into(),
        nodes: 2,
        note: "known".to_owned(),
        node: Arc::new(node),
        pods: vec![Arc::new(pod)],
    }
}

#[tokio::test]
async fn the_server_chooses() {
    let served = served().await;
    let expander = GrpcExpander::new(&served.address, served.authority.path()).unwrap();
    let offered = [option("a", "high"), option("b", "low"), option("c", "low")];
    let best = expander.best_options(&offered).await.unwrap();
    assert_eq!(best, ["b".into(), "c".into()]);
    let none = expander.best_options(&offered[..1]).await.unwrap_err();
    assert_eq!(none.class, ErrorClass::Invalid);
    let dear = [option("a", "high"), option("d", "high")];
    let none = expander.best_options(&dear).await.unwrap_err();
    assert!(none.message.contains("none of the options"), "{none}");
}

#[tokio::test]
async fn a_server_that_another_authority_vouches_for_is_not_asked() {
    let served = served().await;
    let other = Pki::ephemeral(&[]).unwrap();
    std::fs::write(served.authority.path(), other.ca()).unwrap();
    let expander = GrpcExpander::new(&served.address, served.authority.path()).unwrap();
    let error = expander.best_options(&[option("a", "low")]).await;
    assert_eq!(error.unwrap_err().class, ErrorClass::Unreachable);
}

#[test]
fn address_and_certificate_are_needed() {
    let there = tempfile::NamedTempFile::new().unwrap();
    let new = |address: &str, path: &Path| GrpcExpander::new(address, path).unwrap_err();
    assert!(matches!(new("", there.path()), ExpanderError::NoAddress));
    let none = Path::new("");
    assert!(matches!(new("a:1", none), ExpanderError::NoCertificate));
    let nowhere = Path::new("/nowhere/ca.crt");
    assert!(matches!(new("a:1", nowhere), ExpanderError::Config(_)));
}

#[test]
fn a_request_is_what_the_protocol_says() {
    let message = wire::Offer {
        options: vec![wire::Offered {
            group: "g".to_owned(),
            nodes: 3,
            debug: String::new(),
            pods: vec![vec![7]],
        }],
        nodes: [("g".to_owned(), vec![9])].into(),
    };
    let bytes = prost::Message::encode_to_vec(&message);
    let want = [
        10, 8, 10, 1, b'g', 16, 3, 42, 1, 7, 26, 6, 10, 1, b'g', 18, 1, 9,
    ];
    assert_eq!(bytes, want);
}
