//! Volumes of pods: directories and files on the host that containers get to see.

mod files;

use crate::agent::Site;
use crate::agent::environment::{expand, field_value, keys, resource_value};
use crate::agent::view::{Container, Volume};
use crate::runtime::Mount;
use files::{File, Files};
use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Why a volume could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
pub struct VolumeError {
    /// Its name.
    pub volume: String,
    /// Why.
    pub why: String,
}

/// Makes the directory of all pods' volumes and logs, which hold secrets: for this user only.
pub(crate) fn keep_private(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
}

/// Makes every volume of a pod.
pub(crate) async fn prepare(site: &Site, ip: IpAddr) -> Result<(), VolumeError> {
    for volume in &site.pod.spec.volumes {
        let made = make(site, volume, ip).await;
        made.map_err(|why| VolumeError {
            volume: volume.name.clone(),
            why,
        })?;
    }
    Ok(())
}

/// Removes a pod's volumes; absent is fine.
pub(crate) fn remove(directory: &Path) {
    if let Err(error) = std::fs::remove_dir_all(directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(directory = %directory.display(), %error, "volumes not removed");
    }
}

fn directory(site: &Site, volume: &str) -> PathBuf {
    site.directory().join("volumes").join(volume)
}

async fn make(site: &Site, volume: &Volume, ip: IpAddr) -> Result<(), String> {
    if let Some(source) = &volume.host_path {
        return host_path(source);
    }
    let directory = directory(site, &volume.name);
    std::fs::create_dir_all(&directory)
        .map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
    if volume.empty_dir.is_some() {
        return files::open_to_all(&directory);
    }
    let (files, mode) = if let Some(source) = &volume.config_map {
        let data = keys(site, "configmap", &source.name, source.optional).await?;
        (
            pick(data, source.items.as_deref(), source.optional)?,
            source.default_mode,
        )
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let data = keys(site, "secret", name, source.optional).await?;
        (
            pick(data, source.items.as_deref(), source.optional)?,
            source.default_mode,
        )
    } else if let Some(source) = &volume.downward_api {
        (
            fields(site, source.items.as_deref().unwrap_or_default(), ip)?,
            source.default_mode,
        )
    } else if let Some(source) = &volume.projected {
        (projected(site, source, ip).await?, source.default_mode)
    } else {
        return Err("plimsoll does not mount this kind of volume yet".to_owned());
    };
    files::write(&directory, &files, mode)
}

fn host_path(source: &core::HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let made = match source.type_.as_deref().unwrap_or_default() {
        "DirectoryOrCreate" => std::fs::create_dir_all(path),
        "FileOrCreate" => std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map(drop),
        "Directory" if !path.is_dir() => {
            return Err(format!(
                "hostPath type check failed: {} is not a directory",
                source.path
            ));
        }
        "File" if !path.is_file() => {
            return Err(format!(
                "hostPath type check failed: {} is not a file",
                source.path
            ));
        }
        _ => Ok(()),
    };
    made.map_err(|e| format!("cannot make {}: {e}", source.path))
}

/// The keys a volume shows: all of them, or those named.
fn pick(
    mut data: BTreeMap<String, Vec<u8>>,
    items: Option<&[core::KeyToPath]>,
    optional: Option<bool>,
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
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

fn fields(site: &Site, items: &[core::DownwardAPIVolumeFile], ip: IpAddr) -> Result<Files, String> {
    let mut files = Files::new();
    let node = (site.node.spec.cpu_milli, site.node.spec.memory_bytes);
    for item in items {
        let text = if let Some(field) = &item.field_ref {
            field_value(&site.pod, &field.field_path, Some(ip), site.node.address)
                .ok_or_else(|| format!("unsupported field path {:?}", field.field_path))?
        } else if let Some(field) = &item.resource_field_ref {
            let own = Container::default();
            resource_value(&site.pod, &own, field, node)?
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

async fn projected(
    site: &Site,
    source: &core::ProjectedVolumeSource,
    ip: IpAddr,
) -> Result<Files, String> {
    let mut files = Files::new();
    for part in source.sources.iter().flatten() {
        let more = if let Some(map) = &part.config_map {
            let data = keys(site, "configmap", &map.name, map.optional).await?;
            pick(data, map.items.as_deref(), map.optional)?
        } else if let Some(secret) = &part.secret {
            let data = keys(site, "secret", &secret.name, secret.optional).await?;
            pick(data, secret.items.as_deref(), secret.optional)?
        } else if let Some(fields_of) = &part.downward_api {
            fields(site, fields_of.items.as_deref().unwrap_or_default(), ip)?
        } else if let Some(token) = &part.service_account_token {
            let bytes = token_for(site, token).await?.into_bytes();
            Files::from([(token.path.clone(), File { bytes, mode: None })])
        } else {
            return Err("plimsoll does not project this kind of source yet".to_owned());
        };
        files.extend(more);
    }
    Ok(files)
}

/// Asks the API for a token bound to the pod.
async fn token_for(
    site: &Site,
    source: &core::ServiceAccountTokenProjection,
) -> Result<String, String> {
    let meta = &site.pod.metadata;
    let account = site
        .pod
        .spec
        .service_account_name
        .as_deref()
        .unwrap_or("default");
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{account}/token",
        meta.namespace
    );
    let audiences: Vec<&String> = source.audience.iter().collect();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": source.expiration_seconds.unwrap_or(3600),
            "boundObjectRef":
                {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
        },
    });
    let answer = site.shared.cluster.create(&path, &request).await;
    let answer = answer.map_err(|e| format!("failed to fetch token: {e}"))?;
    let token = answer.pointer("/status/token").and_then(Value::as_str);
    token
        .map(ToOwned::to_owned)
        .ok_or_else(|| "the API sent no token".to_owned())
}

/// A mount that a container cannot do without: any but the credentials every pod is given.
pub(crate) fn indispensable(container: &Container) -> Option<&core::VolumeMount> {
    const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mut mounts = container.volume_mounts.iter();
    mounts.find(|mount| mount.mount_path != CREDENTIALS)
}

/// What a container gets to see, in order.
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
        let source = below(&root, &inside)?;
        if volume.empty_dir.is_some() && !inside.is_empty() && !source.exists() {
            std::fs::create_dir_all(&source).map_err(|e| format!("cannot make subPath: {e}"))?;
        }
        let fixed = volume.empty_dir.is_none() && volume.host_path.is_none();
        mounts.push(Mount {
            source,
            target: PathBuf::from(&mount.mount_path),
            read_only: fixed || mount.read_only == Some(true),
        });
    }
    Ok(mounts)
}

fn below(root: &Path, inside: &str) -> Result<PathBuf, String> {
    let inside_path = Path::new(inside);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if inside_path.components().all(plain) {
        return Ok(if inside.is_empty() {
            root.to_owned()
        } else {
            root.join(inside_path)
        });
    }
    Err(format!("subPath {inside:?} must stay inside the volume"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::nothing("", Some("/v"))]
    #[case::a_path("a/b", Some("/v/a/b"))]
    #[case::the_parent("../x", None)]
    #[case::absolute("/etc", None)]
    fn sub_paths_stay_inside(#[case] inside: &str, #[case] want: Option<&str>) {
        assert_eq!(below(Path::new("/v"), inside).ok(), want.map(PathBuf::from));
    }

    #[test]
    fn the_directory_of_all_pods_is_for_this_user_only() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("pods");
        keep_private(&directory).unwrap();
        keep_private(&directory).unwrap();
        let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn named_keys_go_to_their_paths_and_missing_ones_are_named() {
        let data = BTreeMap::from([("a".to_owned(), b"1".to_vec())]);
        let item = core::KeyToPath {
            key: "a".into(),
            path: "x/y".into(),
            mode: Some(0o400),
        };
        let files = pick(data.clone(), Some(std::slice::from_ref(&item)), None).unwrap();
        assert_eq!(files["x/y"].bytes, b"1");
        let other = core::KeyToPath {
            key: "b".into(),
            ..item
        };
        assert!(pick(data, Some(&[other]), None).unwrap_err().contains('b'));
    }
}
