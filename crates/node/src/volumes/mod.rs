//! Volumes of pods: directories and files on the host that containers get to see.
//!
//! Each pod has a directory, and in it one for each volume. What a claim is bound to appears there
//! as a symbolic link, so that the pod's directory can be removed without touching it.

mod attach;
mod claim;
mod content;
mod files;
mod host_path;
mod ownership;
mod refresh;
pub(crate) mod sub_path;

pub(crate) use attach::Attachments;
pub(crate) use refresh::Refresher;

use crate::agent::Site;
use crate::agent::environment::expand;
use crate::agent::view::{Container, Volume};
use crate::runtime::{InMemory, Mount};
use content::Mounted;
use k8s_openapi::api::core::v1 as core;
use plimsoll_quantity::Quantity;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a volume could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// Its content could not be put in place.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
    SetUp {
        /// Its name.
        volume: String,
        /// Why.
        why: String,
    },
    /// Its claim is of no use.
    #[error(
        "Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], \
         failed to process volumes=[{volume}]: {why}"
    )]
    Process {
        /// Its name.
        volume: String,
        /// Why.
        why: String,
    },
    /// It is in use elsewhere.
    #[error("{0}")]
    Attach(String),
}

impl VolumeError {
    /// Reason of the event.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SetUp { .. } | Self::Process { .. } => "FailedMount",
            Self::Attach(_) => "FailedAttachVolume",
        }
    }
}

/// Makes the directory of all pods' volumes and logs, which hold secrets: for this user only.
pub(crate) fn keep_private(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
}

/// Makes every volume of a pod, and keeps those current that follow something.
pub(crate) async fn prepare(site: &Site, ip: IpAddr) -> Result<(), VolumeError> {
    let mut mounted = Mounted::default();
    for volume in &site.pod.spec.volumes {
        if claim::name(site, volume).is_some() {
            claim::link(site, volume).await?;
        } else {
            let made = make(site, volume, ip, &mut mounted).await;
            made.map_err(|why| VolumeError::SetUp {
                volume: volume.name.clone(),
                why,
            })?;
        }
    }
    site.shared.refresher.keep(site, ip, mounted);
    Ok(())
}

/// Lets a pod's volumes go and removes what it had of its own.
pub(crate) fn remove(site: &Site) {
    let uid = &site.pod.metadata.uid;
    site.shared.refresher.forget(uid);
    site.shared.attachments.detach(uid);
    let directory = site.directory();
    if let Err(error) = std::fs::remove_dir_all(&directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(directory = %directory.display(), %error, "volumes not removed");
    }
}

fn directory(site: &Site, volume: &str) -> PathBuf {
    site.directory().join("volumes").join(volume)
}

async fn make(
    site: &Site,
    volume: &Volume,
    ip: IpAddr,
    mounted: &mut Mounted,
) -> Result<(), String> {
    if let Some(source) = &volume.host_path {
        return host_path::check(source);
    }
    let directory = directory(site, &volume.name);
    std::fs::create_dir_all(&directory)
        .map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
    if volume.empty_dir.is_some() {
        files::open_to_all(&directory)?;
        return ownership::give_all(site, &directory).await;
    }
    content::update(site, volume, ip, mounted).await
}

/// A mount that a container cannot do without: any but the credentials every pod is given.
pub(crate) fn indispensable(container: &Container) -> Option<&core::VolumeMount> {
    const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mut mounts = container.volume_mounts.iter();
    mounts.find(|mount| mount.mount_path != CREDENTIALS)
}

/// What a container gets to see: outer directories before those inside them.
pub(crate) fn mounts(
    site: &Site,
    container: &Container,
    env: &[(String, String)],
) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for mount in &container.volume_mounts {
        let volume = site.pod.spec.volumes.iter().find(|v| v.name == mount.name);
        let volume = volume.ok_or_else(|| format!("no volume named {:?}", mount.name))?;
        let root = match &volume.host_path {
            Some(source) => PathBuf::from(&source.path),
            None => directory(site, &volume.name),
        };
        let inside = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) if !path.is_empty() => path.clone(),
            (_, Some(text)) if !text.is_empty() => expand(text, env),
            (_, _) => String::new(),
        };
        let memory = in_memory(site, volume, &inside);
        let source = match &memory {
            Some(_) => Ok(PathBuf::new()),
            None => sub_path::resolve(&root, &inside),
        };
        let source = source.map_err(|why| {
            let name = &container.name;
            format!(
                "failed to prepare subPath for volumeMount {:?} of container {name:?}: {why}",
                mount.name
            )
        })?;
        mounts.push(Mount {
            source,
            target: PathBuf::from(&mount.mount_path),
            read_only: mount.read_only == Some(true) || is_read_only(volume),
            memory,
        });
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(mounts)
}

/// The part of a volume in memory, if it is one: as large as it may be, or as its node.
fn in_memory(site: &Site, volume: &Volume, inside: &str) -> Option<InMemory> {
    let source = volume.empty_dir.as_ref()?;
    if source.medium.as_deref() != Some("Memory") {
        return None;
    }
    let node = site.node.spec.memory_bytes;
    let limit = source.size_limit.as_ref();
    let limit = limit.and_then(|limit| limit.0.parse::<Quantity>().ok());
    let limit = limit.and_then(|limit| u64::try_from(limit.value()).ok());
    Some(InMemory {
        name: volume.name.clone(),
        size_bytes: Some(limit.filter(|limit| *limit > 0).unwrap_or(node).min(node)),
        inside: inside.to_owned(),
    })
}

/// Whether no container may write to the volume.
fn is_read_only(volume: &Volume) -> bool {
    let claim = volume.persistent_volume_claim.as_ref();
    let writable = volume.empty_dir.is_some()
        || volume.host_path.is_some()
        || volume.ephemeral.is_some()
        || claim.is_some_and(|claim| claim.read_only != Some(true));
    !writable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_all_pods_is_for_this_user_only() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("pods");
        keep_private(&directory).unwrap();
        keep_private(&directory).unwrap();
        let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[rstest::rstest]
    #[case::own_directory(serde_json::json!({"emptyDir": {}}), false)]
    #[case::of_the_host(serde_json::json!({"hostPath": {"path": "/x"}}), false)]
    #[case::a_claim(serde_json::json!({"persistentVolumeClaim": {"claimName": "c"}}), false)]
    #[case::a_claim_to_read(
        serde_json::json!({"persistentVolumeClaim": {"claimName": "c", "readOnly": true}}), true)]
    #[case::made_for_the_pod(serde_json::json!({"ephemeral": {}}), false)]
    #[case::keys(serde_json::json!({"configMap": {"name": "c"}}), true)]
    fn only_data_is_written_to(#[case] volume: serde_json::Value, #[case] want: bool) {
        assert_eq!(is_read_only(&serde_json::from_value(volume).unwrap()), want);
    }
}
