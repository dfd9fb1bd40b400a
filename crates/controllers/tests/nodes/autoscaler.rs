//! Starts and stops the autoscaler under test.

use crate::site::Site;
use jiff::SignedDuration;
use kube::Client;
use plimsoll_controllers::nodes::{NodeAutoscaler, Options, ProvisioningOptions, Signals};
use plimsoll_controllers::runtime::Writer;
use plimsoll_controllers::supervisor::Context;
use plimsoll_engine::cluster::GroupOptions;
use std::sync::Arc;
use std::time::Duration;

/// A running autoscaler.
pub(crate) struct Autoscaler(NodeAutoscaler);

impl Autoscaler {
    /// Ends it at once, as a crash does.
    pub(crate) async fn kill(self) {
        drop(self.0);
        // What was on its way to the API may still arrive.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// Ends it in order.
    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }
}

/// Upstream's defaults with short waits before nodes are removed.
pub(crate) fn options() -> Options {
    let mut options = Options {
        group: GroupOptions {
            scale_down_unneeded_time: SignedDuration::from_mins(1),
            scale_down_unready_time: SignedDuration::from_mins(2),
            ..GroupOptions::default()
        },
        ..Options::default()
    };
    if let Some(shrink) = &mut options.shrink {
        shrink.delays.after_add = SignedDuration::from_secs(30);
        shrink.delays.after_failure = SignedDuration::from_secs(30);
        shrink.recheck = SignedDuration::from_secs(30);
    }
    options
}

/// With short waits.
pub(crate) fn start(site: &Site) -> Autoscaler {
    start_with(site, site.rig.client.clone())
}

/// With settings of its own.
pub(crate) fn start_set(site: &Site, options: Options) -> Autoscaler {
    begin(site, site.rig.client.clone(), options)
}

/// With short waits, and a way to the API of its own.
pub(crate) fn start_with(site: &Site, client: Client) -> Autoscaler {
    begin(site, client, options())
}

/// With short waits, and it answers requests for room.
pub(crate) fn start_provisioning(site: &Site, provisioning: ProvisioningOptions) -> Autoscaler {
    let options = Options {
        provisioning: Some(provisioning),
        ..options()
    };
    start_set(site, options)
}

/// With settings and a way to the API of its own.
pub(crate) fn begin(site: &Site, client: Client, options: Options) -> Autoscaler {
    let context = Context {
        writer: Writer::new(client.clone()),
        client,
        ..site.rig.context.clone()
    };
    let provider = Arc::new(site.yard.clone());
    Autoscaler(NodeAutoscaler::start(
        &context,
        provider,
        options,
        Signals::default(),
    ))
}
