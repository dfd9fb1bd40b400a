//! Our own extension server behind our own API server: APIService, TLS on loopback, delegated
//! authentication and authorisation.

use crate::extension::Always;
use crate::rig::Rig;
use async_trait::async_trait;
use base64::Engine as _;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use kube::Client;
use plimsoll_api::kind::Column;
use plimsoll_api::local::{LocalGroup, LocalRequest, LocalResource};
use plimsoll_api::status::ApiError;
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::extension::{
    CertificateSource, Extension, ExtensionConfig, Registrations, ServiceAddress,
};
use plimsoll_apiserver::pki::{KeyedCert, Pki};
use plimsoll_apiserver::serve::Listener;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// `toys.example.com/v1`, which has one toy.
#[derive(Debug)]
struct Toys;

fn cells(object: &Value, _: jiff::Timestamp) -> Vec<Value> {
    vec![object["metadata"]["name"].clone(), "red".into()]
}

#[async_trait]
impl LocalGroup for Toys {
    fn group(&self) -> &'static str {
        "toys.example.com"
    }

    fn version(&self) -> &'static str {
        "v1"
    }

    fn resources(&self) -> Vec<LocalResource> {
        let column = |name: &'static str, format: &'static str| Column {
            name: name.into(),
            kind: "string".into(),
            format: format.into(),
            priority: 0,
            description: "".into(),
        };
        vec![LocalResource {
            plural: "toys",
            singular: "toy",
            kind: "Toy",
            namespaced: true,
            verbs: &["get", "list"],
            columns: vec![column("Name", "name"), column("Colour", "")],
            cells,
        }]
    }

    async fn read(&self, request: LocalRequest) -> Result<Value, ApiError> {
        let toy = json!({
            "kind": "Toy", "apiVersion": "toys.example.com/v1",
            "metadata": {"name": "car", "namespace": "default"},
        });
        match request.name.as_deref() {
            None => Ok(json!({
                "kind": "ToyList", "apiVersion": "toys.example.com/v1", "metadata": {}, "items": [toy],
            })),
            Some("car") => Ok(toy),
            Some(name) => Err(ApiError::not_found("toys.example.com", "toys", name)),
        }
    }
}

/// An API server with keys, our extension server beside it, and how to reach that one directly.
struct Pair {
    rig: Rig,
    pki: Pki,
    address: SocketAddr,
    authority: String,
    stop: CancellationToken,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const TOYS: &str = "/apis/toys.example.com/v1/namespaces/default/toys";

impl Pair {
    async fn start() -> Self {
        let pki = Pki::ephemeral(&[]).unwrap();
        let rig = extended(&pki).await;
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let delegator = Identity::new("extension", &["system:masters"]);
        let service = ServiceAddress {
            namespace: "default".to_owned(),
            name: "toys".to_owned(),
            port: 443,
        };
        let extension = Extension::new(ExtensionConfig {
            client: Client::new(rig.server.service(delegator), "default"),
            clock,
            seed: 7,
            locals: vec![Arc::new(Toys)],
            certificate: CertificateSource::Generated {
                names: service.names(),
            },
            registrations: Registrations::Create(service),
            metrics: Vec::new(),
        });
        let extension = extension.await.unwrap();
        let authority = extension.authority().unwrap();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address();
        rig.server.set_network(Arc::new(Always(address)));
        crate::extension::service(&rig).await;
        crate::extension::endpoint(&rig).await;
        let stop = CancellationToken::new();
        let served = extension.serve(listener, stop.clone(), Duration::from_millis(10));
        tokio::spawn(served);
        crate::aggregation::becomes(&rig, "v1.toys.example.com", "Passed").await;
        Self {
            rig,
            pki,
            address,
            authority,
            stop,
        }
    }

    /// Asks the extension server itself, past the API server.
    async fn ask(
        &self,
        path: &str,
        shown: Option<&KeyedCert>,
        headers: &[(&str, &str)],
    ) -> (StatusCode, String) {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let tls = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let cert = CertificateDer::from_pem_slice(shown.cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("toys.default.svc").unwrap();
        let stream = TlsConnector::from(Arc::new(tls))
            .connect(name, tcp)
            .await
            .unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(path).header("host", "toys.default.svc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let code = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// An API server that publishes how it introduces itself, aggregating.
async fn extended(pki: &Pki) -> Rig {
    let server = ApiServer::new(Config {
        store: Store::open(Options::ephemeral()).unwrap(),
        clock: Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()),
        kinds: plimsoll_api::kinds::built_in(),
        seed: 42,
        cluster: ClusterSettings {
            ca: pki.ca().to_owned(),
            front_proxy: Some(pki.front_proxy()),
            ..ClusterSettings::default()
        },
        nodes: None,
        locals: Vec::new(),
        token_key: pki.token_key(),
    });
    server.bootstrap().await.unwrap();
    let aggregating = server.clone();
    tokio::spawn(async move { aggregating.aggregate().await });
    Rig {
        server,
        identity: Identity::new("admin", &["system:masters"]),
    }
}

/// Lets a user read toys.
async fn permit(rig: &Rig, user: &str) {
    let base = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({
        "metadata": {"name": "toys"},
        "rules": [{"apiGroups": ["toys.example.com"], "resources": ["toys"], "verbs": ["get", "list"]}],
    });
    rig.post(&format!("{base}/clusterroles"), &role)
        .await
        .expect(201);
    let binding = json!({
        "metadata": {"name": "toys"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "toys"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    rig.post(&format!("{base}/clusterrolebindings"), &binding)
        .await
        .expect(201);
}

#[tokio::test]
async fn kubectls_questions_go_through_the_aggregator() {
    let pair = Pair::start().await;
    let rig = &pair.rig;
    let list = rig.get(TOYS).await.expect(200);
    assert_eq!(list["items"][0]["metadata"]["name"], "car");
    assert_eq!(
        rig.get(&format!("{TOYS}/car")).await.expect(200)["kind"],
        "Toy"
    );
    let missing = rig.get(&format!("{TOYS}/boat")).await;
    missing.expect_failure(404, "NotFound", "toys.toys.example.com \"boat\" not found");
    let table = Request::get(TOYS)
        .header(
            "accept",
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        )
        .body(http_body_util::Full::default())
        .unwrap();
    let table = rig.send(table).await.expect(200);
    assert_eq!(table["rows"][0]["cells"], json!(["car", "red"]));
    let resources = rig.get("/apis/toys.example.com/v1").await.expect(200);
    assert_eq!(resources["resources"][0]["kind"], "Toy");
    assert_eq!(
        rig.get("/apis/toys.example.com").await.expect(200)["name"],
        "toys.example.com"
    );
}

#[tokio::test]
async fn it_is_known_to_the_api_server_by_its_own_doing() {
    let pair = Pair::start().await;
    let path = "/apis/apiregistration.k8s.io/v1/apiservices/v1.toys.example.com";
    let registered = pair.rig.get(path).await.expect(200);
    let bundle = base64::engine::general_purpose::STANDARD.encode(&pair.authority);
    assert_eq!(registered["spec"]["caBundle"], bundle.as_str());
    assert_eq!(registered["spec"]["service"]["name"], "toys");
}

#[tokio::test]
async fn the_api_server_is_asked_who_may() {
    let mut pair = Pair::start().await;
    permit(&pair.rig, "jane").await;
    pair.rig.identity = Identity::new("jane", &["system:authenticated"]);
    pair.rig.get(TOYS).await.expect(200);
    pair.rig.identity = Identity::new("joe", &["system:authenticated"]);
    pair.rig.get(TOYS).await.expect(403);
}

#[tokio::test]
async fn credentials_are_checked_past_the_api_server_too() {
    let pair = Pair::start().await;
    permit(&pair.rig, "jane").await;
    let jane = pair.pki.client("jane", &[]).unwrap();
    let code =
        async |shown, headers: &[(&str, &str)]| pair.ask(TOYS, shown, headers).await.0.as_u16();
    assert_eq!(code(Some(&jane), &[]).await, 200);
    assert_eq!(code(None, &[]).await, 403, "anonymous");
    assert_eq!(
        code(None, &[("authorization", "Bearer nonsense")]).await,
        401
    );
    let claim = [
        ("x-remote-user", "root"),
        ("x-remote-group", "system:masters"),
    ];
    assert_eq!(code(None, &claim).await, 403, "nobody may speak for others");
    assert_eq!(code(Some(&jane), &claim).await, 200, "jane is still jane");
    let front = pair.pki.front_proxy().client;
    assert_eq!(code(Some(&front), &claim).await, 200, "the front proxy may");
    assert_eq!(
        code(Some(&front), &[]).await,
        403,
        "but is nobody by itself"
    );
    let stranger = Pki::ephemeral(&[]).unwrap();
    let forged = stranger.client("jane", &["system:masters"]).unwrap();
    assert_eq!(code(Some(&forged), &[]).await, 403, "another authority");
    assert_eq!(
        code(Some(&jane), &[("impersonate-user", "root")]).await,
        403
    );
}

#[tokio::test]
async fn tokens_are_reviewed() {
    let pair = Pair::start().await;
    let account = "system:serviceaccount:default:robot";
    permit(&pair.rig, account).await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let made = json!({"metadata": {"name": "robot"}});
    pair.rig.post(accounts, &made).await.expect(201);
    let request = json!({"spec": {"audiences": [], "expirationSeconds": 3600}});
    let token = pair
        .rig
        .post(&format!("{accounts}/robot/token"), &request)
        .await
        .expect(201);
    let bearer = format!("Bearer {}", token["status"]["token"].as_str().unwrap());
    let (code, text) = pair.ask(TOYS, None, &[("authorization", &bearer)]).await;
    assert_eq!(code, 200, "{text}");
}

#[tokio::test]
async fn probes_need_no_credentials_and_the_rest_does() {
    let pair = Pair::start().await;
    for path in ["/healthz", "/livez", "/readyz"] {
        let (code, text) = pair.ask(path, None, &[]).await;
        assert_eq!((code.as_u16(), text.as_str()), (200, "ok"));
    }
    for path in ["/metrics", "/apis", "/healthz/../metrics"] {
        assert_eq!(pair.ask(path, None, &[]).await.0.as_u16(), 403, "{path}");
    }
}
