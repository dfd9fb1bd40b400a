//! An autoscaler's memory as a short text.

use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::memory::{Change, Recommendation};
use plimsoll_engine::horizontal::spec::Rules;
use plimsoll_engine::horizontal::{Memory, Settings, Spec};
use serde::{Deserialize, Serialize};

/// How long anything remembered can matter: the longest window or period that the API admits, and
/// a margin for clocks that differ.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_mins(65);

/// What is kept of one autoscaler.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Kind, namespace and name, for people and for sweeping: `HorizontalPodAutoscaler default/web`.
    pub(super) of: String,
    /// What it remembered.
    pub(super) memory: Memory,
}

/// The text's form: counts with their times in milliseconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct Text {
    of: String,
    #[serde(default)]
    recommended: Vec<(i32, i64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    up: Vec<(i32, i64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    down: Vec<(i32, i64)>,
}

/// The time of the newest thing remembered.
pub(super) fn newest(memory: &Memory) -> Option<Timestamp> {
    let recommended = memory.recommendations.iter().map(|r| r.time);
    let ups = memory.scale_up_events.iter().map(|event| event.time);
    let downs = memory.scale_down_events.iter().map(|event| event.time);
    recommended.chain(ups).chain(downs).max()
}

/// How long something remembered can matter to an autoscaler of this spec.
pub(super) fn horizon(spec: &Spec, settings: &Settings) -> SignedDuration {
    let down = settings.downscale_stabilization;
    let Some(behavior) = &spec.behavior else {
        return down;
    };
    let longest = |rules: &Rules, default: SignedDuration| {
        let window = rules.stabilization_window_seconds;
        let window = window.map_or(default, |seconds| SignedDuration::from_secs(seconds.into()));
        let periods = rules.policies.iter().map(|policy| policy.period_seconds);
        periods.fold(window, |longest, seconds| {
            longest.max(SignedDuration::from_secs(seconds.into()))
        })
    };
    let up = longest(&behavior.scale_up, SignedDuration::ZERO);
    up.max(longest(&behavior.scale_down, down))
}

/// Whether nothing remembered is as new as `horizon` before `now`, so that the autoscaler is as
/// good as seen for the first time.
pub(super) fn is_outdated(memory: &Memory, horizon: SignedDuration, now: Timestamp) -> bool {
    newest(memory).is_none_or(|newest| now.duration_since(newest) > horizon)
}

/// Whether two memories, both compacted, differ in nothing but when the newest recommendation was
/// made last: it is in force until another one comes, or until the controller ends, which is noted
/// apart.
pub(super) fn says_the_same(noted: &Memory, memory: &Memory) -> bool {
    let (old, new) = (&noted.recommendations, &memory.recommendations);
    let recommended = match (old.split_last(), new.split_last()) {
        (Some((last, before)), Some((new_last, new_before))) => {
            last.replicas == new_last.replicas && before == new_before
        }
        (None, None) => true,
        _ => false,
    };
    recommended
        && noted.scale_up_events == memory.scale_up_events
        && noted.scale_down_events == memory.scale_down_events
}

/// The text of a memory.
pub(super) fn write(of: &str, memory: &Memory) -> String {
    let changes = |events: &[Change]| -> Vec<(i32, i64)> {
        let pairs = events.iter();
        pairs
            .map(|event| (event.change, event.time.as_millisecond()))
            .collect()
    };
    let recommended = memory.recommendations.iter();
    let text = Text {
        of: of.to_owned(),
        recommended: recommended
            .map(|r| (r.replicas, r.time.as_millisecond()))
            .collect(),
        up: changes(&memory.scale_up_events),
        down: changes(&memory.scale_down_events),
    };
    serde_json::to_string(&text).unwrap_or_default()
}

/// Reads a text at `now`. The newest recommendation was in force until the controller that wrote
/// it ended, which was `alive` then; nothing counts as later than now, as a clock may have been put
/// back.
pub(super) fn read(text: &str, alive: Option<Timestamp>, now: Timestamp) -> Option<Entry> {
    let text: Text = serde_json::from_str(text).ok()?;
    let time = |millis| {
        let time = Timestamp::from_millisecond(millis).ok();
        time.map(|time| time.min(now))
    };
    let changes = |pairs: &[(i32, i64)]| -> Option<Vec<Change>> {
        let changes = pairs.iter().map(|&(change, millis)| {
            Some(Change {
                change: (change >= 0).then_some(change)?,
                time: time(millis)?,
            })
        });
        changes.collect()
    };
    let recommended = text.recommended.iter().map(|&(replicas, millis)| {
        Some(Recommendation {
            replicas,
            time: time(millis)?,
        })
    });
    let mut recommendations: Vec<Recommendation> = recommended.collect::<Option<_>>()?;
    recommendations.sort_by_key(|recommendation| recommendation.time);
    let newest = recommendations.last_mut()?;
    newest.time = alive.map_or(newest.time, |alive| newest.time.max(alive).min(now));
    Some(Entry {
        memory: Memory {
            recommendations,
            scale_up_events: changes(&text.up)?,
            scale_down_events: changes(&text.down)?,
        },
        of: text.of,
    })
}

#[cfg(test)]
mod tests {
    use super::{Entry, LONGEST, horizon, is_outdated, read, says_the_same, write};
    use jiff::{SignedDuration, Timestamp};
    use plimsoll_engine::horizontal::memory::{Change, Recommendation};
    use plimsoll_engine::horizontal::{Memory, Settings, Spec};
    use proptest::prelude::*;
    use rstest::rstest;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn memory(recommended: &[(i32, i64)], ups: &[(i32, i64)]) -> Memory {
        let recommendation = |&(replicas, seconds): &(i32, i64)| Recommendation {
            replicas,
            time: at(seconds),
        };
        let change = |&(change, seconds): &(i32, i64)| Change {
            change,
            time: at(seconds),
        };
        Memory {
            recommendations: recommended.iter().map(recommendation).collect(),
            scale_up_events: ups.iter().map(change).collect(),
            scale_down_events: Vec::new(),
        }
    }

    #[rstest]
    #[case::later(&[(8, 1), (3, 9)], &[], true)]
    #[case::another_count(&[(8, 1), (4, 5)], &[], false)]
    #[case::another_peak(&[(8, 2), (3, 9)], &[], false)]
    #[case::a_change(&[(8, 1), (3, 5)], &[(2, 5)], false)]
    fn only_news_is_saved(
        #[case] recommended: &[(i32, i64)],
        #[case] ups: &[(i32, i64)],
        #[case] same: bool,
    ) {
        let noted = memory(&[(8, 1), (3, 5)], &[]);
        assert_eq!(says_the_same(&noted, &memory(recommended, ups)), same);
    }

    #[rstest]
    #[case::no_json("x")]
    #[case::nothing_recommended(r#"{"of":"a","recommended":[]}"#)]
    #[case::a_negative_change(r#"{"of":"a","recommended":[[1,0]],"up":[[-1,0]]}"#)]
    #[case::no_time(r#"{"of":"a","recommended":[[1,9223372036854775807]]}"#)]
    fn nonsense_is_not_believed(#[case] text: &str) {
        assert_eq!(read(text, None, at(100)), None);
    }

    #[rstest]
    #[case::it_does_not_know(None, 95)]
    #[case::before_the_last_change(Some(20), 95)]
    #[case::a_little_later(Some(98), 98)]
    #[case::later_than_now(Some(200), 100)]
    fn the_newest_counts_until_the_end_and_nothing_as_later_than_now(
        #[case] alive: Option<i64>,
        #[case] newest: i64,
    ) {
        let text = write("a", &memory(&[(8, 90), (3, 95)], &[(5, 400)]));
        let Entry { memory: got, .. } = read(&text, alive.map(at), at(100)).unwrap();
        assert_eq!(got, memory(&[(8, 90), (3, newest)], &[(5, 100)]));
    }

    #[test]
    fn after_days_nothing_is_as_new_as_any_window() {
        let text = write("a", &memory(&[(8, 90), (3, 95)], &[]));
        let Entry { memory, .. } = read(&text, Some(at(100)), at(300_000)).unwrap();
        assert_eq!(memory.recommendations[1].time, at(100));
        assert!(is_outdated(&memory, LONGEST, at(300_000)));
        assert!(!is_outdated(&memory, LONGEST, at(3700)));
    }

    #[rstest]
    #[case::none(serde_json::json!(null), 300)]
    #[case::own_windows(serde_json::json!({"scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {"stabilizationWindowSeconds": 60}}), 60)]
    #[case::a_default_window(serde_json::json!({"scaleUp": {}, "scaleDown": {}}), 300)]
    #[case::a_period(serde_json::json!({"scaleUp": {"policies":
        [{"type": "Pods", "value": 1, "periodSeconds": 1800}]}, "scaleDown": {}}), 1800)]
    fn what_can_matter(#[case] behavior: serde_json::Value, #[case] seconds: i64) {
        let spec: Spec = serde_json::from_value(serde_json::json!({
            "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
            "maxReplicas": 3, "behavior": behavior,
        }))
        .unwrap();
        let want = SignedDuration::from_secs(seconds);
        assert_eq!(horizon(&spec, &Settings::default()), want);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            recommended in proptest::collection::vec((0..1000_i32, 0..99_i64), 1..9),
            ups in proptest::collection::vec((0..1000_i32, 0..99_i64), 0..9),
        ) {
            let mut written = memory(&recommended, &ups);
            written.recommendations.sort_by_key(|recommendation| recommendation.time);
            let got = read(&write("x", &written), None, at(99)).unwrap();
            prop_assert_eq!(got, Entry { of: "x".into(), memory: written });
        }
    }
}
