//! Files as documents: YAML or JSON, several in a file, lists taken apart.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt;
use std::io::Read;
use std::path::Path;

/// Where a document stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    file: String,
    /// From 1.
    document: usize,
    /// From 1, in a list.
    item: Option<usize>,
}

impl Place {
    fn of(file: &str, document: usize) -> Self {
        Self {
            file: file.to_owned(),
            document,
            item: None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, document {}", self.file, self.document)?;
        match self.item {
            Some(item) => write!(out, ", item {item}"),
            None => Ok(()),
        }
    }
}

/// One object.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) place: Place,
    pub(super) value: Value,
}

impl Document {
    pub(super) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(super) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Whether it is of this namespace; one that names none is of every namespace.
    pub(super) fn is_in(&self, namespace: &str) -> bool {
        let own = self.text("/metadata/namespace");
        own.is_empty() || own == namespace
    }

    pub(super) fn text(&self, pointer: &str) -> &str {
        let text = self.value.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default()
    }

    /// `Deployment web`, for people.
    pub(super) fn label(&self) -> String {
        let (kind, name) = (self.kind(), self.name());
        if name.is_empty() {
            format!("{kind} ({})", self.place)
        } else {
            format!("{kind} {name}")
        }
    }
}

/// Reads a file; `-` is standard input.
///
/// # Errors
/// Names the file, and the document that is none.
pub(super) fn read(path: &Path) -> Result<Vec<Document>> {
    let file = path.display().to_string();
    let text = if file == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("reading standard input")?;
        text
    } else {
        std::fs::read_to_string(path).with_context(|| format!("reading {file}"))?
    };
    parse(&file, &text)
}

fn parse(file: &str, text: &str) -> Result<Vec<Document>> {
    if !text.trim_start().starts_with(['{', '[']) {
        return yaml(file, text);
    }
    // Braces begin YAML as well; only one of the two explanations helps.
    let is_json = Path::new(file).extension().is_some_and(|end| end == "json");
    json(file, text).or_else(|error| match yaml(file, text) {
        Err(other) if !is_json => Err(other),
        Err(_) => Err(error),
        Ok(found) => Ok(found),
    })
}

fn json(file: &str, text: &str) -> Result<Vec<Document>> {
    let mut found = Vec::new();
    let stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    for (index, value) in stream.enumerate() {
        let place = Place::of(file, index + 1);
        let value = value.with_context(|| format!("{place} is no JSON"))?;
        unfold(place, value, &mut found)?;
    }
    Ok(found)
}

fn yaml(file: &str, text: &str) -> Result<Vec<Document>> {
    let mut found = Vec::new();
    let mut number = 0;
    for (line, part) in split(text) {
        // Empty lines in front make the parser's line numbers those of the file.
        let padded = "\n".repeat(line) + &part;
        let place = Place::of(file, number + 1);
        let value = serde_saphyr::from_str::<Value>(&padded);
        let value = value.with_context(|| format!("{place} is no YAML"))?;
        if !value.is_null() {
            number += 1;
            unfold(place, value, &mut found)?;
        }
    }
    Ok(found)
}

/// The documents between lines that start with `---`, each with the number of its first line.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut parts = vec![(0, String::new())];
    for (number, line) in text.lines().enumerate() {
        if line == "---" || line.starts_with("--- ") {
            parts.push((number + 1, String::new()));
        } else if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts
}

/// Takes lists apart. Items without a kind have that of their list.
fn unfold(place: Place, value: Value, into: &mut Vec<Document>) -> Result<()> {
    let kind = value.get("kind").and_then(Value::as_str);
    let Some(kind) = kind.filter(|kind| !kind.is_empty()) else {
        bail!("{place} names no kind");
    };
    let Some(of) = kind.strip_suffix("List").map(str::to_owned) else {
        into.push(Document { place, value });
        return Ok(());
    };
    let api_version = value.get("apiVersion").cloned().unwrap_or_default();
    let items = match value.get("items") {
        Some(Value::Array(items)) => items.as_slice(),
        None | Some(Value::Null) => &[],
        Some(_) => bail!("{place}: items is no list"),
    };
    for (index, item) in items.iter().enumerate() {
        let place = Place {
            item: Some(index + 1),
            ..place.clone()
        };
        let mut value = item.clone();
        let Some(map) = value.as_object_mut() else {
            bail!("{place} is no object");
        };
        if !of.is_empty() && !map.contains_key("kind") {
            map.insert("kind".into(), of.as_str().into());
            map.insert("apiVersion".into(), api_version.clone());
        }
        unfold(place, value, into)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn documents_are_counted_and_lists_taken_apart() {
        let text = "# nothing yet\n---\nkind: A\nmetadata: {name: a}\n---\nkind: BList\nitems:\n- {}\n- {kind: C}\n";
        let found = parse("x.yaml", text).unwrap();
        let shown: Vec<String> = found
            .iter()
            .map(|d| format!("{} in {}", d.kind(), d.place))
            .collect();
        assert_eq!(
            shown,
            [
                "A in x.yaml, document 1",
                "B in x.yaml, document 2, item 1",
                "C in x.yaml, document 2, item 2",
            ]
        );
    }

    #[test]
    fn json_may_hold_several_documents_too() {
        let found = parse(
            "x.json",
            "{\"kind\": \"A\"}\n{\"kind\": \"List\", \"items\": [{\"kind\": \"B\"}]}",
        )
        .unwrap();
        let kinds: Vec<&str> = found.iter().map(super::Document::kind).collect();
        assert_eq!(kinds, ["A", "B"]);
    }

    #[test]
    fn errors_name_the_document_and_the_line_of_the_file() {
        let shown = |text| format!("{:#}", parse("x.yaml", text).unwrap_err());
        let error = shown("kind: A\n---\nkind: [\n");
        assert!(
            error.starts_with("x.yaml, document 2 is no YAML"),
            "{error}"
        );
        assert_eq!(
            shown("kind: A\n---\na: b\n"),
            "x.yaml, document 2 names no kind"
        );
        assert_eq!(
            shown("kind: AList\nitems: 3\n"),
            "x.yaml, document 1: items is no list"
        );
        assert_eq!(
            shown("kind: AList\nitems: [3]\n"),
            "x.yaml, document 1, item 1 is no object"
        );
    }
}
