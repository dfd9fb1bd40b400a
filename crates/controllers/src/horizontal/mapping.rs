//! Which path serves a kind: discovery, believed for a sync period.

use super::ask::{Shared, shared, text_of};
use futures::FutureExt;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A kind that is not found is looked for again after this time, as it may just have been added.
const MISSED: Duration = Duration::from_secs(1);

/// Where a kind is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Group; empty for core.
    pub(super) group: String,
    /// `v1`.
    pub(super) version: String,
    /// `deployments`.
    pub(super) plural: String,
}

impl Mapping {
    /// `/apis/apps/v1/namespaces/NS/deployments/NAME/scale`.
    pub(crate) fn scale_path(&self, namespace: &str, name: &str) -> String {
        let Self {
            group,
            version,
            plural,
        } = self;
        let root = version_path(group, version);
        format!("{root}/namespaces/{namespace}/{plural}/{name}/scale")
    }

    /// The objects of the kind in a namespace.
    pub(crate) fn objects(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: if self.group.is_empty() {
                self.version.clone()
            } else {
                format!("{}/{}", self.group, self.version)
            },
            // Metadata is all that is read, whatever the kind.
            kind: String::new(),
            plural: self.plural.clone(),
        };
        Api::namespaced_with(client.clone(), namespace, &resource)
    }

    /// `deployments.apps`, or `pods`.
    pub(crate) fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// Why a kind has no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MappingError {
    /// Nobody serves it.
    #[error("no matches for kind {kind:?} in group {group:?}")]
    NoMatch {
        /// The kind.
        kind: String,
        /// The group.
        group: String,
    },
    /// Discovery failed; the text is the server's.
    #[error("{0}")]
    Discovery(Arc<str>),
}

/// The kinds of a group.
type Kinds = BTreeMap<String, Mapping>;
type Found = Result<Arc<Kinds>, Arc<str>>;

#[derive(Debug)]
struct Entry {
    asked: Instant,
    found: Shared<Found>,
    /// The last good answer, for when the server cannot be asked.
    before: Option<Arc<Kinds>>,
}

/// Finds the path of kinds. What discovery says is believed for `period`.
pub(crate) struct Mapper {
    client: Client,
    period: Duration,
    timeout: Duration,
    groups: Mutex<BTreeMap<String, Entry>>,
}

impl std::fmt::Debug for Mapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mapper")
    }
}

impl Mapper {
    pub(crate) fn new(client: Client, period: Duration, timeout: Duration) -> Self {
        Self {
            client,
            period,
            timeout,
            groups: Mutex::default(),
        }
    }

    /// Where the kind of a group is served, in the group's preferred version that has it.
    pub(crate) async fn find(&self, group: &str, kind: &str) -> Result<Mapping, MappingError> {
        let found = self.kinds(group, self.period).await;
        if let Some(mapping) = found.as_ref().ok().and_then(|kinds| kinds.get(kind)) {
            return Ok(mapping.clone());
        }
        let found = self.kinds(group, MISSED).await;
        let kinds = found.map_err(MappingError::Discovery)?;
        let mapping = kinds.get(kind).cloned();
        mapping.ok_or_else(|| MappingError::NoMatch {
            kind: kind.to_owned(),
            group: group.to_owned(),
        })
    }

    /// The kinds of a group as they were at most `age` ago, or at the last time they were told.
    async fn kinds(&self, group: &str, age: Duration) -> Found {
        let (found, before) = {
            let mut groups = self.groups.lock();
            let known = groups.get(group);
            if let Some(known) = known.filter(|known| known.asked.elapsed() < age) {
                (known.found.clone(), known.before.clone())
            } else {
                let before = known.and_then(|known| match known.found.peek() {
                    Some(Ok(kinds)) => Some(Arc::clone(kinds)),
                    _ => known.before.clone(),
                });
                let asked = discover(self.client.clone(), group.to_owned(), self.timeout);
                let entry = Entry {
                    asked: Instant::now(),
                    found: shared(asked.boxed()),
                    before: before.clone(),
                };
                let found = entry.found.clone();
                groups.insert(group.to_owned(), entry);
                (found, before)
            }
        };
        found.await.or_else(|why| before.ok_or(why))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    #[serde(default)]
    preferred_version: Option<Version>,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: String,
}

#[derive(Debug, Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Debug, Deserialize)]
struct Resource {
    name: String,
    kind: String,
}

/// Asks for the versions of a group, the preferred one first; none if there is no such group.
pub(super) async fn versions(client: &Client, group: &str) -> Result<Vec<String>, kube::Error> {
    if group.is_empty() {
        return Ok(vec!["v1".to_owned()]);
    }
    let found: Group = match get(client, &format!("/apis/{group}")).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        found => found?,
    };
    let mut versions: Vec<String> = Vec::new();
    for Version { version } in found.preferred_version.into_iter().chain(found.versions) {
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    Ok(versions)
}

async fn discover(client: Client, group: String, timeout: Duration) -> Found {
    let asked = tokio::time::timeout(timeout, discover_group(&client, &group));
    let kinds = asked.await.unwrap_or_else(|_| Err(late(timeout)))?;
    Ok(Arc::new(kinds))
}

fn late(timeout: Duration) -> Arc<str> {
    format!("discovery gave no answer within {} s", timeout.as_secs()).into()
}

async fn discover_group(client: &Client, group: &str) -> Result<Kinds, Arc<str>> {
    let failed = |error: kube::Error| -> Arc<str> { text_of(&error).into() };
    let mut kinds = Kinds::new();
    for version in versions(client, group).await.map_err(failed)? {
        let path = version_path(group, &version);
        let listed: Resources = get(client, &path).await.map_err(failed)?;
        for Resource { name, kind } in listed.resources {
            if !name.contains('/') {
                let mapping = || Mapping {
                    group: group.to_owned(),
                    version: version.clone(),
                    plural: name,
                };
                kinds.entry(kind).or_insert_with(mapping);
            }
        }
    }
    Ok(kinds)
}

fn version_path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    }
}

async fn get<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
) -> Result<T, kube::Error> {
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(kube::core::request::Error::BuildRequest);
    client
        .request(request.map_err(kube::Error::BuildRequest)?)
        .await
}

/// The group and version of `apps/v1`; `v1` and nothing are of the core group.
///
/// # Errors
/// The text is neither.
pub(crate) fn group_version(text: &str) -> Result<(&str, &str), String> {
    match text.split_once('/') {
        None => Ok(("", text)),
        Some((group, version)) if !version.contains('/') => Ok((group, version)),
        Some(_) => Err(format!("unexpected GroupVersion string: {text}")),
    }
}
