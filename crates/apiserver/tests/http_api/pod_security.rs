//! Pod security standards.

use crate::rig::{DEPLOYMENTS, PODS, Rig, deployment};
use serde_json::json;

const DEFAULT: &str = "/api/v1/namespaces/default";

#[tokio::test]
async fn a_namespace_refuses_pods_below_its_standard() {
    let rig = Rig::new().await;
    rig.default_account().await;
    rig.pod("early", crate::rig::Bound::No).await;
    let label = |level: &str| json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}});
    let answer = rig.patch(DEFAULT, "merge", &label("restricted")).await;
    answer.expect(200);
    let warnings: Vec<&str> = answer
        .headers
        .get_all("warning")
        .iter()
        .map(|w| w.to_str().unwrap())
        .collect();
    assert!(warnings[0].contains("existing pods in namespace \\\"default\\\" violate the new PodSecurity enforce level \\\"restricted:latest\\\""), "{warnings:?}");
    assert!(warnings[1].contains("early: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"), "{warnings:?}");
    let pod = json!({
        "metadata": {"name": "late"}, "spec": {"containers": [{"name": "web", "image": "nginx"}]},
    });
    rig.post(PODS, &pod).await.expect_failure(
        403,
        "Forbidden",
        "pods \"late\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"web\" must set securityContext.allowPrivilegeEscalation=false), ",
    );
    let answer = rig.post(DEPLOYMENTS, &deployment("web")).await;
    answer.expect(201);
    let warning = answer.headers["warning"].to_str().unwrap();
    assert!(
        warning.contains(
            "would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation"
        ),
        "{warning}"
    );
    rig.patch(DEFAULT, "merge", &label("strict"))
        .await
        .expect_failure(422, "Invalid", "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted");
    rig.patch(DEFAULT, "merge", &label("baseline"))
        .await
        .expect(200);
    rig.post(PODS, &pod).await.expect(201);
}
