//! The second authority: it vouches for proxies that speak for others (`X-Remote-User` …), and for
//! nobody else. Extension servers learn of it from ConfigMap
//! `kube-system/extension-apiserver-authentication`.

use super::{KeyedCert, PkiError, authority_named, new_key, parse_key, read, sign_with, write};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
};
use std::path::Path;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The authority's common name. The listener tells by the issuer's name which of the two
/// authorities a client certificate is from; the handshake has checked its signature.
pub(crate) const AUTHORITY: &str = "plimsoll-front-proxy-ca";
/// The common name of the API server's own client certificate, and the only one accepted.
pub(crate) const CLIENT: &str = "front-proxy-client";

/// What the API server shows to extension servers, and what they check it with.
#[derive(Debug, Clone)]
pub struct FrontProxy {
    /// The authority's certificate, PEM.
    pub ca: String,
    /// The API server's client certificate.
    pub client: KeyedCert,
}

impl FrontProxy {
    /// An authority that ends with the process.
    pub(super) fn ephemeral() -> Result<Self, PkiError> {
        Self::of(&authority_named(&new_key()?, AUTHORITY)?)
    }

    /// Reads the authority from `dir`, or makes it.
    pub(super) fn load_or_create(dir: &Path) -> Result<Self, PkiError> {
        let (cert_path, key_path) = (
            dir.join("front-proxy-ca.crt"),
            dir.join("front-proxy-ca.key"),
        );
        let authority = match (read(&cert_path)?, read(&key_path)?) {
            (Some(cert), Some(key)) => KeyedCert { cert, key },
            (None, key) => {
                let what = "front-proxy-ca.key";
                let key = key.map_or_else(new_key, |pem| parse_key(what, &pem))?;
                let authority = authority_named(&key, AUTHORITY)?;
                write(&key_path, &authority.key, 0o600)?;
                write(&cert_path, &authority.cert, 0o644)?;
                authority
            }
            (Some(_), None) => {
                let what = cert_path.display().to_string();
                return Err(PkiError::unusable(
                    &what,
                    "front-proxy-ca.key beside it is missing",
                ));
            }
        };
        Self::of(&authority)
    }

    fn of(authority: &KeyedCert) -> Result<Self, PkiError> {
        let what = "the front proxies' authority";
        let key: KeyPair = parse_key(what, &authority.key)?;
        let issuer = Issuer::from_ca_cert_pem(&authority.cert, key)
            .map_err(|why| PkiError::unusable(what, why))?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, CLIENT);
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let client = sign_with(&issuer, params, ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(Self {
            ca: authority.cert.clone(),
            client,
        })
    }
}

/// The common name of a certificate from the front proxies' authority; `None` for any other.
pub(crate) fn proxy_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let issuer = certificate.issuer().iter_common_name().next()?;
    if issuer.as_str().ok()? != AUTHORITY {
        return None;
    }
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}
