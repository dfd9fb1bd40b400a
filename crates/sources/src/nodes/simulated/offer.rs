//! What kind of machines there are.

use crate::nodes::fleet::Shape;

/// The label that says how a machine is paid for.
pub const CAPACITY_LABEL: &str = "plimsoll.dev/capacity-type";
/// Its value for machines that may be taken away at any time.
pub const SPOT: &str = "spot";

/// The same machine as spot: cheaper, and now and then not to be had. `price` is its share of the
/// regular price.
#[must_use]
pub fn spot(mut shape: Shape, price: f64) -> Shape {
    shape.labels.insert(CAPACITY_LABEL.into(), SPOT.into());
    shape.price_per_hour = shape.price_per_hour.map(|full| full * price);
    shape
}

pub(super) fn is_spot(shape: &Shape) -> bool {
    shape
        .labels
        .get(CAPACITY_LABEL)
        .is_some_and(|kind| kind == SPOT)
}
