//! What annotations say.

use jiff::SignedDuration;
use plimsoll_api::nodegroup::OptionOverrides;
use plimsoll_quantity::Quantity;
use serde_json::Value;

/// Prefix of what new nodes have.
const CAPACITY: &str = "capacity.cluster-autoscaler.kubernetes.io";

/// A text at a JSON pointer.
pub(super) fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
    object.pointer(path).and_then(Value::as_str)
}

/// An annotation.
pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// What an annotation says of a new node, e.g. `cpu`.
pub(super) fn capacity<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    annotation(object, &format!("{CAPACITY}/{key}"))
}

/// An amount; nonsense counts as unsaid.
pub(super) fn quantity(object: &Value, key: &str) -> Option<Quantity> {
    capacity(object, key)?.parse().ok()
}

/// Smallest and largest size, if the object carries both and they make sense.
pub(super) fn sizes(object: &Value, prefix: &str) -> Option<(usize, usize)> {
    let size = |end: &str| {
        let key = format!("{prefix}/cluster-api-autoscaler-node-group-{end}-size");
        annotation(object, &key)?.trim().parse().ok()
    };
    let (min, max): (usize, usize) = (size("min")?, size("max")?);
    (min <= max && max > 0).then_some((min, max))
}

/// Options of the group's own.
pub(super) fn options(object: &Value, prefix: &str) -> OptionOverrides {
    let option = |name: &str| annotation(object, &format!("{prefix}/autoscaling-options-{name}"));
    let share = |name: &str| {
        let share: f64 = option(name)?.parse().ok()?;
        (0.0..=1.0).contains(&share).then_some(share)
    };
    let time = |name: &str| -> Option<SignedDuration> {
        let time: SignedDuration = option(name)?.parse().ok()?;
        (!time.is_negative()).then_some(time)
    };
    OptionOverrides {
        scale_down_utilization_threshold: share("scaledownutilizationthreshold"),
        scale_down_gpu_utilization_threshold: share("scaledowngpuutilizationthreshold"),
        scale_down_unneeded_time: time("scaledownunneededtime"),
        scale_down_unready_time: time("scaledownunreadytime"),
        max_node_provision_time: time("maxnodeprovisiontime"),
        max_node_startup_time: time("maxnodestartuptime"),
        zero_or_max_node_scaling: option("zeroormaxnodescaling").and_then(|text| text.parse().ok()),
        ignore_daemonsets_utilization: option("ignoredaemonsetsutilization")
            .and_then(|text| text.parse().ok()),
    }
}
