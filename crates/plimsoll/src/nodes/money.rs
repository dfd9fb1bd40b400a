//! What nodes cost.

use plimsoll_controllers::pods::NodeView;
use plimsoll_sources::nodes::catalog;

/// Hours of a month, as clouds count them.
pub(super) const HOURS_A_MONTH: f64 = 730.0;

/// The label that names a machine's type.
const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// The same before Kubernetes 1.17.
const OLD_INSTANCE_TYPE: &str = "beta.kubernetes.io/instance-type";

/// The type of a node's machine.
pub(super) fn instance_type(node: &NodeView) -> Option<&str> {
    let label = node.meta.label(INSTANCE_TYPE);
    label.or_else(|| node.meta.label(OLD_INSTANCE_TYPE))
}

/// The list price of a node's machine by the hour, where its type is known.
pub(super) fn listed(node: &NodeView) -> Option<f64> {
    let known = catalog::lookup(instance_type(node)?)?;
    Some(known.price_per_hour)
}

/// `0.0464 $/h`; a dash where nobody knows.
pub(super) fn hourly(price: Option<f64>) -> String {
    price.map_or_else(|| "-".to_owned(), |price| format!("{price:.4} $/h"))
}

/// `0.0464 $/h, 33.87 $/month`.
pub(super) fn both(price: f64) -> String {
    format!("{price:.4} $/h, {:.2} $/month", price * HOURS_A_MONTH)
}

#[cfg(test)]
mod tests {
    use super::{both, hourly};

    #[test]
    fn prices_are_told_by_the_hour_and_the_month() {
        assert_eq!(both(0.0464), "0.0464 $/h, 33.87 $/month");
        assert_eq!(hourly(None), "-");
        assert_eq!(hourly(Some(0.1)), "0.1000 $/h");
    }
}
