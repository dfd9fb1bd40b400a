//! Gates on single files: size, module docs, and whether the compiler ever sees the file.

use crate::Violation;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// No hand-written file may be longer.
const MAX_LINES: usize = 600;

/// A Rust file of the tree.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path relative to the root.
    pub(crate) path: PathBuf,
    text: String,
}

impl Source {
    fn generated(&self) -> bool {
        self.text.lines().take(3).any(|l| l.contains("@generated"))
    }

    fn lines(&self) -> usize {
        self.text.lines().count()
    }
}

/// Reads every `.rs` file under `crates/` and `xtask/`.
pub(crate) fn read(root: &Path) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for top in ["crates", "xtask"] {
        walk(&root.join(top), &mut found)?;
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("reading {}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
            Ok(Source { path, text })
        })
        .collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|n| n != "target") {
                walk(&path, found)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Files over the limit; also prints the distribution.
pub(crate) fn sizes(sources: &[Source]) -> Vec<Violation> {
    sources
        .iter()
        .filter(|s| !s.generated() && s.lines() > MAX_LINES)
        .map(|s| {
            let text = format!(
                "{} lines; the limit is {MAX_LINES}: split by purpose",
                s.lines()
            );
            Violation::new(s.path.display().to_string(), text)
        })
        .collect()
}

/// p50, p90 and maximum of the hand-written files' lines.
pub(crate) fn distribution(sources: &[Source]) -> (usize, usize, usize) {
    let mut lines: Vec<usize> = sources
        .iter()
        .filter(|s| !s.generated())
        .map(Source::lines)
        .collect();
    lines.sort_unstable();
    let at = |percent: usize| {
        lines
            .get((lines.len().saturating_sub(1)) * percent / 100)
            .copied()
            .unwrap_or(0)
    };
    (at(50), at(90), at(100))
}

/// Files that do not say what they are for in a `//!` line.
pub(crate) fn docs(sources: &[Source]) -> Vec<Violation> {
    sources
        .iter()
        .filter(|s| !s.generated())
        .filter(|s| {
            !s.text
                .lines()
                .take(5)
                .any(|l| l.trim_start().starts_with("//!"))
        })
        .map(|s| {
            Violation::new(
                s.path.display().to_string(),
                "no `//!` line says its purpose".into(),
            )
        })
        .collect()
}

/// Files under `src/` that no `mod` names, so that they never compile.
pub(crate) fn orphans(sources: &[Source]) -> Vec<Violation> {
    let declared: BTreeSet<(PathBuf, String)> = sources.iter().flat_map(declarations).collect();
    sources
        .iter()
        .filter(|s| s.path.components().any(|c| c.as_os_str() == "src"))
        .filter(|s| !is_root(&s.path))
        .filter(|s| !module_of(&s.path).is_some_and(|m| declared.contains(&m)))
        .map(|s| {
            Violation::new(
                s.path.display().to_string(),
                "no `mod` names this file".into(),
            )
        })
        .collect()
}

fn is_root(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let parent = path
        .parent()
        .and_then(Path::file_name)
        .and_then(|n| n.to_str());
    (matches!(name, "lib.rs" | "main.rs") && parent == Some("src")) || parent == Some("bin")
}

/// The folder a module's parent declares its children in, and the module's name.
fn module_of(path: &Path) -> Option<(PathBuf, String)> {
    let stem = path.file_stem()?.to_str()?;
    let dir = path.parent()?;
    if stem == "mod" {
        let name = dir.file_name()?.to_str()?;
        return Some((dir.parent()?.to_owned(), name.to_owned()));
    }
    Some((dir.to_owned(), stem.to_owned()))
}

fn declarations(source: &Source) -> Vec<(PathBuf, String)> {
    let dir = source.path.parent().unwrap_or(Path::new("")).to_owned();
    let stem = source
        .path
        .file_stem()
        .and_then(|s| s.to_str())
        .unwrap_or_default();
    let children = if matches!(stem, "mod" | "lib" | "main") {
        dir
    } else {
        dir.join(stem)
    };
    let by_path = source.text.lines().filter_map(|line| {
        let file = line
            .trim()
            .strip_prefix("#[path = \"")?
            .strip_suffix(".rs\"]")?;
        Some((source.path.parent()?.to_owned(), file.to_owned()))
    });
    let by_name = source.text.lines().filter_map(|line| {
        let line = line.trim();
        let at = line.find("mod ")?;
        let before = line.get(..at)?;
        let visible = before.is_empty() || before.starts_with("pub");
        let name = line.get(at + 4..)?.strip_suffix(';')?;
        visible.then(|| (children.clone(), name.to_owned()))
    });
    by_name.chain(by_path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn a_file_that_no_module_names_is_found() {
        let tree = [
            source("crates/a/src/lib.rs", "//! a\npub mod inside;\nmod deep;\n"),
            source(
                "crates/a/src/inside.rs",
                "//! i\nmod child;\n#[path = \"in_tests.rs\"]\nmod tests;\n",
            ),
            source("crates/a/src/in_tests.rs", "//! t"),
            source("crates/a/src/inside/child.rs", "//! c"),
            source("crates/a/src/deep/mod.rs", "//! d\npub(crate) mod leaf;\n"),
            source("crates/a/src/deep/leaf.rs", "//! l"),
            source("crates/a/src/lost.rs", "//! never compiled"),
        ];
        let found = orphans(&tree);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].file, "crates/a/src/lost.rs");
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_generated() {
        let long = "//! x\n".to_owned() + &"\n".repeat(MAX_LINES);
        let tree = [
            source("a.rs", &long),
            source("b.rs", &format!("// @generated\n{long}")),
        ];
        assert_eq!(sizes(&tree).len(), 1);
    }

    #[test]
    fn a_file_without_a_purpose_is_found() {
        let tree = [
            source("a.rs", "fn main() {}"),
            source("b.rs", "//! Says why.\n"),
        ];
        assert_eq!(docs(&tree).len(), 1);
    }
}
