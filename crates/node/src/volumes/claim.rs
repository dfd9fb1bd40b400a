//! What claims are bound to.

use super::attach::{Sharing, User};
use super::{VolumeError, directory, host_path, ownership};
use crate::agent::view::Volume;
use crate::agent::{ClusterError, Site};
use k8s_openapi::api::core::v1::HostPathVolumeSource;
use plimsoll_api::storage::{LOCAL_PROVISIONER, PROVISIONED_BY};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A claim, as far as a mount needs it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claim {
    metadata: Meta,
    spec: ClaimSpec,
    status: ClaimStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    uid: String,
    annotations: BTreeMap<String, String>,
    deletion_timestamp: Option<String>,
    owner_references: Vec<Owner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Owner {
    uid: String,
    controller: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpec {
    volume_name: String,
    volume_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClaimStatus {
    phase: String,
}

/// A persistent volume, as far as a mount needs it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Persistent {
    metadata: Meta,
    spec: PersistentSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PersistentSpec {
    access_modes: Vec<String>,
    claim_ref: ClaimRef,
    host_path: Option<HostPathVolumeSource>,
    local: Option<LocalPath>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClaimRef {
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LocalPath {
    path: String,
}

/// The claim a volume is about, if it is about one.
pub(super) fn name(site: &Site, volume: &Volume) -> Option<String> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some(source.claim_name.clone());
    }
    let made_for_it = format!("{}-{}", site.pod.metadata.name, volume.name);
    volume.ephemeral.as_ref().map(|_| made_for_it)
}

/// Finds what the claim is bound to, and links it into the pod's directory.
pub(super) async fn link(site: &Site, volume: &Volume) -> Result<(), VolumeError> {
    let Some(name) = name(site, volume) else {
        return Ok(());
    };
    let namespace = &site.pod.metadata.namespace;
    let unusable = |why: String| VolumeError::Process {
        volume: volume.name.clone(),
        why: format!("error processing PVC {namespace}/{name}: {why}"),
    };
    let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}");
    let claim: Claim = get(site, &path)
        .await
        .map_err(|why| unusable(format!("failed to fetch PVC from API server: {why}")))?;
    usable(site, volume, &claim, &name).map_err(unusable)?;
    let path = format!("/api/v1/persistentvolumes/{}", claim.spec.volume_name);
    let persistent: Persistent = get(site, &path).await.map_err(|why| {
        let name = &claim.spec.volume_name;
        unusable(format!(
            "failed to fetch PV {name:?} from API server: {why}"
        ))
    })?;
    if persistent.spec.claim_ref.uid != claim.metadata.uid {
        let (name, uid) = (&claim.spec.volume_name, &claim.metadata.uid);
        let why = format!("failed to find bound PV {name:?} for PVC UID {uid:?}");
        return Err(unusable(why));
    }
    let made_by = persistent.metadata.annotations.get(PROVISIONED_BY);
    let is_local = made_by.is_some_and(|name| name == LOCAL_PROVISIONER);
    if is_local {
        let sharing = Sharing::of(&persistent.spec.access_modes);
        let attached = &site.shared.attachments;
        attached
            .attach(&claim.spec.volume_name, sharing, user(site))
            .map_err(VolumeError::Attach)?;
    }
    let failed = |why| VolumeError::SetUp {
        volume: claim.spec.volume_name.clone(),
        why,
    };
    mount(site, volume, &persistent.spec).map_err(failed)?;
    // Paths of the host that somebody offers belong to the host.
    if !is_local && persistent.spec.host_path.is_some() {
        return Ok(());
    }
    let linked = directory(site, &volume.name);
    ownership::give_all(site, &linked).await.map_err(failed)
}

fn user(site: &Site) -> User {
    let meta = &site.pod.metadata;
    User {
        uid: meta.uid.clone(),
        pod: (meta.namespace.clone(), meta.name.clone()),
        node: site.node.name.clone(),
    }
}

/// Whether the pod may use the claim, and why not.
fn usable(site: &Site, volume: &Volume, claim: &Claim, name: &str) -> Result<(), String> {
    if volume.persistent_volume_claim.is_none() {
        let pod = &site.pod.metadata;
        let owner = claim
            .metadata
            .owner_references
            .iter()
            .find(|o| o.controller);
        if owner.is_none_or(|owner| owner.uid != pod.uid) {
            let (namespace, pod) = (&pod.namespace, &pod.name);
            return Err(format!(
                "PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)"
            ));
        }
    }
    if claim.metadata.deletion_timestamp.is_some() {
        return Err("PVC is being deleted".to_owned());
    }
    if claim.status.phase != "Bound" || claim.spec.volume_name.is_empty() {
        return Err("PVC is not bound".to_owned());
    }
    if claim.spec.volume_mode == "Block" {
        return Err("plimsoll has no raw devices".to_owned());
    }
    Ok(())
}

async fn get<T: DeserializeOwned>(site: &Site, path: &str) -> Result<T, String> {
    let got = site.shared.cluster.get(path).await;
    got.map_err(|error| {
        if let ClusterError::Api { source, .. } = &error
            && let kube::Error::Api(status) = &**source
        {
            return status.message.clone();
        }
        error.to_string()
    })
}

fn mount(site: &Site, volume: &Volume, spec: &PersistentSpec) -> Result<(), String> {
    let path = match (&spec.host_path, &spec.local) {
        (Some(source), _) => {
            let missing = !Path::new(&source.path).exists();
            host_path::check(source)?;
            if missing && source.type_.as_deref() == Some("DirectoryOrCreate") {
                super::files::open_to_all(Path::new(&source.path))?;
            }
            &source.path
        }
        (None, Some(local)) if Path::new(&local.path).exists() => &local.path,
        (None, Some(local)) => return Err(format!("path {:?} does not exist", local.path)),
        (None, None) => return Err("plimsoll does not mount this kind of volume".to_owned()),
    };
    let link = directory(site, &volume.name);
    let failed = |e: std::io::Error| format!("cannot link {}: {e}", link.display());
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    if fs::read_link(&link).is_ok_and(|known| known == Path::new(path)) {
        return Ok(());
    }
    drop(fs::remove_file(&link));
    symlink(path, &link).map_err(failed)
}
