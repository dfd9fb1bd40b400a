//! The group that a pod's files belong to (`securityContext.fsGroup`).

use crate::agent::Site;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};

/// What the group may do with directories: all, and new files get its group.
const DIRECTORY: u32 = 0o2770;
/// What the group may do with files.
const FILE: u32 = 0o660;

/// The group of a pod's files, if it names one.
pub(super) fn group(site: &Site) -> Option<u32> {
    let context = site.pod.spec.security_context.as_deref()?;
    u32::try_from(context.fs_group?).ok()
}

/// Gives a file to the group; a user who may not do that (without root) leaves it as it is.
pub(super) fn give(path: &Path, group: u32) -> io::Result<()> {
    match lchown(path, None, Some(group)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        outcome => outcome,
    }
}

/// Gives a whole volume to the pod's group, unless the pod wants that only for volumes that are not
/// its group's yet.
pub(super) async fn give_all(site: &Site, path: &Path) -> Result<(), String> {
    let Some(group) = group(site) else {
        return Ok(());
    };
    let context = site.pod.spec.security_context.as_deref();
    let policy = context.and_then(|context| context.fs_group_change_policy.as_deref());
    let path = path.to_owned();
    if policy == Some("OnRootMismatch") && is_given(&path, group) {
        return Ok(());
    }
    // There may be much in it.
    let given = tokio::task::spawn_blocking(move || walk(path, group)).await;
    match given {
        Ok(Err(error)) => Err(format!("applyFSGroup failed: {error}")),
        Ok(Ok(())) => Ok(()),
        Err(_) => Err("applyFSGroup was interrupted".to_owned()),
    }
}

fn is_given(path: &Path, group: u32) -> bool {
    fs::metadata(path)
        .is_ok_and(|about| about.gid() == group && about.mode() & DIRECTORY == DIRECTORY)
}

fn walk(root: PathBuf, group: u32) -> io::Result<()> {
    // The volume itself may be a link to it; in it, links are only given, not followed.
    let root = fs::canonicalize(root)?;
    let mut left = vec![root];
    while let Some(path) = left.pop() {
        let about = fs::symlink_metadata(&path)?;
        if about.is_symlink() {
            give(&path, group)?;
            continue;
        }
        match chown(&path, None, Some(group)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            outcome => outcome?,
        }
        let more = if about.is_dir() { DIRECTORY } else { FILE };
        fs::set_permissions(&path, Permissions::from_mode(about.mode() | more))?;
        if about.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_gets_what_is_in_the_volume_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("v");
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/file"), "text").unwrap();
        let outside = parent.path().join("outside");
        fs::write(&outside, "text").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        // One's own group is one that every user may give.
        let group = fs::metadata(&root).unwrap().gid();
        walk(root.clone(), group).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&root) & DIRECTORY, DIRECTORY);
        assert_eq!(mode(&root.join("a")) & DIRECTORY, DIRECTORY);
        assert_eq!(mode(&root.join("a/file")) & FILE, FILE);
        assert_eq!(mode(&outside), 0o600);
        assert!(is_given(&root, group));
    }
}
