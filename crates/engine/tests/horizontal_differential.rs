//! The engine against a second, plain implementation of the same rules, on random inputs.

#[cfg(test)]
mod horizontal_model;

use horizontal_model::Outcome;
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::memory::{Change, Recommendation};
use plimsoll_engine::horizontal::pod::{self, Amounts, Container, Facts, PodCondition, Resources};
use plimsoll_engine::horizontal::spec::{
    Behavior, Metric, MetricId, Policy, PolicyKind, Rules, Select, Spec, Target, TargetKind,
    TargetRef,
};
use plimsoll_engine::horizontal::{
    Condition, Memory, Observed, Reading, Sample, Scale, Selection, Settings, Status, decide,
    render, replay,
};
use rstest::rstest;
use std::sync::Arc;

/// Inputs per case; four cases.
#[cfg(test)]
const INPUTS: u64 = 25_000;

#[rstest]
#[case::one(1)]
#[case::two(2)]
#[case::three(3)]
#[case::four(4)]
fn both_implementations_agree(#[case] seed: u64) {
    for index in 0..INPUTS {
        let seen = Dice(seed << 32 | index).observed();
        let (want, got) = (horizontal_model::decide(&seen), outcome(&seen));
        assert_eq!(
            got,
            want,
            "seed {seed}, input {index}: {seen:#?}\n{:#?}",
            steps(&seen)
        );
    }
}

#[test]
fn every_outcome_is_met() {
    let mut met = std::collections::BTreeSet::new();
    for index in 0..INPUTS {
        let Outcome {
            able,
            active,
            limited,
            ..
        } = outcome(&Dice(5 << 32 | index).observed());
        met.extend([Some(able), active, limited].into_iter().flatten());
    }
    let wanted = [
        "AmbiguousSelector",
        "DesiredWithinRange",
        "FailedGetContainerResourceMetric",
        "FailedGetExternalMetric",
        "FailedGetObjectMetric",
        "FailedGetPodsMetric",
        "FailedGetResourceMetric",
        "FailedGetScale",
        "ReadyForNewScale",
        "ScaleDownLimit",
        "ScaleDownStabilized",
        "ScaleUpLimit",
        "ScaleUpStabilized",
        "ScalingDisabled",
        "SucceededGetScale",
        "SucceededRescale",
        "TooFewReplicas",
        "TooManyReplicas",
        "ValidMetricFound",
    ];
    assert_eq!(met.into_iter().collect::<Vec<_>>(), wanted);
}

#[cfg(test)]
fn steps(seen: &Observed) -> Vec<String> {
    render(&decide(seen).trace)
}

/// The engine's decision in the model's terms.
#[cfg(test)]
fn outcome(seen: &Observed) -> Outcome {
    let decision = decide(seen);
    if seen.scale.is_ok() {
        assert_eq!(
            replay(&decision.trace),
            Some(decision.replicas),
            "{:#?}",
            decision.trace
        );
    }
    let reason = |kind: &str| {
        let found = decision.status.conditions.iter().find(|c| c.kind == kind);
        found.map(|c| known(&c.reason))
    };
    Outcome {
        replicas: decision.replicas,
        write: decision.write,
        able: reason("AbleToScale").unwrap(),
        active: reason("ScalingActive"),
        limited: reason("ScalingLimited"),
        failed: decision.error.is_some(),
        phrase: decision.reason,
        memory: decision.memory,
    }
}

/// The reason as the text that the model has in its code.
#[cfg(test)]
fn known(reason: &str) -> &'static str {
    const REASONS: [&str; 19] = [
        "SucceededGetScale",
        "ReadyForNewScale",
        "ScaleUpStabilized",
        "ScaleDownStabilized",
        "SucceededRescale",
        "FailedGetScale",
        "ValidMetricFound",
        "ScalingDisabled",
        "AmbiguousSelector",
        "FailedGetResourceMetric",
        "FailedGetContainerResourceMetric",
        "FailedGetPodsMetric",
        "FailedGetObjectMetric",
        "FailedGetExternalMetric",
        "TooFewReplicas",
        "TooManyReplicas",
        "ScaleUpLimit",
        "ScaleDownLimit",
        "DesiredWithinRange",
    ];
    REASONS.into_iter().find(|known| *known == reason).unwrap()
}

/// Random choices from a seed (SplitMix64).
#[cfg(test)]
struct Dice(u64);

#[cfg(test)]
impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn up_to(&mut self, end: u64) -> u64 {
        self.next() % (end + 1)
    }

    fn int(&mut self, low: i32, high: i32) -> i32 {
        low + i32::try_from(self.up_to(u64::try_from(high - low).unwrap())).unwrap()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.next()).unwrap_or(0) % from.len()]
    }

    fn maybe<T>(&mut self, percent: u64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }

    fn many<T>(&mut self, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.up_to(most)).map(|_| make(self)).collect()
    }

    fn ago(&mut self, most: i32) -> Timestamp {
        // A tenth of all times is on the second where a window ends, some are in the future.
        let seconds = if self.chance(10) {
            self.pick(&[-20, 0, 15, 30, 60, 120, 300])
        } else {
            self.int(0, most)
        };
        now() - SignedDuration::from_secs(seconds.into())
    }

    fn observed(&mut self) -> Observed {
        let metrics = self.int(1, 3);
        let metrics: Vec<Metric> = (0..metrics).map(|_| self.metric()).collect();
        let pods: Vec<Arc<Facts>> = (0..self.int(0, 6)).map(|n| self.pod(n)).collect();
        let readings = metrics
            .iter()
            .map(|metric| self.reading(metric, &pods))
            .collect();
        let min_replicas = self.maybe(80, |dice| dice.int(0, 4));
        let spec = Spec {
            scale_target_ref: TargetRef::default(),
            min_replicas,
            max_replicas: min_replicas.unwrap_or(1).max(1) + self.int(0, 20),
            metrics,
            behavior: self.maybe(50, Self::behavior),
            ..Spec::default()
        };
        let spec_replicas = if self.chance(60) {
            i32::try_from(pods.len()).unwrap()
        } else {
            self.int(0, 26)
        };
        let scale = Scale {
            spec_replicas,
            status_replicas: self.int(0, 12),
            selector: Selection::Valid("app=web".into()),
        };
        let settings = Settings {
            scale_to_zero: self.chance(50),
            configurable_tolerance: self.chance(80),
            pod_level_resources: self.chance(80),
            ..Settings::default()
        };
        Observed {
            now: now(),
            settings,
            namespace: "default".into(),
            spec: Arc::new(spec),
            status: self.status(),
            scale: if self.chance(98) {
                Ok(scale)
            } else {
                Err("gone".into())
            },
            pods,
            rivals: if self.chance(2) {
                vec!["default/a".into()]
            } else {
                Vec::new()
            },
            readings,
            memory: self.maybe(90, Self::memory),
        }
    }

    fn status(&mut self) -> Status {
        let conditions = self.maybe(60, |dice| Condition {
            kind: "ScaledToZero".into(),
            status: dice.pick(&["True", "False"]).into(),
            last_transition_time: None,
            reason: String::new(),
            message: String::new(),
        });
        Status {
            desired_replicas: self.int(0, 10),
            conditions: conditions.into_iter().collect(),
            ..Status::default()
        }
    }

    fn memory(&mut self) -> Memory {
        let change = |dice: &mut Self| Change {
            change: dice.int(0, 8),
            time: dice.ago(200),
        };
        Memory {
            recommendations: self.many(5, |dice| Recommendation {
                replicas: dice.int(0, 30),
                time: dice.ago(400),
            }),
            scale_up_events: self.many(3, change),
            scale_down_events: self.many(3, change),
        }
    }

    fn behavior(&mut self) -> Behavior {
        Behavior {
            scale_up: self.rules(),
            scale_down: self.rules(),
        }
    }

    fn rules(&mut self) -> Rules {
        let policies = self.int(1, 3);
        Rules {
            stabilization_window_seconds: self.maybe(70, |dice| dice.pick(&[0, 15, 60, 300])),
            select_policy: self.maybe(70, |dice| {
                dice.pick(&[Select::Max, Select::Min, Select::Disabled])
            }),
            policies: (0..policies)
                .map(|_| Policy {
                    kind: self.pick(&[PolicyKind::Pods, PolicyKind::Percent]),
                    value: self.int(1, 120),
                    period_seconds: self.pick(&[15, 30, 60, 120]),
                })
                .collect(),
            tolerance: self.maybe(30, |dice| dice.pick(&[0.0, 0.01, 0.1, 0.5])),
        }
    }

    fn metric(&mut self) -> Metric {
        let id = MetricId {
            name: "rate".into(),
            selector: None,
        };
        let average = |dice: &mut Self| Target {
            kind: TargetKind::AverageValue,
            average_value: Some(i64::from(dice.int(1, 2000))),
            ..Target::default()
        };
        let value = |dice: &mut Self| Target {
            kind: TargetKind::Value,
            value: Some(i64::from(dice.int(1, 20_000))),
            ..Target::default()
        };
        match self.up_to(5) {
            kind @ 0..=2 => Metric::Resource {
                name: self.pick(&["cpu", "cpu", "memory"]).into(),
                container: (kind == 2).then(|| self.pick(&["app", "side"]).into()),
                target: if self.chance(30) {
                    average(self)
                } else {
                    Target {
                        kind: TargetKind::Utilization,
                        average_utilization: Some(self.pick(&[1, 5, 20, 50, 80, 100, 150])),
                        ..Target::default()
                    }
                },
            },
            3 => Metric::Pods {
                metric: id,
                target: average(self),
            },
            4 => Metric::Object {
                described: TargetRef {
                    kind: "Ingress".into(),
                    ..TargetRef::default()
                },
                metric: id,
                target: if self.chance(50) {
                    average(self)
                } else {
                    value(self)
                },
            },
            _ => Metric::External {
                metric: id,
                target: if self.chance(50) {
                    average(self)
                } else {
                    value(self)
                },
            },
        }
    }

    fn reading(&mut self, metric: &Metric, pods: &[Arc<Facts>]) -> Result<Reading, String> {
        if self.chance(12) {
            return Err("no answer".into());
        }
        // Loads around the targets: half of all averages are near the edge of the band.
        Ok(match metric {
            Metric::Resource { .. } | Metric::Pods { .. } | Metric::Unknown { .. } => {
                let load = self.pick(&[20, 90, 500, 900, 1000, 1100, 2500]);
                let measured = pods.iter().map(|pod| Arc::clone(&pod.name));
                let strays = self.chance(10).then(|| "stray".into());
                let named: Vec<Arc<str>> = measured.chain(strays).collect();
                let mut samples = Vec::new();
                for pod in named {
                    if self.chance(85) {
                        samples.push(self.sample(pod, load));
                    }
                }
                Reading::PerPod(samples)
            }
            Metric::Object { .. } => Reading::Single(i64::from(self.int(-500, 60_000))),
            Metric::External { .. } => {
                Reading::Series(self.many(3, |dice| i64::from(dice.int(-500, 30_000))))
            }
        })
    }

    fn sample(&mut self, pod: Arc<str>, load: i32) -> Sample {
        Sample {
            pod,
            value: i64::from(if self.chance(70) {
                load
            } else {
                self.int(-50, 3 * load)
            }),
            timestamp: self.ago(120),
            window: SignedDuration::from_secs(self.pick(&[1, 15, 30, 60])),
        }
    }

    fn pod(&mut self, number: i32) -> Arc<Facts> {
        let phase = if self.chance(80) {
            "Running"
        } else {
            self.pick(&["Pending", "Failed", "Succeeded", ""])
        };
        let status = pod::Status {
            phase: (!phase.is_empty()).then(|| phase.into()),
            start_time: self.maybe(95, |dice| dice.ago(600)),
            conditions: self
                .maybe(95, |dice| PodCondition {
                    kind: "Ready".into(),
                    status: if dice.chance(75) {
                        "True".into()
                    } else {
                        dice.pick(&["False", "Unknown"]).into()
                    },
                    last_transition_time: Some(dice.ago(600)),
                })
                .into_iter()
                .collect(),
        };
        let container = |name: &str, dice: &mut Self, sidecar: bool| Container {
            name: name.into(),
            resources: Resources {
                requests: dice.amounts(97),
                ..Resources::default()
            },
            restart_policy: sidecar.then(|| "Always".into()),
        };
        let own = if self.chance(10) {
            self.amounts(100)
        } else {
            Amounts::default()
        };
        let spec = pod::Spec {
            containers: vec![container("app", self, false)],
            init_containers: self
                .maybe(30, |dice| container("side", dice, true))
                .into_iter()
                .collect(),
            resources: Resources {
                requests: own,
                ..Resources::default()
            },
            overhead: Amounts::default(),
        };
        Arc::new(Facts::new(
            format!("p{number}").into(),
            self.chance(5),
            spec,
            status,
        ))
    }

    fn amounts(&mut self, percent: u64) -> Amounts {
        let mut amounts: Vec<(Arc<str>, i64)> = Vec::new();
        if self.chance(percent) {
            amounts.push(("cpu".into(), i64::from(self.pick(&[250, 1000, 1000, 2000]))));
        }
        if self.chance(percent) {
            amounts.push(("memory".into(), i64::from(self.pick(&[500, 1000, 4000]))));
        }
        Amounts(amounts.into())
    }
}

#[cfg(test)]
fn now() -> Timestamp {
    Timestamp::from_second(1_767_268_800).unwrap()
}
