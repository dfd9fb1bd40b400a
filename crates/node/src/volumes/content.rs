//! Volumes made of what the API holds: ConfigMaps, Secrets, fields of the pod, tokens.

use super::directory;
use super::files::{self, Access, File, Files};
use super::ownership;
use crate::agent::Site;
use crate::agent::environment::{field_value, keys, resource_value};
use crate::agent::view::{Container, Volume};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Longest time a token is used, whatever its own.
const LONGEST: i64 = 24 * 3600;
/// Lifetime of a token where nobody says (seconds).
const LIFETIME: i64 = 3600;

/// A ConfigMap or Secret, by kind (`configmap`, `secret`) and name, in the pod's namespace.
pub(super) type Source = (&'static str, String);

/// What a pod was given, and what it depends on.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    /// The files of each volume, as last written.
    files: BTreeMap<String, Files>,
    /// Tokens by audience and path.
    tokens: BTreeMap<(String, String), Token>,
    /// Objects whose change makes other files.
    pub(super) sources: BTreeSet<Source>,
    /// Whether a change of the pod makes other files.
    pub(super) follows_pod: bool,
}

#[derive(Debug)]
struct Token {
    text: String,
    renew: Timestamp,
}

impl Mounted {
    /// When a token must be renewed next.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.tokens.values().map(|token| token.renew).min()
    }

    /// Whether anything may ever change.
    pub(super) fn is_fixed(&self) -> bool {
        self.tokens.is_empty() && self.sources.is_empty() && !self.follows_pod
    }
}

/// Whether the volume's content can change while the pod runs.
pub(super) fn may_change(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// Brings a volume's files up to date.
pub(super) async fn update(
    site: &Site,
    volume: &Volume,
    ip: IpAddr,
    mounted: &mut Mounted,
) -> Result<(), String> {
    let mut gathering = Gathering { site, ip, mounted };
    let (files, mode) = gathering.volume(volume).await?;
    if mounted.files.get(&volume.name) == Some(&files) {
        return Ok(());
    }
    let access = Access {
        mode,
        group: ownership::group(site),
    };
    files::write(&directory(site, &volume.name), &files, access)?;
    mounted.files.insert(volume.name.clone(), files);
    Ok(())
}

/// Collects the files of one volume.
struct Gathering<'a> {
    site: &'a Site,
    ip: IpAddr,
    mounted: &'a mut Mounted,
}

impl Gathering<'_> {
    async fn volume(&mut self, volume: &Volume) -> Result<(Files, Option<i32>), String> {
        if let Some(source) = &volume.config_map {
            let items = source.items.as_deref();
            let files = self
                .config_map(&source.name, items, source.optional)
                .await?;
            Ok((files, source.default_mode))
        } else if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            let items = source.items.as_deref();
            let files = self.secret(name, items, source.optional).await?;
            Ok((files, source.default_mode))
        } else if let Some(source) = &volume.downward_api {
            let items = source.items.as_deref().unwrap_or_default();
            Ok((self.fields(items)?, source.default_mode))
        } else if let Some(source) = &volume.projected {
            Ok((self.projected(source).await?, source.default_mode))
        } else {
            Err("plimsoll does not mount this kind of volume".to_owned())
        }
    }

    async fn config_map(
        &mut self,
        name: &str,
        items: Option<&[core::KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<Files, String> {
        self.mounted.sources.insert(("configmap", name.to_owned()));
        let data = keys(self.site, "configmap", name, optional).await?;
        pick(data, items, optional, "config")
    }

    async fn secret(
        &mut self,
        name: &str,
        items: Option<&[core::KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<Files, String> {
        self.mounted.sources.insert(("secret", name.to_owned()));
        let data = keys(self.site, "secret", name, optional).await?;
        pick(data, items, optional, "secret")
    }

    fn fields(&mut self, items: &[core::DownwardAPIVolumeFile]) -> Result<Files, String> {
        self.mounted.follows_pod = true;
        let site = self.site;
        let mut files = Files::new();
        let node = (site.node.spec.cpu_milli, site.node.spec.memory_bytes);
        for item in items {
            let text = if let Some(field) = &item.field_ref {
                field_value(
                    &site.pod,
                    &field.field_path,
                    Some(self.ip),
                    site.node.address,
                )
                .ok_or_else(|| format!("unsupported field path {:?}", field.field_path))?
            } else if let Some(field) = &item.resource_field_ref {
                resource_value(&site.pod, &Container::default(), field, node)?
            } else {
                return Err(format!("{:?} names no field", item.path));
            };
            files.insert(
                item.path.clone(),
                File {
                    bytes: text.into_bytes(),
                    mode: item.mode,
                },
            );
        }
        Ok(files)
    }

    async fn projected(&mut self, source: &core::ProjectedVolumeSource) -> Result<Files, String> {
        let mut files = Files::new();
        for part in source.sources.iter().flatten() {
            let more = if let Some(map) = &part.config_map {
                self.config_map(&map.name, map.items.as_deref(), map.optional)
                    .await?
            } else if let Some(secret) = &part.secret {
                let items = secret.items.as_deref();
                self.secret(&secret.name, items, secret.optional).await?
            } else if let Some(fields) = &part.downward_api {
                self.fields(fields.items.as_deref().unwrap_or_default())?
            } else if let Some(token) = &part.service_account_token {
                let bytes = self.token(token).await?.into_bytes();
                Files::from([(token.path.clone(), File { bytes, mode: None })])
            } else {
                return Err("plimsoll does not project this kind of source".to_owned());
            };
            files.extend(more);
        }
        Ok(files)
    }

    /// A token bound to the pod: the one it has, unless that must be renewed.
    async fn token(
        &mut self,
        source: &core::ServiceAccountTokenProjection,
    ) -> Result<String, String> {
        let audience = source.audience.clone().unwrap_or_default();
        let key = (audience, source.path.clone());
        let now = self.site.shared.clock.now();
        let known = self.mounted.tokens.get(&key);
        if let Some(token) = known.filter(|token| token.renew > now) {
            return Ok(token.text.clone());
        }
        let (text, lifetime) = request_token(self.site, source).await?;
        // Renewed after four fifths of its life, as upstream.
        let used = (lifetime / 5 * 4).clamp(1, LONGEST);
        let renew = now
            .checked_add(SignedDuration::from_secs(used))
            .unwrap_or(Timestamp::MAX);
        let token = Token {
            text: text.clone(),
            renew,
        };
        self.mounted.tokens.insert(key, token);
        Ok(text)
    }
}

/// The keys a volume shows: all of them, or those named.
fn pick(
    mut data: BTreeMap<String, Vec<u8>>,
    items: Option<&[core::KeyToPath]>,
    optional: Option<bool>,
    kind: &str,
) -> Result<Files, String> {
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        let all = data
            .into_iter()
            .map(|(key, bytes)| (key, File { bytes, mode: None }));
        return Ok(all.collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(bytes) => drop(files.insert(
                item.path.clone(),
                File {
                    bytes,
                    mode: item.mode,
                },
            )),
            None if optional == Some(true) => {}
            None => return Err(format!("references non-existent {kind} key: {}", item.key)),
        }
    }
    Ok(files)
}

/// Asks the API for a token bound to the pod; returns it with its lifetime in seconds.
async fn request_token(
    site: &Site,
    source: &core::ServiceAccountTokenProjection,
) -> Result<(String, i64), String> {
    let meta = &site.pod.metadata;
    let account = site.pod.spec.service_account_name.as_deref();
    let account = account.unwrap_or("default");
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{account}/token",
        meta.namespace
    );
    let audiences: Vec<&String> = source.audience.iter().collect();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": source.expiration_seconds.unwrap_or(LIFETIME),
            "boundObjectRef":
                {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
        },
    });
    let answer = site.shared.cluster.create(&path, &request).await;
    let answer = answer.map_err(|e| format!("failed to fetch token: {e}"))?;
    let text = answer.pointer("/status/token").and_then(Value::as_str);
    let text = text.ok_or("failed to fetch token: the API sent none")?;
    let lifetime = answer
        .pointer("/spec/expirationSeconds")
        .and_then(Value::as_i64);
    Ok((text.to_owned(), lifetime.unwrap_or(LIFETIME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_keys_go_to_their_paths_and_missing_ones_are_named() {
        let data = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
        let item = core::KeyToPath {
            key: "a".into(),
            path: "x/y".into(),
            mode: Some(0o400),
        };
        let items = std::slice::from_ref(&item);
        let files = pick(data.clone(), Some(items), None, "config").unwrap();
        assert_eq!(files["x/y"].bytes, b"1");
        let other = core::KeyToPath {
            key: "b".into(),
            ..item
        };
        let other = std::slice::from_ref(&other);
        let refused = pick(data.clone(), Some(other), None, "secret").unwrap_err();
        assert_eq!(refused, "references non-existent secret key: b");
        assert!(
            pick(data, Some(other), Some(true), "secret")
                .unwrap()
                .is_empty()
        );
    }
}
