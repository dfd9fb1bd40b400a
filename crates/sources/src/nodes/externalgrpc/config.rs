//! The file that `--cloud-config` names.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a call may take, where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach a plug-in, in upstream's format:
///
/// ```yaml
/// address: "plugin.kube-system:8086"
/// key: /etc/ssl/client.key
/// cert: /etc/ssl/client.crt
/// cacert: /etc/ssl/ca.crt
/// grpc_timeout: 5s
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `HOST:PORT`.
    pub address: String,
    /// File of the client's certificate and of its key; TLS is off without them, as upstream.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// File of the authority that signed the plug-in's certificate.
    pub authority: Option<PathBuf>,
    /// How long a call may take.
    pub timeout: Duration,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("reading {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not YAML of this form.
    #[error("the cloud configuration cannot be understood")]
    Malformed(#[source] serde_saphyr::Error),
    /// It says nothing about where the plug-in is.
    #[error("the cloud configuration has no address")]
    NoAddress,
    /// `grpc_timeout` is no duration.
    #[error("grpc_timeout {0:?} is no duration such as 5s")]
    Timeout(String),
    /// Only one of `cert` and `key` is there.
    #[error("the cloud configuration needs both cert and key, or neither")]
    HalfIdentity,
    /// The address, or what the files hold, cannot be used.
    #[error("the plug-in cannot be reached as configured")]
    Transport(#[source] tonic::transport::Error),
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    address: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    cert: String,
    #[serde(default)]
    cacert: String,
    #[serde(default)]
    grpc_timeout: String,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&String::from_utf8_lossy(&read(path)?))
    }

    /// Understands the text of a file.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File = serde_saphyr::from_str(text).map_err(ConfigError::Malformed)?;
        if file.address.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
        let identity = match (path(file.cert), path(file.key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(ConfigError::HalfIdentity),
        };
        let timeout = match &*file.grpc_timeout {
            "" => TIMEOUT,
            text => text
                .parse()
                .ok()
                .and_then(|parsed: jiff::SignedDuration| Duration::try_from(parsed).ok())
                .filter(|timeout| !timeout.is_zero())
                .ok_or_else(|| ConfigError::Timeout(text.to_owned()))?,
        };
        Ok(Self {
            address: file.address,
            identity,
            authority: path(file.cacert),
            timeout,
        })
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Unreadable {
        path: path.display().to_string(),
        source,
    })
}
