//! Finds and reads the vector files.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    /// Folder and name, e.g. `hpa/behavior.json`.
    pub(crate) name: String,
    /// The folder's name, e.g. `hpa`.
    pub(crate) folder: String,
    /// The content.
    pub(crate) content: Value,
}

/// Reads one file, or every `*.json` below a folder in the order of their paths.
///
/// # Errors
/// Nothing is there, or something cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<File>> {
    let mut paths = Vec::new();
    collect(path, &mut paths)?;
    if paths.is_empty() {
        bail!("no *.json in {}", path.display());
    }
    paths.sort();
    paths.iter().map(|path| one(path)).collect()
}

fn collect(path: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let reading = || format!("reading {}", path.display());
    if !std::fs::metadata(path).with_context(reading)?.is_dir() {
        into.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).with_context(reading)? {
        let found = entry.with_context(reading)?.path();
        let is_json = found.extension().is_some_and(|end| end == "json");
        if is_json || found.is_dir() {
            collect(&found, into)?;
        }
    }
    Ok(())
}

fn one(path: &Path) -> Result<File> {
    let reading = || format!("reading {}", path.display());
    let text = std::fs::read_to_string(path).with_context(reading)?;
    let content = serde_json::from_str(&text).with_context(reading)?;
    let full = path.canonicalize().with_context(reading)?;
    let last = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let folder = full.parent().map(last).unwrap_or_default();
    Ok(File {
        name: format!("{folder}/{}", last(&full)),
        folder,
        content,
    })
}

impl File {
    /// What the vectors are written in; empty where the file does not say.
    pub(crate) fn schema(&self) -> &str {
        self.text("schema")
    }

    /// A text at the top of the file; empty where there is none.
    pub(crate) fn text(&self, key: &str) -> &str {
        let text = self.content.get(key).and_then(Value::as_str);
        text.unwrap_or_default()
    }

    /// How many cases it holds, in whichever list they are.
    pub(crate) fn count(&self) -> usize {
        let length = |value: &Value| value.as_array().map(Vec::len);
        let of_fields = || {
            let fields = self.content.as_object().into_iter().flatten();
            fields.filter_map(|(_, value)| length(value)).max()
        };
        length(&self.content).or_else(of_fields).unwrap_or(1)
    }
}
