//! When a Job counts as successful before all its indexes are.

use super::scope::{Errors, Scope};

const MOST_RULES: usize = 20;

/// The rules of `successPolicy`.
pub(super) fn policy(spec: &Scope<'_>, errors: &mut Errors) {
    let policy = spec.at("successPolicy");
    if !policy.present() {
        return;
    }
    let completions = spec.at("completions").integer().unwrap_or_default();
    let rules = policy.items("rules");
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(policy.at("rules").required(why));
    }
    if rules.len() > MOST_RULES {
        let why = format!("must have at most {MOST_RULES} items");
        errors.push(policy.at("rules").invalid(why));
    }
    for rule in rules {
        check(&rule, completions, errors);
    }
}

fn check(rule: &Scope<'_>, completions: i64, errors: &mut Errors) {
    let (indexes, count) = (rule.at("succeededIndexes"), rule.at("succeededCount"));
    if !indexes.present() && !count.present() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(rule.required(why));
    }
    let mut most = completions;
    let mut of = "the number of specified completions";
    if indexes.present() {
        match total(indexes.text(), completions) {
            Ok(total) => {
                most = total;
                of = "the number of indexes in the specified succeededIndexes field";
            }
            Err(why) => {
                let why = format!("error parsing succeededIndexes: {why}");
                errors.push(indexes.invalid(why));
            }
        }
    }
    count.not_negative(errors);
    if count.integer().is_some_and(|count| count > most) {
        errors.push(count.invalid(format!("must be less than or equal to {most} ({of})")));
    }
}

/// How many indexes a compressed list names.
fn total(text: &str, completions: i64) -> Result<i64, String> {
    let mut total = 0;
    let mut last: Option<i64> = None;
    for interval in text.split(',') {
        let limits: Vec<&str> = interval.split('-').collect();
        if limits.len() > 2 {
            return Err(format!(
                "the fragment {interval:?} violates the requirement that an index interval can \
                 have at most two parts separated by '-'"
            ));
        }
        let mut first = None;
        for limit in limits {
            let index = index(limit, completions)?;
            if let Some(previous) = last.filter(|last| *last >= index) {
                return Err(format!(
                    "non-increasing order, previous: {previous}, current: {index}"
                ));
            }
            last = Some(index);
            total += first.map_or(1, |first| index - first);
            first = first.or(Some(index));
        }
    }
    Ok(total)
}

fn index(text: &str, completions: i64) -> Result<i64, String> {
    let index: i64 = text
        .parse()
        .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
    if index >= completions {
        return Err(format!("too large index: {text:?}"));
    }
    Ok(index)
}
