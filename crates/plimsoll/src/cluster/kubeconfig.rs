//! Where the administrator's credentials go.

use anyhow::{Context, Result};
use plimsoll_apiserver::pki::{self, Context as Entry};
use std::fmt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name of context, cluster and user in a kubeconfig.
pub(crate) const NAME: &str = "plimsoll";

/// Where the credentials were written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// A file that holds nothing else.
    Alone(PathBuf),
    /// Merged into the user's file, as its current context.
    Merged(PathBuf),
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone(path) => write!(f, "export KUBECONFIG={}", path.display()),
            Self::Merged(path) => {
                write!(f, "context {NAME:?} is current in {}", path.display())
            }
        }
    }
}

/// Writes a kubeconfig of its own, readable by its owner only.
pub(crate) fn write_alone(path: &Path, entry: &Entry<'_>) -> Result<Written> {
    replace(path, &pki::kubeconfig(entry))?;
    Ok(Written::Alone(path.to_owned()))
}

/// Merges into the file kubectl uses: the first of `$KUBECONFIG`, else `~/.kube/config`.
pub(crate) fn merge(entry: &Entry<'_>) -> Result<Written> {
    let path = default_path().context("neither $KUBECONFIG nor $HOME is set; use --kubeconfig")?;
    let existing = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let merged = pki::merge_kubeconfig(&existing, entry)
        .with_context(|| format!("{} is left as it is; use --kubeconfig FILE", path.display()))?;
    replace(&path, &merged)?;
    Ok(Written::Merged(path))
}

fn default_path() -> Option<PathBuf> {
    let listed = std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty());
    let first = listed.and_then(|list| std::env::split_paths(&list).next());
    first.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config")))
}

/// Writes beside, then renames, so that no reader sees half a file.
fn replace(path: &Path, text: &str) -> Result<()> {
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let write = || {
        use std::io::Write;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&part, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}
