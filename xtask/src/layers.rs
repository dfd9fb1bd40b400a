//! The arrows between crates point down only, and the engine stays pure.

use crate::Violation;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Which workspace crates each crate may depend on (normal and build dependencies).
const ARROWS: &[(&str, &[&str])] = &[
    ("quantity", &[]),
    ("clock", &[]),
    ("cron", &[]),
    ("cel", &["quantity"]),
    ("engine", &["cel", "cron", "quantity"]),
    ("api", &["cron", "quantity"]),
    ("apiserver", &["api", "cel", "clock", "quantity"]),
    ("controllers", &["api", "clock", "engine", "quantity"]),
    ("sources", &["api", "clock", "engine", "quantity"]),
    ("node", &["api", "clock", "quantity"]),
];

/// What the engine must never reach: everything that does I/O, waits or logs.
const ENGINE_FORBIDS: &[&str] = &[
    "tokio",
    "kube",
    "kube-client",
    "kube-core",
    "hyper",
    "axum",
    "tracing",
    "mio",
    "socket2",
];

/// Checks the arrows and the engine's dependency tree.
pub(crate) fn check(root: &Path) -> Result<Vec<Violation>> {
    let mut found = arrows(&workspace_dependencies(root)?);
    found.extend(forbidden(&tree(root, "plimsoll-engine")?));
    Ok(found)
}

fn arrows(actual: &BTreeMap<String, BTreeSet<String>>) -> Vec<Violation> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut found = Vec::new();
    for (krate, dependencies) in actual {
        let Some(allowed) = allowed.get(krate.as_str()) else {
            continue;
        };
        for dependency in dependencies
            .iter()
            .filter(|d| !allowed.contains(&d.as_str()))
        {
            found.push(Violation::new(
                format!("crates/{krate}/Cargo.toml"),
                format!("{krate} may not depend on {dependency}; allowed: {allowed:?}"),
            ));
        }
    }
    found
}

fn forbidden(tree: &BTreeSet<String>) -> Vec<Violation> {
    ENGINE_FORBIDS
        .iter()
        .filter(|name| tree.contains(**name))
        .map(|name| Violation::new("crates/engine".into(), format!("the engine reaches {name}")))
        .collect()
}

/// Workspace-internal dependencies by crate folder name, from `cargo metadata`.
fn workspace_dependencies(root: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let text = cargo(
        root,
        &[
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ],
    )?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata")?;
    let mut graph = BTreeMap::new();
    for package in list(&metadata, "packages") {
        let name = text_of(package, "name");
        let mut inside = BTreeSet::new();
        for dependency in list(package, "dependencies") {
            let is_dev = text_of(dependency, "kind") == "dev";
            let other = text_of(dependency, "name");
            if let (false, Some(short)) = (is_dev, other.strip_prefix("plimsoll-")) {
                inside.insert(short.to_owned());
            }
        }
        if let Some(short) = name.strip_prefix("plimsoll-") {
            graph.insert(short.to_owned(), inside);
        }
    }
    Ok(graph)
}

fn list<'a>(
    value: &'a serde_json::Value,
    key: &str,
) -> impl Iterator<Item = &'a serde_json::Value> {
    value
        .get(key)
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
}

fn text_of<'a>(value: &'a serde_json::Value, key: &str) -> &'a str {
    value
        .get(key)
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
}

fn tree(root: &Path, package: &str) -> Result<BTreeSet<String>> {
    let text = cargo(
        root,
        &[
            "tree",
            "-p",
            package,
            "-e",
            "normal",
            "--prefix",
            "none",
            "--offline",
        ],
    )?;
    Ok(text
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

fn cargo(root: &Path, args: &[&str]) -> Result<String> {
    let out = Command::new("cargo")
        .args(args)
        .current_dir(root)
        .output()
        .context("cargo")?;
    if !out.status.success() {
        bail!(
            "cargo {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn an_arrow_that_points_up_is_found() {
        let graph = BTreeMap::from([("engine".to_owned(), set(&["controllers"]))]);
        assert_eq!(arrows(&graph).len(), 1);
        let fine = BTreeMap::from([("controllers".to_owned(), set(&["engine", "api"]))]);
        assert_eq!(arrows(&fine).len(), 0);
    }

    #[test]
    fn an_engine_that_reaches_tokio_is_found() {
        assert_eq!(forbidden(&set(&["serde", "tokio"])).len(), 1);
        assert_eq!(forbidden(&set(&["serde", "jiff"])).len(), 0);
    }
}
