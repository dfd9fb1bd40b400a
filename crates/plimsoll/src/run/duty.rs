//! What a leader does.

use super::RunArgs;
use anyhow::Result;
use plimsoll_controllers::horizontal::{Explanations, Horizontal, Signals};
use plimsoll_controllers::supervisor::Context;
use plimsoll_sources::metrics::Pipeline;

/// The running autoscalers. Dropping them stops them at once.
pub(super) struct Duty {
    _horizontal: Horizontal,
    _pipeline: Pipeline,
}

impl Duty {
    /// Starts acting.
    pub(super) fn start(context: &Context, args: &RunArgs) -> Result<Self> {
        let pipeline = Pipeline::new();
        let signals = Signals {
            usage: pipeline.usage.clone(),
            rounds: pipeline.subscribe(),
            explanations: Explanations::default(),
        };
        let options = args.horizontal.options()?;
        Ok(Self {
            _horizontal: Horizontal::start(context, signals, options),
            _pipeline: pipeline,
        })
    }
}
