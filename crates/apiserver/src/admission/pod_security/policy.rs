//! What a namespace's labels ask for.

use plimsoll_api::meta;
use plimsoll_api::status::FieldError;
use serde_json::Value;
use std::fmt;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much pods may do, from the most to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Anything.
    Privileged,
    /// Nothing that is known to lead out of the pod.
    Baseline,
    /// What hardened workloads need.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// The rules as they were at a minor version of Kubernetes; the newest sort last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// `v1.N`.
    Minor(u32),
    /// `latest`.
    Latest,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let plain = minor == "0" || !minor.starts_with('0');
        let digits = minor.bytes().all(|b| b.is_ascii_digit());
        (plain && digits).then(|| minor.parse().ok().map(Self::Minor))?
    }

    /// Whether the rules of `v1.minor` are in force.
    pub(super) fn since(self, minor: u32) -> bool {
        self >= Self::Minor(minor)
    }
}

/// A level at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standard {
    pub(super) level: Level,
    pub(super) version: Version,
}

impl Standard {
    /// Everything goes.
    const OPEN: Self = Self {
        level: Level::Privileged,
        version: Version::Latest,
    };
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::Latest => write!(f, "{}:latest", self.level.text()),
            Version::Minor(minor) => write!(f, "{}:v1.{minor}", self.level.text()),
        }
    }
}

/// What a namespace enforces, and what it warns about.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(super) enforce: Standard,
    pub(super) warn: Standard,
    /// What is noted in the audit log.
    pub(super) audit: Standard,
    /// What is wrong with the labels.
    pub(super) errors: Vec<FieldError>,
}

impl Policy {
    /// Reads the labels of a namespace.
    ///
    /// Parity: a level nobody understands enforces the strictest one; without a warning level
    /// people are warned about what is enforced.
    pub(crate) fn parse(namespace: &Value) -> Self {
        let mut errors = Vec::new();
        let enforce = standard(
            namespace,
            "enforce",
            (Standard::OPEN, Level::Restricted),
            &mut errors,
        );
        let base = (enforce, Level::Privileged);
        let warn = standard(namespace, "warn", base, &mut errors);
        let audit = standard(
            namespace,
            "audit",
            (Standard::OPEN, Level::Privileged),
            &mut errors,
        );
        Self {
            enforce,
            warn,
            audit,
            errors,
        }
    }
}

/// One mode's standard: what the labels say, `absent` where they say nothing, `unknown` for a
/// level that does not exist.
fn standard(
    namespace: &Value,
    mode: &str,
    (absent, unknown): (Standard, Level),
    errors: &mut Vec<FieldError>,
) -> Standard {
    let mut found = absent;
    let keys = [format!("{PREFIX}{mode}"), format!("{PREFIX}{mode}-version")];
    let [level, version] = &keys;
    let label =
        |key: &str| meta::at(namespace, &["metadata", "labels", key]).and_then(Value::as_str);
    if let Some(text) = label(level) {
        found.level = Level::parse(text).unwrap_or_else(|| {
            let why = "must be one of privileged, baseline, restricted";
            errors.push(FieldError::invalid(field(level), &text.into(), why));
            unknown
        });
    }
    if let Some(text) = label(version) {
        found.version = Version::parse(text).unwrap_or_else(|| {
            let why = "must be \"latest\" or \"v1.x\"";
            errors.push(FieldError::invalid(field(version), &text.into(), why));
            Version::Latest
        });
    }
    found
}

fn field(label: &str) -> String {
    format!("metadata.labels[{label}]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::nothing(json!({}), "privileged:latest", "privileged:latest")]
    #[case::warns_about_what_it_enforces(json!({"enforce": "baseline", "enforce-version": "v1.30"}), "baseline:v1.30", "baseline:v1.30")]
    #[case::apart(json!({"enforce": "baseline", "warn": "restricted"}), "baseline:latest", "restricted:latest")]
    #[case::closed_to_the_unknown(json!({"enforce": "fort", "warn": "fort"}), "restricted:latest", "privileged:latest")]
    fn reads_labels(#[case] labels: Value, #[case] enforce: &str, #[case] warn: &str) {
        let labels: serde_json::Map<String, Value> = labels
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (format!("{PREFIX}{key}"), value.clone()))
            .collect();
        let policy = Policy::parse(&json!({"metadata": {"labels": labels}}));
        assert_eq!(policy.enforce.to_string(), enforce);
        assert_eq!(policy.warn.to_string(), warn);
    }

    #[rstest]
    #[case("v1.0", true)]
    #[case("v1.36", true)]
    #[case("latest", true)]
    #[case("v1.036", false)]
    #[case("v1.", false)]
    #[case("1.30", false)]
    #[case("v2.0", false)]
    fn reads_versions(#[case] text: &str, #[case] good: bool) {
        assert_eq!(Version::parse(text).is_some(), good);
    }
}
