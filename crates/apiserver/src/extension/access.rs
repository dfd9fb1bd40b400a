//! Asks the API server whose a token is and what its holder may do, and remembers the answers for
//! as long as upstream's extension servers do.

use crate::auth::{Attributes, Decision, Identity, MASTERS};
use http::Request;
use kube::Client;
use parking_lot::Mutex;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long answers count.
const KEPT: Duration = Duration::from_secs(10);
/// Most answers of a kind that are kept.
const MOST: usize = 4096;
/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses before a question that failed is asked again.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_millis(750),
    Duration::from_millis(1125),
];

/// Answers with their ends.
type Cache<K, V> = Mutex<BTreeMap<K, (Instant, V)>>;

/// Delegated authentication and authorisation.
pub(super) struct Access {
    client: Client,
    tokens: Cache<[u8; 32], Option<Identity>>,
    decisions: Cache<String, Decision>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// Asks through `client`, whose user needs `system:auth-delegator`.
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            tokens: Cache::default(),
            decisions: Cache::default(),
        }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// 401, also where nobody can be asked; the log says which.
    pub(super) async fn holder(&self, token: &str) -> Result<Identity, ApiError> {
        let unauthorized = || ApiError::new(401, "Unauthorized", "Unauthorized");
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = look(&self.tokens, &key) {
            return known.ok_or_else(unauthorized);
        }
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token},
        });
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let status = self.ask(path, &review).await.map_err(|error| {
            tracing::warn!(%error, "a token could not be reviewed");
            unauthorized()
        })?;
        let holder = holder(&status);
        keep(&self.tokens, key, holder.clone());
        holder.ok_or_else(unauthorized)
    }

    /// Whether `who` may do this.
    ///
    /// # Errors
    /// 500 where nobody can be asked.
    pub(super) async fn decide(
        &self,
        who: &Identity,
        asked: &Attributes<'_>,
    ) -> Result<Decision, ApiError> {
        if who.is_in(MASTERS) {
            return Ok(Decision::allow(String::new()));
        }
        let spec = question(who, asked);
        let key = spec.to_string();
        if let Some(known) = look(&self.decisions, &key) {
            return Ok(known);
        }
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let status = self.ask(path, &review).await.map_err(ApiError::internal)?;
        let is = |field: &str| status.get(field).and_then(Value::as_bool) == Some(true);
        let decision = Decision {
            allowed: is("allowed") && !is("denied"),
            reason: meta::text(&status, &["reason"]).to_owned(),
        };
        keep(&self.decisions, key, decision.clone());
        Ok(decision)
    }

    /// Posts a review; its status.
    async fn ask(&self, path: &str, review: &Value) -> Result<Value, kube::Error> {
        let mut pauses = PAUSES.iter();
        loop {
            let body = serde_json::to_vec(review).map_err(kube::Error::SerdeError)?;
            let request = Request::post(path)
                .header("content-type", "application/json")
                .body(body)
                .map_err(kube::Error::HttpError)?;
            let answer = tokio::time::timeout(PATIENCE, self.client.request::<Value>(request));
            let failure = match answer.await {
                Ok(Ok(mut answer)) => {
                    let status = meta::as_object(&mut answer).shift_remove("status");
                    return Ok(status.unwrap_or_default());
                }
                Ok(Err(error)) => error,
                Err(elapsed) => kube::Error::Service(elapsed.into()),
            };
            let is_final = matches!(&failure, kube::Error::Api(status)
                if (400..500).contains(&status.code) && status.code != 429);
            match pauses.next() {
                Some(pause) if !is_final => tokio::time::sleep(*pause).await,
                Some(_) | None => return Err(failure),
            }
        }
    }
}

fn look<K: Ord, V: Clone>(cache: &Cache<K, V>, key: &K) -> Option<V> {
    let cache = cache.lock();
    let (until, answer) = cache.get(key)?;
    (*until > Instant::now()).then(|| answer.clone())
}

fn keep<K: Ord, V>(cache: &Cache<K, V>, key: K, answer: V) {
    let now = Instant::now();
    let mut cache = cache.lock();
    if cache.len() >= MOST {
        cache.retain(|_, (until, _)| *until > now);
        if cache.len() >= MOST {
            cache.clear();
        }
    }
    cache.insert(key, (now + KEPT, answer));
}

/// Whom a TokenReview's status names.
fn holder(status: &Value) -> Option<Identity> {
    if status.get("authenticated").and_then(Value::as_bool) != Some(true) {
        return None;
    }
    let user = status.get("user")?;
    let name = meta::text(user, &["username"]);
    let mut identity = Identity::new(name, &[]);
    identity.groups = texts(user.get("groups"));
    meta::text(user, &["uid"]).clone_into(&mut identity.uid);
    let extra = user.get("extra").and_then(Value::as_object);
    for (key, values) in extra.into_iter().flatten() {
        identity.extra.insert(key.clone(), texts(Some(values)));
    }
    (!name.is_empty()).then_some(identity)
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The spec of a SubjectAccessReview.
fn question(who: &Identity, asked: &Attributes<'_>) -> Value {
    let mut spec = Map::new();
    if asked.resource.is_empty() {
        let attributes = json!({"path": asked.path, "verb": asked.verb});
        spec.insert("nonResourceAttributes".into(), attributes);
    } else {
        let fields = [
            ("verb", asked.verb),
            ("group", asked.group),
            ("resource", asked.resource),
            ("subresource", asked.subresource),
            ("namespace", asked.namespace),
            ("name", asked.name),
        ];
        let set = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let attributes: Map<String, Value> = set
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        spec.insert("resourceAttributes".into(), attributes.into());
    }
    spec.insert("user".into(), who.user.as_str().into());
    spec.insert("groups".into(), json!(who.groups));
    if !who.uid.is_empty() {
        spec.insert("uid".into(), who.uid.as_str().into());
    }
    if !who.extra.is_empty() {
        spec.insert("extra".into(), json!(who.extra));
    }
    Value::Object(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Body;
    use crate::http::body::full;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A client of an API server that gives every question this status, or fails if it is null.
    fn answering(status: &Value) -> (Client, Arc<AtomicUsize>) {
        let (count, status) = (Arc::new(AtomicUsize::new(0)), status.clone());
        let counted = Arc::clone(&count);
        let service = tower::service_fn(move |_: Request<kube::client::Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut response: http::Response<Body> =
                http::Response::new(full(json!({"status": status}).to_string()));
            if status.is_null() {
                *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            }
            async move { Ok::<_, Infallible>(response) }
        });
        (Client::new(service, "default"), count)
    }

    fn pods() -> Attributes<'static> {
        Attributes {
            verb: "list",
            group: "metrics.k8s.io",
            resource: "pods",
            ..Attributes::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_count_for_ten_seconds() {
        let user = json!({"username": "jane", "groups": ["dev"], "extra": {"a": ["b"]}});
        let (client, count) = answering(&json!({"authenticated": true, "user": user}));
        let access = Access::new(client);
        let jane = access.holder("t").await.unwrap();
        assert_eq!(
            (jane.user.as_str(), jane.extra["a"].as_slice()),
            ("jane", &["b".to_owned()][..])
        );
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(access.holder("t").await.unwrap(), jane);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(access.holder("t").await.unwrap(), jane);
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_token_is_remembered_too() {
        let (client, count) = answering(&json!({"authenticated": false}));
        let access = Access::new(client);
        for _ in 0..2 {
            assert_eq!(access.holder("t").await.unwrap_err().code, 401);
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn decisions_are_the_api_servers_but_for_masters() {
        let (client, count) = answering(&json!({"allowed": false, "reason": "no"}));
        let access = Access::new(client);
        let jane = Identity::new("jane", &["dev"]);
        let decision = access.decide(&jane, &pods()).await.unwrap();
        assert_eq!((decision.allowed, decision.reason.as_str()), (false, "no"));
        let root = Identity::new("root", &[MASTERS]);
        assert!(access.decide(&root, &pods()).await.unwrap().allowed);
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_let_in_when_nobody_can_be_asked() {
        let (client, count) = answering(&Value::Null);
        let access = Access::new(client);
        let jane = Identity::new("jane", &["dev"]);
        assert_eq!(access.decide(&jane, &pods()).await.unwrap_err().code, 500);
        assert_eq!(access.holder("t").await.unwrap_err().code, 401);
        assert_eq!(count.load(Ordering::Relaxed), 8);
    }
}
