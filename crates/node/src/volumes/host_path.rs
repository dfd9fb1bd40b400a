//! Paths of the host.

use k8s_openapi::api::core::v1::HostPathVolumeSource;
use std::fs::{self, FileType, OpenOptions, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Checks that the path is what it is said to be, and makes what may be made.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let created = match kind {
        // Nothing is promised; containers find a directory, as with containerd.
        "" | "FileOrCreate" if path.exists() => Ok(()),
        "" | "DirectoryOrCreate" => directory(path),
        "FileOrCreate" => file(path),
        _ => Ok(()),
    };
    created.map_err(|e| format!("cannot make {}: {e}", source.path))?;
    let (is, what): (fn(&FileType) -> bool, &str) = match kind {
        "Directory" | "DirectoryOrCreate" => (FileType::is_dir, "directory"),
        "File" | "FileOrCreate" => (FileType::is_file, "file"),
        "Socket" => (FileType::is_socket, "socket file"),
        "CharDevice" => (FileType::is_char_device, "character device"),
        "BlockDevice" => (FileType::is_block_device, "block device"),
        "" => return Ok(()),
        other => return Err(format!("{other} is an invalid volume type")),
    };
    let found = fs::metadata(path).map(|about| about.file_type());
    if found.is_ok_and(|found| is(&found)) {
        Ok(())
    } else {
        Err(format!(
            "hostPath type check failed: {} is not a {what}",
            source.path
        ))
    }
}

fn directory(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn file(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::a_directory("", "Directory", None)]
    #[case::a_missing_directory("no", "Directory", Some("is not a directory"))]
    #[case::a_directory_to_make("a/b", "DirectoryOrCreate", None)]
    #[case::a_file_in_its_place("file", "DirectoryOrCreate", Some("is not a directory"))]
    #[case::a_file("file", "File", None)]
    #[case::a_directory_in_its_place("", "FileOrCreate", Some("is not a file"))]
    #[case::a_file_to_make("new", "FileOrCreate", None)]
    #[case::a_file_without_its_directory("no/new", "FileOrCreate", Some("cannot make"))]
    #[case::no_socket("file", "Socket", Some("is not a socket file"))]
    #[case::no_device("file", "CharDevice", Some("is not a character device"))]
    #[case::no_disk("file", "BlockDevice", Some("is not a block device"))]
    #[case::anything("any", "", None)]
    #[case::nonsense("any", "Dir", Some("Dir is an invalid volume type"))]
    fn types_are_checked(#[case] path: &str, #[case] kind: &str, #[case] want: Option<&str>) {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "text").unwrap();
        let path = root.path().join(path);
        let source = HostPathVolumeSource {
            path: path.display().to_string(),
            type_: Some(kind.to_owned()),
        };
        match (check(&source), want) {
            (Ok(()), None) => assert!(path.exists()),
            (Err(why), Some(want)) => assert!(why.contains(want), "{why}"),
            (got, want) => panic!("{got:?} instead of {want:?}"),
        }
        assert_eq!(
            fs::read_to_string(root.path().join("file")).unwrap(),
            "text"
        );
    }
}
