//! Reads the facts. Every request only reads; each may fail alone.

use super::facts::{Answer, ApiService, Facts, MissingRight, Workload};
use crate::install::rights::{EVERYWHERE, OWN, Rule, SCOPED};
use crate::run::builtin;
use futures::{StreamExt as _, stream};
use http::Request;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use plimsoll_clock::Clock;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Nodes whose kubelets are asked; more would prove no more.
const NODES: usize = 20;
/// Requests at once.
const AT_ONCE: usize = 16;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A cluster being examined.
pub(super) struct Patient {
    /// The way there.
    pub(super) client: Client,
    /// Our time.
    pub(super) clock: Clock,
    /// Where Plimsoll is to be installed.
    pub(super) namespace: String,
}

impl Patient {
    /// Reads everything.
    pub(super) async fn examine(&self) -> Facts {
        let (version, groups, skew) = tokio::join!(self.version(), self.groups(), self.skew());
        let (aggregation, missing_rights, api_services) = tokio::join!(
            self.aggregation(),
            self.missing_rights(),
            self.api_services()
        );
        let (workloads, autoscalers, kubelets) =
            tokio::join!(self.workloads(), self.autoscalers(), self.kubelets());
        let (seen, namespace) = tokio::join!(builtin::see(&self.client, &[]), self.own_namespace());
        Facts {
            version,
            groups,
            skew,
            aggregation,
            missing_rights,
            api_services,
            builtin: seen.judge(self.clock.now()),
            workloads,
            autoscalers,
            kubelets,
            namespace,
        }
    }

    async fn get(&self, path: &str) -> Answer<Value> {
        let request = Request::get(path)
            .body(Vec::new())
            .map_err(|e| e.to_string())?;
        answered(self.client.request(request)).await
    }

    /// `None` if there is no such object.
    async fn find(&self, path: &str) -> Answer<Option<Value>> {
        let request = Request::get(path)
            .body(Vec::new())
            .map_err(|e| e.to_string())?;
        let found = async {
            match self.client.request(request).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                other => other.map(Some),
            }
        };
        answered(found).await
    }

    async fn items(&self, path: &str) -> Answer<Vec<Value>> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let mut list = self
                .get(&format!("{path}?limit=500&continue={token}"))
                .await?;
            if let Some(page) = list.get_mut("items").and_then(Value::as_array_mut) {
                items.append(page);
            }
            match text(&list, "/metadata/continue") {
                "" => return Ok(items),
                next => next.clone_into(&mut token),
            }
        }
    }

    async fn version(&self) -> Answer<(u32, u32, String)> {
        let version = self.get("/version").await?;
        let number = |pointer| {
            let digits = text(&version, pointer).trim_end_matches('+');
            digits
                .parse()
                .map_err(|_| format!("the version {digits:?} is no number"))
        };
        let whole = text(&version, "/gitVersion").to_owned();
        Ok((number("/major")?, number("/minor")?, whole))
    }

    async fn groups(&self) -> BTreeMap<String, Vec<String>> {
        let list = self.get("/apis").await.unwrap_or_default();
        let groups = list.get("groups").and_then(Value::as_array);
        let groups = groups.into_iter().flatten().map(|group| {
            let versions = group.get("versions").and_then(Value::as_array);
            let versions = versions.into_iter().flatten();
            let versions = versions.map(|version| text(version, "/version").to_owned());
            (text(group, "/name").to_owned(), versions.collect())
        });
        groups.collect()
    }

    /// By the `Date` of an answer, which counts whole seconds.
    async fn skew(&self) -> Option<SignedDuration> {
        let request = Request::get("/version").body(Body::empty()).ok()?;
        let answer = self.client.send(request).await.ok()?;
        let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
        Some(server_time(date)?.duration_since(self.clock.now()))
    }

    async fn aggregation(&self) -> Answer<bool> {
        let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
        let found = self.find(path).await?;
        let ca = found.map(|map| text(&map, "/data/requestheader-client-ca-file").to_owned());
        Ok(ca.is_some_and(|ca| !ca.is_empty()))
    }

    /// Whoever applies a role must hold what it grants.
    async fn missing_rights(&self) -> Answer<Vec<MissingRight>> {
        let everything = json!({"group": "*", "resource": "*", "verb": "*"});
        if self.may(&everything).await? {
            return Ok(Vec::new());
        }
        let asked = stream::iter(questions(&self.namespace)).map(async |(right, attributes)| {
            let allowed = self.may(&attributes).await?;
            Ok::<_, String>((!allowed).then_some(right))
        });
        let answers: Vec<Answer<Option<MissingRight>>> = asked.buffered(AT_ONCE).collect().await;
        let answers: Answer<Vec<Option<MissingRight>>> = answers.into_iter().collect();
        Ok(answers?.into_iter().flatten().collect())
    }

    async fn may(&self, attributes: &Value) -> Answer<bool> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        let body = serde_json::to_vec(&review).map_err(|e| e.to_string())?;
        let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|e| e.to_string())?;
        let answer: Value = answered(self.client.request(request)).await?;
        Ok(answer.pointer("/status/allowed") == Some(&Value::Bool(true)))
    }

    async fn api_services(&self) -> Answer<BTreeMap<String, ApiService>> {
        let items = self
            .items("/apis/apiregistration.k8s.io/v1/apiservices")
            .await?;
        let services = items.iter().map(|item| {
            let name = text(item, "/metadata/name").to_owned();
            (name, api_service(item))
        });
        Ok(services.collect())
    }

    async fn workloads(&self) -> Answer<Vec<Workload>> {
        let kinds = [
            ("Deployment", "deployments"),
            ("StatefulSet", "statefulsets"),
            ("ReplicaSet", "replicasets"),
        ];
        let mut workloads = Vec::new();
        for (kind, plural) in kinds {
            let items = self.items(&format!("/apis/apps/v1/{plural}")).await?;
            let free = items
                .iter()
                .filter(|item| item.pointer("/metadata/ownerReferences").is_none());
            workloads.extend(free.map(|item| workload(kind, item)));
        }
        Ok(workloads)
    }

    async fn autoscalers(&self) -> Answer<Vec<Value>> {
        self.items("/apis/autoscaling/v2/horizontalpodautoscalers")
            .await
    }

    async fn kubelets(&self) -> Answer<Vec<(String, Answer<()>)>> {
        let nodes = self.items("/api/v1/nodes").await?;
        let names = nodes.iter().take(NODES);
        let names = names.map(|node| text(node, "/metadata/name").to_owned());
        let asked = stream::iter(names).map(async |name: String| {
            let path = format!("/api/v1/nodes/{name}/proxy/healthz");
            let reached = match Request::get(path).body(Vec::new()) {
                Ok(request) => answered(self.client.request_text(request)).await,
                Err(error) => Err(error.to_string()),
            };
            (name, reached.map(drop))
        });
        Ok(asked.buffered(AT_ONCE).collect().await)
    }

    async fn own_namespace(&self) -> Answer<Option<BTreeMap<String, String>>> {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        let found = self.find(&path).await?;
        Ok(found.map(|namespace| {
            let labels = namespace.pointer("/metadata/labels").cloned();
            serde_json::from_value(labels.unwrap_or_default()).unwrap_or_default()
        }))
    }
}

fn server_time(date: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(date).ok()?.timestamp())
}

async fn answered<T>(asking: impl Future<Output = kube::Result<T>>) -> Answer<T> {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(status.message),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn workload(kind: &'static str, item: &Value) -> Workload {
    let part = |pointer| item.pointer(pointer).cloned().unwrap_or_default();
    Workload {
        kind,
        namespace: text(item, "/metadata/namespace").to_owned(),
        name: text(item, "/metadata/name").to_owned(),
        selector: part("/spec/selector"),
        template: part("/spec/template"),
    }
}

fn api_service(item: &Value) -> ApiService {
    let service = item.pointer("/spec/service").filter(|s| s.is_object());
    let service = service
        .map(|service| format!("{}/{}", text(service, "/namespace"), text(service, "/name")));
    let conditions = item.pointer("/status/conditions").and_then(Value::as_array);
    let available = conditions
        .into_iter()
        .flatten()
        .find(|condition| text(condition, "/type") == "Available");
    let available = match available {
        Some(condition) if text(condition, "/status") == "True" => Ok(()),
        Some(condition) => Err(text(condition, "/message").to_owned()),
        None => Err("nothing is known of it yet".to_owned()),
    };
    ApiService { service, available }
}

/// Kinds that the installation consists of.
const KINDS: [Rule; 5] = [
    made("", &["namespaces", "serviceaccounts", "services"]),
    made("apps", &["deployments"]),
    made("policy", &["poddisruptionbudgets"]),
    made(
        "rbac.authorization.k8s.io",
        &[
            "clusterroles",
            "clusterrolebindings",
            "roles",
            "rolebindings",
        ],
    ),
    made("apiregistration.k8s.io", &["apiservices"]),
];

const fn made(group: &'static str, resources: &'static [&'static str]) -> Rule {
    Rule {
        group,
        resources,
        verbs: &["create", "patch"],
        names: &[],
        why: "to apply what `plimsoll install` prints",
    }
}

/// Everything to ask, as the right and the attributes of a review.
fn questions(namespace: &str) -> Vec<(MissingRight, Value)> {
    let everywhere = [&KINDS[..], SCOPED, EVERYWHERE].concat();
    let rules = everywhere.iter().map(|rule| (rule, ""));
    let rules = rules.chain(OWN.iter().map(|rule| (rule, namespace)));
    let each = rules.flat_map(|(rule, namespace)| {
        let verbs = rule.verbs.iter();
        verbs.flat_map(move |verb| {
            let resources = rule.resources.iter();
            resources.map(move |resource| question(rule, (verb, resource), namespace))
        })
    });
    each.collect()
}

fn question(rule: &Rule, (verb, resource): (&str, &str), namespace: &str) -> (MissingRight, Value) {
    let (plural, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let right = MissingRight {
        rule: *rule,
        verb: verb.to_owned(),
        resource: format!("{}/{resource}", rule.group)
            .trim_start_matches('/')
            .to_owned(),
    };
    let name = rule.names.first().copied().unwrap_or_default();
    let attributes = json!({
        "group": rule.group, "resource": plural, "subresource": subresource, "verb": verb,
        "name": name, "namespace": namespace,
    });
    (right, attributes)
}

#[cfg(test)]
mod tests {
    use super::{questions, server_time};

    #[test]
    fn the_date_of_an_answer_is_understood() {
        let date = server_time("Wed, 25 Nov 2026 16:32:56 GMT").unwrap();
        assert_eq!(date.to_string(), "2026-11-25T16:32:56Z");
    }

    #[test]
    fn subresources_are_asked_for_apart() {
        let questions = questions("there");
        let scale = questions
            .iter()
            .find(|(right, _)| right.resource == "*/*/scale")
            .unwrap();
        assert_eq!(scale.1["resource"], "*");
        assert_eq!(scale.1["subresource"], "scale");
        let own = questions.iter().any(|(_, a)| a["namespace"] == "there");
        assert!(own);
    }
}
