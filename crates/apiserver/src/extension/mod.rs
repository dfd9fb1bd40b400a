//! An API server of local groups that another API server aggregates: what `plimsoll run` serves.
//!
//! ```text
//! kube-apiserver ── TLS, X-Remote-* ──► Front ──► who (proxy, certificate, TokenReview)
//!   (APIService)                          │        may they (SubjectAccessReview)
//!                                         └──────► ApiServer without stored kinds
//! ```
//!
//! The front door decides who asks and whether they may, as every extension API server does; what
//! is behind it is the same server as the embedded cluster's, only without anything of its own.

mod access;
mod certificate;
mod front;
mod made;
mod proxies;
mod registration;
mod tls;

pub use certificate::CertificateSource;
pub use registration::{Registrations, ServiceAddress};

use crate::auth::TokenKey;
use crate::pki::PkiError;
use crate::serve::Listener;
use crate::store::{Options as StoreOptions, Store, StoreError};
use crate::{ApiServer, ClusterSettings, Config};
use access::Access;
use certificate::Serving;
use front::Front;
use kube::Client;
use plimsoll_api::exposition::Exposition;
use plimsoll_api::kind::Kinds;
use plimsoll_api::local::LocalGroup;
use plimsoll_clock::Clock;
use proxies::Proxies;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What an extension server is made of.
pub struct ExtensionConfig {
    /// The API server that is extended.
    pub client: Client,
    /// What time it is.
    pub clock: Clock,
    /// Root of its seeds.
    pub seed: u64,
    /// What it serves.
    pub locals: Vec<Arc<dyn LocalGroup>>,
    /// The certificate it serves with.
    pub certificate: CertificateSource,
    /// Its APIServices.
    pub registrations: Registrations,
    /// Self metrics of others, added to its own.
    pub metrics: Vec<Arc<dyn Exposition>>,
}

impl std::fmt::Debug for ExtensionConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExtensionConfig")
            .field("locals", &self.locals)
            .field("certificate", &self.certificate)
            .field("registrations", &self.registrations)
            .finish_non_exhaustive()
    }
}

/// Why an extension server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// The certificate cannot be made or read.
    #[error("the serving certificate")]
    Certificate(#[source] PkiError),
    /// There is no memory for its store.
    #[error("the store in memory")]
    Store(#[source] StoreError),
}

/// An extension server. Clones share it.
#[derive(Clone)]
pub struct Extension {
    server: ApiServer,
    front: Arc<Front>,
    serving: Arc<Serving>,
    proxies: Arc<Proxies>,
    client: Client,
    registrations: Registrations,
}

impl std::fmt::Debug for Extension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extension")
            .field("serving", &self.serving)
            .finish_non_exhaustive()
    }
}

impl Extension {
    /// Makes it, with its certificate. Nothing is served before [`Extension::serve`].
    ///
    /// # Errors
    /// [`ExtensionError`].
    pub async fn new(config: ExtensionConfig) -> Result<Self, ExtensionError> {
        let (client, clock) = (config.client, config.clock);
        let proxies = Arc::new(Proxies::new(clock));
        proxies.load(&client).await;
        let serving = Serving::start(&config.certificate, clock)
            .await
            .map_err(ExtensionError::Certificate)?;
        let server = ApiServer::new(Config {
            store: Store::open(StoreOptions::ephemeral()).map_err(ExtensionError::Store)?,
            clock,
            kinds: Kinds::default(),
            seed: config.seed,
            cluster: ClusterSettings::default(),
            nodes: None,
            locals: config.locals,
            token_key: token_key().map_err(ExtensionError::Certificate)?,
        });
        let front = Front {
            server: server.clone(),
            access: Access::new(client.clone()),
            proxies: Arc::clone(&proxies),
            metrics: config.metrics,
        };
        Ok(Self {
            server,
            front: Arc::new(front),
            serving: Arc::new(serving),
            proxies,
            client,
            registrations: config.registrations,
        })
    }

    /// Serves one more group from now on.
    pub fn add_group(&self, group: Arc<dyn LocalGroup>) {
        self.server.add_local_group(group);
    }

    /// The authority of its certificate (PEM), where it has one of its own.
    pub fn authority(&self) -> Option<String> {
        let authority = self.serving.authority();
        let pem = authority.borrow().clone();
        Some(pem).filter(|pem| !pem.is_empty())
    }

    /// Serves until `stop`, keeping certificate, trust and APIServices current; then lets requests
    /// finish for at most `grace`.
    ///
    /// # Errors
    /// [`ExtensionError::Certificate`] if TLS cannot be set up.
    pub async fn serve(
        self,
        listener: Listener,
        stop: CancellationToken,
        grace: Duration,
    ) -> Result<(), ExtensionError> {
        let tls = self.serving.server_config();
        let tls = tls.map_err(ExtensionError::Certificate)?;
        let (front, server) = (Arc::clone(&self.front), self.server.clone());
        let greet = move |certificates: &[rustls_pki_types::CertificateDer<'static>], address| {
            Arc::clone(&front).greet(certificates, address)
        };
        let upkeep = async {
            tokio::join!(
                self.proxies.follow(self.client.clone()),
                self.serving.renew(),
                registration::keep(&self.client, &server, &self.registrations, &self.serving),
            );
        };
        let serving = listener.serve_with(tls, greet, stop, grace);
        tokio::select! {
            biased;
            () = serving => {}
            () = upkeep => {}
        }
        Ok(())
    }
}

/// It signs no tokens, but a server has a key.
fn token_key() -> Result<TokenKey, PkiError> {
    crate::pki::Pki::ephemeral(&[]).map(|pki| pki.token_key())
}
