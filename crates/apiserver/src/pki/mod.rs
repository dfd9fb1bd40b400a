//! Keys and certificates of the cluster, and the kubeconfig that uses them.

pub(crate) mod front_proxy;
mod kubeconfig;
mod request;
#[cfg(test)]
mod tests;

pub use front_proxy::FrontProxy;
pub use kubeconfig::{Context, kubeconfig, merge_kubeconfig};

use crate::auth::TokenKey;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names and addresses every API server is served as: itself, the Service `kubernetes`, and the
/// first address of the Service range.
const NAMES: [&str; 8] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.96.0.1",
];

/// The common name of the cluster's authority.
const AUTHORITY: &str = "plimsoll-ca";

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct KeyedCert {
    /// The certificate.
    pub cert: String,
    /// Its private key (PKCS#8).
    pub key: String,
}

impl std::fmt::Debug for KeyedCert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyedCert")
            .field("cert", &self.cert)
            .finish_non_exhaustive()
    }
}

/// Why keys or certificates could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("{path}: cannot be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate, key or configuration could not be made or understood.
    #[error("{what} is not usable: {why}")]
    Unusable {
        /// Which one.
        what: String,
        /// Why.
        why: String,
    },
}

impl PkiError {
    pub(crate) fn unusable(what: &str, why: impl std::fmt::Display) -> Self {
        Self::Unusable {
            what: what.to_owned(),
            why: why.to_string(),
        }
    }
}

/// The cluster's authority, and the key of its tokens. Clones share them.
#[derive(Clone)]
pub struct Pki {
    parts: Arc<Parts>,
}

struct Parts {
    ca: String,
    issuer: Issuer<'static, KeyPair>,
    tokens: TokenKey,
    front: FrontProxy,
    extra: Vec<String>,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki")
            .field("ca", &self.parts.ca)
            .finish_non_exhaustive()
    }
}

impl Pki {
    /// Keys that end with the process. `extra` are further names or addresses to be served as.
    ///
    /// # Errors
    /// [`PkiError::Unusable`] if the system has no randomness.
    pub fn ephemeral(extra: &[String]) -> Result<Self, PkiError> {
        let authority = authority_named(&new_key()?, AUTHORITY)?;
        let front = FrontProxy::ephemeral()?;
        Self::assemble(authority, (&new_key()?.serialize_pem(), front), extra)
    }

    /// Reads `dir/pki`, making what is not there; private keys get mode 0600. Only the authority
    /// and the token key are kept; serving and client certificates are made when needed.
    ///
    /// # Errors
    /// [`PkiError::File`], and [`PkiError::Unusable`] for files that do not fit together: nothing
    /// is ever overwritten.
    pub fn load_or_create(dir: &Path, extra: &[String]) -> Result<Self, PkiError> {
        let dir = dir.join("pki");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|source| PkiError::File {
            path: dir.clone(),
            source,
        })?;
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        let authority = match (read(&cert_path)?, read(&key_path)?) {
            (Some(cert), Some(key)) => KeyedCert { cert, key },
            // A key alone is what an interrupted first start leaves.
            (None, key) => {
                let key = key.map_or_else(new_key, |pem| parse_key("ca.key", &pem))?;
                let authority = authority_named(&key, AUTHORITY)?;
                write(&key_path, &authority.key, 0o600)?;
                write(&cert_path, &authority.cert, 0o644)?;
                authority
            }
            (Some(_), None) => {
                return Err(PkiError::unusable(
                    &cert_path.display().to_string(),
                    "ca.key beside it is missing",
                ));
            }
        };
        let path = dir.join("sa.key");
        let tokens = if let Some(pem) = read(&path)? {
            pem
        } else {
            let pem = new_key()?.serialize_pem();
            write(&path, &pem, 0o600)?;
            pem
        };
        let front = FrontProxy::load_or_create(&dir)?;
        Self::assemble(authority, (&tokens, front), extra)
    }

    fn assemble(
        authority: KeyedCert,
        (tokens, front): (&str, FrontProxy),
        extra: &[String],
    ) -> Result<Self, PkiError> {
        let key = parse_key("the authority's key", &authority.key)?;
        let issuer = Issuer::from_ca_cert_pem(&authority.cert, key)
            .map_err(|why| PkiError::unusable("the authority's certificate", why))?;
        let what = "the key of service-account tokens";
        let der = parse_key(what, tokens)?.serialize_der();
        let tokens = TokenKey::from_pkcs8(&der)
            .ok_or_else(|| PkiError::unusable(what, "not a P-256 key in PKCS#8"))?;
        let parts = Parts {
            ca: authority.cert,
            issuer,
            tokens,
            front,
            extra: extra.to_vec(),
        };
        Ok(Self {
            parts: Arc::new(parts),
        })
    }

    /// The authority's certificate, PEM.
    pub fn ca(&self) -> &str {
        &self.parts.ca
    }

    /// The authority of proxies that speak for others, and our certificate from it.
    pub fn front_proxy(&self) -> FrontProxy {
        self.parts.front.clone()
    }

    /// A certificate for `user` in at most two `groups`.
    ///
    /// # Errors
    /// [`PkiError::Unusable`], also for more groups.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<KeyedCert, PkiError> {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, user);
        // rcgen keeps one value per attribute type, and this type has two spellings.
        let spellings = [
            DnType::OrganizationName,
            DnType::CustomDnType(vec![2, 5, 4, 10]),
        ];
        if groups.len() > spellings.len() {
            return Err(PkiError::unusable(
                "a certificate of more than two groups",
                user,
            ));
        }
        for (spelling, group) in spellings.into_iter().zip(groups) {
            name.push(spelling, *group);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate to serve as the API server.
    ///
    /// # Errors
    /// [`PkiError::Unusable`] if an extra name is not a name or address.
    pub fn serving(&self) -> Result<KeyedCert, PkiError> {
        let extra = self.parts.extra.iter().cloned();
        let mut names: Vec<String> = NAMES.iter().map(|&n| n.to_owned()).chain(extra).collect();
        names.sort();
        names.dedup();
        let mut params = CertificateParams::new(names)
            .map_err(|why| PkiError::unusable("a name of the API server", why))?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn sign(
        &self,
        params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<KeyedCert, PkiError> {
        sign_with(&self.parts.issuer, params, purpose)
    }

    /// TLS for the listener: h2 and http/1.1, client certificates optional and checked.
    ///
    /// # Errors
    /// [`PkiError::Unusable`].
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, PkiError> {
        self.config_with(&self.serving()?)
    }

    /// TLS for the nodes' own servers, under the names of all of them: as
    /// [`Pki::server_config`] otherwise.
    ///
    /// # Errors
    /// [`PkiError::Unusable`].
    pub fn kubelet_config(&self, names: &[String]) -> Result<Arc<ServerConfig>, PkiError> {
        let mut params = CertificateParams::new(names)
            .map_err(|why| PkiError::unusable("a name of a node", why))?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "system:nodes");
        let serving = self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)?;
        self.config_with(&serving)
    }

    fn config_with(&self, serving: &KeyedCert) -> Result<Arc<ServerConfig>, PkiError> {
        let bad = |why: &dyn std::fmt::Display| PkiError::unusable("the serving certificate", why);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for ca in [self.ca(), &self.parts.front.ca] {
            let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|e| bad(&e))?;
            roots.add(ca).map_err(|e| bad(&e))?;
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|e| bad(&e))?;
        let cert = CertificateDer::from_pem_slice(serving.cert.as_bytes()).map_err(|e| bad(&e))?;
        let key = PrivateKeyDer::from_pem_slice(serving.key.as_bytes()).map_err(|e| bad(&e))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&e))?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![cert], key)
            .map_err(|e| bad(&e))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// The key that signs service-account tokens.
    pub fn token_key(&self) -> TokenKey {
        self.parts.tokens.clone()
    }
}

fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(|why| PkiError::unusable("a new key", why))
}

fn parse_key(what: &str, pem: &str) -> Result<KeyPair, PkiError> {
    KeyPair::from_pem(pem).map_err(|why| PkiError::unusable(what, why))
}

fn sign_with(
    issuer: &Issuer<'static, KeyPair>,
    mut params: CertificateParams,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<KeyedCert, PkiError> {
    validity(&mut params);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    let key = new_key()?;
    let cert = params
        .signed_by(&key, issuer)
        .map_err(|why| PkiError::unusable("a new certificate", why))?;
    Ok(KeyedCert {
        cert: cert.pem(),
        key: key.serialize_pem(),
    })
}

fn authority_named(key: &KeyPair, name: &str) -> Result<KeyedCert, PkiError> {
    let mut params = CertificateParams::default();
    validity(&mut params);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    let cert = params
        .self_signed(key)
        .map_err(|why| PkiError::unusable("a new authority", why))?;
    Ok(KeyedCert {
        cert: cert.pem(),
        key: key.serialize_pem(),
    })
}

/// Fixed dates: a laptop's clock may be wrong, and a local cluster has nobody to renew for it.
fn validity(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
}

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let unfinished = path.with_extension("tmp");
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        let mut file = options.open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    };
    write().map_err(|source| PkiError::File {
        path: path.to_owned(),
        source,
    })
}
