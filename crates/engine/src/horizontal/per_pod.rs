//! Averages over pods: two passes, so that pods nobody can see never push the way the visible
//! ones already point.

use super::milli::{self, cut32};
use super::observed::{Observed, Sample};
use super::pod::{Class, Facts};
use super::tolerance::Band;
use super::trace::{Aged, Assumption, Hold, Rounding, Step, Unit};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is to be held per pod.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal<'a> {
    /// Percent of the request of a resource.
    Utilization {
        resource: &'a str,
        container: Option<&'a str>,
        percent: i32,
    },
    /// Thousandths of a resource or, without one, of a custom metric.
    Average {
        resource: Option<&'a str>,
        milli: i64,
    },
}

impl Goal<'_> {
    fn is_cpu(&self) -> bool {
        match self {
            Self::Utilization { resource, .. } => *resource == "cpu",
            Self::Average { resource, .. } => *resource == Some("cpu"),
        }
    }

    fn is_resource(&self) -> bool {
        match self {
            Self::Utilization { .. } => true,
            Self::Average { resource, .. } => resource.is_some(),
        }
    }

    fn target(&self) -> i64 {
        match self {
            Self::Utilization { percent, .. } => i64::from(*percent),
            Self::Average { milli, .. } => *milli,
        }
    }

    fn unit(&self) -> Unit {
        match self {
            Self::Utilization { .. } => Unit::Percent,
            Self::Average { resource, .. } => Unit::of_resource(resource.unwrap_or_default()),
        }
    }
}

/// The answer for one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Not clamped by anything.
    pub replicas: i32,
    /// The first pass's percentage.
    pub utilization: Option<i32>,
    /// The first pass's average, or the total; thousandths.
    pub value: i64,
}

/// One metric's question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) observed: &'a Observed,
    pub(super) goal: Goal<'a>,
    pub(super) band: Band,
    pub(super) current: i32,
}

struct Ratio {
    value: f64,
    utilization: Option<i32>,
    average: i64,
}

impl Ratio {
    /// The measured number in the unit of the goal.
    fn shown(&self) -> i64 {
        self.utilization.map_or(self.average, i64::from)
    }
}

/// The measured pods by name, and those that are not measured.
struct Groups<'a> {
    usages: BTreeMap<&'a str, i64>,
    requests: BTreeMap<&'a str, i64>,
    ready: usize,
    missing: Vec<&'a Arc<Facts>>,
    unready: Vec<&'a Arc<Facts>>,
}

impl Groups<'_> {
    fn need_second_pass(&self, ratio: f64) -> bool {
        !self.missing.is_empty() || (!self.unready.is_empty() && ratio > 1.0)
    }
}

impl<'a> Question<'a> {
    /// Proposes a replica count from one value per pod.
    pub(super) fn answer(
        &self,
        samples: &'a [Sample],
        trace: &mut Vec<Step>,
    ) -> Result<Answer, String> {
        let samples = self.fresh(samples, trace)?;
        let mut groups = self.group(&samples, trace)?;
        let seen = self.ratio(&groups)?;
        trace.push(Step::Measured {
            pods: groups.usages.len(),
            ready: groups.ready,
            value: seen.shown(),
            target: self.goal.target(),
            unit: self.goal.unit(),
            ratio: seen.value,
        });
        let replicas = if groups.need_second_pass(seen.value) {
            self.assume(&mut groups, seen.value, trace);
            self.second_pass(&groups, seen.value, trace)?
        } else {
            self.first_pass(&groups, &seen, trace)
        };
        Ok(Answer {
            replicas,
            utilization: seen.utilization,
            value: seen.average,
        })
    }

    /// The samples that are young enough to count.
    fn fresh(
        &self,
        samples: &'a [Sample],
        trace: &mut Vec<Step>,
    ) -> Result<Vec<&'a Sample>, String> {
        let (settings, now) = (&self.observed.settings, self.observed.now);
        let limit = if self.goal.is_resource() {
            settings.staleness
        } else {
            settings.outside_staleness
        };
        let mut fresh = Vec::with_capacity(samples.len());
        let (mut stale, mut longest) = (Vec::new(), 0);
        for sample in samples {
            let Some((age, limit)) = sample.staleness(limit, now) else {
                fresh.push(sample);
                continue;
            };
            longest = limit.as_secs().max(longest);
            stale.push(Aged {
                pod: Arc::clone(&sample.pod),
                seconds: age.as_secs(),
            });
        }
        let youngest = stale.iter().min_by_key(|aged| aged.seconds);
        let error = youngest.filter(|_| fresh.is_empty()).map(|aged| {
            let Aged { pod, seconds } = aged;
            format!(
                "the newest sample, of pod {pod}, is {seconds} s old, which is over {longest} s"
            )
        });
        if !stale.is_empty() {
            trace.push(Step::Stale {
                pods: stale,
                limit_seconds: longest,
            });
        }
        error.map_or(Ok(fresh), Err)
    }

    fn group(&self, samples: &[&'a Sample], trace: &mut Vec<Step>) -> Result<Groups<'a>, String> {
        let seen = self.observed;
        if seen.pods.is_empty() {
            return Err("no pods returned by selector while calculating replica count".into());
        }
        let by_name: BTreeMap<&str, &Sample> = samples.iter().map(|&s| (&*s.pod, s)).collect();
        let usages = by_name
            .iter()
            .map(|(&name, sample)| (name, sample.value))
            .collect();
        let (requests, ready) = (BTreeMap::new(), 0);
        let mut groups = Groups {
            usages,
            requests,
            ready,
            missing: Vec::new(),
            unready: Vec::new(),
        };
        let mut ignored = Vec::new();
        for pod in &seen.pods {
            let sample = by_name.get(&*pod.name).copied();
            match pod.class(sample, self.goal.is_cpu(), seen.now, &seen.settings) {
                Class::Ignored => ignored.push(pod),
                Class::Unready => groups.unready.push(pod),
                Class::Missing => groups.missing.push(pod),
                Class::Ready => groups.ready += 1,
            }
        }
        if let Goal::Utilization {
            resource,
            container,
            ..
        } = self.goal
        {
            for pod in &seen.pods {
                let request = pod.request(resource, container, &seen.settings)?;
                groups.requests.insert(&pod.name, request);
            }
        }
        for pod in ignored.iter().chain(&groups.unready) {
            groups.usages.remove(&*pod.name);
        }
        if !(ignored.is_empty() && groups.unready.is_empty() && groups.missing.is_empty()) {
            trace.push(Step::Uncounted {
                ignored: names(&ignored),
                unready: names(&groups.unready),
                missing: names(&groups.missing),
            });
        }
        if groups.usages.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".into());
        }
        Ok(groups)
    }

    fn ratio(&self, groups: &Groups<'_>) -> Result<Ratio, String> {
        let target = milli::double(self.goal.target());
        match self.goal {
            Goal::Utilization { .. } => {
                let known = groups
                    .usages
                    .iter()
                    .filter_map(|(name, usage)| Some((usage, groups.requests.get(name)?)));
                let (mut used, mut requested, mut pods) = (0_i64, 0_i64, 0_i64);
                for (usage, request) in known {
                    used = used.wrapping_add(*usage);
                    requested = requested.wrapping_add(*request);
                    pods += 1;
                }
                if requested == 0 {
                    return Err("no metrics returned matched known pods".into());
                }
                let percent = wrap32(used.wrapping_mul(100).wrapping_div(requested));
                let value = f64::from(percent) / target;
                Ok(Ratio {
                    value,
                    utilization: Some(percent),
                    average: used / pods,
                })
            }
            Goal::Average { .. } => {
                let used = groups
                    .usages
                    .values()
                    .fold(0_i64, |sum, v| sum.wrapping_add(*v));
                let pods = i64::try_from(groups.usages.len())
                    .unwrap_or(i64::MAX)
                    .max(1);
                let average = used / pods;
                let value = milli::double(average) / target;
                Ok(Ratio {
                    value,
                    utilization: None,
                    average,
                })
            }
        }
    }

    fn first_pass(&self, groups: &Groups<'_>, seen: &Ratio, trace: &mut Vec<Step>) -> i32 {
        let ratio = seen.value;
        if self.band.contains(ratio) {
            trace.push(self.within(seen));
            return self.current;
        }
        let replicas = cut32((ratio * milli::count(groups.ready)).ceil());
        let rounding = Rounding::Wrapping;
        trace.push(Step::Proposed {
            ratio,
            counted: groups.ready,
            rounding,
            replicas,
        });
        replicas
    }

    fn assume(&self, groups: &mut Groups<'a>, ratio: f64, trace: &mut Vec<Step>) {
        let mut missing_as = None;
        if ratio < 1.0 {
            missing_as = Some(match self.goal {
                Goal::Utilization { percent, .. } => Assumption::Percent(percent.max(100)),
                Goal::Average { milli, .. } => Assumption::Value(milli),
            });
        } else if ratio > 1.0 {
            missing_as = Some(Assumption::Value(0));
        }
        if let Some(assumption) = missing_as.filter(|_| !groups.missing.is_empty()) {
            for pod in &groups.missing {
                let value = match assumption {
                    Assumption::Value(value) => value,
                    Assumption::Percent(percent) => {
                        let request = groups.requests.get(&*pod.name).copied().unwrap_or(0);
                        request.wrapping_mul(i64::from(percent)) / 100
                    }
                };
                groups.usages.insert(&pod.name, value);
            }
            let pods = names(&groups.missing);
            trace.push(Step::Assumed {
                pods,
                unit: self.goal.unit(),
                assumption,
            });
        }
        if ratio > 1.0 && !groups.unready.is_empty() {
            groups
                .usages
                .extend(groups.unready.iter().map(|pod| (&*pod.name, 0)));
            let (pods, assumption) = (names(&groups.unready), Assumption::Value(0));
            trace.push(Step::Assumed {
                pods,
                unit: self.goal.unit(),
                assumption,
            });
        }
    }

    fn second_pass(
        &self,
        groups: &Groups<'_>,
        seen: f64,
        trace: &mut Vec<Step>,
    ) -> Result<i32, String> {
        let used = self.ratio(groups)?;
        let ratio = used.value;
        if self.band.contains(ratio) {
            trace.push(self.within(&used));
            return Ok(self.current);
        }
        let counted = groups.usages.len();
        let replicas = cut32((ratio * milli::count(counted)).ceil());
        let turned = (seen < 1.0 && ratio > 1.0) || (seen > 1.0 && ratio < 1.0);
        let against =
            (ratio < 1.0 && replicas > self.current) || (ratio > 1.0 && replicas < self.current);
        if turned || against {
            let because = Hold::WouldReverse { seen, ratio };
            trace.push(Step::Held {
                because,
                replicas: self.current,
            });
            return Ok(self.current);
        }
        let rounding = Rounding::Wrapping;
        trace.push(Step::Proposed {
            ratio,
            counted,
            rounding,
            replicas,
        });
        Ok(replicas)
    }

    fn within(&self, used: &Ratio) -> Step {
        let because = Hold::WithinTolerance {
            value: used.shown(),
            target: self.goal.target(),
            unit: self.goal.unit(),
            ratio: used.value,
            band: self.band,
        };
        Step::Held {
            because,
            replicas: self.current,
        }
    }
}

fn names(pods: &[&Arc<Facts>]) -> Vec<Arc<str>> {
    pods.iter().map(|pod| Arc::clone(&pod.name)).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "parity: the original truncates the bits"
)]
fn wrap32(value: i64) -> i32 {
    value as i32
}
