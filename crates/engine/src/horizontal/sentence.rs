//! One plain sentence per step, with the numbers.

use super::limit::Limit;
use super::trace::{Assumption, Bound, Hold, Step};
use std::sync::Arc;

/// Renders every step as one sentence.
pub fn render(steps: &[Step]) -> Vec<String> {
    steps.iter().map(Step::sentence).collect()
}

impl Step {
    /// The step as a sentence.
    pub fn sentence(&self) -> String {
        match self {
            Self::Unreadable { error } => format!("the target's scale cannot be read: {error}"),
            Self::Found { current, min, max } => {
                format!("{} now, {min} to {max} allowed", replicas_of(*current))
            }
            Self::Disabled => {
                "the target is scaled to zero, so autoscaling is off until it is scaled up by hand"
                    .into()
            }
            Self::OutsideRange {
                bound: Bound::Max,
                replicas,
            } => {
                format!("above the maximum: straight to {replicas}, without reading metrics")
            }
            Self::OutsideRange {
                bound: Bound::Min,
                replicas,
            } => {
                format!("below the minimum: straight to {replicas}, without reading metrics")
            }
            Self::Unselectable { error } => format!("held: {error}"),
            Self::Metric { index, name } => format!("metric {}: {name}", index + 1),
            Self::Uncounted {
                ignored,
                unready,
                missing,
            } => uncounted(ignored, unready, missing),
            Self::Measured { .. } | Self::Total { .. } => self.measurement(),
            Self::Assumed { .. } => self.assumption(),
            Self::Held { because, replicas } => held(because, *replicas),
            Self::Proposed {
                ratio,
                counted,
                replicas,
                ..
            } => {
                let (ratio, counted) = (decimal(*ratio), pods_of(*counted));
                format!("proposes {ratio} x {counted}, rounded up: {replicas}")
            }
            Self::Failed { error } => format!("no proposal: {error}"),
            Self::Chosen { name, replicas } => format!("largest proposal: {replicas}, from {name}"),
            Self::Blocked { failed, metrics } => {
                format!("held: {failed} of {metrics} metrics gave no proposal")
            }
            Self::Stabilized { .. } => self.stabilization(),
            Self::Limited { .. } => self.limitation(),
            Self::Settled { from, to } if from == to => format!("stays at {}", replicas_of(*to)),
            Self::Settled { from, to } => format!("{from} -> {}", replicas_of(*to)),
        }
    }

    fn assumption(&self) -> String {
        let Self::Assumed {
            pods,
            unit,
            assumption,
        } = self
        else {
            return String::new();
        };
        let pods = names(pods);
        let usage = match assumption {
            Assumption::Value(0) => return format!("to be careful, counted as idle: {pods}"),
            Assumption::Value(value) => unit.show(*value),
            Assumption::Percent(percent) => format!("{percent}% of the request"),
        };
        format!("to be careful, counted as using {usage}: {pods}")
    }

    fn measurement(&self) -> String {
        if let Self::Measured {
            pods,
            ready,
            value,
            target,
            unit,
            ratio,
        } = self
        {
            let (value, target) = (unit.show(*value), unit.show(*target));
            let ratio = decimal(*ratio);
            let measured = if pods == ready {
                format!("{} measured", pods_with("ready pod", *pods))
            } else {
                format!("{} measured, {ready} of them ready", pods_of(*pods))
            };
            return format!("{measured}: average {value}, target {target}, ratio {ratio}");
        }
        let Self::Total {
            value,
            target,
            unit,
            pods,
            ratio,
        } = self
        else {
            return String::new();
        };
        let (value, target) = (unit.show(*value), unit.show(*target));
        let per = pods.map_or(String::new(), |n| format!(" per replica with {n}"));
        format!(
            "total {value} against {target}{per}: ratio {}",
            decimal(*ratio)
        )
    }

    fn stabilization(&self) -> String {
        let Self::Stabilized {
            start,
            lowest,
            highest,
            replicas,
        } = self
        else {
            return String::new();
        };
        match highest {
            None if replicas == start => {
                format!("stabilization: no recommendation above {replicas} in the window")
            }
            None => format!(
                "held at {replicas}, not {start}: {replicas} was recommended within the \
                 stabilization window"
            ),
            Some(highest) if lowest == highest => {
                format!("stabilization: recent recommendations agree on {replicas}")
            }
            Some(highest) => format!(
                "stabilization: recent recommendations allow {lowest} to {highest}, so {replicas}"
            ),
        }
    }

    fn limitation(&self) -> String {
        let Self::Limited {
            wanted,
            reason,
            replicas,
            ..
        } = self
        else {
            return String::new();
        };
        let why = match reason {
            Limit::DesiredWithinRange => {
                return format!("{replicas} is within the minimum, maximum and rate limits");
            }
            Limit::TooFewReplicas => "the minimum",
            Limit::TooManyReplicas => "the maximum",
            Limit::ScaleUpLimit => "the most the scale-up rate allows now",
            Limit::ScaleDownLimit => "the least the scale-down rate allows now",
        };
        format!("{wanted} limited to {replicas}: {why}")
    }
}

fn held(because: &Hold, replicas: i32) -> String {
    match because {
        Hold::WithinTolerance { ratio, band } => {
            let tolerance = if *ratio < 1.0 { band.down } else { band.up };
            let (ratio, tolerance) = (decimal(*ratio), decimal(tolerance * 100.0));
            format!(
                "held at {replicas}: ratio {ratio} is within the tolerance of {tolerance}% around 1"
            )
        }
        Hold::WouldReverse { seen, ratio } => {
            let (seen, ratio) = (decimal(*seen), decimal(*ratio));
            format!(
                "held at {replicas}: with the assumed pods the ratio turns from {seen} to {ratio}"
            )
        }
    }
}

fn uncounted(ignored: &[Arc<str>], unready: &[Arc<str>], missing: &[Arc<str>]) -> String {
    let groups = [
        ("ending or failed", ignored),
        ("not ready yet", unready),
        ("without a sample", missing),
    ];
    let parts: Vec<String> = groups
        .iter()
        .filter(|(_, pods)| !pods.is_empty())
        .map(|(what, pods)| format!("{} ({what})", names(pods)))
        .collect();
    format!("left out of the average: {}", parts.join("; "))
}

fn names(pods: &[Arc<str>]) -> String {
    const SHOWN: usize = 5;
    let mut text = pods
        .iter()
        .take(SHOWN)
        .map(|p| &**p)
        .collect::<Vec<_>>()
        .join(", ");
    if pods.len() > SHOWN {
        text.push_str(" and ");
        text.push_str(&(pods.len() - SHOWN).to_string());
        text.push_str(" more");
    }
    text
}

fn replicas_of(count: i32) -> String {
    if count == 1 {
        "1 replica".into()
    } else {
        format!("{count} replicas")
    }
}

fn pods_of(count: usize) -> String {
    pods_with("pod", count)
}

fn pods_with(noun: &str, count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Up to three decimals, at least none: `1.8`, `0.333`.
fn decimal(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
