//! A StatefulSet's status from its pods.

use super::plan::{Member, Observation};
use crate::pods::{StatefulSetStatus, StatefulUpdate};
use std::time::Duration;

/// Which revisions a status speaks of.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// Of the last finished rollout.
    pub(super) current: &'a str,
    /// Of the set's template.
    pub(super) update: &'a str,
    /// How often a name was taken.
    pub(super) collisions: i32,
}

/// The status, and when it will change without any event.
pub(super) fn compute(
    seen: &Observation,
    generation: i64,
    names: &Names<'_>,
) -> (StatefulSetStatus, Option<Duration>) {
    let count = |holds: &dyn Fn(&Member) -> bool| {
        let members = seen.members.values().filter(|member| holds(member));
        i32::try_from(members.count()).unwrap_or(i32::MAX)
    };
    let mut status = StatefulSetStatus {
        observed_generation: generation,
        replicas: count(&|_| true),
        ready_replicas: count(&|member| member.is_ready),
        available_replicas: count(&|member| member.is_ready && member.available.is_ok()),
        current_replicas: count(&|member| !member.ends && *member.revision == *names.current),
        updated_replicas: count(&|member| !member.ends && *member.revision == *names.update),
        current_revision: names.current.to_owned(),
        update_revision: names.update.to_owned(),
        collision_count: Some(names.collisions),
    };
    let rolls = matches!(seen.update, StatefulUpdate::RollingUpdate { .. });
    let figures = [
        status.replicas,
        status.ready_replicas,
        status.updated_replicas,
    ];
    if rolls && figures.iter().all(|figure| *figure == seen.replicas) {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    let waits = seen.members.values().filter(|member| member.is_ready);
    let next = waits
        .filter_map(|member| member.available.err())
        .filter(|left| *left != Duration::MAX)
        .min();
    (status, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::{Phase, PodManagement};
    use crate::statefulset::plan::Faults;
    use rstest::rstest;
    use std::collections::BTreeSet;

    fn member(revision: &str) -> Member {
        Member {
            revision: revision.into(),
            phase: Phase::Running,
            is_ready: true,
            available: Ok(()),
            ends: false,
            faults: Faults::default(),
        }
    }

    fn ending(revision: &str) -> Member {
        Member {
            ends: true,
            ..member(revision)
        }
    }

    fn young(revision: &str) -> Member {
        Member {
            available: Err(Duration::from_secs(7)),
            ..member(revision)
        }
    }

    fn pending(revision: &str) -> Member {
        Member {
            phase: Phase::Pending,
            is_ready: false,
            available: Err(Duration::MAX),
            ..member(revision)
        }
    }

    fn seen(replicas: i32, update: StatefulUpdate, members: Vec<Member>) -> Observation {
        Observation {
            replicas,
            start: 0,
            management: PodManagement::OrderedReady,
            update,
            update_revision: "new".into(),
            members: (0..).zip(members).collect(),
            blocked: BTreeSet::new(),
        }
    }

    fn rolling() -> StatefulUpdate {
        StatefulUpdate::RollingUpdate {
            partition: 0,
            max_unavailable: None,
        }
    }

    const NAMES: Names<'static> = Names {
        current: "old",
        update: "new",
        collisions: 0,
    };

    /// (replicas, ready, available, current, updated), and the revision that counts as current.
    #[rstest]
    #[case::half_way(3, rolling(), vec![member("old"), ending("old"), member("new")], (3, 3, 3, 1, 1), "old")]
    #[case::not_ready_yet(2, rolling(), vec![member("new"), pending("new")], (2, 1, 1, 0, 2), "old")]
    #[case::finished(2, rolling(), vec![member("new"), member("new")], (2, 2, 2, 2, 2), "new")]
    #[case::finished_before_all_are_available(1, rolling(), vec![young("new")], (1, 1, 0, 1, 1), "new")]
    #[case::a_pod_too_many(1, rolling(), vec![member("new"), member("new")], (2, 2, 2, 0, 2), "old")]
    #[case::none_wanted(0, rolling(), vec![], (0, 0, 0, 0, 0), "new")]
    #[case::by_hand_never_finishes(1, StatefulUpdate::OnDelete, vec![member("new")], (1, 1, 1, 0, 1), "old")]
    fn counts(
        #[case] replicas: i32,
        #[case] update: StatefulUpdate,
        #[case] members: Vec<Member>,
        #[case] want: (i32, i32, i32, i32, i32),
        #[case] current: &str,
    ) {
        let (status, _) = compute(&seen(replicas, update, members), 4, &NAMES);
        let got = (
            status.replicas,
            status.ready_replicas,
            status.available_replicas,
            status.current_replicas,
            status.updated_replicas,
        );
        assert_eq!(got, want, "{status:?}");
        assert_eq!(status.current_revision, current);
        assert_eq!(
            (&*status.update_revision, status.observed_generation),
            ("new", 4)
        );
    }

    #[test]
    fn looks_again_when_the_first_pod_becomes_available() {
        let members = vec![member("new"), pending("new"), young("new")];
        let (_, next) = compute(&seen(3, rolling(), members), 1, &NAMES);
        assert_eq!(next, Some(Duration::from_secs(7)));
        let (_, next) = compute(&seen(1, rolling(), vec![member("new")]), 1, &NAMES);
        assert_eq!(next, None);
    }
}
