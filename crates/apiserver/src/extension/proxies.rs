//! Whose client certificates count, and who may speak for others: what the API server publishes in
//! ConfigMap `kube-system/extension-apiserver-authentication`.

use crate::auth::Identity;
use crate::http::query::{Plus, decode};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use parking_lot::RwLock;
use plimsoll_clock::Clock;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const CONFIG_MAP: &str = "extension-apiserver-authentication";
const AUTHENTICATED: &str = "system:authenticated";
/// How long the first reading may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a failed watch.
const PAUSE: Duration = Duration::from_secs(2);

/// What the ConfigMap says.
#[derive(Debug, Default)]
pub(super) struct Trust {
    clients: Option<Arc<dyn ClientCertVerifier>>,
    proxies: Option<Arc<dyn ClientCertVerifier>>,
    /// Common names that proxies have; empty for any.
    names: Vec<String>,
    users: Vec<HeaderName>,
    uids: Vec<HeaderName>,
    groups: Vec<HeaderName>,
    /// Prefixes, in lower case.
    extra: Vec<String>,
}

impl Trust {
    fn of(data: &Value) -> Self {
        let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
        let list =
            |key: &str| -> Vec<String> { serde_json::from_str(text(key)).unwrap_or_default() };
        let headers = |key: &str| -> Vec<HeaderName> {
            let names = list(key).into_iter();
            names.filter_map(|name| name.parse().ok()).collect()
        };
        let prefixes = list("requestheader-extra-headers-prefix").into_iter();
        Self {
            clients: verifier(text("client-ca-file")),
            proxies: verifier(text("requestheader-client-ca-file")),
            names: list("requestheader-allowed-names"),
            users: headers("requestheader-username-headers"),
            uids: headers("requestheader-uid-headers"),
            groups: headers("requestheader-group-headers"),
            extra: prefixes.map(|prefix| prefix.to_ascii_lowercase()).collect(),
        }
    }

    /// Whom the headers name; they are taken off.
    fn vouched(&self, headers: &mut HeaderMap) -> Option<Identity> {
        let first = |names: &[HeaderName], headers: &HeaderMap| {
            let values = names
                .iter()
                .filter_map(|name| headers.get(name)?.to_str().ok());
            values
                .map(str::trim)
                .find(|v| !v.is_empty())
                .map(str::to_owned)
        };
        let mut identity = Identity::new(&first(&self.users, headers)?, &[]);
        identity.uid = first(&self.uids, headers).unwrap_or_default();
        let groups = self.groups.iter().flat_map(|name| headers.get_all(name));
        identity.groups = groups
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        for (name, value) in headers.iter() {
            let key = self
                .extra
                .iter()
                .find_map(|p| name.as_str().strip_prefix(p.as_str()));
            if let (Some(key), Ok(value)) = (key, value.to_str()) {
                let values = identity.extra.entry(decode(key, Plus::IsPlus)).or_default();
                values.push(value.to_owned());
            }
        }
        Some(authenticated(identity))
    }

    /// Takes off every header by which a proxy names somebody.
    fn strip(&self, headers: &mut HeaderMap) {
        let fixed = [&self.users, &self.uids, &self.groups];
        for name in fixed.into_iter().flatten() {
            headers.remove(name);
        }
        let is_extra = |name: &HeaderName| {
            self.extra
                .iter()
                .any(|p| name.as_str().starts_with(p.as_str()))
        };
        let extra: Vec<HeaderName> = headers.keys().filter(|n| is_extra(n)).cloned().collect();
        for name in extra {
            headers.remove(name);
        }
    }
}

fn authenticated(mut identity: Identity) -> Identity {
    if !identity.groups.iter().any(|group| group == AUTHENTICATED) {
        identity.groups.push(AUTHENTICATED.to_owned());
    }
    identity
}

/// Checks certificates of the authorities in a PEM text; `None` if it has none.
fn verifier(pem: &str) -> Option<Arc<dyn ClientCertVerifier>> {
    let mut roots = RootCertStore::empty();
    let parsed: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .filter_map(Result::ok)
        .collect();
    roots.add_parsable_certificates(parsed);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .ok()
}

/// The newest [`Trust`].
#[derive(Debug)]
pub(super) struct Proxies {
    clock: Clock,
    trust: RwLock<Arc<Trust>>,
}

impl Proxies {
    /// Nobody's certificate counts yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            trust: RwLock::default(),
        }
    }

    /// Reads the ConfigMap once, so that the first connections are judged by it.
    pub(super) async fn load(&self, client: &Client) {
        let path = format!("/api/v1/namespaces/kube-system/configmaps/{CONFIG_MAP}");
        let Ok(request) = http::Request::get(path).body(Vec::new()) else {
            return;
        };
        match tokio::time::timeout(PATIENCE, client.request::<Value>(request)).await {
            Ok(Ok(map)) => self.take(&map),
            Ok(Err(error)) => tracing::warn!(%error, "{CONFIG_MAP} is not read yet"),
            Err(_elapsed) => tracing::warn!("{CONFIG_MAP} is not read yet: no answer"),
        }
    }

    /// Follows the ConfigMap, for ever. Reading it needs the Role
    /// `extension-apiserver-authentication-reader`; without it only tokens count.
    pub(super) async fn follow(&self, client: Client) {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
        let maps: Api<DynamicObject> = Api::namespaced_with(client, "kube-system", &kind);
        let wanted = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
        let mut events = pin!(watcher(maps, wanted));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(map) | Event::InitApply(map)) => self.take(&map.data),
                Ok(Event::Delete(_) | Event::Init | Event::InitDone) => {}
                Err(error) => {
                    tracing::warn!(%error, "{CONFIG_MAP} cannot be read: only bearer tokens count");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn take(&self, map: &Value) {
        let data = map.get("data").unwrap_or(&Value::Null);
        *self.trust.write() = Arc::new(Trust::of(data));
    }

    /// Who a connection's certificates speak for, with what is trusted now.
    pub(super) fn caller(&self, certificates: &[CertificateDer<'static>]) -> Caller {
        let trust = Arc::clone(&self.trust.read());
        let Some((own, others)) = certificates.split_first() else {
            return Caller::Unknown(trust);
        };
        let now = unix(self.clock.now());
        let holds = |verifier: &Option<Arc<dyn ClientCertVerifier>>| {
            let verifier = verifier.as_ref();
            verifier.is_some_and(|v| v.verify_client_cert(own, others, now).is_ok())
        };
        if holds(&trust.proxies) {
            let name = common_name(own);
            let fits =
                name.is_some_and(|name| trust.names.is_empty() || trust.names.contains(&name));
            return if fits {
                Caller::Proxy(trust)
            } else {
                Caller::Unknown(trust)
            };
        }
        match Identity::from_certificate(own).filter(|_| holds(&trust.clients)) {
            Some(identity) => Caller::Known(Box::new(identity), trust),
            None => Caller::Unknown(trust),
        }
    }
}

fn unix(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(now.as_second()).unwrap_or_default(),
    ))
}

fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

/// Whom a connection speaks for.
#[derive(Debug)]
pub(super) enum Caller {
    /// Nobody; other credentials may say.
    Unknown(Arc<Trust>),
    /// The holder of a client certificate.
    Known(Box<Identity>, Arc<Trust>),
    /// Whomever its headers name.
    Proxy(Arc<Trust>),
}

impl Caller {
    /// Whose request this is, as far as the certificate says. Nobody else's `X-Remote-…` headers go
    /// further than here.
    pub(super) fn identify(&self, headers: &mut HeaderMap) -> Option<Identity> {
        let (Self::Unknown(trust) | Self::Known(_, trust) | Self::Proxy(trust)) = self;
        let found = match self {
            Self::Unknown(_) => None,
            Self::Known(identity, _) => Some((**identity).clone()),
            Self::Proxy(trust) => trust.vouched(headers),
        };
        trust.strip(headers);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;
    use http::Request;
    use serde_json::json;

    fn certificate(pem: &str) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()]
    }

    /// What an API server with `pki` publishes, its proxies restricted to `names`.
    fn trusting(pki: &Pki, names: &str) -> Proxies {
        let proxies = Proxies::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
        proxies.take(&json!({"data": {
            "client-ca-file": pki.ca(),
            "requestheader-client-ca-file": pki.front_proxy().ca,
            "requestheader-allowed-names": names,
            "requestheader-username-headers": r#"["X-Remote-User"]"#,
            "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
            "requestheader-group-headers": r#"["X-Remote-Group"]"#,
            "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
        }}));
        proxies
    }

    fn headers() -> HeaderMap {
        let request = Request::get("/")
            .header("X-Remote-User", "jane")
            .header("X-Remote-Group", "dev")
            .header("X-Remote-Extra-A%2fb", "c")
            .header("accept", "*/*");
        request.body(()).unwrap().headers().clone()
    }

    #[tokio::test]
    async fn a_proxy_speaks_for_others_and_only_under_its_name() {
        let pki = Pki::ephemeral(&[]).unwrap();
        let shown = certificate(&pki.front_proxy().client.cert);
        let mut sent = headers();
        let jane = trusting(&pki, r#"["front-proxy-client"]"#)
            .caller(&shown)
            .identify(&mut sent);
        let jane = jane.unwrap();
        assert_eq!(jane.groups, ["dev", "system:authenticated"]);
        assert_eq!(jane.extra["a/b"], ["c"]);
        assert_eq!(sent.len(), 1, "{sent:?}");
        let any = trusting(&pki, "[]").caller(&shown);
        assert!(any.identify(&mut headers()).is_some());
        let other = trusting(&pki, r#"["someone"]"#).caller(&shown);
        assert!(other.identify(&mut headers()).is_none());
    }

    #[tokio::test]
    async fn a_client_speaks_for_itself_if_its_authority_is_known() {
        let (pki, stranger) = (Pki::ephemeral(&[]).unwrap(), Pki::ephemeral(&[]).unwrap());
        let proxies = trusting(&pki, "[]");
        let shown = certificate(&pki.client("joe", &["ops"]).unwrap().cert);
        let mut sent = headers();
        let joe = proxies.caller(&shown).identify(&mut sent).unwrap();
        assert_eq!(joe.user, "joe");
        assert!(!sent.contains_key("x-remote-user"));
        for pem in [
            stranger.client("joe", &["system:masters"]).unwrap().cert,
            stranger.front_proxy().client.cert,
        ] {
            let caller = proxies.caller(&certificate(&pem));
            assert_eq!(caller.identify(&mut headers()), None);
        }
        assert_eq!(proxies.caller(&[]).identify(&mut headers()), None);
    }
}
