//! One plain sentence per step, with the numbers.

use super::hold;
use super::limit::{Limit, Rate, Rule};
use super::schedule;
use super::spec::PolicyKind;
use super::trace::{Aged, Assumption, Bound, Hold, Holder, Step};
use jiff::Timestamp;
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
            Self::Scheduled { .. } | Self::Unscheduled { .. } => schedule::sentence(self),
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
            Self::Stale {
                pods,
                limit_seconds,
            } => stale(pods, *limit_seconds),
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
            Self::HeldByHand { until, why, would } => {
                let held = hold::describe(*until, why);
                format!("{held}: would go to {}", replicas_of(*would))
            }
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
            holder,
            replicas,
        } = self
        else {
            return String::new();
        };
        match (holder, highest) {
            (Some(holder), _) => stabilized(*replicas, holder),
            (None, None) if replicas == start => {
                format!("stabilization: no recommendation above {replicas} in the window")
            }
            (None, None) => format!(
                "held at {replicas}, not {start}: {replicas} was recommended within the \
                 stabilization window"
            ),
            (None, Some(highest)) if lowest == highest => {
                format!("stabilization: recent recommendations agree on {replicas}")
            }
            (None, Some(highest)) => format!(
                "stabilization: recent recommendations allow {lowest} to {highest}, so {replicas}"
            ),
        }
    }

    fn limitation(&self) -> String {
        let Self::Limited {
            wanted,
            reason,
            rate,
            replicas,
            ..
        } = self
        else {
            return String::new();
        };
        let why = match (reason, rate) {
            (Limit::DesiredWithinRange, _) => {
                return format!("{replicas} is within the minimum, maximum and rate limits");
            }
            (Limit::TooFewReplicas, _) => "the minimum".to_owned(),
            (Limit::TooManyReplicas, _) => "the maximum".to_owned(),
            (Limit::ScaleUpLimit, Some(rate)) => rated(rate, "added", *wanted, *replicas),
            (Limit::ScaleDownLimit, Some(rate)) => rated(rate, "removed", *wanted, *replicas),
            (Limit::ScaleUpLimit, None) => "the most the scale-up rate allows now".to_owned(),
            (Limit::ScaleDownLimit, None) => "the least the scale-down rate allows now".to_owned(),
        };
        format!("{wanted} limited to {replicas}: {why}")
    }
}

/// `held at 6 until 12:04:10: 6 was recommended at 11:59:10`.
fn stabilized(replicas: i32, holder: &Holder) -> String {
    let (recommended, at) = (holder.replicas, time_of_day(holder.time));
    let until = time_of_day(holder.until);
    format!(
        "held at {replicas} by stabilization until {until}, the next possible change: \
         {recommended} was recommended at {at}"
    )
}

/// The rate limit with what is left of it.
fn rated(rate: &Rate, done: &str, wanted: i32, replicas: i32) -> String {
    let (kind, value, seconds, used) = match rate.rule {
        Rule::Doubling => return "at most doubled, or 4, at once".into(),
        Rule::Disabled if wanted > replicas => {
            return "scaling up is disabled (selectPolicy: Disabled)".into();
        }
        Rule::Disabled => return "scaling down is disabled (selectPolicy: Disabled)".into(),
        Rule::Policy {
            kind,
            value,
            period_seconds,
            used,
        } => (kind, value, period_seconds, used),
    };
    let amount = match kind {
        PolicyKind::Pods => pods_of(usize::try_from(value).unwrap_or_default()),
        PolicyKind::Percent => format!("{value}%"),
    };
    let already = match used {
        0 => String::new(),
        used => format!(", and {used} already were"),
    };
    let room = rate.until.map(time_of_day);
    let room = room.map_or_else(String::new, |at| format!("; room for more from {at}"));
    format!("at most {amount} may be {done} in {seconds} s{already}{room}")
}

/// `12:04:10`, in UTC.
fn time_of_day(time: Timestamp) -> String {
    time.strftime("%H:%M:%S").to_string()
}

fn held(because: &Hold, replicas: i32) -> String {
    match because {
        Hold::WithinTolerance {
            value,
            target,
            unit,
            ratio,
            band,
        } => {
            let tolerance = if *ratio < 1.0 { band.down } else { band.up };
            let (value, target) = (unit.show(*value), unit.show(*target));
            let tolerance = decimal(tolerance * 100.0);
            format!("held at {replicas}: {value} is within {tolerance}% of {target}")
        }
        Hold::WouldReverse { seen, ratio } => {
            let (seen, ratio) = (decimal(*seen), decimal(*ratio));
            format!(
                "held at {replicas}: with the assumed pods the ratio turns from {seen} to {ratio}"
            )
        }
    }
}

fn stale(pods: &[Aged], limit: i64) -> String {
    const SHOWN: usize = 5;
    if let [one] = pods {
        let Aged { pod, seconds } = one;
        return format!("sample of {pod} is {seconds} s old: over {limit} s, it does not count");
    }
    let ages = pods.iter().take(SHOWN);
    let ages: Vec<String> = ages
        .map(|aged| format!("{} ({} s)", aged.pod, aged.seconds))
        .collect();
    let more = match pods.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let ages = ages.join(", ");
    format!("samples of {ages}{more} are too old: over {limit} s, they do not count")
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

pub(super) fn replicas_of(count: i32) -> String {
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
