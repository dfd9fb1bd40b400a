//! Where a metrics server is and how it is reached: Prometheus, or another adapter.

use http::{HeaderName, HeaderValue, Uri};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::PathBuf;

/// Credentials and trust for one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Authorities to trust instead of the system's (PEM).
    pub ca_file: Option<PathBuf>,
    /// Client certificate (PEM).
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
    /// Bearer token, read again as it is renewed.
    pub token_file: Option<PathBuf>,
    /// A kubeconfig whose user and authority are used; its server is not.
    pub kubeconfig: Option<PathBuf>,
    /// Headers for every request.
    pub headers: Vec<(String, String)>,
    /// Accept any certificate.
    pub insecure: bool,
}

/// Why a server cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The URL names no server.
    #[error("{0:?} is not a URL of the form http://HOST[:PORT][/PATH] or https://…")]
    Url(String),
    /// A header cannot be sent.
    #[error("{0:?} is not a header of the form NAME=VALUE")]
    Header(String),
    /// Only one of the two was given.
    #[error("a client certificate and its key go together")]
    HalfCertificate,
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig {0} cannot be used")]
    Kubeconfig(String, #[source] Box<kube::config::KubeconfigError>),
    /// The certificates or credentials cannot be used.
    #[error("the credentials for {0} cannot be used")]
    Credentials(String, #[source] Box<kube::Error>),
}

/// A server that can be asked: a client, and the path before every request's.
#[derive(Clone)]
pub struct Place {
    /// Sends requests.
    pub client: Client,
    /// Path before every other, without a slash at its end.
    pub prefix: String,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// A server dialled from here.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn direct(&self, url: &str) -> Result<Place, AccessError> {
        let parsed = Parsed::of(url)?;
        let mut config = match &self.kubeconfig {
            None => Config::new(parsed.server.clone()),
            Some(path) => {
                let shown = path.display().to_string();
                let bad = |error| AccessError::Kubeconfig(shown.clone(), Box::new(error));
                let read = Kubeconfig::read_from(path).map_err(bad)?;
                let options = KubeConfigOptions::default();
                let mut config = Config::from_custom_kubeconfig(read, &options)
                    .await
                    .map_err(bad)?;
                config.cluster_url = parsed.server.clone();
                config
            }
        };
        config.default_retry = false;
        config.proxy_url = None;
        self.complete(&mut config, &parsed)?;
        let client = Client::try_from(config);
        let client =
            client.map_err(|error| AccessError::Credentials(url.to_owned(), Box::new(error)))?;
        Ok(Place {
            client,
            prefix: parsed.path,
        })
    }

    fn complete(&self, config: &mut Config, parsed: &Parsed) -> Result<(), AccessError> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        config.accept_invalid_certs |= self.insecure;
        if let Some(path) = &self.ca_file {
            config.root_cert = None;
            config.root_cert_file = Some(path.clone());
        }
        let auth = &mut config.auth_info;
        match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => {
                (auth.client_certificate, auth.client_key) = (Some(text(cert)), Some(text(key)));
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => return Err(AccessError::HalfCertificate),
        }
        if let Some(path) = &self.token_file {
            auth.token_file = Some(text(path));
        } else if let Some((user, password)) = &parsed.user {
            auth.username = Some(user.clone());
            auth.password = Some(password.clone().into());
        }
        for (name, value) in &self.headers {
            let bad = || AccessError::Header(format!("{name}={value}"));
            let name: HeaderName = name.parse().map_err(|_| bad())?;
            let value: HeaderValue = value.parse().map_err(|_| bad())?;
            config.headers.push((name, value));
        }
        Ok(())
    }

    /// A server behind a Service of the cluster, if the URL's host is one's name
    /// (`NAME.NAMESPACE.svc…`), reached through the API server's proxy. The API server does not pass
    /// credentials on.
    pub fn through(client: &Client, url: &str) -> Option<Place> {
        let parsed = Parsed::of(url).ok()?;
        let host = parsed.server.host()?;
        let mut parts = host.split('.');
        let (name, namespace, svc) = (parts.next()?, parts.next()?, parts.next()?);
        if svc != "svc" {
            return None;
        }
        let scheme = parsed.server.scheme_str()?;
        let port = parsed.server.port_u16();
        let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
        let path = &parsed.path;
        Some(Place {
            client: client.clone(),
            prefix: format!(
                "/api/v1/namespaces/{namespace}/services/{scheme}:{name}:{port}/proxy{path}"
            ),
        })
    }
}

/// A URL's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parsed {
    /// Scheme, host and port.
    server: Uri,
    /// Without a slash at its end.
    path: String,
    user: Option<(String, String)>,
}

impl Parsed {
    fn of(url: &str) -> Result<Self, AccessError> {
        let bad = || AccessError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let scheme = uri.scheme_str().filter(|s| matches!(*s, "http" | "https"));
        let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else {
            return Err(bad());
        };
        let (user, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority.as_str()),
        };
        let user = user.map(|user| user.split_once(':').unwrap_or((user, "")));
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad());
        }
        Ok(Self {
            server: format!("{scheme}://{host}").parse().map_err(|_| bad())?,
            path: uri.path().trim_end_matches('/').to_owned(),
            user: user.map(|(name, password)| (name.to_owned(), password.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Parsed;
    use rstest::rstest;

    #[rstest]
    #[case("http://prom:9090", ("http://prom:9090/", "", None))]
    #[case("https://u:p@prom/base/", ("https://prom/", "/base", Some(("u", "p"))))]
    #[case("http://[::1]:9090/", ("http://[::1]:9090/", "", None))]
    fn a_url_gives_its_parts(#[case] url: &str, #[case] want: (&str, &str, Option<(&str, &str)>)) {
        let got = Parsed::of(url).unwrap();
        let user = got.user.as_ref().map(|(a, b)| (a.as_str(), b.as_str()));
        assert_eq!(
            (got.server.to_string().as_str(), got.path.as_str(), user),
            want
        );
    }

    #[rstest]
    #[case("prom:9090")]
    #[case("ftp://prom")]
    #[case("")]
    #[case("/path")]
    fn what_names_no_server_is_refused(#[case] url: &str) {
        assert!(Parsed::of(url).is_err());
    }
}
