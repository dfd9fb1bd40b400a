//! Averages over pods: two passes, so that pods nobody can see never push the way the visible
//! ones already point.

use super::milli::{self, cap32};
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

/// One value of the average.
#[derive(Debug, Clone, Copy)]
struct Usage {
    value: i64,
    /// What the pod asks for, where that matters and the name is a pod's.
    request: Option<i64>,
}

/// The measured values, and the pods that are not measured with what they ask for.
struct Groups<'a> {
    usages: Vec<Usage>,
    ready: usize,
    missing: Vec<(&'a Arc<Facts>, Option<i64>)>,
    unready: Vec<(&'a Arc<Facts>, Option<i64>)>,
}

/// Each pod's sample, and the values of names that are no pods.
struct Matched<'a> {
    of_pods: Vec<Option<&'a Sample>>,
    strays: Vec<i64>,
}

impl<'a> Matched<'a> {
    fn new(pods: &[Arc<Facts>], samples: &[&'a Sample]) -> Self {
        // Samples mostly come in the order of the pods, so one step forward finds each.
        let mut left = samples.iter().copied().peekable();
        let of_pods = pods
            .iter()
            .map(|pod| left.next_if(|sample| sample.pod == pod.name))
            .collect();
        if left.peek().is_none() {
            return Self {
                of_pods,
                strays: Vec::new(),
            };
        }
        Self::by_name(pods, samples)
    }

    fn by_name(pods: &[Arc<Facts>], samples: &[&'a Sample]) -> Self {
        let mut by_name: BTreeMap<&str, &Sample> = samples.iter().map(|&s| (&*s.pod, s)).collect();
        let of_pods = pods.iter().map(|pod| by_name.remove(&*pod.name)).collect();
        let strays = by_name.into_values().map(|sample| sample.value).collect();
        Self { of_pods, strays }
    }
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
        let matched = Matched::new(&seen.pods, samples);
        let mut groups = Groups {
            usages: Vec::with_capacity(samples.len()),
            ready: 0,
            missing: Vec::new(),
            unready: Vec::new(),
        };
        let mut ignored = Vec::new();
        let is_cpu = self.goal.is_cpu();
        let mut unasked = None;
        for (pod, sample) in seen.pods.iter().zip(matched.of_pods) {
            let request = self.request(pod, &mut unasked);
            match pod.class(sample, is_cpu, seen.now, &seen.settings) {
                Class::Ignored => ignored.push(pod),
                Class::Unready => groups.unready.push((pod, request)),
                Class::Missing => groups.missing.push((pod, request)),
                Class::Ready => {
                    groups.ready += 1;
                    let value = sample.map(|sample| sample.value);
                    let usage = value.map(|value| Usage { value, request });
                    groups.usages.extend(usage);
                }
            }
        }
        if let Some(error) = unasked {
            return Err(error);
        }
        let stray = |&value: &i64| Usage {
            value,
            request: None,
        };
        groups.usages.extend(matched.strays.iter().map(stray));
        if !(ignored.is_empty() && groups.unready.is_empty() && groups.missing.is_empty()) {
            trace.push(Step::Uncounted {
                ignored: ignored.iter().map(|pod| Arc::clone(&pod.name)).collect(),
                unready: names(&groups.unready),
                missing: names(&groups.missing),
            });
        }
        if groups.usages.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".into());
        }
        Ok(groups)
    }

    /// What the pod asks for, where that matters; keeps the first error.
    fn request(&self, pod: &Facts, unasked: &mut Option<String>) -> Option<i64> {
        let Goal::Utilization {
            resource,
            container,
            ..
        } = self.goal
        else {
            return None;
        };
        match pod.request(resource, container, &self.observed.settings) {
            Ok(request) => Some(request),
            Err(error) => {
                unasked.get_or_insert(error);
                None
            }
        }
    }

    fn ratio(&self, groups: &Groups<'_>) -> Result<Ratio, String> {
        let target = milli::double(self.goal.target());
        match self.goal {
            Goal::Utilization { .. } => {
                let (mut used, mut requested, mut pods) = (0_i128, 0_i128, 0_i128);
                for usage in &groups.usages {
                    let Some(request) = usage.request else {
                        continue;
                    };
                    used += i128::from(usage.value);
                    requested += i128::from(request);
                    pods += 1;
                }
                if requested == 0 {
                    return Err("no metrics returned matched known pods".into());
                }
                // Departs: the original's sums overflow, so that the largest load of all would
                // count as negative.
                let percent = saturate32(used * 100 / requested);
                let value = f64::from(percent) / target;
                Ok(Ratio {
                    value,
                    utilization: Some(percent),
                    average: saturate64(used / pods),
                })
            }
            Goal::Average { .. } => {
                let used: i128 = groups.usages.iter().map(|u| i128::from(u.value)).sum();
                let pods = i128::try_from(groups.usages.len()).unwrap_or(1).max(1);
                let average = saturate64(used / pods);
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
        // Departs: the original's cast turns an endless proposal into the smallest one.
        let replicas = cap32((ratio * milli::count(groups.ready)).ceil());
        let rounding = Rounding::Saturating;
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
            for (_, request) in &groups.missing {
                let request = *request;
                let value = match assumption {
                    Assumption::Value(value) => value,
                    Assumption::Percent(percent) => {
                        let whole = i128::from(request.unwrap_or(0)) * i128::from(percent);
                        saturate64(whole / 100)
                    }
                };
                groups.usages.push(Usage { value, request });
            }
            let pods = names(&groups.missing);
            trace.push(Step::Assumed {
                pods,
                unit: self.goal.unit(),
                assumption,
            });
        }
        if ratio > 1.0 && !groups.unready.is_empty() {
            let idle = groups
                .unready
                .iter()
                .map(|&(_, request)| Usage { value: 0, request });
            groups.usages.extend(idle);
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
        let replicas = cap32((ratio * milli::count(counted)).ceil());
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
        let rounding = Rounding::Saturating;
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

fn names(pods: &[(&Arc<Facts>, Option<i64>)]) -> Vec<Arc<str>> {
    pods.iter().map(|(pod, _)| Arc::clone(&pod.name)).collect()
}

fn saturate64(value: i128) -> i64 {
    let limit = if value < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(value).unwrap_or(limit)
}

fn saturate32(value: i128) -> i32 {
    let limit = if value < 0 { i32::MIN } else { i32::MAX };
    i32::try_from(value).unwrap_or(limit)
}
