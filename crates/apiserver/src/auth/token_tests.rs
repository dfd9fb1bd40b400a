//! Tokens, identities and what they may do.

use super::*;
use crate::pki::Pki;
use jiff::Timestamp;
use plimsoll_clock::Clock;
use std::time::Duration;

fn tokens(pki: &Pki) -> Tokens {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    Tokens::new(pki.token_key(), Clock::starting_at(start), 1)
}

fn spec() -> TokenSpec {
    TokenSpec {
        namespace: "default".into(),
        account: "web".into(),
        account_uid: "u-1".into(),
        lifetime: Duration::from_secs(3600),
        pod: Some(("web-0".into(), "p-1".into())),
        ..TokenSpec::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_names_its_account_until_it_expires() {
    let tokens = tokens(&Pki::ephemeral(&[]).unwrap());
    let issued = tokens.issue(&spec());
    assert_eq!(issued.expires.to_string(), "2026-01-01T01:00:00Z");
    let verified = tokens.verify(&issued.token, &[]).unwrap();
    let identity = &verified.identity;
    assert_eq!(identity.user, "system:serviceaccount:default:web");
    assert_eq!(identity.uid, "u-1");
    assert!(identity.is_in("system:serviceaccounts:default"));
    assert!(identity.is_in("system:authenticated"));
    assert_eq!(
        identity.extra["authentication.kubernetes.io/pod-name"],
        ["web-0"]
    );
    assert!(identity.extra["authentication.kubernetes.io/credential-id"][0].starts_with("JTI="));
    assert_eq!(verified.pod, Some(("web-0".into(), "p-1".into())));
    tokio::time::advance(Duration::from_secs(3599)).await;
    assert!(tokens.verify(&issued.token, &[]).is_ok());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(
        tokens.verify(&issued.token, &[]).unwrap_err(),
        TokenError::Expired(issued.expires)
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_its_audiences_only() {
    let tokens = tokens(&Pki::ephemeral(&[]).unwrap());
    let issued = tokens.issue(&TokenSpec {
        audiences: vec!["vault".into()],
        ..spec()
    });
    assert_eq!(
        tokens.verify(&issued.token, &[]).unwrap_err(),
        TokenError::Audience
    );
    let asked = ["other".to_owned(), "vault".to_owned()];
    assert_eq!(
        tokens.verify(&issued.token, &asked).unwrap().audiences,
        ["vault"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_changed_or_foreign_token_is_forged() {
    let tokens = tokens(&Pki::ephemeral(&[]).unwrap());
    let good = tokens.issue(&spec()).token;
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bytes).unwrap();
        assert_eq!(
            tokens.verify(&bad, &[]).unwrap_err(),
            TokenError::Forged,
            "byte {at}"
        );
    }
    let none = "eyJhbGciOiJub25lIn0.e30.";
    let foreign = self::tokens(&Pki::ephemeral(&[]).unwrap())
        .issue(&spec())
        .token;
    for bad in ["", ".", "..", "a.b.c", none, &foreign] {
        assert_eq!(
            tokens.verify(bad, &[]).unwrap_err(),
            TokenError::Forged,
            "{bad}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_are_tried_in_order_and_bad_ones_are_refused() {
    let tokens = tokens(&Pki::ephemeral(&[]).unwrap());
    let token = tokens.issue(&spec()).token;
    let gone = tokens
        .issue(&TokenSpec {
            account: "gone".into(),
            ..spec()
        })
        .token;
    let authenticator = Authenticator::new(
        tokens,
        Box::new(|token| match token.account.as_str() {
            "gone" => Err(TokenError::Unbound("serviceaccount gone".into())),
            _ => Ok(()),
        }),
    );
    let ask = |certificate: Option<&Identity>, authorization: &str| {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        }
        authenticator
            .authenticate(certificate, &headers)
            .map(|i| i.user)
            .map_err(|e| e.code)
    };
    let admin = Identity::new("admin", &[]);
    assert_eq!(ask(None, ""), Ok("system:anonymous".into()));
    assert_eq!(ask(None, "Basic eDp5"), Ok("system:anonymous".into()));
    let web = "system:serviceaccount:default:web";
    assert_eq!(ask(None, &format!("bearer {token}")), Ok(web.into()));
    assert_eq!(ask(None, "Bearer nonsense"), Err(401));
    assert_eq!(ask(None, &format!("Bearer {gone}")), Err(401));
    assert_eq!(ask(Some(&admin), "Bearer nonsense"), Ok("admin".into()));
}
