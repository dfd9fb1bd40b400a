//! `--feature-gates`, for every command that runs an autoscaler.

use clap::Args;
use plimsoll_api::gates::FeatureGates;

/// Which features are on.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct GateArgs {
    /// Features to turn on or off, as NAME=true or NAME=false: HPAScaleToZero and
    /// MaxUnavailableStatefulSet (off unless asked for), HPAConfigurableTolerance,
    /// PodLevelResources, or AllAlpha, AllBeta
    #[arg(
        long = "feature-gates",
        value_name = "NAME=BOOL,…",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) gates: FeatureGates,
}
