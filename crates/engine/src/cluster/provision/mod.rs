//! Requests for room (`ProvisioningRequest`): when each is looked at, whether there is room for all
//! its pods, and for which of them room is kept until they come (reference §14).
//!
//! ```text
//! conditions ─▶ stage ─┬─▶ booked: left over ─▶ book (in every look, before pods that wait)
//!                      └─▶ due ─▶ provision: fits? ─▶ or: which nodes make it fit, all or none
//! ```

mod answer;
mod booking;
mod request;
mod stage;
#[cfg(test)]
mod tests;

pub use answer::{ProvisioningAnswer, ProvisioningInput, provision};
pub(super) use booking::book;
pub use booking::{BookedPod, left_over};
pub use request::{
    POD_PREFIX, Partial, PodSet, ProvisioningAsk, ProvisioningClass, ProvisioningParameters,
};
pub use stage::{ProvisioningTimes, RequestStage, RequestState};
