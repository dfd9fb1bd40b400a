//! TLS for outgoing calls: whom to trust, what to show.

use super::{OutboundError, decode_base64};
use crate::pki::KeyedCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::sync::Arc;

/// Where Linux distributions keep the roots that the system trusts; the first that exists counts.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whose certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trust {
    /// Those the system trusts.
    System,
    /// Those signed by one of these authorities (PEM).
    Bundle(Arc<[u8]>),
    /// Anybody's (`insecureSkipTLSVerify`).
    Anyone,
}

impl Trust {
    /// A `caBundle`: base64 of PEM; the system's roots if it is empty.
    ///
    /// # Errors
    /// [`OutboundError::Unusable`] if it is not base64.
    pub(crate) fn from_base64(bundle: &str) -> Result<Self, OutboundError> {
        if bundle.is_empty() {
            return Ok(Self::System);
        }
        let pem = decode_base64(bundle)
            .ok_or_else(|| OutboundError::Unusable("caBundle is not base64".to_owned()))?;
        Ok(Self::Bundle(pem.into()))
    }
}

/// Versions of HTTP that may be agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocols {
    /// HTTP/2, else 1.1.
    Any,
    /// Only 1.1, for upgrades.
    Http1,
}

/// The TLS configuration for a kind of call.
///
/// # Errors
/// [`OutboundError::Unusable`] for PEM without a certificate, or a certificate without its key.
pub(super) async fn config(
    trust: &Trust,
    certificate: Option<&KeyedCert>,
    protocols: Protocols,
) -> Result<ClientConfig, OutboundError> {
    let bad = |why: &dyn std::fmt::Display| OutboundError::Unusable(why.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|why| bad(&why))?;
    let builder = match trust {
        Trust::System => builder.with_root_certificates(system_roots().await),
        Trust::Bundle(pem) => builder.with_root_certificates(roots(pem)?),
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyone(provider))),
    };
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let cert =
                CertificateDer::from_pem_slice(shown.cert.as_bytes()).map_err(|e| bad(&e))?;
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).map_err(|e| bad(&e))?;
            builder
                .with_client_auth_cert(vec![cert], key)
                .map_err(|e| bad(&e))?
        }
    };
    config.alpn_protocols = match protocols {
        Protocols::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Protocols::Http1 => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}

fn roots(pem: &[u8]) -> Result<RootCertStore, OutboundError> {
    let mut roots = RootCertStore::empty();
    let parsed: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect();
    let (added, _) = roots.add_parsable_certificates(parsed);
    if added == 0 {
        let why = "unable to load root certificates: unable to parse bytes as PEM block";
        return Err(OutboundError::Unusable(why.to_owned()));
    }
    Ok(roots)
}

/// The system's roots; none where there is no such file, and then nobody is trusted.
async fn system_roots() -> RootCertStore {
    for path in SYSTEM_BUNDLES {
        if let Ok(pem) = tokio::fs::read(path).await {
            return roots(&pem).unwrap_or_else(|_| RootCertStore::empty());
        }
    }
    RootCertStore::empty()
}

/// Checks signatures, but not whose they are.
#[derive(Debug)]
pub(crate) struct AcceptAnyone(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
