//! Who is asking, and whether they may.

mod impersonation;
mod token;
#[cfg(test)]
mod token_tests;

pub(crate) use impersonation::impersonate;
pub use token::{IssuedToken, TokenError, TokenKey, TokenSpec, Tokens, VerifiedToken};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use plimsoll_api::status::ApiError;
use std::collections::BTreeMap;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const MASTERS: &str = "system:masters";

/// A user as the API sees one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `system:serviceaccount:default:web`, `kubernetes-admin` …
    pub user: String,
    /// Uid; empty where there is none.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Further attributes, e.g. the token's id.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// A user with a name and groups, without uid and attributes.
    pub fn new(user: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Self {
            user: user.to_owned(),
            uid: String::new(),
            groups,
            extra: BTreeMap::new(),
        }
    }

    /// Someone who showed no credentials.
    pub fn anonymous() -> Self {
        Self::new("system:anonymous", &[UNAUTHENTICATED])
    }

    /// A part of this process (controllers, scheduler, node agents): `system:masters`.
    pub fn in_process(name: &str) -> Self {
        Self::new(name, &[MASTERS, AUTHENTICATED])
    }

    /// Whom a client certificate names: the common name is the user, organisations are groups.
    /// The caller has checked the certificate. `None` without a common name.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?;
        let mut identity = Self::new(user, &[]);
        identity.groups = subject
            .iter_organization()
            .filter_map(|group| group.as_str().ok().map(str::to_owned))
            .collect();
        identity.groups.push(AUTHENTICATED.to_owned());
        Some(identity)
    }

    /// Whether the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// Tells whether the account and the pod that a token names still exist.
pub type Liveness = dyn Fn(&VerifiedToken) -> Result<(), TokenError> + Send + Sync;

/// Finds out who a request is from.
pub struct Authenticator {
    tokens: Tokens,
    liveness: Box<Liveness>,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator")
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// An authenticator for tokens whose account `liveness` finds alive.
    pub fn new(tokens: Tokens, liveness: Box<Liveness>) -> Self {
        Self { tokens, liveness }
    }

    /// The certificate's identity, else the bearer token's, else anonymous.
    ///
    /// # Errors
    /// 401 for a bad token; what is wrong with it goes to the log only.
    pub fn authenticate(
        &self,
        certificate: Option<&Identity>,
        headers: &HeaderMap,
    ) -> Result<Identity, ApiError> {
        if let Some(identity) = certificate {
            return Ok(identity.clone());
        }
        let Some(token) = bearer(headers) else {
            return Ok(Identity::anonymous());
        };
        self.check(token, &[])
            .map(|verified| verified.identity)
            .map_err(|error| {
                tracing::debug!(%error, "a bearer token was refused");
                ApiError::new(401, "Unauthorized", "Unauthorized")
            })
    }

    /// Checks a token for one of `audiences` (empty: the API server's own), and that what it is
    /// bound to still exists.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn check(&self, token: &str, audiences: &[String]) -> Result<VerifiedToken, TokenError> {
        let verified = self.tokens.verify(token, audiences)?;
        (self.liveness)(&verified)?;
        Ok(verified)
    }

    /// The tokens it checks.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

/// The bearer token of a request; an `Authorization` of another scheme is none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .trim()
        .split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
        .filter(|t| !t.is_empty())
}

/// What is being asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for paths
    /// that are no resource the lower-case HTTP method.
    pub verb: &'a str,
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural; empty for paths that are no resource.
    pub resource: &'a str,
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Name or empty.
    pub name: &'a str,
    /// The request's path.
    pub path: &'a str,
}

/// Whether `identity` may do this. The one place that decides.
///
/// Roles and bindings are not consulted yet: masters, nodes and every service account may do
/// anything, everyone may read health and version, and everybody else may do nothing more.
///
/// # Errors
/// 403 in upstream's words.
pub fn authorize(identity: &Identity, attributes: &Attributes<'_>) -> Result<(), ApiError> {
    let trusted = [MASTERS, "system:nodes", "system:serviceaccounts"]
        .iter()
        .any(|g| identity.is_in(g));
    let known = identity.is_in(AUTHENTICATED);
    if trusted || is_public(attributes) || (known && is_basic(attributes)) {
        return Ok(());
    }
    let Attributes {
        verb,
        group,
        resource,
        subresource,
        namespace,
        name,
        path,
    } = *attributes;
    let user = &identity.user;
    if resource.is_empty() {
        let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}");
        return Err(ApiError::new(403, "Forbidden", message));
    }
    let full = match subresource {
        "" => resource.to_owned(),
        sub => format!("{resource}/{sub}"),
    };
    let place = match namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let why =
        format!("User {user:?} cannot {verb} resource {full:?} in API group {group:?} {place}");
    Err(ApiError::forbidden(group, resource, name, &why))
}

/// What the roles `system:basic-user` and `system:discovery` let everyone do who is somebody.
fn is_basic(attributes: &Attributes<'_>) -> bool {
    let about_oneself = [
        "selfsubjectaccessreviews",
        "selfsubjectreviews",
        "selfsubjectrulesreviews",
    ];
    if !attributes.resource.is_empty() {
        return attributes.verb == "create" && about_oneself.contains(&attributes.resource);
    }
    let mut parts = attributes.path.split('/');
    let first = parts.nth(1).unwrap_or_default();
    matches!(attributes.verb, "get" | "head") && ["api", "apis", "openapi"].contains(&first)
}

/// What the role `system:public-info-viewer` shows to everyone.
fn is_public(attributes: &Attributes<'_>) -> bool {
    let paths = ["/healthz", "/livez", "/readyz", "/version"];
    let reads = attributes.resource.is_empty() && matches!(attributes.verb, "get" | "head");
    let path = attributes.path.trim_end_matches('/');
    let below = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|r| r.starts_with('/'))
    };
    reads && (paths.contains(&path) || paths.iter().take(3).any(|prefix| below(prefix)))
}
