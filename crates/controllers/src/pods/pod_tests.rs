//! What is read of a pod.

use super::{ContainerRole, Phase, PodView, PodWire};
use crate::runtime::Cached;
use kube::core::WatchEvent;

#[test]
fn a_pod_is_decoded_from_a_watch_line() {
    let line = r#"{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"n","uid":"u",
        "resourceVersion":"7","labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":"200m"}},
        "ports":[{"name":"http","containerPort":80,"protocol":"TCP"}]}],"initContainers":[{"name":"i","restartPolicy":"Always"}],
        "nodeName":"n1","tolerations":[{"key":"x"}],"schedulerName":"default-scheduler"},
        "status":{"phase":"Running","podIP":"10.0.0.1","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}],
        "containerStatuses":[{"restartCount":3}]}}}"#;
    let WatchEvent::Added(wire) = serde_json::from_str::<WatchEvent<PodWire>>(line).unwrap() else {
        panic!("an addition")
    };
    let pod = PodView::from_wire(wire);
    assert_eq!(
        (&*pod.meta.uid, pod.meta.revision, pod.phase),
        ("u", 7, Phase::Running)
    );
    assert!(pod.is_ready() && pod.is_active());
    assert_eq!(pod.containers[0].request("cpu"), Some("200m"));
    assert_eq!(pod.containers[1].role, ContainerRole::Sidecar);
    assert_eq!(
        pod.placement.tolerations.as_ref().unwrap().get(),
        r#"[{"key":"x"}]"#
    );
    assert_eq!((pod.restarts, pod.scheduler), (3, None));
}

#[test]
fn an_empty_pod_is_pending() {
    let wire: PodWire =
        serde_json::from_str(r#"{"metadata":{"name":"a"},"spec":{"containers":null},"status":{}}"#)
            .unwrap();
    assert_eq!(PodView::from_wire(wire).phase, Phase::Pending);
}
