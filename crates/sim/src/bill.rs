//! What machines cost over time.

use jiff::Timestamp;
use plimsoll_api::nodegroup::NodeGroup;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Adds up machine-hours and dollars. A machine counts from its order to its end, as clouds count
/// them; one that was never made does not.
#[derive(Debug)]
pub(crate) struct Bill {
    /// Dollars for an hour of a machine.
    prices: BTreeMap<Arc<str>, f64>,
    until: Timestamp,
    /// Machines now, and what all of them cost an hour.
    now: Rate,
    pub(crate) hours: f64,
    pub(crate) dollars: f64,
    pub(crate) most: Rate,
    /// None before the first machine.
    pub(crate) fewest: Option<usize>,
}

/// How many machines there are, and dollars an hour for all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rate {
    pub(crate) machines: usize,
    pub(crate) dollars: f64,
}

impl Bill {
    pub(crate) fn new(prices: BTreeMap<Arc<str>, f64>, start: Timestamp) -> Self {
        Self {
            prices,
            until: start,
            now: Rate::default(),
            hours: 0.0,
            dollars: 0.0,
            most: Rate::default(),
            fewest: None,
        }
    }

    /// What there is now.
    pub(crate) fn rate(&self) -> Rate {
        self.now
    }

    /// From `now` on, these are the machines.
    pub(crate) fn set(&mut self, groups: &[NodeGroup], now: Timestamp) {
        self.charge(now);
        let mut rate = Rate::default();
        for group in groups {
            let made = group.instances.iter().filter(|one| one.problem.is_none());
            let (made, price) = (made.count(), self.prices.get(&group.id));
            rate.machines += made;
            rate.dollars += price.copied().unwrap_or_default() * real(made);
        }
        self.now = rate;
        self.most.machines = self.most.machines.max(rate.machines);
        self.most.dollars = self.most.dollars.max(rate.dollars);
        let fewest = self.fewest.unwrap_or(rate.machines);
        self.fewest = Some(fewest.min(rate.machines));
    }

    /// Charges what there was until `now`.
    pub(crate) fn charge(&mut self, now: Timestamp) {
        let hours = now.duration_since(self.until).as_secs_f64() / 3600.0;
        self.hours += real(self.now.machines) * hours;
        self.dollars += self.now.dollars * hours;
        self.until = now;
    }
}

fn real(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::Bill;
    use jiff::{SignedDuration, Timestamp};
    use plimsoll_api::nodegroup::{
        ErrorClass, Instance, InstanceProblem, NodeGroup, OptionOverrides,
    };

    fn group(id: &str, machines: usize, failed: usize) -> NodeGroup {
        let problem = InstanceProblem {
            class: ErrorClass::OutOfResources,
            code: String::new(),
            message: String::new(),
        };
        let instances = (0..machines + failed).map(|number| Instance {
            id: format!("{id}-{number}").into(),
            state: None,
            problem: (number >= machines).then(|| problem.clone()),
        });
        NodeGroup {
            id: id.into(),
            min: 0,
            max: 10,
            target: machines,
            instances: instances.collect(),
            options: OptionOverrides::default(),
            debug: String::new(),
        }
    }

    #[test]
    fn machines_cost_their_price_as_long_as_there_are_any() {
        let start = Timestamp::UNIX_EPOCH;
        let after = |minutes| start + SignedDuration::from_mins(minutes);
        let prices = [("small".into(), 0.1), ("large".into(), 0.5)];
        let mut bill = Bill::new(prices.into(), start);
        bill.set(&[group("small", 2, 0), group("large", 0, 3)], start);
        bill.set(&[group("small", 2, 0), group("large", 1, 0)], after(30));
        bill.set(&[group("small", 1, 0), group("large", 0, 0)], after(60));
        bill.charge(after(120));
        assert!((bill.hours - (1.0 + 1.5 + 1.0)).abs() < 1e-9, "{bill:?}");
        assert!((bill.dollars - (0.1 + 0.35 + 0.1)).abs() < 1e-9, "{bill:?}");
        assert_eq!((bill.most.machines, bill.fewest), (3, Some(1)));
        assert!((bill.most.dollars - 0.7).abs() < 1e-9);
    }
}
