//! Whether what a token is bound to still exists.

use super::{TokenError, VerifiedToken};
use crate::resource::present::parse;
use crate::store::{Entry, Key, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_api::meta;
use std::sync::Arc;

/// Looks for the account, and for the pod, node or Secret that the token names.
///
/// # Errors
/// [`TokenError::Unbound`] with the first of them that is gone, or has been made anew.
pub(crate) fn check(store: &Store, token: &VerifiedToken) -> Result<(), TokenError> {
    let namespace = token.namespace.as_str();
    find(
        store,
        ("serviceaccounts", namespace),
        &token.account,
        &token.account_uid,
    )?;
    if let Some((name, uid)) = &token.secret {
        let secret = find(store, ("secrets", namespace), name, uid)?;
        if token
            .held
            .as_deref()
            .is_some_and(|text| !holds(&secret, text))
        {
            return Err(TokenError::Unbound(format!("the token in secrets/{name}")));
        }
    }
    match (&token.pod, &token.node) {
        (Some((name, uid)), _) => find(store, ("pods", namespace), name, uid).map(drop),
        // The node of a pod may go before the pod does.
        (None, Some((name, uid))) => find(store, ("nodes", ""), name, uid).map(drop),
        (None, None) => Ok(()),
    }
}

fn find(
    store: &Store,
    (resource, namespace): (&str, &str),
    name: &str,
    uid: &str,
) -> Result<Arc<Entry>, TokenError> {
    let key = Key {
        resource: resource.into(),
        namespace: namespace.into(),
        name: name.into(),
    };
    store
        .get(&key)
        .filter(|entry| uid.is_empty() || &*entry.uid == uid)
        .ok_or_else(|| TokenError::Unbound(format!("{resource}/{name}")))
}

/// Whether a Secret's `token` is this text.
fn holds(secret: &Entry, text: &str) -> bool {
    let object = parse(&secret.json).unwrap_or_default();
    let held = STANDARD.decode(meta::text(&object, &["data", "token"]));
    held.is_ok_and(|held| held == text.as_bytes())
}
