//! Containers without a request, which spoil a percentage of the request.

use super::{Finding, FindingKind, some_of};
use plimsoll_engine::horizontal::Observed;
use plimsoll_engine::horizontal::pod::Facts;
use plimsoll_engine::horizontal::spec::Metric;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names of the containers that the target's own pod template has; empty where it is not known.
pub(super) type InTemplate = BTreeSet<String>;

/// Finds the containers whose missing request keeps the metric at `index` from being computed.
pub(super) fn missing_request(
    observed: &Observed,
    index: usize,
    template: impl FnOnce() -> InTemplate,
) -> Option<Finding> {
    let Metric::Resource {
        name: resource,
        container: None,
        target,
    } = observed.spec.metrics.get(index)?
    else {
        return None;
    };
    if target.average_value.is_some() {
        return None;
    }
    let lacks = |pod: &Arc<Facts>| pod.request(resource, None, &observed.settings).is_err();
    let pods: Vec<&Arc<Facts>> = observed.pods.iter().filter(|pod| lacks(pod)).collect();
    let first = pods.first()?;
    let without: Vec<&str> = first
        .without_request(resource)
        .map(|name| &**name)
        .collect();
    let template = template();
    let injected = |name: &&str| !template.is_empty() && !template.contains(*name);
    let injected: Vec<&str> = without.iter().copied().filter(injected).collect();
    let (named, how) = if injected.is_empty() {
        (without, "")
    } else {
        (injected, " (not in the target's pod template: injected)")
    };
    let measured = first.with_request(resource).next();
    let instead = measured.map_or_else(String::new, |name| {
        format!(", or measure one container: a ContainerResource metric on {name:?}")
    });
    let containers = some_of(named.iter().copied());
    let in_pods = some_of(pods.iter().map(|pod| &*pod.name));
    Some(Finding {
        kind: FindingKind::MissingRequest,
        object: format!("{resource} of {}", named.join(",")),
        message: format!(
            "container {containers}{how} has no {resource} request in pod {in_pods}, so there is \
             no percentage of the request for the whole target"
        ),
        advice: format!("give it a {resource} request{instead}"),
    })
}
