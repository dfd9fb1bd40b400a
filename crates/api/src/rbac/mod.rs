//! Role-based access control: what a rule lets be done, and whether rules hold others.

mod cover;
#[cfg(test)]
mod tests;

pub use cover::{Missing, uncovered};

use crate::meta;
use serde_json::{Map, Value};

/// What is being asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection` or a verb
    /// of its own such as `bind`; for paths that are no resource the lower-case HTTP method.
    pub verb: &'a str,
    /// API group; empty for core.
    pub group: &'a str,
    /// Plural; empty for paths that are no resource.
    pub resource: &'a str,
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Name or empty.
    pub name: &'a str,
    /// The request's path.
    pub path: &'a str,
}

/// One rule of a role. A list that is empty matches nothing, but for the names, which then match
/// every name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Verbs; `*` for every one.
    pub verbs: Vec<String>,
    /// API groups; `*` for every one, `""` for core.
    pub groups: Vec<String>,
    /// `pods`, `pods/exec`, `*/scale` or `*`.
    pub resources: Vec<String>,
    /// Names; empty for every one.
    pub names: Vec<String>,
    /// Paths that are no resource; `*` at the end stands for any rest.
    pub urls: Vec<String>,
}

/// The lists of a rule as JSON names them, in the order they are printed.
const FIELDS: [&str; 5] = [
    "apiGroups",
    "resources",
    "nonResourceURLs",
    "resourceNames",
    "verbs",
];

impl Rule {
    /// Reads a `PolicyRule`; what is no list of strings counts as absent.
    pub fn parse(rule: &Value) -> Self {
        let list = |field: &str| {
            let items = meta::list(rule, &[field]).iter();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            verbs: list("verbs"),
            groups: list("apiGroups"),
            resources: list("resources"),
            names: list("resourceNames"),
            urls: list("nonResourceURLs"),
        }
    }

    /// The `rules` of a Role or ClusterRole.
    pub fn all_of(role: &Value) -> Vec<Self> {
        let rules = meta::list(role, &["rules"]);
        rules.iter().map(Self::parse).collect()
    }

    /// The rule that allows everything on resources, and the one for paths.
    pub fn everything() -> [Self; 2] {
        let any = || vec!["*".to_owned()];
        let resources = Self {
            verbs: any(),
            groups: any(),
            resources: any(),
            ..Self::default()
        };
        let paths = Self {
            verbs: any(),
            urls: any(),
            ..Self::default()
        };
        [resources, paths]
    }

    /// The `PolicyRule`; empty lists are left out.
    pub fn to_value(&self) -> Value {
        let mut rule = Map::new();
        let lists = self.lists();
        for at in [4, 0, 1, 3, 2] {
            if let (Some(field), Some(list)) = (FIELDS.get(at), lists.get(at))
                && !list.is_empty()
            {
                rule.insert((*field).to_owned(), serde_json::json!(list));
            }
        }
        Value::Object(rule)
    }

    fn lists(&self) -> [&Vec<String>; 5] {
        [
            &self.groups,
            &self.resources,
            &self.urls,
            &self.names,
            &self.verbs,
        ]
    }

    /// Whether the rule lets this be done.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        if !matches(&self.verbs, asked.verb) {
            return false;
        }
        if asked.resource.is_empty() {
            return self.urls.iter().any(|url| url_matches(url, asked.path));
        }
        matches(&self.groups, asked.group)
            && self.resources.iter().any(|r| resource_matches(r, asked))
            && (self.names.is_empty() || self.names.iter().any(|n| n == asked.name))
    }
}

impl std::fmt::Display for Rule {
    /// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            "APIGroups",
            "Resources",
            "NonResourceURLs",
            "ResourceNames",
            "Verbs",
        ];
        let mut separator = "";
        f.write_str("{")?;
        for (name, list) in names.into_iter().zip(self.lists()) {
            if !list.is_empty() {
                let quoted: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
                write!(f, "{separator}{name}:[{}]", quoted.join(" "))?;
                separator = ", ";
            }
        }
        f.write_str("}")
    }
}

fn matches(list: &[String], asked: &str) -> bool {
    list.iter().any(|item| item == "*" || item == asked)
}

/// Whether a rule's resource is the one asked for, or stands for it.
fn resource_matches(rule: &str, asked: &Attributes<'_>) -> bool {
    if rule == "*" {
        return true;
    }
    match rule.split_once('/') {
        None => asked.subresource.is_empty() && rule == asked.resource,
        Some((resource, subresource)) => {
            !asked.subresource.is_empty()
                && subresource == asked.subresource
                && (resource == "*" || resource == asked.resource)
        }
    }
}

/// Whether a rule's path is the one asked for, or a prefix that ends in `*`.
fn url_matches(rule: &str, path: &str) -> bool {
    rule == path
        || rule
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}
