//! Totals: one value for the whole target, from an object or from outside the cluster.

use super::milli::{cap32, count, cut64, double};
use super::per_pod::{Answer, Question};
use super::trace::{Hold, Rounding, Step, Unit};

impl Question<'_> {
    /// Holds `total` at `target` (both thousandths) by the number of ready pods.
    pub(super) fn by_value(
        &self,
        total: i64,
        target: i64,
        trace: &mut Vec<Step>,
    ) -> Result<Answer, String> {
        let ratio = double(total) / double(target);
        let (value, unit) = (total, Unit::Plain);
        trace.push(Step::Total {
            value,
            target,
            unit,
            pods: None,
            ratio,
        });
        let answer = |replicas| {
            Ok(Answer {
                replicas,
                utilization: None,
                value: total,
            })
        };
        let rounding = Rounding::Saturating;
        if self.current == 0 {
            let replicas = cap32(ratio.ceil());
            trace.push(Step::Proposed {
                ratio,
                counted: 1,
                rounding,
                replicas,
            });
            return answer(replicas);
        }
        if self.band.contains(ratio) {
            let because = Hold::WithinTolerance {
                value,
                target,
                unit,
                ratio,
                band: self.band,
            };
            trace.push(Step::Held {
                because,
                replicas: self.current,
            });
            return answer(self.current);
        }
        let pods = &self.observed.pods;
        if pods.is_empty() {
            let why = "no pods returned by selector while calculating replica count";
            return Err(format!("unable to calculate ready pods: {why}"));
        }
        let counted = pods.iter().filter(|pod| pod.is_running_and_ready()).count();
        let replicas = cap32((ratio * count(counted)).ceil());
        trace.push(Step::Proposed {
            ratio,
            counted,
            rounding,
            replicas,
        });
        answer(replicas)
    }

    /// Holds `total` at `target` per existing pod (both thousandths).
    pub(super) fn by_average(&self, total: i64, target: i64, trace: &mut Vec<Step>) -> Answer {
        let existing = self.status_replicas();
        let ratio = double(total) / (double(target) * f64::from(existing));
        let (value, unit, pods) = (total, Unit::Plain, Some(existing));
        trace.push(Step::Total {
            value,
            target,
            unit,
            pods,
            ratio,
        });
        let replicas = if self.band.contains(ratio) {
            let because = Hold::WithinTolerance {
                value: total / i64::from(existing).max(1),
                target,
                unit,
                ratio,
                band: self.band,
            };
            trace.push(Step::Held {
                because,
                replicas: existing,
            });
            existing
        } else {
            let (ratio, rounding) = (double(total) / double(target), Rounding::Saturating);
            let replicas = cap32(ratio.ceil());
            trace.push(Step::Proposed {
                ratio,
                counted: 1,
                rounding,
                replicas,
            });
            replicas
        };
        // Parity: a saturated total stays saturated; without pods the average is undefined.
        let average = if total == i64::MAX {
            i64::MAX
        } else {
            cut64((double(total) / f64::from(existing)).ceil())
        };
        Answer {
            replicas,
            utilization: None,
            value: average,
        }
    }

    fn status_replicas(&self) -> i32 {
        self.observed
            .scale
            .as_ref()
            .map_or(0, |scale| scale.status_replicas)
    }
}

/// The sum of a metric's series; a negative running sum is taken for an overflow.
pub(super) fn sum(series: &[i64]) -> i64 {
    let mut sum = 0_i64;
    for value in series {
        sum = sum.wrapping_add(*value);
        if sum < 0 {
            return i64::MAX;
        }
    }
    sum
}

/// The sum of a metric's series, capped at the end of the range.
pub(super) fn capped_sum(series: &[i64]) -> i64 {
    series
        .iter()
        .fold(0, |sum, value| sum.saturating_add(*value))
}
