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
            Self::Disabled => "scaled to zero by hand, so left alone".into(),
            Self::OutsideRange {
                bound: Bound::Max,
                replicas,
            } => {
                format!("above the maximum: straight to {replicas}, metrics unread")
            }
            Self::OutsideRange {
                bound: Bound::Min,
                replicas,
            } => {
                format!("below the minimum: straight to {replicas}, metrics unread")
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
                format!("{} x {counted}, rounded up: {replicas}", decimal(*ratio))
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
        let pods = pods_of(*pods);
        match assumption {
            Assumption::Value(0) => format!("{pods} unseen counted as idle"),
            Assumption::Value(value) => {
                format!("{pods} unseen counted as using {}", unit.show(*value))
            }
            Assumption::Percent(percent) => {
                format!("{pods} unseen counted as using {percent}% of request")
            }
        }
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
            let (measured, ratio) = (pods_of(*pods), decimal(*ratio));
            return format!(
                "{measured} measured, {ready} ready, average {value} of {target}: ratio {ratio}"
            );
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
            None if replicas == start => "no larger recommendation in the window".into(),
            None => format!("held at {replicas}: a recent recommendation was that high"),
            Some(highest) if lowest == highest => {
                format!("recent recommendations agree on {replicas}")
            }
            Some(highest) => {
                format!("recent recommendations range from {lowest} to {highest}: {replicas}")
            }
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
            Limit::DesiredWithinRange => return format!("{replicas} is within the limits"),
            Limit::TooFewReplicas => "the minimum",
            Limit::TooManyReplicas => "the maximum",
            Limit::ScaleUpLimit => "the most it may grow to now",
            Limit::ScaleDownLimit => "the least it may shrink to now",
        };
        format!("{wanted} limited to {replicas}, {why}")
    }
}

fn held(because: &Hold, replicas: i32) -> String {
    match because {
        Hold::WithinTolerance { ratio, band } => {
            let tolerance = if *ratio < 1.0 { band.down } else { band.up };
            let (ratio, tolerance) = (decimal(*ratio), decimal(tolerance * 100.0));
            format!("held at {replicas}: ratio {ratio} is within {tolerance}% of 1")
        }
        Hold::WouldReverse { seen, ratio } => {
            let (seen, ratio) = (decimal(*seen), decimal(*ratio));
            format!("held at {replicas}: counting unseen pods turns ratio {seen} into {ratio}")
        }
    }
}

fn uncounted(ignored: &[Arc<str>], unready: &[Arc<str>], missing: &[Arc<str>]) -> String {
    let groups = [
        ("ending or failed", ignored),
        ("not ready", unready),
        ("unmeasured", missing),
    ];
    let parts: Vec<String> = groups
        .iter()
        .filter(|(_, pods)| !pods.is_empty())
        .map(|(what, pods)| format!("{what}: {}", names(pods)))
        .collect();
    format!("not in the average: {}", parts.join("; "))
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
    if count == 1 {
        "1 pod".into()
    } else {
        format!("{count} pods")
    }
}

/// Up to three decimals, at least none: `1.8`, `0.333`.
fn decimal(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
