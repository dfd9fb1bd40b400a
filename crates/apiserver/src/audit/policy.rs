//! What is logged, and how much of it: an `audit.k8s.io/v1` Policy.

use crate::auth::{Attributes, Identity};
use serde::Deserialize;

/// How much of a request is logged; each level has what the ones before it have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who, what, when and how it ended.
    Metadata,
    /// The request's body too.
    Request,
    /// The answer's body too.
    RequestResponse,
}

/// When something is logged about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Stage {
    /// Before anything is done.
    RequestReceived,
    /// A long answer has begun.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// Never happens here; policies name it.
    Panic,
}

impl Stage {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// Why a policy is not usable.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is not YAML of the right form.
    #[error("the audit policy cannot be read")]
    Unreadable(#[source] Box<serde_saphyr::Error>),
    /// It is some other object.
    #[error("the audit policy must be a Policy of audit.k8s.io/v1, not {kind} of {api_version}")]
    OtherKind {
        /// Its kind.
        kind: String,
        /// Its apiVersion.
        api_version: String,
    },
    /// It says nothing.
    #[error("the audit policy has no rules")]
    NoRules,
    /// A rule is about resources and about other paths.
    #[error("rule {0} of the audit policy names both resources and nonResourceURLs")]
    Both(usize),
}

/// Rules, of which the first that fits a request decides; without one nothing is logged.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "allowed, and says nothing")]
    metadata: Option<serde_json::Value>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What the policy says about one request.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) level: Level,
    omitted: Vec<Stage>,
    pub(super) omit_managed_fields: bool,
}

impl Verdict {
    pub(super) fn logs(&self, stage: Stage) -> bool {
        !self.omitted.contains(&stage)
    }
}

impl Policy {
    /// The metadata of every request, once it is answered.
    pub fn metadata() -> Self {
        let rule = Rule {
            level: Level::Metadata,
            users: Vec::new(),
            user_groups: Vec::new(),
            verbs: Vec::new(),
            resources: Vec::new(),
            namespaces: Vec::new(),
            non_resource_urls: Vec::new(),
            omit_stages: Vec::new(),
            omit_managed_fields: None,
        };
        Self {
            api_version: String::new(),
            kind: String::new(),
            metadata: None,
            rules: vec![rule],
            omit_stages: vec![Stage::RequestReceived],
            omit_managed_fields: false,
        }
    }

    /// Reads a policy file (YAML or JSON).
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = serde_saphyr::from_str(text)
            .map_err(|error| PolicyError::Unreadable(Box::new(error)))?;
        if policy.kind != "Policy" || policy.api_version != "audit.k8s.io/v1" {
            return Err(PolicyError::OtherKind {
                kind: policy.kind,
                api_version: policy.api_version,
            });
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::NoRules);
        }
        let both = |rule: &Rule| {
            let about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            about_resources && !rule.non_resource_urls.is_empty()
        };
        match policy.rules.iter().position(both) {
            Some(index) => Err(PolicyError::Both(index)),
            None => Ok(policy),
        }
    }

    pub(super) fn verdict(&self, who: &Identity, asked: &Attributes<'_>) -> Verdict {
        let rule = self.rules.iter().find(|rule| rule.fits(who, asked));
        let own = rule.map(|r| r.omit_stages.as_slice()).unwrap_or_default();
        let fields = rule.and_then(|r| r.omit_managed_fields);
        Verdict {
            level: rule.map(|r| r.level).unwrap_or_default(),
            omitted: self.omit_stages.iter().chain(own).copied().collect(),
            omit_managed_fields: fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn fits(&self, who: &Identity, asked: &Attributes<'_>) -> bool {
        let lists = |list: &[String], text: &str| list.is_empty() || list.iter().any(|l| l == text);
        let grouped = self.user_groups.is_empty() || self.user_groups.iter().any(|g| who.is_in(g));
        if !lists(&self.users, &who.user) || !grouped || !lists(&self.verbs, asked.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return !asked.resource.is_empty()
                && lists(&self.namespaces, asked.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|r| r.fits(asked)));
        }
        let paths = &self.non_resource_urls;
        paths.is_empty()
            || (asked.resource.is_empty() && paths.iter().any(|path| path_fits(path, asked.path)))
    }
}

impl GroupResources {
    fn fits(&self, asked: &Attributes<'_>) -> bool {
        let named = self.resource_names.is_empty()
            || self.resource_names.iter().any(|name| name == asked.name);
        self.group == asked.group
            && named
            && (self.resources.is_empty() || self.resources.iter().any(|r| resource_fits(r, asked)))
    }
}

/// `pods`, `pods/log`, `pods/*`, `*/log` or `*`.
fn resource_fits(rule: &str, asked: &Attributes<'_>) -> bool {
    if rule == "*" {
        return true;
    }
    let (resource, subresource) = rule.split_once('/').unwrap_or((rule, ""));
    let sub =
        subresource == asked.subresource || (subresource == "*" && !asked.subresource.is_empty());
    sub && (resource == "*" || resource == asked.resource)
}

fn path_fits(rule: &str, path: &str) -> bool {
    rule == path
        || rule
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}
