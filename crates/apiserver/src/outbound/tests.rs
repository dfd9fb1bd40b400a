//! Calls over real sockets on loopback.

use super::*;
use crate::pki::Pki;
use crate::serve::{Listener, Peer};
use crate::store::{Draft, Expect, Index, Options};
use rstest::rstest;
use serde_json::json;
use std::convert::Infallible;
use tokio_util::sync::CancellationToken;

/// A TLS server that says who asked for what, and how.
async fn echo(pki: &Pki) -> SocketAddr {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address();
    let handler = |request: Request<Incoming>, peer: Peer| async move {
        let who = peer.identity.map_or_else(String::new, |i| i.user);
        let text = format!("{} {} {who}", request.method(), request.uri());
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
    };
    let (tls, stop) = (pki.server_config().unwrap(), CancellationToken::new());
    tokio::spawn(listener.serve(tls, handler, stop, Duration::from_secs(1)));
    address
}

fn limits() -> Limits {
    Limits {
        timeout: Duration::from_secs(10),
        body_bytes: 1024,
    }
}

fn store() -> Store {
    Store::open(Options::ephemeral()).unwrap()
}

fn config(address: SocketAddr, ca: &str) -> Destination {
    let url = format!("https://{address}/hook");
    let bundle = STANDARD.encode(ca);
    Destination::from_client_config(&json!({"url": url, "caBundle": bundle})).unwrap()
}

#[tokio::test]
async fn a_url_is_called_with_its_own_trust_and_our_certificate() {
    let pki = Pki::ephemeral(&[]).unwrap();
    let address = echo(&pki).await;
    let outbound = Outbound::new(store());
    let mut to = config(address, pki.ca());
    to.certificate = Some(Arc::new(pki.client("front", &[]).unwrap()));
    let answer = outbound
        .post(&to, ("timeout=3s", "test"), "{}".into(), limits())
        .await
        .unwrap();
    let said = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(said.starts_with("POST "), "{said}");
    assert!(said.ends_with("/hook?timeout=3s front"), "{said}");
}

#[tokio::test]
async fn a_stranger_is_not_trusted_unless_anyone_is() {
    let address = echo(&Pki::ephemeral(&[]).unwrap()).await;
    let outbound = Outbound::new(store());
    let mut to = config(address, Pki::ephemeral(&[]).unwrap().ca());
    let refused = outbound
        .post(&to, ("", "test"), Bytes::new(), limits())
        .await
        .unwrap_err();
    assert!(matches!(refused, OutboundError::Tls(_)), "{refused}");
    to.trust = Trust::Anyone;
    outbound
        .post(&to, ("", "test"), Bytes::new(), limits())
        .await
        .unwrap();
}

#[tokio::test]
async fn long_answers_and_silent_servers_are_cut_off() {
    let pki = Pki::ephemeral(&[]).unwrap();
    let address = echo(&pki).await;
    let outbound = Outbound::new(store());
    let to = config(address, pki.ca());
    let short = Limits {
        body_bytes: 5,
        ..limits()
    };
    let cut = outbound.post(&to, ("", "test"), Bytes::new(), short).await;
    assert!(matches!(cut, Err(OutboundError::TooLarge(5))), "{cut:?}");

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = config(silent.local_addr().unwrap(), pki.ca());
    let brief = Limits {
        timeout: Duration::from_millis(30),
        ..limits()
    };
    let late = outbound.post(&to, ("", "test"), Bytes::new(), brief).await;
    assert!(matches!(late, Err(OutboundError::TimedOut)), "{late:?}");
}

/// Every endpoint is this address.
#[derive(Debug)]
struct Always(SocketAddr);

#[async_trait::async_trait]
impl Connect for Always {
    async fn connect(&self, _: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        tokio::net::TcpStream::connect(self.0).await
    }
}

async fn put(store: &Store, resource: &str, name: &str, object: Value) {
    let mut object = object;
    meta::object_mut(&mut object, &["metadata"]).insert("name".into(), name.into());
    let body = object.to_string();
    let rest = body.strip_prefix('{').unwrap();
    let labels = vec![("kubernetes.io/service-name".into(), "hook".into())];
    let draft = Draft {
        key: crate::server::key_of(resource, "a", name),
        uid: "1".into(),
        head: br#"{"resourceVersion":""#.to_vec(),
        tail: format!("\",{rest}").into_bytes(),
        index: Index {
            labels: labels.into(),
            ..Index::default()
        },
    };
    store.put(draft, Expect::Absent).await.unwrap();
}

#[tokio::test]
async fn a_service_is_called_at_a_ready_endpoint_under_its_own_name() {
    let pki = Pki::ephemeral(&["hook.a.svc".to_owned()]).unwrap();
    let address = echo(&pki).await;
    let store = store();
    let outbound = Outbound::new(store.clone());
    outbound.set_network(Arc::new(Always(address)));
    let service = json!({"namespace": "a", "name": "hook", "path": "/v"});
    let bundle = STANDARD.encode(pki.ca());
    let to = Destination::from_client_config(&json!({"service": service, "caBundle": bundle}));
    let to = to.unwrap();
    let call = || outbound.post(&to, ("", "test"), Bytes::new(), limits());
    let said = |error: OutboundError| error.to_string();
    assert_eq!(
        said(call().await.unwrap_err()),
        "service \"hook\" not found"
    );

    let ports = json!({"spec": {"ports": [{"name": "https", "port": 443}]}});
    put(&store, "services", "hook", ports).await;
    let none = "no endpoints available for service \"hook\"";
    assert_eq!(said(call().await.unwrap_err()), none);

    let slice = json!({
        "ports": [{"name": "https", "port": 8443}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": false}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": true}},
        ],
    });
    put(&store, "discovery.k8s.io/endpointslices", "hook-1", slice).await;
    let Place::Service(wanted) = &to.place else {
        panic!("a Service was configured")
    };
    let expected = resolve::Backend::Endpoints(vec!["10.0.0.2:8443".parse().unwrap()]);
    assert_eq!(resolve::service(&store, wanted).unwrap(), expected);
    let answer = call().await.unwrap();
    assert_eq!(answer.code, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("/v"));
}

#[rstest]
#[case::no_place(json!({}), "webhook configuration must have either service or URL")]
#[case::no_url(json!({"url": "::"}), "parse \"::\": not a URL")]
#[case::no_base64(json!({"url": "https://a", "caBundle": "?"}), "caBundle is not base64")]
fn unusable_configurations_say_why(#[case] config: Value, #[case] why: &str) {
    let error = Destination::from_client_config(&config).unwrap_err();
    assert_eq!(error.to_string(), why);
}
