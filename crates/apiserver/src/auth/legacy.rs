//! Tokens kept in Secrets of type `kubernetes.io/service-account-token`: without an end, good for
//! as long as the Secret holds them.

use super::token::{groups, subject};
use super::{Identity, TokenError, Tokens, VerifiedToken};
use crate::resource::own::Own;
use crate::resource::patch::Part;
use crate::resource::present::parse;
use crate::server::ApiServer;
use crate::store::{Change, Draft, Entry, Expect, Key, ListQuery, Page, Watch};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The issuer of these tokens.
pub(super) const ISSUER: &str = "kubernetes/serviceaccount";
const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";
const ACCOUNTS: &str = "serviceaccounts";
const SECRETS: &str = "secrets";

/// The claims of such a token start with this.
const CLAIM: &str = "kubernetes.io/serviceaccount/";

/// Whose token it is; its signature has been checked.
pub(super) fn identify(
    claims: &Value,
    token: &str,
    audiences: Vec<String>,
) -> Result<VerifiedToken, TokenError> {
    let claim = |name: &str| meta::text(claims, &[&format!("{CLAIM}{name}")]).to_owned();
    let (namespace, account) = (claim("namespace"), claim("service-account.name"));
    let secret = claim("secret.name");
    let user = subject(&namespace, &account);
    let whole = [&namespace, &account, &secret]
        .iter()
        .all(|t| !t.is_empty());
    if !whole || meta::text(claims, &["sub"]) != user {
        return Err(TokenError::Forged);
    }
    if audiences.is_empty() {
        return Err(TokenError::Audience);
    }
    let account_uid = claim("service-account.uid");
    let identity = Identity {
        user,
        uid: account_uid.clone(),
        groups: groups(&namespace),
        extra: BTreeMap::new(),
    };
    Ok(VerifiedToken {
        identity,
        audiences,
        namespace,
        account,
        account_uid,
        pod: None,
        node: None,
        secret: Some((secret, String::new())),
        held: Some(token.to_owned()),
    })
}

/// A token for an account, to be kept in a Secret.
fn issue(tokens: &Tokens, secret: &Key, account: &Entry) -> String {
    let name = &*account.key.name;
    let claim = |what: &str| format!("{CLAIM}{what}");
    let claims = json!({
        "iss": ISSUER,
        claim("namespace"): *secret.namespace,
        claim("secret.name"): *secret.name,
        claim("service-account.name"): name,
        claim("service-account.uid"): *account.uid,
        "sub": subject(&secret.namespace, name),
    });
    tokens.signed(&claims)
}

impl ApiServer {
    /// Fills Secrets of type `kubernetes.io/service-account-token`, and deletes those whose account
    /// is gone. Runs until dropped.
    pub async fn fill_token_secrets(&self) {
        // A watcher that fell behind begins again.
        while let (Ok((page, mut secrets)), Ok((_, mut accounts))) =
            (self.follow(SECRETS), self.follow(ACCOUNTS))
        {
            for secret in &page.entries {
                self.tend_token(secret).await;
            }
            loop {
                let event = tokio::select! {
                    biased;
                    event = secrets.next() => event,
                    event = accounts.next() => event,
                };
                let Ok(event) = event else { break };
                if &*event.entry.key.resource == ACCOUNTS {
                    self.tend_tokens_in(&event.entry.key.namespace).await;
                } else if event.change == Change::Put {
                    self.tend_token(&event.entry).await;
                }
            }
        }
    }

    fn follow(&self, resource: &str) -> Result<(Page, Watch), crate::store::StoreError> {
        self.store().list_and_watch(&ListQuery {
            resource: resource.into(),
            ..ListQuery::default()
        })
    }

    /// Looks after a namespace's token Secrets, because an account came or went.
    async fn tend_tokens_in(&self, namespace: &Arc<str>) {
        let query = ListQuery {
            resource: SECRETS.into(),
            namespace: Some(Arc::clone(namespace)),
            ..ListQuery::default()
        };
        for secret in self.store().list(&query).iter().flat_map(|p| &p.entries) {
            self.tend_token(secret).await;
        }
    }

    async fn tend_token(&self, entry: &Arc<Entry>) {
        if !mentions(&entry.json, TYPE.as_bytes()) {
            return;
        }
        let Ok(secret) = parse(&entry.json) else {
            return;
        };
        let name = meta::text(&secret, &["metadata", "annotations", NAME]);
        if meta::text(&secret, &["type"]) != TYPE || name.is_empty() {
            return;
        }
        let uid = meta::text(&secret, &["metadata", "annotations", UID]);
        let account = self.find("", ACCOUNTS, (&entry.key.namespace, name));
        let outcome = match account.filter(|a| uid.is_empty() || &*a.uid == uid) {
            Some(account) => self.fill(entry, &account).await,
            None => self.remove_secret(entry).await,
        };
        if let Err(error) = outcome.or_else(|e| if e.code == 404 { Ok(()) } else { Err(e) }) {
            tracing::warn!(%error, secret = %entry.key.name, "a token Secret could not be kept");
        }
    }

    /// Writes what the Secret lacks.
    async fn fill(&self, secret: &Entry, account: &Entry) -> Result<(), ApiError> {
        let Some(kind) = self.stored_kind("", SECRETS) else {
            return Ok(());
        };
        let own = Own::new(&kind);
        let writer = own.writer(self);
        let step = |old: &Value| {
            let mut new = old.clone();
            let annotations = meta::object_mut(&mut new, &["metadata", "annotations"]);
            annotations.insert(UID.into(), (*account.uid).into());
            let data = meta::object_mut(&mut new, &["data"]);
            data.insert("ca.crt".into(), STANDARD.encode(&self.0.cluster.ca).into());
            data.insert(
                "namespace".into(),
                STANDARD.encode(&*secret.key.namespace).into(),
            );
            if data
                .get("token")
                .is_none_or(|t| t.as_str().is_none_or(str::is_empty))
            {
                let token = issue(self.tokens(), &secret.key, account);
                data.insert("token".into(), STANDARD.encode(token).into());
            }
            Ok(new)
        };
        let written = writer.update(&secret.key, Part::Main, &step).await;
        written.map(drop)
    }

    /// Removes a Secret whose account is gone, unless it has changed since.
    async fn remove_secret(&self, entry: &Arc<Entry>) -> Result<(), ApiError> {
        let Some(kind) = self.stored_kind("", SECRETS) else {
            return Ok(());
        };
        let object = parse(&entry.json)?;
        let draft: Draft = crate::resource::encode::draft(&kind, entry.key.clone(), &object);
        let expect = Expect::Revision(entry.revision);
        // A newer state comes with its own event.
        self.store().delete(draft, expect).await.ok();
        Ok(())
    }
}

/// Whether `text` occurs: most Secrets hold no account's token and need not be parsed.
pub(super) fn mentions(json: &[u8], text: &[u8]) -> bool {
    json.windows(text.len()).any(|window| window == text)
}
