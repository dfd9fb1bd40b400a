//! Which groups the provider looks after: `--nodes`, `--node-group-auto-discovery`.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

/// What is wrong with a flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Not `min:max:name`.
    #[error("wrong nodes configuration: {0}")]
    Nodes(String),
    /// A size that is no number.
    #[error("failed to set {bound} size: {value}, expected integer")]
    Size {
        /// `min` or `max`.
        bound: &'static str,
        /// What was given.
        value: String,
    },
    /// The largest size is below the smallest.
    #[error("max size must be greater or equal to min size")]
    Order,
    /// No name.
    #[error("name must not be blank")]
    Blank,
    /// No discoverer.
    #[error(
        "invalid node group auto discovery spec specified via --node-group-auto-discovery: {0}"
    )]
    Discovery(String),
    /// Another discoverer than `asg`.
    #[error("unsupported discoverer specified: {0}")]
    Discoverer(String),
    /// Another key than `tag`.
    #[error(
        "unsupported parameter key \"{0}\" is specified for discoverer \"asg\". The only supported key is \"tag\""
    )]
    Key(String),
    /// No tag, or an empty one.
    #[error("invalid ASG tag for auto discovery specified: ASG tag must not be empty")]
    EmptyTag,
}

/// A group named by `--nodes=min:max:name`, which is kept within these sizes whatever AWS allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedGroup {
    /// Smallest size.
    pub min: usize,
    /// Largest size.
    pub max: usize,
    /// Name of the Auto Scaling group.
    pub name: Arc<str>,
}

impl FromStr for NamedGroup {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let wrong = || SpecError::Nodes(value.to_owned());
        let (min, rest) = value.split_once(':').ok_or_else(wrong)?;
        let (max, name) = rest.split_once(':').ok_or_else(wrong)?;
        let size = |bound, value: &str| {
            let value = value.to_owned();
            value
                .parse::<usize>()
                .map_err(|_| SpecError::Size { bound, value })
        };
        let (min, max) = (size("min", min)?, size("max", max)?);
        if max < min {
            return Err(SpecError::Order);
        }
        if name.trim().is_empty() {
            return Err(SpecError::Blank);
        }
        let name = name.into();
        Ok(Self { min, max, name })
    }
}

/// `--node-group-auto-discovery=asg:tag=k1,k2=v`: groups that carry all these tags.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagQuery {
    /// Keys, with the value where one is asked for.
    pub tags: BTreeSet<(String, Option<String>)>,
}

impl FromStr for TagQuery {
    type Err = SpecError;

    fn from_str(value: &str) -> Result<Self, SpecError> {
        let wrong = || SpecError::Discovery(value.to_owned());
        let (discoverer, parameter) = value.split_once(':').ok_or_else(wrong)?;
        if discoverer != "asg" {
            return Err(SpecError::Discoverer(discoverer.to_owned()));
        }
        let (key, tags) = parameter.split_once('=').ok_or_else(wrong)?;
        if key != "tag" {
            return Err(SpecError::Key(key.to_owned()));
        }
        let tags: Result<_, _> = tags.split(',').map(tag).collect();
        Ok(Self { tags: tags? })
    }
}

fn tag(text: &str) -> Result<(String, Option<String>), SpecError> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.trim().is_empty() {
        return Err(SpecError::EmptyTag);
    }
    Ok((key.to_owned(), value))
}

impl TagQuery {
    /// Whether a group with these tags is asked for.
    pub(crate) fn matches(&self, tags: &super::model::Tags) -> bool {
        let carries = |(key, wanted): &(String, Option<String>)| {
            let found = tags.get(key);
            found.is_some_and(|found| wanted.as_ref().is_none_or(|wanted| wanted == found))
        };
        self.tags.iter().all(carries)
    }
}

/// Which groups are looked after, and how AWS is reached.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Groups by name.
    pub groups: Vec<NamedGroup>,
    /// Groups by tags: those that any of the queries finds.
    ///
    /// Departs: upstream asks for the tags of all flags at once.
    pub discovery: Vec<TagQuery>,
    /// Contents of `--cloud-config`; empty without one.
    pub cloud_config: super::config::CloudConfig,
    /// `--aws-use-static-instance-list`: instance types come from the table alone.
    pub static_types: bool,
}

#[cfg(test)]
mod tests {
    use super::{NamedGroup, SpecError, TagQuery};
    use rstest::rstest;

    #[rstest]
    #[case("3:6:workers", 3, 6, "workers")]
    #[case("0:0:empty", 0, 0, "empty")]
    #[case("1:2:name:with:colons", 1, 2, "name:with:colons")]
    fn reads_nodes(#[case] text: &str, #[case] min: usize, #[case] max: usize, #[case] name: &str) {
        let name = name.into();
        assert_eq!(text.parse(), Ok(NamedGroup { min, max, name }));
    }

    #[rstest]
    #[case("3:6", "wrong nodes configuration: 3:6")]
    #[case("x:6:a", "failed to set min size: x, expected integer")]
    #[case("1:-6:a", "failed to set max size: -6, expected integer")]
    #[case("4:3:a", "max size must be greater or equal to min size")]
    #[case("1:3: ", "name must not be blank")]
    fn refuses_nodes(#[case] text: &str, #[case] message: &str) {
        assert_eq!(text.parse::<NamedGroup>().unwrap_err().to_string(), message);
    }

    #[test]
    fn reads_tags_with_and_without_values() {
        let query: TagQuery = "asg:tag=k8s.io/cluster-autoscaler/enabled,team=a=b"
            .parse()
            .unwrap();
        let tags = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let enabled = ("k8s.io/cluster-autoscaler/enabled", "whatever");
        assert!(query.matches(&tags(&[enabled, ("team", "a=b")])));
        assert!(!query.matches(&tags(&[enabled, ("team", "a")])));
        assert!(!query.matches(&tags(&[("team", "a=b")])));
    }

    #[rstest]
    #[case("asg", SpecError::Discovery("asg".into()))]
    #[case("mig:tag=a", SpecError::Discoverer("mig".into()))]
    #[case("asg:label=a", SpecError::Key("label".into()))]
    #[case("asg:tag", SpecError::Discovery("asg:tag".into()))]
    #[case("asg:tag=", SpecError::EmptyTag)]
    #[case("asg:tag=a,,b", SpecError::EmptyTag)]
    #[case("asg:tag==v", SpecError::EmptyTag)]
    fn refuses_discovery(#[case] text: &str, #[case] error: SpecError) {
        assert_eq!(text.parse::<TagQuery>(), Err(error));
    }
}
