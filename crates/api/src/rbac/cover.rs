//! Whether somebody who holds some rules holds others: who grants must hold what is granted.

use super::{Rule, url_matches};
use std::collections::BTreeMap;

/// Rules that are not held, each about one thing; verbs for the same thing are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(Vec<Rule>);

impl Missing {
    /// The rules, in the order they were wanted.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }
}

impl std::fmt::Display for Missing {
    /// One rule a line, sorted.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        lines.sort();
        f.write_str(&lines.join("\n"))
    }
}

/// What of `wanted` the rules `held` do not allow; `None` if they allow all of it.
///
/// Each single permission (one verb on one resource of one group by one name, or on one path)
/// must be held by one rule.
pub fn uncovered(held: &[Rule], wanted: &[Rule]) -> Option<Missing> {
    let mut missing = Vec::new();
    for single in wanted.iter().flat_map(singles) {
        if !held.iter().any(|rule| covers(rule, &single)) && !missing.contains(&single) {
            missing.push(single);
        }
    }
    (!missing.is_empty()).then(|| Missing(compact(missing)))
}

/// A rule as single permissions.
fn singles(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let mut out = Vec::new();
    for verb in &rule.verbs {
        for url in &rule.urls {
            out.push(Rule {
                verbs: one(verb),
                urls: one(url),
                ..Rule::default()
            });
        }
        let places = rule
            .groups
            .iter()
            .flat_map(|group| rule.resources.iter().map(move |resource| (group, resource)));
        for (group, resource) in places {
            let single = Rule {
                verbs: one(verb),
                groups: one(group),
                resources: one(resource),
                ..Rule::default()
            };
            if rule.names.is_empty() {
                out.push(single);
                continue;
            }
            out.extend(rule.names.iter().map(|name| Rule {
                names: one(name),
                ..single.clone()
            }));
        }
    }
    out
}

/// Whether `held` allows the single permission.
fn covers(held: &Rule, single: &Rule) -> bool {
    let all = |held: &[String], wanted: &[String], same: fn(&str, &str) -> bool| {
        wanted
            .iter()
            .all(|wanted| held.iter().any(|held| same(held, wanted)))
    };
    // Names say nothing about paths.
    let named = !single.urls.is_empty()
        || held.names.is_empty()
        || (!single.names.is_empty() && all(&held.names, &single.names, |a, b| a == b));
    all(&held.verbs, &single.verbs, any_or_same)
        && all(&held.groups, &single.groups, any_or_same)
        && all(&held.resources, &single.resources, resource_covers)
        && all(&held.urls, &single.urls, url_matches)
        && named
}

fn any_or_same(held: &str, wanted: &str) -> bool {
    held == "*" || held == wanted
}

/// `*` holds all, `*/scale` the `scale` of every resource.
fn resource_covers(held: &str, wanted: &str) -> bool {
    let every_sub = || {
        let sub = held.strip_prefix("*/")?;
        Some(wanted.split_once('/')?.1 == sub)
    };
    any_or_same(held, wanted) || every_sub().unwrap_or(false)
}

/// Puts the verbs of permissions on the same thing together, in order of first appearance.
fn compact(singles: Vec<Rule>) -> Vec<Rule> {
    let mut places: BTreeMap<Rule, usize> = BTreeMap::new();
    let mut out: Vec<Rule> = Vec::new();
    for mut single in singles {
        let verbs = std::mem::take(&mut single.verbs);
        if !single.urls.is_empty() {
            single.verbs = verbs;
            out.push(single);
            continue;
        }
        let place = *places.entry(single.clone()).or_insert_with(|| {
            out.push(single);
            out.len() - 1
        });
        if let Some(rule) = out.get_mut(place) {
            rule.verbs.extend(verbs);
        }
    }
    out
}
