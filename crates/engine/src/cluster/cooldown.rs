//! After what nothing is removed for a while (reference §12.4).

use super::group::GroupId;
use super::shrink::Delays;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What makes removal wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// A group was grown.
    Added,
    /// A node was removed.
    Deleted,
    /// A removal failed.
    Failed,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Last {
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Timestamp>,
}

/// When groups were last grown and shrunk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cooldowns {
    groups: BTreeMap<GroupId, Last>,
}

impl Cooldowns {
    /// Remembers what happened to a group.
    pub fn note(&mut self, what: Happened, group: &GroupId, now: Timestamp) {
        let last = self.groups.entry(GroupId::clone(group)).or_default();
        match what {
            Happened::Added => last.added = Some(now),
            Happened::Deleted => last.deleted = Some(now),
            Happened::Failed => last.failed = Some(now),
        }
    }

    /// Forgets groups that do not exist any more and hold nothing back.
    pub(super) fn forget(&mut self, known: impl Fn(&str) -> bool, delays: &Delays, now: Timestamp) {
        self.groups
            .retain(|group, last| known(group) || last.wait(delays, now).is_some());
    }

    /// Why nothing is removed from any group.
    pub fn of_all(&self, delays: &Delays, now: Timestamp) -> Option<String> {
        if delays.per_group {
            return None;
        }
        let waits = self.groups.iter().filter_map(|(group, last)| {
            let (until, flag) = last.wait(delays, now)?;
            Some((until, flag, group))
        });
        let (until, flag, group) = waits.max_by_key(|(until, ..)| *until)?;
        Some(sentence(group, until, flag))
    }

    /// Why nothing is removed from one group, with `--scale-down-delay-type-local`.
    pub fn of_group(&self, group: &str, delays: &Delays, now: Timestamp) -> Option<String> {
        if !delays.per_group {
            return None;
        }
        let (until, flag) = self.groups.get(group)?.wait(delays, now)?;
        Some(sentence(group, until, flag))
    }
}

fn sentence(group: &str, until: Timestamp, flag: Happened) -> String {
    let (what, flag) = match flag {
        Happened::Added => ("was grown", "--scale-down-delay-after-add"),
        Happened::Deleted => ("was shrunk", "--scale-down-delay-after-delete"),
        Happened::Failed => ("failed to shrink", "--scale-down-delay-after-failure"),
    };
    format!("in cooldown until {until:.0}: group {group} {what} ({flag})")
}

impl Last {
    /// Until when it holds back, if it does, and what of it does longest.
    fn wait(&self, delays: &Delays, now: Timestamp) -> Option<(Timestamp, Happened)> {
        let end = |last: Option<Timestamp>, delay: SignedDuration, what| {
            let until = last?.saturating_add(delay).ok()?;
            (until > now).then_some((until, what))
        };
        [
            end(self.added, delays.after_add, Happened::Added),
            end(self.deleted, delays.after_delete, Happened::Deleted),
            end(self.failed, delays.after_failure, Happened::Failed),
        ]
        .into_iter()
        .flatten()
        .max_by_key(|(until, _)| *until)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cooldowns, Delays, Happened};
    use jiff::{SignedDuration, Timestamp};
    use rstest::rstest;

    #[rstest]
    #[case::just_grown(Happened::Added, 599, true)]
    #[case::grown_a_while_ago(Happened::Added, 600, false)]
    #[case::removal_alone_holds_nothing_back(Happened::Deleted, 0, false)]
    #[case::just_failed(Happened::Failed, 179, true)]
    #[case::failed_a_while_ago(Happened::Failed, 180, false)]
    fn delays_are_upstreams(#[case] what: Happened, #[case] after: i64, #[case] waits: bool) {
        let mut cooldowns = Cooldowns::default();
        cooldowns.note(what, &"ng".into(), Timestamp::UNIX_EPOCH);
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(after);
        let why = cooldowns.of_all(&Delays::default(), now);
        assert_eq!(why.is_some(), waits, "{why:?}");
        assert_eq!(cooldowns.of_group("ng", &Delays::default(), now), None);
    }

    #[test]
    fn with_local_delays_only_the_group_waits() {
        let delays = Delays {
            per_group: true,
            ..Delays::default()
        };
        let (mut cooldowns, now) = (Cooldowns::default(), Timestamp::UNIX_EPOCH);
        cooldowns.note(Happened::Added, &"a".into(), now);
        assert_eq!(cooldowns.of_all(&delays, now), None);
        assert_eq!(cooldowns.of_group("b", &delays, now), None);
        let why = cooldowns.of_group("a", &delays, now).unwrap();
        assert!(why.contains("--scale-down-delay-after-add"), "{why}");
    }
}
