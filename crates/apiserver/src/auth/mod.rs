//! Who is asking, and whether they may.

pub(crate) mod discovery;
mod impersonation;
pub(crate) mod legacy;
pub(crate) mod liveness;
mod node;
pub(crate) mod rbac;
mod token;
#[cfg(test)]
mod token_tests;

pub(crate) use impersonation::impersonate;
pub use plimsoll_api::rbac::Attributes;
pub use rbac::Decision;
pub(crate) use rbac::Rbac;
pub use token::{IssuedToken, TokenError, TokenKey, TokenSpec, Tokens, VerifiedToken};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use plimsoll_api::status::ApiError;
use std::collections::BTreeMap;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
pub(crate) const MASTERS: &str = "system:masters";

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
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
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
