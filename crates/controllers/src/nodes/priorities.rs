//! The list of the expander `priority`: a ConfigMap that people edit.
//!
//! Key `priorities`, YAML: levels with patterns of group names. The highest level that matches a
//! group is the group's.

use plimsoll_engine::cluster::GroupId;
use regex::Regex;
use std::collections::BTreeMap;

/// Name of the ConfigMap, in the namespace of the autoscaler.
pub const CONFIG_MAP: &str = "cluster-autoscaler-priority-expander";
/// Its key.
pub const KEY: &str = "priorities";

/// Why a list cannot be used. All groups are equal then.
#[derive(Debug, thiserror::Error)]
pub enum PrioritiesError {
    /// It is no YAML of levels and patterns.
    #[error("the priority list is not a map of numbers to lists of patterns")]
    Form(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A pattern is no regular expression.
    #[error("the pattern {pattern:?} of level {level} is not a regular expression")]
    Pattern {
        /// The level.
        level: i64,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: Box<regex::Error>,
    },
    /// It names nothing.
    #[error("the priority list is empty")]
    Empty,
}

/// Patterns by level.
#[derive(Debug, Clone)]
pub struct Priorities {
    levels: BTreeMap<i64, Vec<Regex>>,
}

/// Reads a list.
///
/// # Errors
/// It has another form, is empty, or a pattern cannot be read.
pub fn parse(text: &str) -> Result<Priorities, PrioritiesError> {
    if text.trim().is_empty() {
        return Err(PrioritiesError::Empty);
    }
    let raw: BTreeMap<i64, Vec<String>> =
        serde_saphyr::from_str(text).map_err(|error| PrioritiesError::Form(Box::new(error)))?;
    let mut levels = BTreeMap::new();
    for (level, patterns) in raw {
        let compiled: Result<Vec<Regex>, _> = patterns
            .into_iter()
            .map(|pattern| {
                Regex::new(&pattern).map_err(|source| PrioritiesError::Pattern {
                    level,
                    pattern,
                    source: Box::new(source),
                })
            })
            .collect();
        levels.insert(level, compiled?);
    }
    Ok(Priorities { levels })
}

/// The level of each group that some pattern matches, anywhere in its name.
pub fn levels<'a>(
    priorities: &Priorities,
    groups: impl Iterator<Item = &'a GroupId>,
) -> BTreeMap<GroupId, i64> {
    let level = |group: &GroupId| {
        let mut highest_first = priorities.levels.iter().rev();
        let (level, _) = highest_first
            .find(|(_, patterns)| patterns.iter().any(|pattern| pattern.is_match(group)))?;
        Some((GroupId::clone(group), *level))
    };
    groups.filter_map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn the_highest_level_that_matches_is_the_groups() {
        let list = parse("50:\n- spot-.*\n10:\n- .*ondemand.*\n- spot-a\n").unwrap();
        let groups: [GroupId; 3] = ["spot-a".into(), "my-ondemand".into(), "other".into()];
        let levels = levels(&list, groups.iter());
        let want = [("my-ondemand".into(), 10), ("spot-a".into(), 50)];
        assert_eq!(levels.into_iter().collect::<Vec<_>>(), want);
    }

    #[rstest]
    #[case::nothing("", "the priority list is empty")]
    #[case::no_map(
        "- a\n",
        "the priority list is not a map of numbers to lists of patterns"
    )]
    #[case::a_broken_pattern(
        "5:\n- '('\n",
        "the pattern \"(\" of level 5 is not a regular expression"
    )]
    fn a_list_that_cannot_be_used_says_why(#[case] text: &str, #[case] want: &str) {
        assert_eq!(parse(text).map(drop).unwrap_err().to_string(), want);
    }
}
