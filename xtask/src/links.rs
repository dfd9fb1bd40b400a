//! Relative links in the documentation lead somewhere.

use crate::Violation;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Checks README, CHANGELOG and everything under `docs/` and `examples/`.
pub(crate) fn check(root: &Path) -> Result<Vec<Violation>> {
    let mut pages: Vec<PathBuf> = ["README.md", "CHANGELOG.md"]
        .iter()
        .map(|p| root.join(p))
        .collect();
    for top in ["docs", "examples"] {
        markdown(&root.join(top), &mut pages)?;
    }
    let mut found = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page)
            .with_context(|| format!("reading {}", page.display()))?;
        let dir = page.parent().unwrap_or(root);
        for target in targets(&text).filter(|t| !dir.join(t).exists()) {
            let name = page
                .strip_prefix(root)
                .unwrap_or(&page)
                .display()
                .to_string();
            found.push(Violation::new(
                name,
                format!("the link to {target} leads nowhere"),
            ));
        }
    }
    Ok(found)
}

fn markdown(dir: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            markdown(&path, pages)?;
        } else if path.extension().is_some_and(|e| e == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|t| !t.contains("://") && !t.starts_with('#') && !t.is_empty())
        .filter_map(|t| t.split('#').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_targets_count() {
        let text = "[a](docs/a.md) [b](https://example.org) [c](#here) [d](docs/d.md#part)";
        assert_eq!(
            targets(text).collect::<Vec<_>>(),
            ["docs/a.md", "docs/d.md"]
        );
    }
}
