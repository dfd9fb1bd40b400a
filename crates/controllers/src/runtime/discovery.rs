//! Which kinds the server serves, and writes to objects of any of them.

use super::write::{Target, WriteError, Writer};
use super::{Deletion, ObjectKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams};
use kube::core::Request;
use kube::core::discovery::ApiResource;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::collections::BTreeSet;

/// A served kind in its preferred version. Orders by group, then plural.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServedKind {
    /// Group; empty for core.
    pub group: String,
    /// `pods`.
    pub plural: String,
    /// `v1`.
    pub version: String,
    /// `Pod`.
    pub kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Verbs.
    pub verbs: BTreeSet<String>,
}

impl ServedKind {
    /// Whether the kind has all these verbs.
    pub fn allows(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.contains(*verb))
    }

    /// `apps/v1`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// For kube's dynamic API.
    pub fn to_api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }

    fn target(&self, key: &ObjectKey) -> Target {
        let root = if self.group.is_empty() { "api" } else { "apis" };
        let version = self.api_version();
        let path = match key.namespace() {
            Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{}", self.plural),
            None => format!("/{root}/{version}/{}", self.plural),
        };
        Target {
            path,
            plural: self.plural.clone(),
            key: key.clone(),
        }
    }
}

/// What discovery found.
#[derive(Debug, Default)]
pub struct Served {
    /// Every kind once, in its group's preferred version, sorted.
    pub kinds: Vec<ServedKind>,
    /// Group versions that did not answer, with why.
    pub failed: Vec<(String, String)>,
}

/// What a list says without its items.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default)]
    metadata: ListedMeta,
    #[serde(default)]
    items: Vec<ListedItem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListedMeta {
    remaining_item_count: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct ListedItem {
    metadata: ObjectMeta,
}

#[derive(Debug, Deserialize)]
struct MetaOnly {
    #[serde(default)]
    metadata: ObjectMeta,
}

/// What remains of a kind in a namespace.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// Objects.
    pub objects: usize,
    /// Finalizers that some of them wait for.
    pub finalizers: Vec<String>,
}

impl Writer {
    /// Asks which kinds are served.
    ///
    /// # Errors
    /// Only if the list of groups cannot be had; single groups that fail are in the answer.
    pub async fn discover(&self) -> Result<Served, WriteError> {
        let mut versions = vec![(String::new(), "v1".to_owned())];
        let groups: k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroupList =
            self.get("/apis", "groups").await?;
        for group in groups.groups {
            let preferred = group
                .preferred_version
                .or_else(|| group.versions.into_iter().next());
            versions.extend(preferred.map(|version| (group.name, version.version)));
        }
        let mut served = Served::default();
        for (group, version) in versions {
            let path = match group.as_str() {
                "" => format!("/api/{version}"),
                group => format!("/apis/{group}/{version}"),
            };
            let list: Result<k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList, _> =
                self.get(&path, "kinds").await;
            match list {
                Ok(list) => served.add(&group, &version, list.resources),
                Err(error) => served
                    .failed
                    .push((format!("{group}/{version}"), error.message())),
            }
        }
        served.kinds.sort();
        Ok(served)
    }

    /// What the server answers at `path`; failures call it `what`.
    pub(crate) async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
    ) -> Result<T, WriteError> {
        let target = Target {
            path: path.to_owned(),
            plural: what.to_owned(),
            key: ObjectKey::new("", path),
        };
        let request = http::Request::get(path).body(Vec::new());
        let request = request.map_err(kube::core::request::Error::BuildRequest);
        self.send("discover", &target, request).await
    }

    /// Deletes an object of any kind. One that is gone already is a success.
    pub async fn delete_any(
        &self,
        kind: &ServedKind,
        key: &ObjectKey,
        deletion: &Deletion,
    ) -> Result<(), WriteError> {
        let target = kind.target(key);
        let request = Request::new(&*target.path).delete(&key.name, &deletion.params());
        match self.send::<IgnoredAny>("delete", &target, request).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes every object of a kind in a namespace.
    pub async fn delete_all(&self, kind: &ServedKind, namespace: &str) -> Result<(), WriteError> {
        let target = kind.target(&ObjectKey::new(namespace, ""));
        let (params, all) = (DeleteParams::background(), ListParams::default());
        let request = Request::new(&*target.path).delete_collection(&params, &all);
        match self
            .send::<IgnoredAny>("delete all", &target, request)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Counts what is left of a kind in a namespace.
    pub async fn remaining(
        &self,
        kind: &ServedKind,
        namespace: &str,
    ) -> Result<Remaining, WriteError> {
        let target = kind.target(&ObjectKey::new(namespace, ""));
        let page = ListParams::default().limit(500);
        let request = Request::new(&*target.path).list_metadata(&page);
        let listed: Listed = self.send("list", &target, request).await?;
        let rest = listed.metadata.remaining_item_count.unwrap_or_default();
        let objects = listed.items.len().saturating_add(rest);
        let finalizers = listed
            .items
            .into_iter()
            .filter_map(|item| item.metadata.finalizers);
        Ok(Remaining {
            objects,
            finalizers: finalizers.flatten().collect(),
        })
    }

    /// The live metadata of an object of any kind.
    pub async fn live_meta(
        &self,
        kind: &ServedKind,
        key: &ObjectKey,
    ) -> Result<Option<ObjectMeta>, WriteError> {
        let target = kind.target(key);
        let request = Request::new(&*target.path).get_metadata(&key.name, &GetParams::default());
        match self.send::<MetaOnly>("get", &target, request).await {
            Ok(object) => Ok(Some(object.metadata)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Applies a JSON merge patch to an object of any kind.
    pub async fn patch_any(
        &self,
        kind: &ServedKind,
        key: &ObjectKey,
        patch: &Value,
    ) -> Result<(), WriteError> {
        let target = kind.target(key);
        let params = PatchParams::default();
        let request =
            Request::new(&*target.path).patch_metadata(&key.name, &params, &Patch::Merge(patch));
        match self.send::<IgnoredAny>("patch", &target, request).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Served {
    fn add(
        &mut self,
        group: &str,
        version: &str,
        resources: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource>,
    ) {
        for resource in resources
            .into_iter()
            .filter(|resource| !resource.name.contains('/'))
        {
            self.kinds.push(ServedKind {
                group: group.to_owned(),
                plural: resource.name,
                version: version.to_owned(),
                kind: resource.kind,
                namespaced: resource.namespaced,
                verbs: resource.verbs.into_iter().collect(),
            });
        }
    }
}
