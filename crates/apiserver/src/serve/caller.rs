//! Whom the certificate of a connection speaks for.

use crate::auth::Identity;
use crate::pki::front_proxy;
use http::{HeaderMap, HeaderName, Request};

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";
/// Everyone whom a proxy vouches for is in this group.
const AUTHENTICATED: &str = "system:authenticated";

/// The holder of a client certificate.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// No certificate.
    Unknown,
    /// Speaks for itself.
    Known(Box<Identity>),
    /// Speaks for whomever its headers name (`--requestheader-…` of upstream).
    Proxy,
}

impl Caller {
    /// The holder of a certificate that the handshake has checked. One of the front proxies'
    /// authority is nobody by itself, and nobody at all under another name than theirs.
    pub(super) fn of(certificate: Option<&[u8]>) -> Self {
        let Some(der) = certificate else {
            return Self::Unknown;
        };
        match front_proxy::proxy_name(der) {
            Some(name) if name == front_proxy::CLIENT => Self::Proxy,
            Some(_) => Self::Unknown,
            None => Identity::from_certificate(der)
                .map_or(Self::Unknown, |identity| Self::Known(Box::new(identity))),
        }
    }

    /// Whose request this is; `None` leaves it to its other credentials. A proxy's headers are
    /// taken off.
    pub(super) fn identify<B>(&self, request: &mut Request<B>) -> Option<Identity> {
        match self {
            Self::Unknown => None,
            Self::Known(identity) => Some((**identity).clone()),
            Self::Proxy => vouched(request.headers_mut()),
        }
    }
}

fn vouched(headers: &mut HeaderMap) -> Option<Identity> {
    let text = |name: &HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let user = text(&USER).filter(|user| !user.is_empty())?;
    let mut identity = Identity::new(user, &[]);
    text(&UID).unwrap_or_default().clone_into(&mut identity.uid);
    let groups = headers.get_all(&GROUP).iter();
    identity.groups = groups
        .filter_map(|v| v.to_str().ok().map(str::to_owned))
        .collect();
    if !identity.groups.iter().any(|group| group == AUTHENTICATED) {
        identity.groups.push(AUTHENTICATED.to_owned());
    }
    for (name, value) in headers.iter() {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            let key = crate::http::query::decode(key, crate::http::query::Plus::IsPlus);
            let values = identity.extra.entry(key).or_default();
            values.push(value.to_owned());
        }
    }
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-remote-"))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
    Some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Pki;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    fn request() -> Request<()> {
        Request::get("/")
            .header("X-Remote-User", "jane")
            .header("X-Remote-Group", "dev")
            .header("X-Remote-Uid", "7")
            .header("X-Remote-Extra-a%2fb", "c")
            .body(())
            .unwrap()
    }

    fn caller(pem: &str) -> Caller {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        Caller::of(Some(der.as_ref()))
    }

    #[test]
    fn a_front_proxy_speaks_for_others() {
        let front = Pki::ephemeral(&[]).unwrap().front_proxy();
        let mut request = request();
        let identity = caller(&front.client.cert).identify(&mut request).unwrap();
        assert_eq!(identity.user, "jane");
        assert_eq!(identity.uid, "7");
        assert_eq!(identity.groups, ["dev", "system:authenticated"]);
        assert_eq!(identity.extra["a/b"], ["c"]);
        assert!(request.headers().is_empty());
        let mut silent = Request::get("/").body(()).unwrap();
        let nobody = caller(&front.client.cert).identify(&mut silent);
        assert_eq!(nobody, None, "the proxy is nobody by itself");
    }

    #[test]
    fn nobody_else_does() {
        let admin = Pki::ephemeral(&[]).unwrap();
        let admin = admin.client("front-proxy-client", &["dev"]).unwrap();
        let identity = caller(&admin.cert).identify(&mut request()).unwrap();
        assert_eq!(identity.user, "front-proxy-client");
        assert_eq!(Caller::of(None).identify(&mut request()), None);
    }
}
