//! What follows from a kubelet's readings.

use super::ledger::{Ledger, MOST_CONTAINERS};
use super::track::{Pace, Reading, Series};
use jiff::Timestamp;
use plimsoll_api::usage::{PodName, PodUsage};
use proptest::prelude::*;
use rstest::rstest;
use std::time::Duration;

const PACE: Pace = Pace {
    resolution: Duration::from_secs(15),
    max_age: Duration::from_secs(45),
};

/// One container's counters at a second: (CPU seconds, start second).
fn say(ledger: &mut Ledger, container: &str, at: i64, (cpu, start): (f64, Option<f64>)) {
    let labels = ["n", "p", container];
    let reading = |value| Reading {
        value,
        at_millis: Some(at * 1000),
    };
    assert!(ledger.take(Series::ContainerCpu, &labels, reading(cpu)));
    assert!(ledger.take(Series::ContainerMemory, &labels, reading(4096.0)));
    if let Some(start) = start {
        assert!(ledger.take(Series::ContainerStart, &labels, reading(start)));
    }
}

fn finish(ledger: &mut Ledger) -> Vec<(PodName, Option<PodUsage>)> {
    let now = Timestamp::from_second(10_000).unwrap();
    ledger.finish(now, PACE).samples.pods
}

#[derive(Debug, PartialEq)]
enum Said {
    Nothing,
    Gone,
    /// Nanocores, window in milliseconds.
    Uses(u64, u32),
}

/// Readings (second, CPU seconds, start second) of one container, then what is said of its pod
/// after the last: nothing, that it is gone, or its usage.
#[rstest]
#[case::one_reading_is_no_rate(&[(1000, 5.0, Some(1.0))], Said::Nothing)]
#[case::two_are(&[(1000, 5.0, Some(1.0)), (1015, 12.5, Some(1.0))], Said::Uses(500_000_000, 15_000))]
#[case::without_start_times(&[(1000, 5.0, None), (1015, 12.5, None)], Said::Uses(500_000_000, 15_000))]
#[case::a_start_is_a_reading(&[(1000, 6.0, Some(988.0))], Said::Uses(500_000_000, 12_000))]
#[case::not_before_ten_seconds(&[(1000, 6.0, Some(991.0))], Said::Nothing)]
#[case::nor_after_a_period(&[(1000, 6.0, Some(985.0))], Said::Nothing)]
#[case::a_restart_begins_anew(&[(1000, 50.0, Some(1.0)), (1015, 60.0, Some(1.0)), (1030, 1.0, Some(1025.0))], Said::Gone)]
#[case::a_counter_that_goes_back(&[(1000, 50.0, None), (1015, 60.0, None), (1030, 1.0, None)], Said::Gone)]
#[case::and_then_counts_again(&[(1015, 60.0, None), (1030, 1.0, None), (1045, 4.0, None)], Said::Uses(200_000_000, 15_000))]
#[case::the_same_reading_says_nothing_new(&[(1000, 5.0, None), (1015, 12.5, None), (1015, 12.5, None)], Said::Nothing)]
#[case::over_an_outage(&[(1000, 5.0, None), (1015, 12.5, None), (1061, 12.5, None)], Said::Gone)]
#[case::after_an_outage(&[(1015, 5.0, None), (1061, 12.5, None), (1076, 20.0, None)], Said::Uses(500_000_000, 15_000))]
#[case::times_without_bounds(&[(-9_000_000_000_000_000, 5.0, Some(9.0e15)), (9_000_000_000_000_000, 5.0, None)], Said::Nothing)]
#[case::a_clock_that_goes_back(&[(1000, 5.0, None), (1015, 12.5, None), (990, 12.5, None)], Said::Gone)]
fn usage_follows_from_two_readings(
    #[case] readings: &[(i64, f64, Option<f64>)],
    #[case] said: Said,
) {
    let mut ledger = Ledger::default();
    let mut pods = Vec::new();
    for (at, cpu, start) in readings {
        ledger.begin();
        say(&mut ledger, "app", *at, (*cpu, *start));
        pods = finish(&mut ledger);
    }
    let got = match pods.first() {
        None => Said::Nothing,
        Some((_, None)) => Said::Gone,
        Some((_, Some(usage))) => Said::Uses(usage.containers[0].cpu_nano, usage.window_ms),
    };
    assert_eq!(got, said);
}

#[test]
fn a_pod_waits_for_all_its_containers() {
    let mut ledger = Ledger::default();
    for (at, containers) in [(1000, 1), (1015, 2), (1030, 2)] {
        ledger.begin();
        for name in ["app", "late"].iter().take(containers) {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            say(&mut ledger, name, at, (at as f64, None));
        }
        let measured = finish(&mut ledger).into_iter().filter_map(|(_, u)| u);
        let sizes: Vec<usize> = measured.map(|u| u.containers.len()).collect();
        let want: &[usize] = if at == 1030 { &[2] } else { &[] };
        assert_eq!(sizes, want, "at {at}");
    }
}

#[test]
fn a_pod_that_leaves_is_said_to_be_gone_once() {
    let mut ledger = Ledger::default();
    for at in [1000, 1015] {
        ledger.begin();
        say(&mut ledger, "app", at, (5.0, None));
        finish(&mut ledger);
    }
    ledger.begin();
    assert!(matches!(finish(&mut ledger).as_slice(), [(_, None)]));
    ledger.begin();
    assert!(finish(&mut ledger).is_empty());
}

#[test]
fn a_container_without_memory_keeps_its_pod_unmeasured() {
    let mut ledger = Ledger::default();
    for at in [1000, 1015] {
        ledger.begin();
        let reading = Reading {
            value: 5.0,
            at_millis: Some(at * 1000),
        };
        assert!(ledger.take(Series::ContainerCpu, &["n", "p", "app"], reading));
        let outcome = ledger.finish(Timestamp::UNIX_EPOCH, PACE);
        assert_eq!((outcome.incomplete, outcome.samples.pods.len()), (1, 0));
    }
}

#[test]
fn a_silent_node_leaves_nothing_behind_and_comes_back_at_once() {
    let mut ledger = Ledger::default();
    for at in [1000, 1015] {
        ledger.begin();
        say(&mut ledger, "app", at, (5.0, None));
        finish(&mut ledger);
    }
    assert!(matches!(
        ledger.silence().samples.pods.as_slice(),
        [(_, None)]
    ));
    ledger.begin();
    say(&mut ledger, "app", 1060, (5.0, None));
    assert!(matches!(finish(&mut ledger).as_slice(), [(_, Some(u))] if u.window_ms == 45_000));
}

/// cAdvisor takes its own time, also when the kubelet is read every second.
#[test]
fn a_short_resolution_does_not_part_neighbouring_samples() {
    let pace = Pace {
        resolution: Duration::from_secs(1),
        max_age: Duration::from_secs(3),
    };
    let mut ledger = Ledger::default();
    let said = [1000, 1015, 1046].map(|at| {
        ledger.begin();
        say(&mut ledger, "app", at, (5.0, None));
        let outcome = ledger.finish(Timestamp::UNIX_EPOCH, pace);
        outcome.samples.pods.first().map(|(_, u)| u.is_some())
    });
    assert_eq!(said, [None, Some(true), Some(false)]);
}

#[test]
fn a_node_is_not_measured_over_an_outage_either() {
    let mut ledger = Ledger::default();
    let said = [1000, 1015, 1100, 1115].map(|at| {
        ledger.begin();
        let reading = Reading {
            value: 5.0,
            at_millis: Some(at * 1000),
        };
        ledger.take(Series::NodeCpu, &["", "", ""], reading);
        ledger.take(Series::NodeMemory, &["", "", ""], reading);
        let outcome = ledger.finish(Timestamp::UNIX_EPOCH, PACE);
        outcome.samples.nodes.first().map(|(_, u)| u.is_some())
    });
    assert_eq!(said, [None, Some(true), Some(false), Some(true)]);
}

#[test]
fn a_sample_that_does_not_move_is_taken_back_and_not_served_again() {
    let mut ledger = Ledger::default();
    let mut said = Vec::new();
    // The kubelet repeats its reading of second 1015 until it is read at 1090.
    for (at, received) in [
        (1000, 0),
        (1015, 15),
        (1015, 45),
        (1015, 75),
        (1015, 90),
        (1030, 105),
    ] {
        ledger.begin();
        say(&mut ledger, "app", at, (5.0, None));
        let received = Timestamp::from_second(received).unwrap();
        let pods = ledger.finish(received, PACE).samples.pods;
        said.push(pods.first().map(|(_, usage)| usage.is_some()));
    }
    assert_eq!(
        said,
        [None, Some(true), None, Some(false), None, Some(true)]
    );
}

#[test]
fn a_node_cannot_have_any_number_of_containers() {
    let mut ledger = Ledger::default();
    ledger.begin();
    let reading = Reading {
        value: 1.0,
        at_millis: None,
    };
    let kept = (0..MOST_CONTAINERS + 10).filter(|number| {
        let name = format!("c{number}");
        ledger.take(Series::ContainerCpu, &["n", "p", &name], reading)
    });
    assert_eq!(kept.count(), MOST_CONTAINERS);
}

proptest! {
    #[test]
    fn rates_are_what_was_used_over_the_time(
        first in 0_u32..1_000_000, more in 0_u32..1_000_000, seconds in 1_i64..45,
    ) {
        let mut ledger = Ledger::default();
        ledger.begin();
        say(&mut ledger, "app", 1000, (f64::from(first), None));
        finish(&mut ledger);
        ledger.begin();
        say(&mut ledger, "app", 1000 + seconds, (f64::from(first) + f64::from(more), None));
        let pods = finish(&mut ledger);
        let usage = pods[0].1.as_ref().unwrap();
        let want = u128::from(more) * 1_000_000_000 / u128::try_from(seconds).unwrap();
        prop_assert_eq!(u128::from(usage.containers[0].cpu_nano), want);
    }
}
