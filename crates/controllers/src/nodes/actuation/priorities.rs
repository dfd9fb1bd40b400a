//! In which order the pods of a node are evicted.

use std::time::Duration;

/// Pods of one class of priorities, evicted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    /// Pods of at least this priority, and below that of the next wave. Pods below the lowest one
    /// belong to the first wave.
    pub priority: i32,
    /// The longest grace period one of them gets.
    pub grace: Duration,
}

/// A text that is no drain priority configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPriorities {
    /// Not `PRIORITY:SECONDS`.
    #[error("{0:?} is not of the form PRIORITY:SECONDS")]
    Form(String),
    /// Two entries for one priority.
    #[error("priority {0} is named twice")]
    Twice(i32),
}

/// One wave with all pods.
pub fn all_at_once(grace: Duration) -> Vec<Wave> {
    vec![Wave {
        priority: i32::MIN,
        grace,
    }]
}

/// Reads `--drain-priority-config`, e.g. `10000:20,1000:100,0:60`: pods of priority 0 to 999 go
/// first and get 60 s at most, and so on upwards. An empty text means one wave of `grace`.
///
/// # Errors
/// The text has another form, or names a priority twice.
pub fn parse(text: &str, grace: Duration) -> Result<Vec<Wave>, BadPriorities> {
    if text.trim().is_empty() {
        return Ok(all_at_once(grace));
    }
    let mut waves = Vec::new();
    for entry in text.split(',') {
        let bad = || BadPriorities::Form(entry.to_owned());
        let (priority, seconds) = entry.split_once(':').ok_or_else(bad)?;
        let seconds: u32 = seconds.trim().parse().map_err(|_| bad())?;
        waves.push(Wave {
            priority: priority.trim().parse().map_err(|_| bad())?,
            grace: Duration::from_secs(seconds.into()),
        });
    }
    waves.sort_by_key(|wave| wave.priority);
    for pair in waves.windows(2) {
        if let [one, other] = pair
            && one.priority == other.priority
        {
            return Err(BadPriorities::Twice(one.priority));
        }
    }
    Ok(waves)
}

/// Sorts `pods` into waves, lowest priority first; waves without pods are left out.
pub(super) fn sort<T>(
    waves: &[Wave],
    pods: impl IntoIterator<Item = T>,
    priority: impl Fn(&T) -> i32,
) -> Vec<(Wave, Vec<T>)> {
    let mut sorted: Vec<_> = waves.iter().map(|w| (w.clone(), Vec::new())).collect();
    for pod in pods {
        let later = waves.partition_point(|wave| wave.priority <= priority(&pod));
        if let Some((_, pods)) = sorted.get_mut(later.saturating_sub(1)) {
            pods.push(pod);
        }
    }
    sorted.retain(|(_, pods)| !pods.is_empty());
    sorted
}

#[cfg(test)]
mod tests {
    use super::{BadPriorities, Wave, parse, sort};
    use proptest::prelude::*;
    use rstest::rstest;
    use std::time::Duration;

    const GRACE: Duration = Duration::from_secs(600);

    fn wave(priority: i32, seconds: u64) -> Wave {
        Wave {
            priority,
            grace: Duration::from_secs(seconds),
        }
    }

    #[rstest]
    #[case::none("", &[wave(i32::MIN, 600)])]
    #[case::blank("  ", &[wave(i32::MIN, 600)])]
    #[case::the_reference("10000:20,1000:100,0:60", &[wave(0, 60), wave(1000, 100), wave(10000, 20)])]
    #[case::below_zero(" -5 : 1 ", &[wave(-5, 1)])]
    fn waves_ascend(#[case] text: &str, #[case] want: &[Wave]) {
        assert_eq!(parse(text, GRACE).unwrap(), want);
    }

    #[rstest]
    #[case("1000", BadPriorities::Form("1000".into()))]
    #[case("0:60,", BadPriorities::Form(String::new()))]
    #[case("0:-1", BadPriorities::Form("0:-1".into()))]
    #[case("high:5", BadPriorities::Form("high:5".into()))]
    #[case("5:1,0:2,5:3", BadPriorities::Twice(5))]
    fn other_texts_are_refused(#[case] text: &str, #[case] want: BadPriorities) {
        assert_eq!(parse(text, GRACE).unwrap_err(), want);
    }

    #[test]
    fn pods_go_by_the_wave_they_reach() {
        let waves = parse("10000:20,1000:100,0:60", GRACE).unwrap();
        let sorted = sort(&waves, [2000, -3, 999, 10_000, 0], |priority| *priority);
        let short: Vec<_> = sorted
            .iter()
            .map(|(w, pods)| (w.priority, &**pods))
            .collect();
        let want: [(i32, &[i32]); 3] = [(0, &[-3, 999, 0]), (1000, &[2000]), (10_000, &[10_000])];
        assert_eq!(short, want);
    }

    proptest! {
        #[test]
        fn every_pod_is_in_one_wave_and_none_before_a_lower_one(
            bounds in proptest::collection::btree_set(any::<i32>(), 1..6),
            pods in proptest::collection::vec(any::<i32>(), 0..20),
        ) {
            let waves: Vec<_> = bounds.into_iter().map(|bound| wave(bound, 1)).collect();
            let sorted = sort(&waves, pods.clone(), |pod| *pod);
            let mut all: Vec<i32> = sorted.iter().flat_map(|(_, pods)| pods.clone()).collect();
            for pair in sorted.windows(2) {
                let highest = pair[0].1.iter().max().unwrap();
                prop_assert!(highest < pair[1].1.iter().min().unwrap());
            }
            let mut pods = pods;
            pods.sort_unstable();
            all.sort_unstable();
            prop_assert_eq!(all, pods);
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC*") {
            drop(parse(&text, GRACE));
        }
    }
}
