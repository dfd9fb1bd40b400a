//! `fsGroup`: a pod's own volumes belong to that group, so that users other than root may read
//! them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

/// What the group may do with a file.
const READ: u32 = 0o440;
/// What it may do with a directory; what is made inside belongs to the group, too.
const ENTER: u32 = 0o2550;

/// Gives everything below `root`, which nobody else writes yet, to a group. Links are given, not
/// followed.
///
/// # Errors
/// Only root may give files to any group.
pub(super) fn give(root: &Path, group: u32) -> io::Result<()> {
    let about = fs::symlink_metadata(root)?;
    lchown(root, None, Some(group))?;
    if about.is_symlink() {
        return Ok(());
    }
    let more = if about.is_dir() { ENTER } else { READ };
    // After the owner: a change of the owner takes the set-group bit away.
    fs::set_permissions(root, Permissions::from_mode(about.mode() | more))?;
    if about.is_dir() {
        for entry in fs::read_dir(root)? {
            give(&entry?.path(), group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_readable_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("in"), directory.path().join("out"));
        fs::create_dir(&inside).unwrap();
        fs::write(&outside, "x").unwrap();
        fs::write(inside.join("key"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        for file in [&outside, &inside.join("key")] {
            fs::set_permissions(file, Permissions::from_mode(0o400)).unwrap();
        }
        // One's own group may always be given.
        let group = fs::metadata(&outside).unwrap().gid();
        give(&inside, group).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&inside) & 0o2550, 0o2550);
        assert_eq!(mode(&inside.join("key")), 0o440);
        assert_eq!(mode(&outside), 0o400);
    }
}
