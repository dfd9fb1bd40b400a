//! Files of a volume, replaced all at once: `..data` points to the present set, and every name
//! points through it.

use super::ownership;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: Option<i32>,
}

/// Files by their path in the volume.
pub(super) type Files = BTreeMap<String, File>;

/// Who may read the files of a volume.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Access {
    /// Permission bits, where a file does not say.
    pub(super) mode: Option<i32>,
    /// The group that may read them in any case.
    pub(super) group: Option<u32>,
}

/// Writes the files into the volume's directory.
pub(super) fn write(directory: &Path, files: &Files, access: Access) -> Result<(), String> {
    for path in files.keys() {
        let inside = Path::new(path)
            .components()
            .all(|c| matches!(c, Component::Normal(_)));
        if path.is_empty() || !inside || path.starts_with("..") {
            return Err(format!("path {path:?} must stay inside the volume"));
        }
    }
    replace(directory, files, access).map_err(|e| format!("cannot write files: {e}"))
}

fn replace(directory: &Path, files: &Files, access: Access) -> io::Result<()> {
    let old = fs::read_link(directory.join("..data")).ok();
    let number: Option<u64> = old
        .as_ref()
        .and_then(|o| o.to_str()?.strip_prefix("..set_")?.parse().ok());
    let set = format!("..set_{}", number.map_or(0_u64, |n: u64| n.wrapping_add(1)));
    let root = directory.join(&set);
    fs::create_dir_all(&root)?;
    for (path, file) in files {
        let target = root.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.bytes)?;
        let bits = file
            .mode
            .or(access.mode)
            .and_then(|m| u32::try_from(m).ok())
            .unwrap_or(0o644);
        let bits = match access.group {
            Some(group) => {
                ownership::give(&target, group)?;
                bits | 0o440
            }
            None => bits,
        };
        fs::set_permissions(&target, fs::Permissions::from_mode(bits & 0o777))?;
    }
    let fresh = directory.join("..data_tmp");
    drop(fs::remove_file(&fresh));
    symlink(&set, &fresh)?;
    fs::rename(&fresh, directory.join("..data"))?;
    for path in files.keys() {
        let Some(Component::Normal(top)) = Path::new(path).components().next() else {
            continue;
        };
        let link = directory.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(top), &link)?;
        }
    }
    remove_stale_names(directory, files)?;
    if let Some(old) = old {
        drop(fs::remove_dir_all(directory.join(old)));
    }
    Ok(())
}

/// Removes the names that lead to what is no longer in the set.
fn remove_stale_names(directory: &Path, files: &Files) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let top = |path: &String| {
            Path::new(path)
                .components()
                .next()
                .map(Component::as_os_str)
                == Some(&name)
        };
        let leads_here = fs::read_link(entry.path()).is_ok_and(|to| to.starts_with("..data"));
        if leads_here && !files.keys().any(top) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Lets every user of the containers write.
pub(super) fn open_to_all(directory: &Path) -> Result<(), String> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777))
        .map_err(|e| format!("cannot open {} to all: {e}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(mode: i32) -> Access {
        Access {
            mode: Some(mode),
            group: None,
        }
    }

    #[test]
    fn a_second_write_replaces_the_files_behind_the_same_names() {
        let directory = tempfile::tempdir().unwrap();
        let file = |text: &str| File {
            bytes: text.into(),
            mode: None,
        };
        for text in ["one", "two"] {
            let files = Files::from([("a".into(), file(text)), ("b/c".into(), file("x"))]);
            write(directory.path(), &files, access(0o600)).unwrap();
            assert_eq!(
                fs::read_to_string(directory.path().join("a")).unwrap(),
                text
            );
            assert_eq!(
                fs::read_to_string(directory.path().join("b/c")).unwrap(),
                "x"
            );
        }
        let bits = fs::metadata(directory.path().join("a"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(bits & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_longer_in_the_set_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let file = || File {
            bytes: vec![],
            mode: None,
        };
        let both = Files::from([("a".into(), file()), ("b/c".into(), file())]);
        write(directory.path(), &both, Access::default()).unwrap();
        write(
            directory.path(),
            &Files::from([("a".into(), file())]),
            Access::default(),
        )
        .unwrap();
        assert!(directory.path().join("a").exists());
        assert!(fs::symlink_metadata(directory.path().join("b")).is_err());
    }

    #[rstest::rstest]
    #[case("../a")]
    #[case("/a")]
    #[case("..data")]
    fn paths_out_of_the_volume_are_refused(#[case] path: &str) {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::from([(
            path.into(),
            File {
                bytes: vec![],
                mode: None,
            },
        )]);
        assert!(write(directory.path(), &files, Access::default()).is_err());
    }
}
