//! Flags about `ProvisioningRequest`s.

use super::signed;
use crate::run::duration;
use clap::{ArgAction, Args};
use plimsoll_controllers::nodes::ProvisioningOptions;
use plimsoll_engine::cluster::ProvisioningTimes;
use std::time::Duration;

/// Room for pods that come later, as a whole.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node autoscaling: ProvisioningRequests")]
pub(super) struct ProvisioningArgs {
    /// Answer ProvisioningRequests: keep room for them, and add nodes
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    enable_provisioning_requests: bool,
    /// How long after the first attempt that found no room the next one is made
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    provisioning_request_initial_backoff_time: Duration,
    /// How long at most, doubled with every further one
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    provisioning_request_max_backoff_time: Duration,
    /// Answer several requests that check capacity in one look
    #[arg(long, value_name = "BOOL", default_value_t = false, action = ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    check_capacity_batch_processing: bool,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    check_capacity_provisioning_request_max_batch_size: usize,
    /// After so long the others are left to the next look
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    check_capacity_provisioning_request_batch_timebox: Duration,
    /// Answer only requests that check capacity and name this as their parameter processorInstance
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    check_capacity_processor_instance: String,
}

impl ProvisioningArgs {
    /// What to do about requests.
    pub(super) fn options(&self) -> Option<ProvisioningOptions> {
        if !self.enable_provisioning_requests {
            return None;
        }
        let batch = if self.check_capacity_batch_processing {
            self.check_capacity_provisioning_request_max_batch_size
        } else {
            1
        };
        Some(ProvisioningOptions {
            times: ProvisioningTimes {
                first_pause: signed(self.provisioning_request_initial_backoff_time),
                longest_pause: signed(self.provisioning_request_max_backoff_time),
                ..ProvisioningTimes::default()
            },
            batch,
            timebox: self.check_capacity_provisioning_request_batch_timebox,
            instance: self.check_capacity_processor_instance.clone(),
        })
    }
}
