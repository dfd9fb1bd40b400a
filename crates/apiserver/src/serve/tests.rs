//! The listener over real sockets on loopback.

use super::*;
use crate::pki::Pki;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Bytes;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

/// Asks over HTTP/2 or 1.1 and returns what the server says.
async fn ask(pki: &Pki, address: SocketAddr, user: Option<&str>, alpn: &[u8]) -> String {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pki.ca().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match user {
        Some(user) => {
            let client = pki.client(user, &["dev"]).unwrap();
            let cert = CertificateDer::from_pem_slice(client.cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![cert], key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    let request = Request::builder()
        .uri("https://127.0.0.1/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let io = TokioIo::new(tls);
    let answer = if alpn == b"h2" {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    String::from_utf8(
        answer
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

#[tokio::test]
async fn both_protocols_are_served_and_certificates_name_the_peer() {
    let pki = Pki::ephemeral(&[]).unwrap();
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address();
    let taken = Listener::bind(address).await.unwrap_err();
    assert!(matches!(taken, ServeError::InUse(_)), "{taken}");
    let stop = CancellationToken::new();
    let handler = |request: Request<Incoming>, peer: Peer| async move {
        let user = peer
            .identity
            .map_or("nobody".to_owned(), |identity| identity.user);
        let text = format!("{:?} {user}", request.version());
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(text))))
    };
    let tls = pki.server_config().unwrap();
    let grace = Duration::from_secs(5);
    let serving = tokio::spawn(listener.serve(tls, handler, stop.clone(), grace));
    assert_eq!(ask(&pki, address, None, b"h2").await, "HTTP/2.0 nobody");
    assert_eq!(
        ask(&pki, address, Some("jane"), b"http/1.1").await,
        "HTTP/1.1 jane"
    );
    stop.cancel();
    serving.await.unwrap();
    Listener::bind(address).await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_after_the_grace() {
    let pki = Pki::ephemeral(&[]).unwrap();
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address();
    let stop = CancellationToken::new();
    let asked = stop.clone();
    let handler = move |_: Request<Incoming>, _: Peer| {
        asked.cancel();
        std::future::pending::<Result<Response<Empty<Bytes>>, std::convert::Infallible>>()
    };
    let tls = pki.server_config().unwrap();
    let serving = listener.serve(tls, handler, stop, Duration::from_millis(50));
    tokio::select! {
        biased;
        () = serving => {}
        answer = async {
            tokio::spawn(async move { ask(&pki, address, None, b"h2").await }).await
        } => {
            // The client may notice the cut before the server has finished tidying up.
            answer.unwrap_err();
        }
    }
}
