//! Requests for room: what is found, made, kept and given back.

use crate::autoscaler::{Autoscaler, begin, options, start_provisioning};
use crate::requests::{Fault, Faults};
use crate::rig::condition;
use crate::site::Site;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use plimsoll_api::provisioning_request::{
    API_VERSION, CONSUMES, CONSUMES_OLD, GROUP, KIND, PLURAL, VERSION, definition,
};
use plimsoll_controllers::nodes::{Options, ProvisioningOptions};
use serde_json::{Value, json};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const CHECK: &str = "check-capacity.autoscaling.x-k8s.io";
const ATOMIC: &str = "best-effort-atomic-scale-up.autoscaling.x-k8s.io";

/// A site that knows the kind, with one group of machines of one core each.
async fn site(sizes: (usize, usize)) -> Site {
    let site = Site::start().await;
    let definitions = site.rig.cluster_of(
        ("apiextensions.k8s.io", "v1"),
        "customresourcedefinitions",
        "CustomResourceDefinition",
    );
    site.rig.create(&definitions, definition()).await;
    site.yard.group("ng", sizes, "1").await;
    site
}

fn start(site: &Site) -> Autoscaler {
    start_provisioning(site, ProvisioningOptions::default())
}

fn requests(site: &Site) -> Api<DynamicObject> {
    site.rig.api("default", (GROUP, VERSION), PLURAL, KIND)
}

/// A pod template that asks for half a core.
async fn template(site: &Site) {
    let resources = json!({"requests": {"cpu": "500m"}});
    let container = json!({"name": "c", "image": "i", "resources": resources});
    let template = json!({
        "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "half"},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
    });
    let templates = site.rig.core("default", "podtemplates", "PodTemplate");
    site.rig.create(&templates, template).await;
}

/// A request for so many pods of half a core.
async fn ask(site: &Site, name: &str, class: &str, pods: usize) {
    ask_with(site, name, (class, pods), json!({})).await;
}

async fn ask_with(site: &Site, name: &str, (class, pods): (&str, usize), parameters: Value) {
    let sets = json!([{"podTemplateRef": {"name": "half"}, "count": pods}]);
    let request = json!({
        "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name},
        "spec": {"provisioningClassName": class, "podSets": sets, "parameters": parameters},
    });
    site.rig.create(&requests(site), request).await;
}

/// Status, reason and message of a condition.
async fn said(site: &Site, name: &str, kind: &str) -> (String, String, String) {
    let request = requests(site).get(name).await.unwrap();
    condition(&request, kind)
}

/// Waits for the reason of a condition; returns how long, and its message.
async fn until_said(site: &Site, name: &str, kind: &str, reason: &str) -> (Duration, String) {
    let what = format!("{kind} of {name} is {reason}");
    let took = site
        .until(&what, async || said(site, name, kind).await.1 == reason)
        .await;
    (took, said(site, name, kind).await.2)
}

/// A deployment whose pods come for a request.
async fn come_for(site: &Site, request: &str, annotation: &str, replicas: usize) {
    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}, "annotations": {annotation: request}},
            "spec": {"containers": [{"name": "c", "image": "i",
                "resources": {"requests": {"cpu": "500m"}}}]}}},
    });
    site.rig.create(&site.rig.deployments(), body).await;
}

/// Calls that ask for machines.
fn increases(site: &Site) -> Vec<String> {
    let mut calls = site.yard.calls();
    calls.retain(|call| call.starts_with("increase"));
    calls
}

#[tokio::test(start_paused = true)]
async fn nodes_come_for_all_pods_at_once_and_stay_until_the_pods_do() {
    let site = site((0, 10)).await;
    let _autoscaler = start(&site);
    template(&site).await;
    site.pass(MINUTE).await;
    ask(&site, "job", ATOMIC, 5).await;
    let (took, message) = until_said(&site, "job", "Provisioned", "CapacityIsProvisioned").await;
    assert!(took < 2 * SECOND, "{took:?}");
    assert_eq!(
        message,
        "Capacity is found in the cluster, with new nodes: {ng 0->3 (max: 10)}"
    );
    assert_eq!(said(&site, "job", "Accepted").await.0, "True");
    assert_eq!(said(&site, "job", "Provisioned").await.0, "True");
    // Nodes that nobody needs go after a minute.
    site.pass(6 * MINUTE).await;
    assert_eq!(site.nodes().await.len(), 3);
    come_for(&site, "job", CONSUMES, 5).await;
    site.until_ready(5).await;
    until_said(&site, "job", "BookingExpired", "CapacityBookingConsumed").await;
    site.pass(3 * MINUTE).await;
    assert_eq!(increases(&site), ["increase ng by 3"]);
    assert_eq!(site.nodes().await.len(), 3);
    let told = site.told("CapacityIsProvisioned").await;
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn room_that_nobody_comes_for_is_given_back_after_ten_minutes() {
    let site = site((0, 10)).await;
    let _autoscaler = start(&site);
    template(&site).await;
    ask(&site, "job", ATOMIC, 2).await;
    until_said(&site, "job", "Provisioned", "CapacityIsProvisioned").await;
    let over = "CapacityReservationTimeExpired";
    let (took, _) = until_said(&site, "job", "BookingExpired", over).await;
    assert!(
        took + 3 * SECOND >= 10 * MINUTE && took < 10 * MINUTE + 5 * SECOND,
        "{took:?}"
    );
    site.until_nodes(0).await;
    // It ended: pods that come too late are pods like others.
    come_for(&site, "job", CONSUMES_OLD, 2).await;
    site.until_ready(2).await;
}

#[tokio::test(start_paused = true)]
async fn all_pods_get_nodes_or_none_does_and_it_is_tried_again() {
    let site = site((0, 2)).await;
    let _autoscaler = start(&site);
    template(&site).await;
    ask(&site, "job", ATOMIC, 5).await;
    let (_, message) = until_said(&site, "job", "Provisioned", "CapacityIsNotFound").await;
    assert!(
        message.starts_with("Capacity is not found, CA will try to find it later. 5 pods do not"),
        "{message}"
    );
    assert!(message.contains("ng: "), "{message}");
    assert_eq!(said(&site, "job", "Provisioned").await.0, "False");
    site.pass(30 * SECOND).await;
    assert_eq!(increases(&site), [""; 0]);
    site.yard.group("more", (0, 9), "1").await;
    let (took, _) = until_said(&site, "job", "Provisioned", "CapacityIsProvisioned").await;
    assert!(
        took > 25 * SECOND && took < 45 * SECOND,
        "a minute after: {took:?}"
    );
    assert_eq!(increases(&site), ["increase more by 3"]);
}

#[tokio::test(start_paused = true)]
async fn room_that_is_kept_for_one_request_is_not_given_to_another() {
    let site = site((2, 9)).await;
    let _autoscaler = start(&site);
    template(&site).await;
    site.pass(10 * SECOND).await;
    ask(&site, "first", CHECK, 3).await;
    let (took, _) = until_said(&site, "first", "Provisioned", "CapacityIsFound").await;
    assert!(took < 2 * SECOND, "{took:?}");
    ask(&site, "second", CHECK, 2).await;
    let (_, message) = until_said(&site, "second", "Provisioned", "CapacityIsNotFound").await;
    assert!(
        message.contains("1 of 2 pods fit; the next one, of template half: 2 Insufficient cpu"),
        "{message}"
    );
    let first = requests(&site).get("first").await.unwrap();
    let details = &first.data["status"]["provisioningClassDetails"];
    assert_eq!(details["schedulablePodSets"], "[\"half\"]");
    until_said(
        &site,
        "first",
        "BookingExpired",
        "CapacityReservationTimeExpired",
    )
    .await;
    let (took, _) = until_said(&site, "second", "Provisioned", "CapacityIsFound").await;
    assert!(took < 10 * MINUTE, "{took:?}");
    assert_eq!(increases(&site), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn pods_that_come_for_a_request_add_no_nodes_themselves() {
    let site = site((0, 9)).await;
    let _autoscaler = start(&site);
    template(&site).await;
    ask(&site, "job", CHECK, 2).await;
    until_said(&site, "job", "Provisioned", "CapacityIsNotFound").await;
    come_for(&site, "job", CONSUMES, 2).await;
    site.pass(3 * MINUTE).await;
    assert_eq!(increases(&site), [""; 0]);
    let told = site.told("NotTriggerScaleUp").await;
    let want = "Unschedulable pod didn't trigger scale-up, because it's consuming \
                ProvisioningRequest default/job";
    assert_eq!(told, [want; 2]);
    let params = DeleteParams::default();
    requests(&site).delete("job", &params).await.unwrap();
    site.until_ready(2).await;
    assert_eq!(increases(&site), ["increase ng by 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_order_sends_the_request_to_the_next_group_at_once() {
    let site = site((0, 9)).await;
    site.yard.group("other", (0, 9), "4").await;
    let sold_out = ProviderError::new(ErrorClass::OutOfResources, "no such machines left");
    site.yard
        .behave(|manner| manner.refuses = Some(("increase ng", sold_out)));
    let _autoscaler = start(&site);
    template(&site).await;
    ask(&site, "job", ATOMIC, 2).await;
    let (took, message) = until_said(&site, "job", "Provisioned", "CapacityIsProvisioned").await;
    assert!(took < 5 * SECOND, "{took:?}");
    assert!(message.ends_with("{other 0->1 (max: 9)}"), "{message}");
    assert_eq!(
        increases(&site),
        ["increase ng by 1", "increase other by 1"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_neither_orders_twice_nor_forgets_what_is_kept() {
    let site = site((0, 9)).await;
    let autoscaler = start(&site);
    template(&site).await;
    ask(&site, "job", ATOMIC, 5).await;
    site.until("machines are asked for", async || {
        site.yard.target("ng") == 3
    })
    .await;
    autoscaler.kill().await;
    let autoscaler = start(&site);
    let status = async || said(&site, "job", "Provisioned").await.0;
    site.until("it is provisioned", async || status().await == "True")
        .await;
    site.until_nodes(3).await;
    autoscaler.kill().await;
    let _autoscaler = start(&site);
    site.pass(7 * MINUTE).await;
    assert_eq!(site.nodes().await.len(), 3);
    assert_eq!(site.yard.most(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_templates_before_it_judges_requests() {
    let site = site((0, 9)).await;
    let autoscaler = start(&site);
    template(&site).await;
    ask(&site, "job", ATOMIC, 2).await;
    until_said(&site, "job", "Provisioned", "CapacityIsProvisioned").await;
    site.until_nodes(1).await;
    autoscaler.kill().await;
    let faults = Faults::none();
    faults.set(|_, uri| uri.contains("/podtemplates").then_some(Fault::Reset));
    let options = Options {
        provisioning: Some(ProvisioningOptions::default()),
        ..options()
    };
    let _autoscaler = begin(&site, faults.client(site.rig.client.clone()), options);
    site.pass(30 * SECOND).await;
    faults.set(|_, _| None);
    site.pass(2 * MINUTE).await;
    assert_eq!(said(&site, "job", "Failed").await.0, "");
    come_for(&site, "job", CONSUMES, 2).await;
    until_said(&site, "job", "BookingExpired", "CapacityBookingConsumed").await;
    assert_eq!(increases(&site), ["increase ng by 1"]);
}

#[tokio::test(start_paused = true)]
async fn as_long_as_quotas_cannot_be_read_no_node_is_added_but_nodes_go() {
    let site = site((0, 9)).await;
    let definitions = site.rig.cluster_of(
        ("apiextensions.k8s.io", "v1"),
        "customresourcedefinitions",
        "CustomResourceDefinition",
    );
    let quotas = plimsoll_api::capacity_quota::definition();
    site.rig.create(&definitions, quotas).await;
    let first = start(&site);
    site.deploy(2, "500m").await;
    site.until_ready(2).await;
    site.scale(0).await;
    first.kill().await;
    let faults = Faults::none();
    let forbidden = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
        "message": "no", "code": 403,
    });
    faults.set(move |_, uri| {
        let quotas = uri.contains("/capacityquotas");
        quotas.then(|| Fault::Answer(403, forbidden.to_string()))
    });
    let options = Options {
        capacity_quotas: true,
        ..options()
    };
    let _autoscaler = begin(&site, faults.client(site.rig.client.clone()), options);
    site.until_nodes(0).await;
    drop(site.yard.calls());
    site.scale(2).await;
    site.pass(3 * MINUTE).await;
    assert_eq!(increases(&site), [""; 0]);
    let told = site.told("CapacityQuotasUnknown").await;
    assert!(
        told.iter()
            .any(|text| text.contains("The right to get, list and watch")),
        "{told:?}"
    );
    faults.set(|_, _| None);
    site.until_ready(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_is_told_when_its_nodes_do_not_come() {
    let site = site((0, 9)).await;
    site.yard.behave(|manner| manner.sold_out = Some("ng"));
    let _autoscaler = start(&site);
    template(&site).await;
    ask(&site, "job", ATOMIC, 2).await;
    until_said(&site, "job", "Provisioned", "CapacityIsProvisioned").await;
    let (took, message) = until_said(&site, "job", "Failed", "NodesGone").await;
    assert!(took < 3 * MINUTE, "{took:?}");
    assert!(message.contains("2 of its pods"), "{message}");
    assert_eq!(said(&site, "job", "CapacityRevoked").await.0, "");
    // The pods may ask for nodes elsewhere now.
    site.yard.group("other", (0, 9), "1").await;
    come_for(&site, "job", CONSUMES, 2).await;
    site.until_ready(2).await;
}

#[tokio::test(start_paused = true)]
async fn pods_whose_nodes_do_not_come_ask_for_others() {
    let site = site((0, 9)).await;
    site.yard.behave(|manner| manner.sold_out = Some("ng"));
    let _autoscaler = start(&site);
    template(&site).await;
    ask(&site, "job", ATOMIC, 2).await;
    until_said(&site, "job", "Provisioned", "CapacityIsProvisioned").await;
    come_for(&site, "job", CONSUMES, 2).await;
    site.yard.group("other", (0, 9), "1").await;
    let (took, message) = until_said(&site, "job", "BookingExpired", "NodesGone").await;
    assert!(took < 3 * MINUTE, "{took:?}");
    assert!(message.contains("2 of its pods"), "{message}");
    site.until_ready(2).await;
    for never in ["Failed", "CapacityRevoked"] {
        assert_eq!(said(&site, "job", never).await.0, "", "{never}");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_of_an_earlier_request_take_nothing_from_the_next() {
    let site = site((0, 9)).await;
    let _autoscaler = start(&site);
    template(&site).await;
    come_for(&site, "job", CONSUMES, 2).await;
    site.until_ready(2).await;
    site.pass(2 * SECOND).await;
    ask(&site, "job", ATOMIC, 2).await;
    until_said(&site, "job", "Provisioned", "CapacityIsProvisioned").await;
    site.pass(2 * MINUTE).await;
    assert_eq!(said(&site, "job", "BookingExpired").await.0, "");
    assert_eq!(site.nodes().await.len(), 2, "one for the next");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_understood_is_left_alone_or_told() {
    let site = site((0, 9)).await;
    let _autoscaler = start(&site);
    ask(&site, "theirs", "queued-provisioning.gke.io", 1).await;
    let parameters = json!({"processorInstance": "second"});
    ask_with(&site, "other", (CHECK, 1), parameters).await;
    ask(&site, "early", ATOMIC, 1).await;
    let (_, message) = until_said(&site, "early", "Provisioned", "FailedToCreatePods").await;
    assert!(
        message.contains("there is no PodTemplate \"half\""),
        "{message}"
    );
    template(&site).await;
    let (took, _) = until_said(&site, "early", "Provisioned", "CapacityIsProvisioned").await;
    assert!(took < 2 * SECOND, "{took:?}");
    for name in ["theirs", "other"] {
        let request = requests(&site).get(name).await.unwrap();
        assert!(request.data["status"].is_null(), "{name}: {request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_want_to_wait_is_told_at_once() {
    let site = site((0, 1)).await;
    let _autoscaler = start(&site);
    template(&site).await;
    ask_with(&site, "check", (CHECK, 1), json!({"noRetry": "true"})).await;
    let (_, message) = until_said(&site, "check", "Failed", "CapacityIsNotFound").await;
    assert!(
        message.starts_with("CA could not find requested capacity."),
        "{message}"
    );
    ask_with(&site, "add", (ATOMIC, 3), json!({"ValidUntilSeconds": "0"})).await;
    until_said(&site, "add", "Provisioned", "CapacityIsNotFound").await;
    let (took, _) = until_said(&site, "add", "Failed", "Expired").await;
    assert!(took < 15 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_requests_is_answered_in_one_look() {
    let site = site((3, 3)).await;
    let options = ProvisioningOptions {
        batch: 10,
        ..ProvisioningOptions::default()
    };
    let _autoscaler = start_provisioning(&site, options);
    template(&site).await;
    site.pass(10 * SECOND).await;
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        ask(&site, name, CHECK, 1).await;
    }
    site.pass(2 * SECOND).await;
    let mut found = 0;
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        let (status, ..) = said(&site, name, "Provisioned").await;
        assert!(!status.is_empty(), "{name}");
        found += usize::from(status == "True");
    }
    assert_eq!(found, 6, "three nodes have room for six pods");
}

#[tokio::test(start_paused = true)]
async fn a_request_cannot_be_changed() {
    let site = site((0, 1)).await;
    ask(&site, "job", CHECK, 1).await;
    let requests = requests(&site);
    for (patch, what) in [
        (
            json!({"provisioningClassName": ATOMIC}),
            "provisioningClassName",
        ),
        (
            json!({"podSets": [{"podTemplateRef": {"name": "half"}, "count": 2}]}),
            "podSets",
        ),
    ] {
        let patch = Patch::Merge(json!({"spec": patch}));
        let params = PatchParams::default();
        let refused = requests.patch("job", &params, &patch).await;
        let why = refused.unwrap_err().to_string();
        assert!(
            why.contains("Value is immutable") && why.contains(what),
            "{why}"
        );
    }
    for (count, holds) in [(0, false), (16_384, true), (16_385, false)] {
        let sets = json!([{"podTemplateRef": {"name": "half"}, "count": count}]);
        let request = json!({
            "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": format!("r{count}")},
            "spec": {"provisioningClassName": CHECK, "podSets": sets},
        });
        let request = serde_json::from_value(request).unwrap();
        let created = requests.create(&PostParams::default(), &request).await;
        assert_eq!(created.is_ok(), holds, "{count}: {created:?}");
    }
}
