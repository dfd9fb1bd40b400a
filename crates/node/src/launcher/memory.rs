//! Volumes in memory: a tmpfs each, mounted by the helper where only it and what it starts can see
//! it, and shared by the containers of a pod.

use super::fault::{Doing, Fault};
use super::rootfs::mount_new;
use crate::runtime::Mount;
use crate::volumes::sub_path;
use nix::mount::{MntFlags, MsFlags, umount2};
use std::fs;
use std::path::Path;

/// Where a pod's volumes in memory are, in its directory of the scratch space.
const FOLDER: &str = "memory";

/// Makes the volumes in memory that are not there yet, and points the mounts at them.
pub(crate) fn provide(pod: &Path, mounts: &mut [Mount]) -> Result<(), Fault> {
    for mount in mounts {
        let Some(volume) = &mount.memory else {
            continue;
        };
        let root = pod.join(FOLDER).join(&volume.name);
        if !root.exists() {
            fs::create_dir_all(&root).doing(|| format!("make {}", root.display()))?;
            let size = volume
                .size_bytes
                .map_or_else(String::new, |size| format!(",size={size}"));
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            let mounted = mount_new("tmpfs", &root, flags, &format!("mode=777{size}"));
            if let Err(fault) = mounted {
                let _retried_later = fs::remove_dir(&root);
                return Err(fault);
            }
        }
        mount.source = sub_path::resolve(&root, &volume.inside).map_err(Fault::new)?;
    }
    Ok(())
}

/// Unmounts a pod's volumes in memory, so that its directory can be removed.
pub(crate) fn remove(pod: &Path) {
    let Ok(volumes) = fs::read_dir(pod.join(FOLDER)) else {
        return;
    };
    for volume in volumes.flatten() {
        // Without it the directory stays, which harms nobody.
        let _gone = umount2(&volume.path(), MntFlags::MNT_DETACH);
    }
}
