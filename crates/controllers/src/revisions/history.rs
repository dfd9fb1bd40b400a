//! Which revision a template has, and which ones are too many.

use super::{Recorded, RevisionView};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What to do so that a template has its revision.
#[derive(Debug)]
pub enum Choice {
    /// Nothing: the newest revision records it.
    Keep(Arc<RevisionView>),
    /// An older revision records it: it becomes the newest with this number. This is a rollback.
    Renumber(Arc<RevisionView>, i64),
    /// None records it: make one with this number.
    Create(i64),
}

/// Orders revisions from the oldest to the newest.
pub(super) fn sort(revisions: &mut [Arc<RevisionView>]) {
    revisions.sort_by(|a, b| {
        let age = |r: &RevisionView| (r.revision, r.meta.created);
        age(a)
            .cmp(&age(b))
            .then_with(|| a.meta.name().cmp(b.meta.name()))
    });
}

/// Chooses the revision of a template among the revisions there are, oldest first.
pub fn choose(revisions: &[Arc<RevisionView>], recorded: &Recorded) -> Choice {
    let newest = revisions.last();
    let next = newest.map_or(0, |r| r.revision).saturating_add(1);
    let same = revisions.iter().rev().find(|r| r.recorded == *recorded);
    match (same, newest) {
        (Some(same), Some(newest)) if newest.recorded == *recorded => {
            debug_assert!(Arc::ptr_eq(same, newest));
            Choice::Keep(Arc::clone(same))
        }
        (Some(same), _) => Choice::Renumber(Arc::clone(same), next),
        (None, _) => Choice::Create(next),
    }
}

/// The revisions, oldest first, that go so that at most `limit` remain besides those in use.
pub fn surplus(
    mut revisions: Vec<Arc<RevisionView>>,
    live: &BTreeSet<Arc<str>>,
    limit: i32,
) -> Vec<Arc<RevisionView>> {
    let Ok(limit) = usize::try_from(limit) else {
        return Vec::new();
    };
    revisions.retain(|r| !live.contains(r.meta.name()) && !r.meta.is_deleting());
    revisions.truncate(revisions.len().saturating_sub(limit));
    revisions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Cached;
    use rstest::rstest;
    use serde_json::json;

    fn revision(number: i64, template: &str) -> Arc<RevisionView> {
        let wire = json!({
            "metadata": {"name": format!("r{number}")}, "revision": number,
            "data": recorded(template).data(),
        });
        Arc::new(RevisionView::from_wire(
            serde_json::from_str(&wire.to_string()).unwrap(),
        ))
    }

    fn recorded(template: &str) -> Recorded {
        Recorded::template(json!({"spec": {"name": template}}))
    }

    fn shown(choice: &Choice) -> String {
        match choice {
            Choice::Keep(r) => format!("keep {}", r.meta.name()),
            Choice::Renumber(r, number) => format!("{} becomes {number}", r.meta.name()),
            Choice::Create(number) => format!("create {number}"),
        }
    }

    #[rstest]
    #[case::the_first(&[], "a", "create 1")]
    #[case::the_newest_is_kept(&[(1, "a"), (2, "b")], "b", "keep r2")]
    #[case::an_older_one_is_renumbered(&[(1, "a"), (2, "b")], "a", "r1 becomes 3")]
    #[case::the_newer_of_two_equal_ones(&[(1, "a"), (4, "a"), (9, "b")], "a", "r4 becomes 10")]
    #[case::a_new_template(&[(1, "a"), (7, "b")], "c", "create 8")]
    fn chooses(#[case] there: &[(i64, &str)], #[case] template: &str, #[case] want: &str) {
        let mut revisions: Vec<_> = there.iter().rev().map(|(n, t)| revision(*n, t)).collect();
        sort(&mut revisions);
        assert_eq!(shown(&choose(&revisions, &recorded(template))), want);
    }

    #[rstest]
    #[case::none_is_over(&[], 3, &[])]
    #[case::the_oldest_go(&[], 1, &["r1", "r2"])]
    #[case::what_is_in_use_does_not_count(&["r1"], 1, &["r2"])]
    #[case::all_that_are_not_in_use(&["r3"], 0, &["r1", "r2"])]
    #[case::a_negative_limit_keeps_all(&[], -1, &[])]
    fn truncates(#[case] live: &[&str], #[case] limit: i32, #[case] want: &[&str]) {
        let revisions = (1..=3).map(|n| revision(n, "a")).collect();
        let live = live.iter().map(|name| Arc::from(*name)).collect();
        let gone = surplus(revisions, &live, limit);
        let gone: Vec<&str> = gone.iter().map(|r| r.meta.name()).collect();
        assert_eq!(gone, want);
    }
}
