//! The directories of the volumes made here.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What paths start with where there are no directories (virtual time).
const NOWHERE: &str = "/var/lib/plimsoll/volumes";

/// Why a directory was not removed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The volume names a directory that is not one of ours: whatever wrote it there, its data is
    /// not touched.
    #[error("{path:?} is not a directory that this provisioner made")]
    Foreign {
        /// What it names.
        path: String,
    },
    /// The file system refused.
    #[error("cannot remove {path}: {source}")]
    Remove {
        /// The directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The task was cancelled.
    #[error("removing {path} was interrupted")]
    Interrupted {
        /// The directory.
        path: String,
    },
}

/// Makes and removes the directories; without a root it only names them.
#[derive(Debug, Clone, Default)]
pub struct Directories {
    root: Option<PathBuf>,
}

impl Directories {
    /// Directories below `root`.
    pub fn new(root: Option<PathBuf>) -> Self {
        Self { root }
    }

    /// Where a directory of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        let root = self.root.as_deref();
        root.unwrap_or_else(|| Path::new(NOWHERE)).join(name)
    }

    /// Makes one, which every user of the containers may write to; the root is for this user only.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn make(&self, name: &str) -> io::Result<()> {
        let Some(root) = &self.root else {
            return Ok(());
        };
        fs::create_dir_all(root)?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))?;
        let path = root.join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))
    }

    /// Removes the directory of a volume with all its data; absent is fine.
    ///
    /// # Errors
    /// It is not one of ours, or the file system refuses.
    pub async fn remove(&self, volume: &str, path: &str) -> Result<(), StoreError> {
        let own = PathBuf::from(path);
        let shown = || path.to_owned();
        let named = own.file_name().and_then(|name| name.to_str());
        let is_its = named.is_some_and(|name| {
            let rest = name.strip_prefix(volume);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        });
        if own != self.path(named.unwrap_or_default()) || !is_its {
            return Err(StoreError::Foreign { path: shown() });
        }
        if self.root.is_none() {
            return Ok(());
        }
        // There may be much in it.
        let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(own)).await;
        match removed {
            Ok(Err(source)) if source.kind() != io::ErrorKind::NotFound => {
                let path = shown();
                Err(StoreError::Remove { path, source })
            }
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Interrupted { path: shown() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_own_directories_go() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories::new(Some(root.path().join("volumes")));
        directories.make("pvc-1_default_data").unwrap();
        let own = directories.path("pvc-1_default_data");
        fs::write(own.join("file"), "text").unwrap();
        let elsewhere = root.path().join("pvc-1_default_data");
        fs::create_dir(&elsewhere).unwrap();
        let text = |path: &Path| path.display().to_string();
        for foreign in [
            text(&elsewhere),
            text(&directories.path("..")),
            text(&directories.path("../pvc-1_default_data")),
            text(root.path()),
            "/etc".to_owned(),
            String::new(),
        ] {
            let refused = directories.remove("pvc-1", &foreign).await;
            assert!(
                matches!(refused, Err(StoreError::Foreign { .. })),
                "{foreign}"
            );
        }
        let refused = directories.remove("pvc-2", &text(&own)).await;
        assert!(matches!(refused, Err(StoreError::Foreign { .. })));
        assert!(own.exists() && elsewhere.exists());
        directories.remove("pvc-1", &text(&own)).await.unwrap();
        directories.remove("pvc-1", &text(&own)).await.unwrap();
        assert!(!own.exists());
    }
}
