//! The certificate an extension server serves with: given in files, or made here for as long as the
//! process lasts.

use super::made::Made;
use super::tls::{self, Shown};
use crate::pki::{KeyedCert, PkiError};
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often files and ages are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// PEM files, read again when they change.
    Files {
        /// `--tls-cert-file`.
        certificate: PathBuf,
        /// `--tls-private-key-file`.
        key: PathBuf,
    },
    /// Made here for these names, and renewed before it expires. Each replica has an authority of
    /// its own; the APIServices list them all, so that nobody has to read Secrets.
    Generated {
        /// Names and addresses, e.g. `plimsoll.plimsoll-system.svc`.
        names: Vec<String>,
    },
}

/// What is served, and how it stays current.
#[derive(Debug)]
pub(super) struct Serving {
    source: CertificateSource,
    clock: Clock,
    shown: Arc<Shown>,
    /// The certificate in `shown`.
    served: Mutex<String>,
    made: Mutex<Option<Made>>,
    /// The authority (PEM); empty for files.
    authority: watch::Sender<String>,
}

impl Serving {
    /// Reads or makes the first certificate.
    ///
    /// # Errors
    /// [`PkiError`].
    pub(super) async fn start(source: &CertificateSource, clock: Clock) -> Result<Self, PkiError> {
        let serving = Self {
            source: source.clone(),
            clock,
            shown: Arc::default(),
            served: Mutex::default(),
            made: Mutex::default(),
            authority: watch::Sender::new(String::new()),
        };
        serving.refresh().await?;
        Ok(serving)
    }

    /// The authority, and whoever asks hears of the next one.
    pub(super) fn authority(&self) -> watch::Receiver<String> {
        self.authority.subscribe()
    }

    /// TLS with the newest certificate.
    ///
    /// # Errors
    /// [`PkiError::Unusable`].
    pub(super) fn server_config(&self) -> Result<Arc<ServerConfig>, PkiError> {
        tls::config(&self.shown)
    }

    /// Keeps the certificate current, for ever.
    pub(super) async fn renew(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "the serving certificate is not renewed");
            }
        }
    }

    async fn refresh(&self) -> Result<(), PkiError> {
        let (certificate, authority) = match &self.source {
            CertificateSource::Files { certificate, key } => {
                let (cert, key) = (read(certificate).await?, read(key).await?);
                (KeyedCert { cert, key }, String::new())
            }
            CertificateSource::Generated { names } => {
                let known = self.made.lock().clone();
                let made = match known {
                    Some(made) => made.current(names, self.clock.now())?,
                    None => Made::new(names, self.clock.now())?,
                };
                let parts = (made.serving.clone(), made.authority.cert.clone());
                *self.made.lock() = Some(made);
                parts
            }
        };
        if *self.served.lock() != certificate.cert {
            self.shown.set(&certificate)?;
            *self.served.lock() = certificate.cert;
            tracing::info!("serving with a new certificate");
        }
        self.authority.send_if_modified(|old| {
            let changed = *old != authority;
            *old = authority;
            changed
        });
        Ok(())
    }
}

async fn read(path: &Path) -> Result<String, PkiError> {
    let text = tokio::fs::read_to_string(path).await;
    text.map_err(|source| PkiError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_read_again_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (certificate, key) = (dir.path().join("crt"), dir.path().join("key"));
        let put = |made: &KeyedCert| {
            std::fs::write(&certificate, &made.cert).unwrap();
            std::fs::write(&key, &made.key).unwrap();
        };
        let names = ["a.b.svc".to_owned()];
        let (first, second) = (
            Made::new(&names, now).unwrap(),
            Made::new(&names, now).unwrap(),
        );
        put(&first.serving);
        let source = CertificateSource::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let serving = Serving::start(&source, Clock::starting_at(now))
            .await
            .unwrap();
        std::fs::write(&certificate, &second.serving.cert).unwrap();
        assert!(serving.refresh().await.is_err(), "another key's");
        assert_eq!(*serving.served.lock(), first.serving.cert);
        put(&second.serving);
        serving.refresh().await.unwrap();
        assert_eq!(*serving.served.lock(), second.serving.cert);
        assert!(serving.authority().borrow().is_empty());
    }
}
