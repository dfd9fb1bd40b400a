//! CPU at the limit: throttled pods cannot show how much more they would need.

use super::{Finding, FindingKind};
use plimsoll_engine::horizontal::spec::{Metric, Target};
use plimsoll_engine::horizontal::{Observed, Reading, milli};
use std::collections::BTreeMap;

/// Percent of the limit from which pods count as throttled.
const SATURATED: i64 = 95;

/// Sums over the measured pods that have a limit, in thousandths.
#[derive(Debug, Default)]
struct Sums {
    pods: i64,
    used: i64,
    limit: i64,
    request: i64,
}

/// Finds pods whose CPU, as the metric at `index` measures it, is at its limit. Called only while
/// the measured value is above the target.
pub(super) fn saturated(observed: &Observed, index: usize) -> Option<Finding> {
    let Metric::Resource {
        name,
        container,
        target,
    } = observed.spec.metrics.get(index)?
    else {
        return None;
    };
    let Ok(Reading::PerPod(samples)) = observed.readings.get(index)? else {
        return None;
    };
    if &**name != "cpu" {
        return None;
    }
    let container = container.as_deref();
    let used: BTreeMap<&str, i64> = samples.iter().map(|s| (&*s.pod, s.value)).collect();
    let mut sums = Sums::default();
    for pod in &observed.pods {
        let (Some(used), Some(limit)) = (used.get(&*pod.name), pod.limit("cpu", container)) else {
            continue;
        };
        let request = pod.request("cpu", container, &observed.settings);
        sums.pods += 1;
        sums.used = sums.used.saturating_add(*used);
        sums.limit = sums.limit.saturating_add(limit);
        sums.request = sums.request.saturating_add(request.unwrap_or_default());
    }
    let throttled =
        sums.limit > 0 && sums.used.saturating_mul(100) >= sums.limit.saturating_mul(SATURATED);
    // A few limited pods among many free ones do not cap the average.
    let typical = sums.pods.saturating_mul(2) >= i64::try_from(samples.len()).unwrap_or(i64::MAX);
    if !(throttled && typical) {
        return None;
    }
    let (highest, ratio) = ceiling(&sums, target)?;
    let show = |sum: i64| milli::format(sum / sums.pods.max(1), milli::Suffixes::Decimal);
    let (used, limit) = (show(sums.used), show(sums.limit));
    Some(Finding {
        kind: FindingKind::CpuSaturated,
        object: container.unwrap_or("pod").to_owned(),
        message: format!(
            "cpu is at its limit ({used} of {limit} per pod on average): the metric cannot rise \
             above {highest}, a ratio of {ratio:.2}, however large the load"
        ),
        advice: "raise or remove the cpu limit, or scale on the demand itself, e.g. requests per \
                 second"
            .into(),
    })
}

/// The highest value that the metric can show, and its ratio to the target.
fn ceiling(sums: &Sums, target: &Target) -> Option<(String, f64)> {
    if let Some(goal) = target.average_value.filter(|goal| *goal > 0) {
        let highest = sums.limit / sums.pods.max(1);
        let shown = milli::format(highest, milli::Suffixes::Decimal);
        return Some((shown, milli::double(highest) / milli::double(goal)));
    }
    let goal = target.average_utilization.filter(|goal| *goal > 0)?;
    let percent = sums.limit.saturating_mul(100).checked_div(sums.request)?;
    Some((
        format!("{percent}%"),
        milli::double(percent) / f64::from(goal),
    ))
}
