//! Deletion: cascades and namespaces.

use crate::rig::{Rig, condition};
use kube::api::{DeleteParams, Patch, PatchParams};
use rstest::rstest;
use serde_json::json;

#[rstest]
#[case::background(DeleteParams::background())]
#[case::foreground(DeleteParams::foreground())]
#[tokio::test(start_paused = true)]
async fn deleting_a_deployment_deletes_what_it_owns(#[case] params: DeleteParams) {
    let rig = Rig::start().await;
    rig.deploy(3).await;
    let foreground = params == DeleteParams::foreground();
    rig.deployments().delete("web", &params).await.unwrap();
    rig.until("nothing left", async || {
        let deployments = rig.count(&rig.deployments()).await;
        let sets = rig.count(&rig.replica_sets()).await;
        let pods = rig.count(&rig.pods()).await;
        if foreground {
            assert!(deployments >= sets, "the owner goes last");
        }
        deployments + sets + pods == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_furnished_and_emptied() {
    let rig = Rig::start().await;
    let namespaces = rig.cluster("namespaces", "Namespace");
    let team = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    rig.create(&namespaces, team).await;
    let accounts = rig.core("team", "serviceaccounts", "ServiceAccount");
    let maps = rig.core("team", "configmaps", "ConfigMap");
    rig.until("furnished", async || {
        rig.count(&accounts).await == 1 && rig.count(&maps).await == 1
    })
    .await;
    namespaces
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    rig.until("gone", async || {
        namespaces.get_opt("team").await.unwrap().is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_waits_for_finalizers_and_says_so() {
    let rig = Rig::start().await;
    let namespaces = rig.cluster("namespaces", "Namespace");
    let team = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    rig.create(&namespaces, team).await;
    let maps = rig.core("team", "configmaps", "ConfigMap");
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    rig.create(&maps, held).await;
    namespaces
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    rig.until("told what is left", async || {
        let team = namespaces.get("team").await.unwrap();
        condition(&team, "NamespaceFinalizersRemaining").0 == "True"
    })
    .await;
    let team = namespaces.get("team").await.unwrap();
    assert_eq!(team.data["status"]["phase"], "Terminating");
    let (status, reason, message) = condition(&team, "NamespaceContentRemaining");
    assert_eq!((&*status, &*reason), ("True", "SomeResourcesRemain"));
    assert_eq!(
        message,
        "Some resources are remaining: configmaps. has 1 resource instances"
    );
    assert_eq!(
        condition(&team, "NamespaceFinalizersRemaining").2,
        "Some content in the namespace has finalizers remaining: \
         example.com/hold in 1 resource instances"
    );
    let release = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    let took = rig
        .until("gone", async || {
            namespaces.get_opt("team").await.unwrap().is_none()
        })
        .await;
    assert!(took.as_secs() <= 6, "{took:?}");
}
