//! The two newest points of a growing counter, and the usage between them.

use std::time::Duration;

/// A container must have run this long for its start to count as a point.
const FRESH_FROM_MILLIS: i64 = 10_000;
const NANOS: f64 = 1e9;
/// cAdvisor samples a container every 10 to 15 s however often it is asked, so points this far apart
/// are neighbours even where samples must be younger.
const NEIGHBOURS: Duration = Duration::from_secs(30);

/// A series that usage is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    NodeCpu,
    NodeMemory,
    ContainerCpu,
    ContainerMemory,
    ContainerStart,
}

impl Series {
    /// The series of a name.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"node_cpu_usage_seconds_total" => Some(Self::NodeCpu),
            b"node_memory_working_set_bytes" => Some(Self::NodeMemory),
            b"container_cpu_usage_seconds_total" => Some(Self::ContainerCpu),
            b"container_memory_working_set_bytes" => Some(Self::ContainerMemory),
            b"container_start_time_seconds" => Some(Self::ContainerStart),
            _ => None,
        }
    }
}

/// A sample's value, finite and not negative, and its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    pub(super) value: f64,
    /// Milliseconds since 1970; `None` where the text gives none.
    pub(super) at_millis: Option<i64>,
}

/// The times that readings are judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Between two readings.
    pub(super) resolution: Duration,
    /// A container whose sample has not changed for longer is not measured any more.
    pub(super) max_age: Duration,
}

/// What is known at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) cpu_nanos: Option<u64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) at_millis: Option<i64>,
    pub(super) start_millis: Option<i64>,
}

/// A complete point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) cpu_nanos: u64,
    pub(super) memory_bytes: u64,
    pub(super) at_millis: i64,
    pub(super) start_millis: Option<i64>,
}

impl Point {
    pub(super) fn set(&mut self, series: Series, reading: Reading) {
        match series {
            Series::NodeCpu | Series::ContainerCpu => {
                self.cpu_nanos = Some(whole(reading.value * NANOS));
                self.at_millis = reading.at_millis;
            }
            Series::NodeMemory | Series::ContainerMemory => {
                self.memory_bytes = Some(whole(reading.value));
            }
            Series::ContainerStart => {
                let millis = whole(reading.value * 1000.0);
                self.start_millis = i64::try_from(millis).ok();
            }
        }
    }

    /// Departs: metrics-server counts a container without a memory sample as using none, which
    /// would make an autoscaler drop pods; here the pod is not measured.
    pub(super) fn measured(self, received_millis: i64) -> Option<Measured> {
        Some(Measured {
            cpu_nanos: self.cpu_nanos?,
            memory_bytes: self.memory_bytes?,
            at_millis: self.at_millis.unwrap_or(received_millis),
            start_millis: self.start_millis,
        })
    }
}

/// The whole part of a value that is finite and not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and the value is not negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// Usage over the time between two points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) cpu_nano: u64,
    pub(super) memory_bytes: u64,
    pub(super) at_millis: i64,
    pub(super) window_millis: i64,
}

/// The two newest points of a counter.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Track {
    pub(super) earlier: Option<Measured>,
    pub(super) last: Option<Measured>,
}

impl Track {
    /// Takes in a new point. Between points that lie further apart than samples may be old, usage is
    /// an average over an outage, not what is used now: then two new points are needed, as in
    /// metrics-server after every missed reading.
    pub(super) fn roll(&mut self, new: Measured, pace: Pace) {
        let age = new
            .start_millis
            .and_then(|start| new.at_millis.checked_sub(start));
        let is_fresh = age.is_some_and(|age| {
            age >= FRESH_FROM_MILLIS
                && u128::try_from(age).is_ok_and(|a| a < pace.resolution.as_millis())
        });
        let longest = pace.max_age.max(NEIGHBOURS).as_millis();
        let is_near = |last: &Measured| {
            let gap = new.at_millis.checked_sub(last.at_millis);
            gap.is_some_and(|gap| u128::try_from(gap).is_ok_and(|gap| gap <= longest))
        };
        self.earlier = match (self.last, new.start_millis) {
            (_, Some(start)) if is_fresh => Some(Measured {
                cpu_nanos: 0,
                at_millis: start,
                ..new
            }),
            // Restarted since: the counter began anew.
            (Some(last), Some(start)) if start >= last.at_millis => None,
            (Some(last), _) if new.at_millis > last.at_millis => Some(last).filter(is_near),
            (Some(_), _) => self
                .earlier
                .filter(|earlier| earlier.at_millis < new.at_millis),
            (None, _) => None,
        };
        self.last = Some(new);
    }

    /// Usage between the points; `None` without two, and where the counter went back.
    pub(super) fn usage(&self) -> Option<Usage> {
        let (earlier, last) = (self.earlier?, self.last?);
        let used = last.cpu_nanos.checked_sub(earlier.cpu_nanos)?;
        let window_millis = last.at_millis.checked_sub(earlier.at_millis)?;
        let window = u128::try_from(window_millis).ok().filter(|w| *w > 0)?;
        let rate = u128::from(used) * 1000 / window;
        Some(Usage {
            cpu_nano: u64::try_from(rate).unwrap_or(u64::MAX),
            memory_bytes: last.memory_bytes,
            at_millis: last.at_millis,
            window_millis,
        })
    }
}
