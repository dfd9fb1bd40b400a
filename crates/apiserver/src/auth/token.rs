//! Service-account tokens: JSON web tokens signed with ES256.

use super::{Identity, legacy};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use plimsoll_api::meta;
use plimsoll_clock::Clock;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";

/// The key that signs service-account tokens (ES256).
#[derive(Clone)]
pub struct TokenKey {
    pair: Arc<EcdsaKeyPair>,
    id: Arc<str>,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl TokenKey {
    /// Reads a P-256 private key in PKCS#8; `None` if it is not one.
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).ok()?;
        let id = URL_SAFE_NO_PAD
            .encode(Sha256::digest(pair.public_key().as_ref()))
            .into();
        Some(Self {
            pair: Arc::new(pair),
            id,
        })
    }

    /// The public key as a JSON web key, for `/openid/v1/jwks`.
    pub fn jwk(&self) -> Value {
        // An uncompressed point: 0x04, x, y.
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        json!({
            "use": "sig", "kty": "EC", "kid": *self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    fn sign(&self, text: &str) -> Option<String> {
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        Some(URL_SAFE_NO_PAD.encode(signature))
    }

    fn signed(&self, text: &str, signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        key.verify(text.as_bytes(), signature).is_ok()
    }
}

/// What a token should say.
#[derive(Debug, Clone, Default)]
pub struct TokenSpec {
    /// The service account's namespace.
    pub namespace: String,
    /// The service account's name.
    pub account: String,
    /// The service account's uid.
    pub account_uid: String,
    /// Audiences; empty for the API server's own.
    pub audiences: Vec<String>,
    /// How long it is good for; whole seconds count.
    pub lifetime: Duration,
    /// The pod it is bound to: name and uid.
    pub pod: Option<(String, String)>,
    /// The node it is bound to, or that of its pod: name and uid.
    pub node: Option<(String, String)>,
    /// The Secret it is bound to: name and uid.
    pub secret: Option<(String, String)>,
}

/// A token and its end.
#[derive(Clone)]
pub struct IssuedToken {
    /// The JWT.
    pub token: String,
    /// When it stops being good.
    pub expires: Timestamp,
    /// The audiences it is good for.
    pub audiences: Vec<String>,
}

impl std::fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            token: _,
            expires,
            audiences,
        } = self;
        f.debug_struct("IssuedToken")
            .field("expires", expires)
            .field("audiences", audiences)
            .finish_non_exhaustive()
    }
}

/// A token that has been checked.
#[derive(Debug, Clone)]
pub struct VerifiedToken {
    /// Whose it is.
    pub identity: Identity,
    /// The audiences it is good for, of those asked for.
    pub audiences: Vec<String>,
    /// Namespace of the account.
    pub namespace: String,
    /// Name of the account.
    pub account: String,
    /// Uid of the account.
    pub account_uid: String,
    /// The pod it is bound to: name and uid.
    pub pod: Option<(String, String)>,
    /// The node it is bound to, or that of its pod: name and uid.
    pub node: Option<(String, String)>,
    /// The Secret it is bound to: name and uid.
    pub secret: Option<(String, String)>,
    /// The token itself, if it has no end and is good only while a Secret holds it.
    pub held: Option<String>,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token of this cluster.
    #[error("the token is malformed or not signed by this cluster")]
    Forged,
    /// It is past its end, or before its beginning.
    #[error("the token is not valid now; it expires at {0}")]
    Expired(Timestamp),
    /// It is for other audiences.
    #[error("the token is not for any of the audiences asked for")]
    Audience,
    /// What it is bound to is gone.
    #[error("the token is bound to {0}, which is gone")]
    Unbound(String),
}

/// Issues and checks service-account tokens; clones share the key.
#[derive(Debug, Clone)]
pub struct Tokens {
    key: TokenKey,
    clock: Clock,
    ids: Arc<Mutex<StdRng>>,
}

impl Tokens {
    /// Issuer and default audience, as upstream's default.
    pub const ISSUER: &'static str = "https://kubernetes.default.svc.cluster.local";

    /// Tokens signed by `key`, dated by `clock`; `seed` decides their ids (not their signatures).
    pub fn new(key: TokenKey, clock: Clock, seed: u64) -> Self {
        Self {
            key,
            clock,
            ids: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        }
    }

    /// The key that signs.
    pub fn key(&self) -> &TokenKey {
        &self.key
    }

    /// A signed token. (Empty text if the system has no randomness, which no check accepts.)
    pub fn issue(&self, spec: &TokenSpec) -> IssuedToken {
        let now = self.clock.now();
        let lifetime = SignedDuration::try_from(spec.lifetime).unwrap_or(SignedDuration::MAX);
        let expires = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
        let mut audiences = spec.audiences.clone();
        if audiences.is_empty() {
            audiences.push(Self::ISSUER.to_owned());
        }
        let mut bound = json!({
            "namespace": spec.namespace,
            "serviceaccount": {"name": spec.account, "uid": spec.account_uid},
        });
        let references = [
            ("node", &spec.node),
            ("pod", &spec.pod),
            ("secret", &spec.secret),
        ];
        for (what, reference) in references {
            if let (Some((name, uid)), Some(bound)) = (reference, bound.as_object_mut()) {
                bound.insert(what.to_owned(), json!({"name": name, "uid": uid}));
            }
        }
        let claims = json!({
            "aud": audiences,
            "exp": expires.as_second(),
            "iat": now.as_second(),
            "iss": Self::ISSUER,
            "jti": self.next_id(),
            "kubernetes.io": bound,
            "nbf": now.as_second(),
            "sub": subject(&spec.namespace, &spec.account),
        });
        let token = self.signed(&claims);
        let expires = Timestamp::from_second(expires.as_second()).unwrap_or(expires);
        IssuedToken {
            token,
            expires,
            audiences,
        }
    }

    /// A token that says `claims`; empty if the system has no randomness.
    pub(super) fn signed(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": *self.key.id});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.key.sign(&text);
        signature.map(|s| format!("{text}.{s}")).unwrap_or_default()
    }

    /// Checks a token for one of `audiences` (empty: the API server's own). Whether the account
    /// still exists is for the caller to look up.
    ///
    /// # Errors
    /// Everything but [`TokenError::Unbound`].
    pub fn verify(&self, token: &str, audiences: &[String]) -> Result<VerifiedToken, TokenError> {
        let claims = self.opened(token).ok_or(TokenError::Forged)?;
        let own = [Self::ISSUER.to_owned()];
        let asked = if audiences.is_empty() {
            &own
        } else {
            audiences
        };
        if meta::text(&claims, &["iss"]) == legacy::ISSUER {
            let both = asked.iter().filter(|a| own.contains(a)).cloned().collect();
            return legacy::identify(&claims, token, both);
        }
        let seconds = |name: &str| claims.get(name).and_then(Value::as_i64);
        let expires = seconds("exp").and_then(|s| Timestamp::from_second(s).ok());
        let expires = expires.ok_or(TokenError::Forged)?;
        let now = self.clock.now();
        if now >= expires || seconds("nbf").is_none_or(|begin| now.as_second() < begin) {
            return Err(TokenError::Expired(expires));
        }
        let granted: Vec<&str> = list(&claims, "/aud");
        let both: Vec<String> = asked
            .iter()
            .filter(|a| granted.contains(&a.as_str()))
            .cloned()
            .collect();
        if both.is_empty() {
            return Err(TokenError::Audience);
        }
        identify(&claims, both).ok_or(TokenError::Forged)
    }

    /// The claims, if the signature is this cluster's.
    fn opened(&self, token: &str) -> Option<Value> {
        let (text, signature) = token.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        if header.get("alg")?.as_str()? != "ES256" || !self.key.signed(text, &decode(signature)?) {
            return None;
        }
        let claims: Value = serde_json::from_slice(&decode(claims)?).ok()?;
        [Self::ISSUER, legacy::ISSUER]
            .contains(&claims.get("iss")?.as_str()?)
            .then_some(claims)
    }

    /// A random id in the form of a version 4 UUID.
    fn next_id(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.ids.lock().fill_bytes(&mut bytes);
        let number = u128::from_be_bytes(bytes);
        let number = number & !(0xf << 76) | 0x4 << 76;
        let number = number & !(0x3 << 62) | 0x2 << 62;
        let group = |shift: u32, bits: u32| (number >> shift) & ((1 << bits) - 1);
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            group(96, 32),
            group(80, 16),
            group(64, 16),
            group(48, 16),
            group(0, 48)
        )
    }
}

pub(super) fn subject(namespace: &str, account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{account}")
}

fn list<'a>(claims: &'a Value, pointer: &str) -> Vec<&'a str> {
    let items = claims.pointer(pointer).and_then(Value::as_array);
    items
        .map(|items| items.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

fn identify(claims: &Value, audiences: Vec<String>) -> Option<VerifiedToken> {
    let text = |pointer: &str| claims.pointer(pointer)?.as_str().map(str::to_owned);
    let reference = |what: &str| {
        let part = |part: &str| text(&format!("/kubernetes.io/{what}/{part}"));
        Some((part("name")?, part("uid")?))
    };
    let namespace = text("/kubernetes.io/namespace")?;
    let (account, account_uid) = reference("serviceaccount")?;
    let user = subject(&namespace, &account);
    if text("/sub")? != user {
        return None;
    }
    let (pod, node) = (reference("pod"), reference("node"));
    let mut extra = BTreeMap::new();
    if let Some(id) = text("/jti") {
        extra.insert(CREDENTIAL.to_owned(), vec![format!("JTI={id}")]);
    }
    for (found, name_key, uid_key) in [(&pod, POD_NAME, POD_UID), (&node, NODE_NAME, NODE_UID)] {
        if let Some((name, uid)) = found {
            extra.insert(name_key.to_owned(), vec![name.clone()]);
            extra.insert(uid_key.to_owned(), vec![uid.clone()]);
        }
    }
    let identity = Identity {
        user,
        uid: account_uid.clone(),
        groups: groups(&namespace),
        extra,
    };
    Some(VerifiedToken {
        identity,
        audiences,
        namespace,
        account,
        account_uid,
        pod,
        node,
        secret: reference("secret"),
        held: None,
    })
}

/// The groups of a namespace's accounts.
pub(super) fn groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ]
}
