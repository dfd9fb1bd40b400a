//! What is no reason to look.

use crate::autoscaler::start;
use crate::site::Site;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_node_that_says_what_it_said_before_is_not_looked_at() {
    let site = Site::start().await;
    site.yard.group("ng", (2, 4), "1").await;
    let _autoscaler = start(&site);
    site.until_nodes(2).await;
    site.pass(30 * SECOND).await;
    let before = site.yard.reads();
    let nodes = site.rig.cluster("nodes", "Node");
    for _ in 0..30 {
        let now = site.rig.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let condition = json!({"type": "Ready", "status": "True",
            "lastHeartbeatTime": now.to_string()});
        let beat = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        let params = PatchParams::default();
        let sent = nodes.patch_status("ng-1", &params, &beat).await;
        sent.unwrap();
        site.pass(2 * SECOND).await;
    }
    // One each scan interval of ten seconds.
    let looks = site.yard.reads() - before;
    assert!((5..=7).contains(&looks), "{looks} looks in a minute");
}
