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
const UNAUTHENTICATED: &str = "system:unauthenticated";
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
        // No names mean any proxy; names that cannot be read must not.
        let names: Option<Vec<String>> = match text("requestheader-allowed-names") {
            "" => Some(Vec::new()),
            names => serde_json::from_str(names).ok(),
        };
        if names.is_none() {
            tracing::warn!(
                "{CONFIG_MAP}: requestheader-allowed-names is no list: no proxy is trusted"
            );
        }
        let authority = text("requestheader-client-ca-file");
        Self {
            clients: verifier(text("client-ca-file")),
            proxies: names.as_ref().and_then(|_| verifier(authority)),
            names: names.unwrap_or_default(),
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

/// Adds the group of all whom the API server knows; it sends requests of nobody on, too.
fn authenticated(mut identity: Identity) -> Identity {
    let is_decided = |group: &String| group == AUTHENTICATED || group == UNAUTHENTICATED;
    let is_nobody = identity.user == Identity::anonymous().user;
    if !is_nobody && !identity.groups.iter().any(is_decided) {
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
        // One authority may sign for both: then who is no proxy may still be a client.
        let known = Identity::from_certificate(own).filter(|_| holds(&trust.clients));
        let known = known.map(Box::new);
        let has_name = || {
            let name = common_name(own);
            name.is_some_and(|name| trust.names.is_empty() || trust.names.contains(&name))
        };
        if holds(&trust.proxies) && has_name() {
            return Caller::Proxy(known, trust);
        }
        match known {
            Some(identity) => Caller::Known(identity, trust),
            None => Caller::Unknown(trust),
        }
    }

    /// Whether this is what is trusted now.
    fn is_current(&self, trust: &Arc<Trust>) -> bool {
        Arc::ptr_eq(trust, &self.trust.read())
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
    /// Whomever its headers name, or without any the holder of its certificate.
    Proxy(Option<Box<Identity>>, Arc<Trust>),
}

impl Caller {
    /// Whose request this is, as far as the certificate says. Nobody else's `X-Remote-…` headers go
    /// further than here.
    pub(super) fn identify(&self, headers: &mut HeaderMap) -> Option<Identity> {
        let trust = self.trust();
        let found = match self {
            Self::Unknown(_) => None,
            Self::Known(identity, _) => Some((**identity).clone()),
            Self::Proxy(known, trust) => {
                let named = trust.vouched(headers);
                named.or_else(|| known.as_deref().cloned())
            }
        };
        trust.strip(headers);
        found
    }

    fn trust(&self) -> &Arc<Trust> {
        let (Self::Unknown(trust) | Self::Known(_, trust) | Self::Proxy(_, trust)) = self;
        trust
    }
}

/// The other end of a connection: connections outlive what is trusted.
#[derive(Debug)]
pub(super) struct Peer {
    proxies: Arc<Proxies>,
    certificates: Vec<CertificateDer<'static>>,
    caller: RwLock<Arc<Caller>>,
}

impl Peer {
    /// Whoever showed `certificates`.
    pub(super) fn new(proxies: Arc<Proxies>, certificates: &[CertificateDer<'static>]) -> Self {
        let caller = RwLock::new(Arc::new(proxies.caller(certificates)));
        Self {
            proxies,
            certificates: certificates.to_vec(),
            caller,
        }
    }

    /// Whom it speaks for now; judged anew when what is trusted has changed.
    pub(super) fn caller(&self) -> Arc<Caller> {
        let known = Arc::clone(&self.caller.read());
        if self.proxies.is_current(known.trust()) {
            return known;
        }
        let new = Arc::new(self.proxies.caller(&self.certificates));
        *self.caller.write() = Arc::clone(&new);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;
    use http::Request;
    use rstest::rstest;
    use serde_json::json;

    fn certificate(pem: &str) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()]
    }

    /// What an API server with `pki` publishes, its proxies restricted to `names`.
    fn trusting(pki: &Pki, names: &str) -> Proxies {
        published([pki.ca(), &pki.front_proxy().ca], names)
    }

    fn published([clients, proxies]: [&str; 2], names: &str) -> Proxies {
        let authorities = [clients, proxies];
        let proxies = Proxies::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
        proxies.take(&config(authorities, names));
        proxies
    }

    fn config([clients, proxies]: [&str; 2], names: &str) -> Value {
        json!({"data": {
            "client-ca-file": clients,
            "requestheader-client-ca-file": proxies,
            "requestheader-allowed-names": names,
            "requestheader-username-headers": r#"["X-Remote-User"]"#,
            "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
            "requestheader-group-headers": r#"["X-Remote-Group"]"#,
            "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
        }})
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

    #[rstest]
    #[case::somebody("jane", &["dev"], true)]
    #[case::nobody("system:anonymous", &["system:unauthenticated"], false)]
    #[case::nobody_without_groups("system:anonymous", &[], false)]
    #[case::of_the_group_of_nobody("jane", &["system:unauthenticated"], false)]
    #[tokio::test]
    async fn nobody_does_not_become_somebody(
        #[case] user: &str,
        #[case] groups: &[&str],
        #[case] authenticated: bool,
    ) {
        let pki = Pki::ephemeral(&[]).unwrap();
        let mut sent = HeaderMap::new();
        sent.insert("x-remote-user", user.parse().unwrap());
        for group in groups {
            sent.append("x-remote-group", group.parse().unwrap());
        }
        let shown = certificate(&pki.front_proxy().client.cert);
        let caller = trusting(&pki, "[]").caller(&shown);
        let found = caller.identify(&mut sent).unwrap();
        let has = found.groups.iter().any(|g| g == AUTHENTICATED);
        assert_eq!((found.user.as_str(), has), (user, authenticated));
    }

    #[rstest]
    #[case::all("[]", true)]
    #[case::unsaid("", true)]
    #[case::listed(r#"["front-proxy-client"]"#, true)]
    #[case::no_list("front-proxy-client", false)]
    #[case::cut_off(r#"["front-proxy-client""#, false)]
    #[case::not_names("[1]", false)]
    #[tokio::test]
    async fn names_that_cannot_be_read_are_nobodys(#[case] names: &str, #[case] trusted: bool) {
        let pki = Pki::ephemeral(&[]).unwrap();
        let shown = certificate(&pki.front_proxy().client.cert);
        let found = trusting(&pki, names)
            .caller(&shown)
            .identify(&mut headers());
        assert_eq!(found.is_some(), trusted);
    }

    /// With one authority for both: whose certificate, whether it comes with headers, who it is.
    #[rstest]
    #[case::a_client("joe", true, "joe")]
    #[case::a_proxy("proxy", true, "jane")]
    #[case::a_proxy_on_its_own("proxy", false, "proxy")]
    #[tokio::test]
    async fn one_authority_may_sign_for_proxies_and_clients(
        #[case] name: &str,
        #[case] vouching: bool,
        #[case] want: &str,
    ) {
        let pki = Pki::ephemeral(&[]).unwrap();
        let proxies = published([pki.ca(), pki.ca()], r#"["proxy"]"#);
        let shown = certificate(&pki.client(name, &[]).unwrap().cert);
        let mut sent = if vouching {
            headers()
        } else {
            HeaderMap::new()
        };
        let found = proxies.caller(&shown).identify(&mut sent).unwrap();
        assert_eq!(found.user, want);
    }

    #[tokio::test]
    async fn a_connection_does_not_outlive_what_is_trusted() {
        let (pki, other) = (Pki::ephemeral(&[]).unwrap(), Pki::ephemeral(&[]).unwrap());
        let proxies = Arc::new(trusting(&pki, "[]"));
        let shown = certificate(&pki.client("joe", &[]).unwrap().cert);
        let peer = Peer::new(Arc::clone(&proxies), &shown);
        let who = || peer.caller().identify(&mut headers()).map(|i| i.user);
        assert_eq!(who().as_deref(), Some("joe"));
        assert!(Arc::ptr_eq(&peer.caller(), &peer.caller()), "judged once");
        proxies.take(&config([other.ca(), other.ca()], "[]"));
        assert_eq!(who(), None);
        proxies.take(&config([pki.ca(), other.ca()], "[]"));
        assert_eq!(who().as_deref(), Some("joe"));
    }
}
