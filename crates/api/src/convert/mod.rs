//! Conversions between a served version and the stored one.

mod autoscaler;
mod event;
mod metrics;

use crate::kind::Conversion;

/// `events.k8s.io/v1` Events, stored as core `v1` Events.
pub const EVENT: Conversion = Conversion {
    to_stored: event::to_core,
    from_stored: event::from_core,
};

/// `autoscaling/v1` autoscalers, stored as `autoscaling/v2`.
pub const AUTOSCALER: Conversion = Conversion {
    to_stored: autoscaler::to_v2,
    from_stored: autoscaler::from_v2,
};
