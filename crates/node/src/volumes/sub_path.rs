//! Parts of a volume.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The path of a part of the volume at `root`, made as a directory if it is absent.
///
/// Containers write to volumes, so what is there is not trusted: a symbolic link that leads out of
/// the volume is refused.
pub(crate) fn resolve(root: &Path, inside: &str) -> Result<PathBuf, String> {
    if inside.is_empty() {
        return Ok(root.to_owned());
    }
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if !Path::new(inside).components().all(plain) {
        return Err(format!("subPath {inside:?} must stay inside the volume"));
    }
    let failed = |e: std::io::Error| format!("subPath {inside:?}: {e}");
    let root = fs::canonicalize(root).map_err(failed)?;
    let wanted = root.join(inside);
    let known = wanted
        .ancestors()
        .find(|path| fs::symlink_metadata(path).is_ok());
    let known = fs::canonicalize(known.unwrap_or(&root)).map_err(failed)?;
    if !known.starts_with(&root) {
        return Err(format!("subPath {inside:?} leads out of the volume"));
    }
    if fs::symlink_metadata(&wanted).is_err() {
        let permissions = fs::metadata(&root).map_err(failed)?.permissions();
        fs::create_dir_all(&wanted).map_err(failed)?;
        fs::set_permissions(&wanted, permissions).map_err(failed)?;
    }
    fs::canonicalize(wanted).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[rstest::rstest]
    #[case::the_whole("", Some(""))]
    #[case::a_new_directory("a/b", Some("a/b"))]
    #[case::a_file("file", Some("file"))]
    #[case::a_link_inside("link", Some("file"))]
    #[case::the_parent("../x", None)]
    #[case::absolute("/etc", None)]
    #[case::a_link_out("out", None)]
    #[case::below_a_link_out("out/x", None)]
    #[case::a_dangling_link("dangling", None)]
    fn sub_paths_stay_inside(#[case] inside: &str, #[case] want: Option<&str>) {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("v");
        fs::create_dir(&root).unwrap();
        fs::create_dir(parent.path().join("secret")).unwrap();
        fs::write(root.join("file"), "text").unwrap();
        symlink("file", root.join("link")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let got = resolve(&root, inside).ok();
        let got = got.map(|path| fs::canonicalize(path).unwrap());
        let want = want.map(|want| fs::canonicalize(root.join(want)).unwrap());
        assert_eq!(got, want);
        assert_eq!(
            fs::read_dir(parent.path().join("secret")).unwrap().count(),
            0
        );
    }
}
