//! A VerticalPodAutoscaler that changes the request whose percentage is held.

use super::{Finding, FindingKind};
use crate::horizontal::shell::Shell;
use crate::runtime::ObjectKey;
use kube::{Client, Error};
use parking_lot::RwLock;
use plimsoll_engine::horizontal::Observed;
use plimsoll_engine::horizontal::spec::{Metric, TargetRef};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const API: &str = "/apis/autoscaling.k8s.io/v1";
/// How often they are read: they seldom change, and nothing depends on them.
const PERIOD: Duration = Duration::from_secs(300);

/// What a VerticalPodAutoscaler does to its target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Vertical {
    name: String,
    mode: String,
    resources: Vec<String>,
}

/// Target kind, namespace and name.
type Target = (String, ObjectKey);

/// The VerticalPodAutoscalers that change requests, by target.
#[derive(Debug, Default)]
pub(in crate::horizontal) struct Verticals(RwLock<BTreeMap<Target, Vertical>>);

impl Verticals {
    /// Reads those in scope; without `namespaces` all. What cannot be read stays as it was known.
    async fn refresh(&self, client: &Client, namespaces: &[Arc<str>]) {
        if namespaces.is_empty() {
            self.refresh_in(client, None).await;
        }
        for namespace in namespaces {
            self.refresh_in(client, Some(namespace)).await;
        }
    }

    async fn refresh_in(&self, client: &Client, namespace: Option<&str>) {
        let path = match namespace {
            Some(namespace) => format!("{API}/namespaces/{namespace}/verticalpodautoscalers"),
            None => format!("{API}/verticalpodautoscalers"),
        };
        let Ok(request) = http::Request::get(path).body(Vec::new()) else {
            return;
        };
        match client.request::<Value>(request).await {
            Ok(list) => self.learn(namespace, &list),
            // A cluster without the kind has none.
            Err(Error::Api(status)) if status.code == 404 => self.learn(namespace, &Value::Null),
            Err(error) => tracing::debug!(%error, "VerticalPodAutoscalers cannot be read"),
        }
    }

    /// Takes in all there are in a namespace, or everywhere.
    fn learn(&self, namespace: Option<&str>, list: &Value) {
        let items = list.get("items").and_then(Value::as_array);
        let found: Vec<_> = items.into_iter().flatten().filter_map(read).collect();
        let mut known = self.0.write();
        known.retain(|(_, object), _| namespace.is_some_and(|name| *object.namespace != *name));
        known.extend(found);
    }

    /// Finds one that changes a request whose percentage the autoscaler holds.
    pub(super) fn conflict(&self, observed: &Observed, namespace: &Arc<str>) -> Option<Finding> {
        let known = self.0.read();
        if known.is_empty() {
            return None;
        }
        let target = &observed.spec.scale_target_ref;
        let object = ObjectKey {
            namespace: Arc::clone(namespace),
            name: (&*target.name).into(),
        };
        let vertical = known.get(&(target.kind.clone(), object))?;
        let held = observed
            .spec
            .metrics
            .iter()
            .find_map(|metric| match metric {
                Metric::Resource { name, target, .. } if target.average_value.is_none() => {
                    let name = name.to_string();
                    vertical.resources.contains(&name).then_some(name)
                }
                Metric::Resource { .. }
                | Metric::Pods { .. }
                | Metric::Object { .. }
                | Metric::External { .. }
                | Metric::Unknown { .. } => None,
            })?;
        Some(conflict(vertical, target, &held))
    }
}

fn conflict(vertical: &Vertical, target: &TargetRef, resource: &str) -> Finding {
    let Vertical { name, mode, .. } = vertical;
    Finding {
        kind: FindingKind::VerticalConflict,
        object: format!("{name}/{resource}"),
        message: format!(
            "VerticalPodAutoscaler {name} (mode {mode}) changes the {resource} request of {} {}, \
             and this autoscaler holds a percentage of it: each undoes what the other does",
            target.kind, target.name
        ),
        advice: format!(
            "hold an AverageValue of {resource}, or leave {resource} out of the \
             VerticalPodAutoscaler's controlledResources"
        ),
    }
}

/// One that changes requests by itself.
fn read(object: &Value) -> Option<(Target, Vertical)> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let mode = text("/spec/updatePolicy/updateMode").unwrap_or("Auto");
    if mode == "Off" {
        return None;
    }
    let object_key = ObjectKey::new(
        text("/metadata/namespace").unwrap_or_default(),
        text("/spec/targetRef/name")?,
    );
    let resources = controlled(object);
    if resources.is_empty() {
        return None;
    }
    let vertical = Vertical {
        name: text("/metadata/name")?.to_owned(),
        mode: mode.to_owned(),
        resources,
    };
    Some((
        (text("/spec/targetRef/kind")?.to_owned(), object_key),
        vertical,
    ))
}

/// The resources that it changes in some container: cpu and memory unless its policies say less.
fn controlled(object: &Value) -> Vec<String> {
    let both = || vec!["cpu".to_owned(), "memory".to_owned()];
    let policies = object.pointer("/spec/resourcePolicy/containerPolicies");
    let policies = policies.and_then(Value::as_array);
    let Some(policies) = policies.filter(|policies| !policies.is_empty()) else {
        return both();
    };
    let mut all = Vec::new();
    for policy in policies {
        if policy.get("mode").and_then(Value::as_str) == Some("Off") {
            continue;
        }
        match policy.get("controlledResources").and_then(Value::as_array) {
            None => all.extend(both()),
            Some(named) => all.extend(named.iter().filter_map(Value::as_str).map(str::to_owned)),
        }
    }
    all
}

impl Shell {
    /// Reads the VerticalPodAutoscalers now and then, for ever; a cluster without them has none.
    pub(in crate::horizontal) async fn follow_verticals(&self) {
        loop {
            let namespaces = &self.options.scope.namespaces;
            self.verticals
                .refresh(self.writer.client(), namespaces)
                .await;
            tokio::time::sleep(PERIOD).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Verticals, read};
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use std::sync::Arc;

    /// An API server that answers lists in namespaces `a`, with one, and `b`, with `status`.
    fn server(status: u16) -> Client {
        Client::new(
            tower::service_fn(move |request: Request<Body>| async move {
                let path = request.uri().path().to_owned();
                let items: &[Value] = &[json!({
                    "metadata": { "name": "v", "namespace": if path.contains("/b/") { "b" } else { "a" } },
                    "spec": { "targetRef": { "kind": "Deployment", "name": "web" } },
                })];
                let (status, body) = match path.as_str() {
                    "/apis/autoscaling.k8s.io/v1/namespaces/a/verticalpodautoscalers" => {
                        (200, json!({ "items": items }))
                    }
                    "/apis/autoscaling.k8s.io/v1/namespaces/b/verticalpodautoscalers"
                        if status == 200 =>
                    {
                        (200, json!({ "items": items }))
                    }
                    "/apis/autoscaling.k8s.io/v1/namespaces/b/verticalpodautoscalers" => (
                        status,
                        json!({ "kind": "Status", "apiVersion": "v1", "code": status,
                            "status": "Failure", "message": "no", "reason": "no", "metadata": {} }),
                    ),
                    // Without rights in the whole cluster.
                    _ => (403, json!({})),
                };
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            }),
            "default",
        )
    }

    #[rstest]
    #[case::gone(404, &["a"])]
    #[case::forbidden(403, &["a", "b"])]
    #[case::broken(500, &["a", "b"])]
    #[tokio::test]
    async fn a_namespace_at_a_time_and_only_absence_forgets(
        #[case] status: u16,
        #[case] want: &[&str],
    ) {
        let verticals = Verticals::default();
        let scope: [Arc<str>; 2] = ["a".into(), "b".into()];
        let known = || -> Vec<String> {
            let known = verticals.0.read();
            known
                .keys()
                .map(|(_, object)| object.namespace.to_string())
                .collect()
        };
        verticals.refresh(&server(200), &scope).await;
        assert_eq!(known(), ["a", "b"]);
        verticals.refresh(&server(status), &scope).await;
        assert_eq!(known(), want);
    }

    #[rstest]
    #[case::by_default(json!({}), Some("cpu memory"))]
    #[case::off(json!({ "updatePolicy": { "updateMode": "Off" } }), None)]
    #[case::only_at_creation(json!({ "updatePolicy": { "updateMode": "Initial" } }), Some("cpu memory"))]
    #[case::memory_only(
        json!({ "resourcePolicy": { "containerPolicies": [
            { "containerName": "*", "controlledResources": ["memory"] }] } }),
        Some("memory")
    )]
    #[case::no_container(
        json!({ "resourcePolicy": { "containerPolicies": [{ "containerName": "*", "mode": "Off" }] } }),
        None
    )]
    fn what_it_changes(#[case] mut spec: Value, #[case] want: Option<&str>) {
        spec["targetRef"] = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
        let object = json!({ "metadata": { "name": "v", "namespace": "n" }, "spec": spec });
        let found = read(&object).map(|(_, vertical)| vertical.resources.join(" "));
        assert_eq!(found.as_deref(), want);
    }
}
