//! A FlowSchema, parsed: which requests it is about.

use crate::auth::{Attributes, Identity};
use plimsoll_api::meta;
use serde_json::Value;

/// One FlowSchema.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) uid: String,
    pub(super) name: String,
    /// Lower goes first.
    pub(super) precedence: i64,
    /// Name of the priority level.
    pub(super) level: String,
    /// Status of the condition `Dangling`; empty if nobody has looked yet.
    pub(super) dangling: String,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<Resources>,
    paths: Vec<Paths>,
}

#[derive(Debug)]
enum Subject {
    User(String),
    Group(String),
    /// Namespace and name.
    Account(String, String),
}

#[derive(Debug)]
struct Resources {
    verbs: Vec<String>,
    groups: Vec<String>,
    names: Vec<String>,
    namespaces: Vec<String>,
    in_cluster: bool,
}

#[derive(Debug)]
struct Paths {
    verbs: Vec<String>,
    paths: Vec<String>,
}

impl Schema {
    /// Reads the object.
    pub(super) fn parse(object: &Value) -> Self {
        let rules = meta::list(object, &["spec", "rules"]);
        Self {
            uid: meta::uid(object).to_owned(),
            name: meta::name(object).to_owned(),
            precedence: meta::integer(object, &["spec", "matchingPrecedence"]).unwrap_or(1000),
            level: meta::text(object, &["spec", "priorityLevelConfiguration", "name"]).to_owned(),
            dangling: meta::list(object, &["status", "conditions"])
                .iter()
                .find(|condition| meta::text(condition, &["type"]) == "Dangling")
                .map(|condition| meta::text(condition, &["status"]).to_owned())
                .unwrap_or_default(),
            rules: rules.iter().map(Rule::parse).collect(),
        }
    }

    /// Whether the schema is about this request.
    pub(super) fn matches(&self, who: &Identity, asked: &Attributes<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(who, asked))
    }
}

impl Rule {
    fn parse(rule: &Value) -> Self {
        let subjects = meta::list(rule, &["subjects"]).iter();
        let resources = meta::list(rule, &["resourceRules"]).iter();
        let paths = meta::list(rule, &["nonResourceRules"]).iter();
        Self {
            subjects: subjects.filter_map(Subject::parse).collect(),
            resources: resources
                .map(|rule| Resources {
                    verbs: texts(rule, "verbs"),
                    groups: texts(rule, "apiGroups"),
                    names: texts(rule, "resources"),
                    namespaces: texts(rule, "namespaces"),
                    in_cluster: rule.get("clusterScope") == Some(&Value::Bool(true)),
                })
                .collect(),
            paths: paths
                .map(|rule| Paths {
                    verbs: texts(rule, "verbs"),
                    paths: texts(rule, "nonResourceURLs"),
                })
                .collect(),
        }
    }

    fn matches(&self, who: &Identity, asked: &Attributes<'_>) -> bool {
        if !self.subjects.iter().any(|subject| subject.is(who)) {
            return false;
        }
        if asked.resource.is_empty() {
            self.paths.iter().any(|paths| paths.matches(asked))
        } else {
            self.resources.iter().any(|rule| rule.matches(asked))
        }
    }
}

impl Subject {
    fn parse(subject: &Value) -> Option<Self> {
        let text = |path: &[&str]| meta::text(subject, path).to_owned();
        match meta::text(subject, &["kind"]) {
            "User" => Some(Self::User(text(&["user", "name"]))),
            "Group" => Some(Self::Group(text(&["group", "name"]))),
            "ServiceAccount" => Some(Self::Account(
                text(&["serviceAccount", "namespace"]),
                text(&["serviceAccount", "name"]),
            )),
            _ => None,
        }
    }

    fn is(&self, who: &Identity) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == who.user,
            Self::Group(name) => name == "*" || who.is_in(name),
            Self::Account(namespace, name) => {
                let own = who.user.strip_prefix("system:serviceaccount:");
                own.and_then(|own| own.split_once(':'))
                    .is_some_and(|(own_namespace, own_name)| {
                        own_namespace == namespace && (name == "*" || own_name == name)
                    })
            }
        }
    }
}

impl Resources {
    fn matches(&self, asked: &Attributes<'_>) -> bool {
        let whole = if asked.subresource.is_empty() {
            asked.resource.to_owned()
        } else {
            format!("{}/{}", asked.resource, asked.subresource)
        };
        let in_scope = if asked.namespace.is_empty() {
            self.in_cluster
        } else {
            lists(&self.namespaces, asked.namespace)
        };
        in_scope
            && lists(&self.verbs, asked.verb)
            && lists(&self.groups, asked.group)
            && lists(&self.names, &whole)
    }
}

impl Paths {
    fn matches(&self, asked: &Attributes<'_>) -> bool {
        let path = |known: &String| match known.strip_suffix("/*") {
            Some(prefix) => {
                let rest = asked.path.strip_prefix(prefix);
                rest.is_some_and(|rest| rest.starts_with('/'))
            }
            None => known == "*" || known == asked.path,
        };
        lists(&self.verbs, asked.verb) && self.paths.iter().any(path)
    }
}

fn lists(list: &[String], item: &str) -> bool {
    list.iter().any(|known| known == "*" || known == item)
}

fn texts(rule: &Value, key: &str) -> Vec<String> {
    let list = meta::list(rule, &[key]).iter();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
