//! Acting as somebody else (`kubectl --as`).

use super::{AUTHENTICATED, Attributes, Identity, UNAUTHENTICATED};
use crate::http::query::{Plus, decode};
use crate::server::ApiServer;
use http::{HeaderMap, HeaderName};
use plimsoll_api::status::ApiError;

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";
const ACCOUNT: &str = "system:serviceaccount:";

/// Whom the request is to be answered as: `caller`, unless its headers name somebody else and the
/// caller may act as them. Each part of the identity is a permission of its own.
///
/// # Errors
/// 400 for groups, a uid or attributes without a user; 403 in upstream's words.
pub(crate) fn impersonate(
    server: &ApiServer,
    caller: Identity,
    headers: &HeaderMap,
) -> Result<Identity, ApiError> {
    let text = |name: &HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let Some(user) = text(&USER).filter(|user| !user.is_empty()) else {
        let others = headers.contains_key(&GROUP) || headers.contains_key(&UID);
        if others || headers.keys().any(|k| k.as_str().starts_with(EXTRA)) {
            return Err(ApiError::bad_request(
                "groups, a uid or extra attributes can only be impersonated together with a user",
            ));
        }
        return Ok(caller);
    };
    let may = |asked: Attributes<'_>| {
        let asked = Attributes {
            verb: "impersonate",
            ..asked
        };
        server.demand(&caller, &asked)
    };
    let account = user
        .strip_prefix(ACCOUNT)
        .and_then(|rest| rest.split_once(':'));
    may(match account {
        Some((namespace, name)) => Attributes {
            resource: "serviceaccounts",
            namespace,
            name,
            ..Attributes::default()
        },
        None => core("users", user),
    })?;
    let mut identity = Identity::new(user, &[]);
    for group in headers.get_all(&GROUP) {
        let group = group.to_str().unwrap_or_default();
        may(core("groups", group))?;
        identity.groups.push(group.to_owned());
    }
    for (key, value) in extras(headers) {
        may(Attributes {
            group: AUTHENTICATION,
            resource: "userextras",
            subresource: &key,
            name: &value,
            ..Attributes::default()
        })?;
        identity.extra.entry(key).or_default().push(value);
    }
    if let Some(uid) = text(&UID).filter(|uid| !uid.is_empty()) {
        may(Attributes {
            group: AUTHENTICATION,
            resource: "uids",
            name: uid,
            ..Attributes::default()
        })?;
        uid.clone_into(&mut identity.uid);
    }
    add_usual_groups(&mut identity);
    Ok(identity)
}

fn core<'a>(resource: &'a str, name: &'a str) -> Attributes<'a> {
    Attributes {
        resource,
        name,
        ..Attributes::default()
    }
}

/// The attributes named by headers; keys may be percent-encoded, since they may hold slashes.
fn extras(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix(EXTRA)?;
        Some((decode(key, Plus::IsPlus), value.to_str().ok()?.to_owned()))
    })
}

/// The groups that the real user would be in by themselves.
fn add_usual_groups(identity: &mut Identity) {
    let account = identity.user.strip_prefix(ACCOUNT);
    if let Some((namespace, _)) = account.and_then(|rest| rest.split_once(':'))
        && identity.groups.is_empty()
    {
        let own = format!("system:serviceaccounts:{namespace}");
        identity.groups = vec!["system:serviceaccounts".to_owned(), own];
    }
    let usual = if identity.user == "system:anonymous" {
        UNAUTHENTICATED
    } else {
        AUTHENTICATED
    };
    if !identity.is_in(usual) {
        identity.groups.push(usual.to_owned());
    }
}
