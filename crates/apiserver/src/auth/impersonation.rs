//! Acting as somebody else (`kubectl --as`).

use super::{AUTHENTICATED, Attributes, Identity, UNAUTHENTICATED, authorize};
use http::{HeaderMap, HeaderName};
use plimsoll_api::status::ApiError;

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const EXTRA: &str = "impersonate-extra-";

/// Whom the request is to be answered as: `caller`, unless its headers name somebody else and the
/// caller may act as them.
///
/// # Errors
/// 400 for groups, a uid or attributes without a user; 403 in upstream's words.
pub(crate) fn impersonate(caller: Identity, headers: &HeaderMap) -> Result<Identity, ApiError> {
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
    may(&caller, "users", user)?;
    let mut identity = Identity::new(user, &[]);
    for group in headers.get_all(&GROUP) {
        let group = group.to_str().unwrap_or_default();
        may(&caller, "groups", group)?;
        identity.groups.push(group.to_owned());
    }
    if let Some(uid) = text(&UID) {
        uid.clone_into(&mut identity.uid);
    }
    for (name, value) in headers {
        let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) else {
            continue;
        };
        let values = identity.extra.entry(key.to_owned()).or_default();
        values.push(value.to_owned());
    }
    add_usual_groups(&mut identity);
    Ok(identity)
}

fn may(caller: &Identity, resource: &str, name: &str) -> Result<(), ApiError> {
    let attributes = Attributes {
        verb: "impersonate",
        resource,
        name,
        ..Attributes::default()
    };
    authorize(caller, &attributes)
}

/// The groups that the real user would be in by themselves.
fn add_usual_groups(identity: &mut Identity) {
    let account = identity.user.strip_prefix("system:serviceaccount:");
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use rstest::rstest;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[rstest]
    #[case(&[("impersonate-user", "bob")], &["system:authenticated"])]
    #[case(&[("impersonate-user", "bob"), ("impersonate-group", "dev")],
           &["dev", "system:authenticated"])]
    #[case(&[("impersonate-user", "system:anonymous")], &["system:unauthenticated"])]
    #[case(&[("impersonate-user", "system:serviceaccount:a:b")],
           &["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"])]
    fn an_administrator_becomes_the_named_user(
        #[case] pairs: &[(&'static str, &'static str)],
        #[case] groups: &[&str],
    ) {
        let identity = impersonate(Identity::in_process("admin"), &headers(pairs)).unwrap();
        assert_eq!(identity.user, pairs[0].1);
        assert_eq!(identity.groups, groups);
    }

    #[test]
    fn nobody_else_may_act_as_others() {
        let asked = headers(&[("impersonate-user", "admin")]);
        let error = impersonate(Identity::new("eve", &[]), &asked).unwrap_err();
        assert_eq!(error.code, 403);
        assert!(
            error
                .message
                .contains("cannot impersonate resource \"users\"")
        );
    }

    #[test]
    fn a_group_without_a_user_is_refused() {
        let asked = headers(&[("impersonate-group", "system:masters")]);
        let error = impersonate(Identity::in_process("admin"), &asked).unwrap_err();
        assert_eq!(error.code, 400);
    }
}
