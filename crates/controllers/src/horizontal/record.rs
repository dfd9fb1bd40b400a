//! An autoscaler's memory as a short text.

use jiff::Timestamp;
use plimsoll_engine::horizontal::Memory;
use plimsoll_engine::horizontal::memory::{Change, Recommendation};
use serde::{Deserialize, Serialize};

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

/// Whether two memories, both compacted, differ in nothing but when the newest recommendation was
/// made last: it is in force until another one comes, which is what reading takes it for.
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

/// Reads a text at `now`. The newest recommendation was in force until the end, so it counts as of
/// now; nothing counts as later than now, as a clock may have been put back.
pub(super) fn read(text: &str, now: Timestamp) -> Option<Entry> {
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
    recommendations.last_mut()?.time = now;
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
    use super::{Entry, read, says_the_same, write};
    use jiff::Timestamp;
    use plimsoll_engine::horizontal::Memory;
    use plimsoll_engine::horizontal::memory::{Change, Recommendation};
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
        assert_eq!(read(text, at(100)), None);
    }

    #[test]
    fn the_newest_counts_as_of_now_and_nothing_as_later() {
        let text = write("a", &memory(&[(8, 90), (3, 95)], &[(5, 400)]));
        let Entry { memory: got, .. } = read(&text, at(100)).unwrap();
        assert_eq!(got, memory(&[(8, 90), (3, 100)], &[(5, 100)]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            recommended in proptest::collection::vec((0..1000_i32, 0..99_i64), 1..9),
            ups in proptest::collection::vec((0..1000_i32, 0..99_i64), 0..9),
        ) {
            let mut written = memory(&recommended, &ups);
            written.recommendations.sort_by_key(|recommendation| recommendation.time);
            let got = read(&write("x", &written), at(99)).unwrap();
            written.recommendations.last_mut().unwrap().time = at(99);
            prop_assert_eq!(got, Entry { of: "x".into(), memory: written });
        }
    }
}
