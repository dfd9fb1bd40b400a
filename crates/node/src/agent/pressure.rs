//! Nodes under pressure: when a node is short of memory or disk, which pod has to go, and what it
//! is told. Pure.

use super::demand::{Amounts, qos_rank};
use jiff::{SignedDuration, Timestamp};
use plimsoll_quantity::Quantity;
use std::cmp::Reverse;

/// Priority from which on a pod is never evicted for its node's sake.
const CRITICAL: i32 = 2_000_000_000;

/// When a node counts as short of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Least memory that must be available, in bytes; never more than a tenth of the node.
    pub memory_available_bytes: u64,
    /// Least part of the disk that must be available, in percent.
    pub disk_available_percent: u64,
    /// How long a node shows as short of something after it no longer is.
    pub transition: SignedDuration,
}

impl Default for Thresholds {
    /// 100 MiB of memory and 1 % of the disk; 5 minutes.
    ///
    /// Departs: upstream takes 10 % of the disk, but that is the node's own. Here it is the
    /// user's, and pods are no reason why it is full.
    fn default() -> Self {
        Self {
            memory_available_bytes: 100 << 20,
            disk_available_percent: 1,
            transition: SignedDuration::from_secs(300),
        }
    }
}

/// What a node may be short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Memory.
    Memory,
    /// Disk.
    Disk,
}

impl Signal {
    /// The node condition that shows it.
    pub fn condition(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
        }
    }

    /// The resource as messages name it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "ephemeral-storage",
        }
    }

    /// Reason and message of the condition.
    pub fn claim(self, under_pressure: bool) -> (&'static str, &'static str) {
        match (self, under_pressure) {
            (Self::Memory, true) => (
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available",
            ),
            (Self::Memory, false) => (
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            (Self::Disk, true) => ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            (Self::Disk, false) => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        }
    }

    /// Reason of the node's event.
    pub fn event(self, under_pressure: bool) -> &'static str {
        match (self, under_pressure) {
            (Self::Memory, true) => "NodeHasInsufficientMemory",
            (Self::Memory, false) => "NodeHasSufficientMemory",
            (Self::Disk, true) => "NodeHasDiskPressure",
            (Self::Disk, false) => "NodeHasNoDiskPressure",
        }
    }
}

/// One reading of what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Of what.
    pub signal: Signal,
    /// What is left, in bytes.
    pub available: u64,
    /// Least that must be left, in bytes.
    pub threshold: u64,
}

impl Reading {
    /// Of a node's memory.
    pub fn memory(thresholds: &Thresholds, capacity: u64, used: u64) -> Self {
        Self {
            signal: Signal::Memory,
            available: capacity.saturating_sub(used),
            threshold: thresholds.memory_available_bytes.min(capacity / 10),
        }
    }

    /// Of the disk under it.
    pub fn disk(thresholds: &Thresholds, capacity: u64, available: u64) -> Self {
        let part = u128::from(capacity) * u128::from(thresholds.disk_available_percent) / 100;
        Self {
            signal: Signal::Disk,
            available,
            threshold: u64::try_from(part).unwrap_or(u64::MAX),
        }
    }

    fn is_short(self) -> bool {
        self.available < self.threshold
    }
}

/// What one node is short of.
#[derive(Debug, Clone, Default)]
pub struct Pressure {
    /// Since when it shows, and when it was last true.
    memory: Option<(Timestamp, Timestamp)>,
    disk: Option<(Timestamp, Timestamp)>,
    /// The pod that was told to go last.
    pub leaving: Option<String>,
    /// When each condition last changed, memory first.
    changed: [Option<Timestamp>; 2],
}

impl Pressure {
    /// Takes a reading; returns whether what the node shows has changed.
    pub fn observe(&mut self, reading: Reading, thresholds: &Thresholds, now: Timestamp) -> bool {
        let slot = match reading.signal {
            Signal::Memory => &mut self.memory,
            Signal::Disk => &mut self.disk,
        };
        let before = slot.is_some();
        if reading.is_short() {
            let since = slot.map_or(now, |(since, _)| since);
            *slot = Some((since, now));
        } else if slot.is_some_and(|(_, seen)| now.duration_since(seen) >= thresholds.transition) {
            *slot = None;
        }
        let changes = before != slot.is_some();
        if changes {
            let [memory, disk] = &mut self.changed;
            match reading.signal {
                Signal::Memory => *memory = Some(now),
                Signal::Disk => *disk = Some(now),
            }
        }
        changes
    }

    /// Whether the node shows as short of it.
    pub fn shows(&self, signal: Signal) -> bool {
        match signal {
            Signal::Memory => self.memory.is_some(),
            Signal::Disk => self.disk.is_some(),
        }
    }

    /// When that last changed.
    pub fn since(&self, signal: Signal) -> Option<Timestamp> {
        let [memory, disk] = self.changed;
        match signal {
            Signal::Memory => memory,
            Signal::Disk => disk,
        }
    }

    /// Why a new pod is not taken on now: all it can do is to make things worse.
    pub fn refusal(&self, qos: &str, priority: i32, tolerates: bool) -> Option<String> {
        let memory = self.shows(Signal::Memory) && qos == "BestEffort" && !tolerates;
        let shown: Vec<&str> = [
            (Signal::Memory, memory),
            (Signal::Disk, self.shows(Signal::Disk)),
        ]
        .into_iter()
        .filter(|(_, refused)| *refused)
        .map(|(signal, _)| signal.condition())
        .collect();
        let refused = !shown.is_empty() && priority < CRITICAL;
        refused.then(|| format!("The node had condition: [{}]. ", shown.join(", ")))
    }
}

/// A pod that might have to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub uid: String,
    /// Its importance.
    pub priority: i32,
    /// Its service class.
    pub qos: &'static str,
    /// What it was promised.
    pub requested: Amounts,
    /// What it uses of what is short, in bytes.
    pub used: u64,
    /// The same of its containers, with what each was promised.
    pub containers: Vec<(String, u64, u64)>,
}

/// Which pod goes: one that uses more than it was promised before others, then the least
/// important, then the one that uses most beyond its promise.
pub fn choose(signal: Signal, candidates: &[Candidate]) -> Option<&Candidate> {
    let promised = |c: &Candidate| match signal {
        Signal::Memory => c.requested.memory_bytes,
        Signal::Disk => 0,
    };
    let allowed = candidates.iter().filter(|c| c.priority < CRITICAL);
    allowed.min_by_key(|c| {
        let beyond = i128::from(c.used) - i128::from(promised(c));
        (
            beyond <= 0,
            c.priority,
            Reverse(beyond),
            Reverse(qos_rank(c.qos)),
            c.uid.clone(),
        )
    })
}

/// What a pod that goes is told.
pub fn message(reading: Reading, candidate: &Candidate) -> String {
    let show =
        |bytes: u64| Quantity::from_bytes(i64::try_from(bytes).unwrap_or(i64::MAX)).to_string();
    // In whole KiB, as upstream measures.
    let round = |bytes: u64| show(bytes / 1024 * 1024);
    let resource = reading.signal.resource();
    let mut text = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        show(reading.threshold),
        round(reading.available)
    );
    for (name, used, requested) in candidate
        .containers
        .iter()
        .filter(|(_, used, promised)| used > promised)
    {
        text.push_str("Container ");
        let asked = if *requested == 0 {
            "0".to_owned()
        } else {
            show(*requested)
        };
        let used = round(*used);
        text.extend([
            name.as_str(),
            " was using ",
            &used,
            ", request is ",
            &asked,
            ", has larger consumption of ",
            resource,
            ". ",
        ]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn pod(uid: &str, priority: i32, requested: u64, used: u64) -> Candidate {
        Candidate {
            uid: uid.to_owned(),
            priority,
            qos: "Burstable",
            requested: Amounts {
                cpu_milli: 0,
                memory_bytes: requested,
            },
            used,
            containers: vec![("app".to_owned(), used, requested)],
        }
    }

    #[rstest]
    #[case::over_its_promise(&[pod("a", 0, 100, 50), pod("b", 9, 10, 20)], "b")]
    #[case::least_important(&[pod("a", 5, 0, 50), pod("b", 1, 0, 20)], "b")]
    #[case::most_beyond(&[pod("a", 0, 40, 50), pod("b", 0, 0, 20)], "b")]
    #[case::never_a_critical_one(&[pod("a", CRITICAL, 0, 500), pod("b", 0, 100, 20)], "b")]
    fn one_has_to_go(#[case] pods: &[Candidate], #[case] want: &str) {
        assert_eq!(choose(Signal::Memory, pods).unwrap().uid, want);
    }

    #[test]
    fn pressure_shows_at_once_and_goes_after_the_transition() {
        let thresholds = Thresholds::default();
        let mut pressure = Pressure::default();
        let reading = |used: u64| Reading::memory(&thresholds, 2 << 30, used);
        let (low, fine) = (reading((2 << 30) - (50 << 20)), reading(1 << 30));
        assert!(!pressure.observe(fine, &thresholds, at(0)));
        assert!(pressure.observe(low, &thresholds, at(1)));
        assert!(pressure.shows(Signal::Memory) && !pressure.shows(Signal::Disk));
        assert!(!pressure.observe(fine, &thresholds, at(300)));
        assert!(pressure.shows(Signal::Memory));
        assert!(pressure.observe(fine, &thresholds, at(301)));
        assert!(!pressure.shows(Signal::Memory));
        assert_eq!(pressure.since(Signal::Memory), Some(at(301)));
    }

    #[test]
    fn a_small_node_keeps_a_tenth() {
        let reading = Reading::memory(&Thresholds::default(), 200 << 20, 0);
        assert_eq!(reading.threshold, 20 << 20);
    }

    #[rstest]
    #[case::best_effort("BestEffort", 0, false, true)]
    #[case::that_tolerates_it("BestEffort", 0, true, false)]
    #[case::with_a_promise("Burstable", 0, false, false)]
    #[case::critical("BestEffort", CRITICAL, false, false)]
    fn memory_pressure_refuses(
        #[case] qos: &str,
        #[case] priority: i32,
        #[case] tolerates: bool,
        #[case] want: bool,
    ) {
        let mut pressure = Pressure::default();
        let thresholds = Thresholds::default();
        pressure.observe(
            Reading::memory(&thresholds, 1 << 30, 1 << 30),
            &thresholds,
            at(0),
        );
        let why = pressure.refusal(qos, priority, tolerates);
        assert_eq!(why.is_some(), want, "{why:?}");
        assert!(why.is_none_or(|why| why == "The node had condition: [MemoryPressure]. "));
    }

    #[test]
    fn a_pod_is_told_the_figures() {
        let reading = Reading {
            signal: Signal::Memory,
            available: 50 << 20,
            threshold: 100 << 20,
        };
        assert_eq!(
            message(reading, &pod("a", 0, 0, 500 << 20)),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. \
             Container app was using 500Mi, request is 0, has larger consumption of memory. "
        );
    }
}
