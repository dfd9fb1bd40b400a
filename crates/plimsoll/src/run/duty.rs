//! What a leader does.

use super::RunArgs;
use super::parts::Parts;
use anyhow::Result;
use plimsoll_controllers::horizontal::Horizontal;
use plimsoll_controllers::supervisor::Context;

/// The running autoscalers. Dropping them stops them at once.
pub(super) struct Duty {
    _horizontal: Horizontal,
}

impl Duty {
    /// Starts acting.
    pub(super) fn start(context: &Context, parts: &Parts, args: &RunArgs) -> Result<Self> {
        let options = args.horizontal.options()?.gated(args.gates.gates);
        Ok(Self {
            _horizontal: Horizontal::start(context, parts.signals(), options),
        })
    }
}
