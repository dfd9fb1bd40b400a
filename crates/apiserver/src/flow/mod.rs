//! Flow control: how many requests run at once, and which flow each belongs to.
//!
//! Departs: upstream queues per priority level. Here requests beyond the limit are refused at once,
//! and the levels only name what a request belongs to.

mod schema;
mod seed;
mod status;

use crate::admission::follow::Followed;
use crate::auth::{Attributes, Identity};
use crate::http::respond::Response;
use crate::store::Store;
use http::{HeaderName, HeaderValue};
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use schema::Schema;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Reads that run at once.
const READS: usize = 400;
/// Writes that run at once.
const WRITES: usize = 200;
/// Subresources whose requests last as long as their client likes.
const LASTING: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

const SCHEMA_HEADER: &str = "x-kubernetes-pf-flowschema-uid";
const LEVEL_HEADER: &str = "x-kubernetes-pf-prioritylevel-uid";

/// Counts requests and knows the flows.
#[derive(Debug)]
pub(crate) struct Flow {
    schemas: Followed<Schema>,
    /// Uids by name.
    levels: Followed<String>,
    reads: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
}

/// A place among the requests that run; given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket(Option<Arc<AtomicUsize>>);

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The flow that a request belongs to, for its answer.
#[derive(Debug, Default)]
pub(crate) struct Class {
    schema: String,
    level: String,
}

impl Class {
    /// Names the flow in the answer.
    pub(crate) fn mark(&self, response: &mut Response) {
        for (name, uid) in [(SCHEMA_HEADER, &self.schema), (LEVEL_HEADER, &self.level)] {
            if let Ok(value) = HeaderValue::from_str(uid)
                && !uid.is_empty()
            {
                response
                    .headers_mut()
                    .insert(HeaderName::from_static(name), value);
            }
        }
    }
}

impl Flow {
    /// Flows as the store has them; nothing runs yet.
    pub(crate) fn new(store: &Store) -> Self {
        let uid = |level: &Value| meta::uid(level).to_owned();
        Self {
            schemas: Followed::new(
                store,
                "flowcontrol.apiserver.k8s.io/flowschemas",
                Schema::parse,
            ),
            levels: Followed::new(
                store,
                "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations",
                uid,
            ),
            reads: Arc::default(),
            writes: Arc::default(),
        }
    }

    /// The flow of a request: of the schemas that match, the first by precedence and name.
    pub(crate) fn classify(&self, who: &Identity, asked: &Attributes<'_>) -> Class {
        let found = self
            .schemas
            .fold("", None, |best: Option<Arc<Schema>>, schema| {
                let goes_first = best
                    .as_ref()
                    .is_none_or(|b| schema.precedence < b.precedence);
                if goes_first && schema.matches(who, asked) {
                    Some(Arc::clone(schema))
                } else {
                    best
                }
            });
        let Some(found) = found else {
            return Class::default();
        };
        let level = self.levels.get("", &found.level);
        Class {
            schema: found.uid.clone(),
            level: level.map(|uid| uid.as_str().to_owned()).unwrap_or_default(),
        }
    }

    /// Lets a request run, unless too many do. Members of `system:masters` always run, and requests
    /// that last are not counted.
    pub(crate) fn enter(&self, who: &Identity, asked: &Attributes<'_>) -> Result<Ticket, ApiError> {
        let lasts = asked.verb == "watch" || LASTING.contains(&asked.subresource);
        if lasts || who.is_in("system:masters") {
            return Ok(Ticket(None));
        }
        let (count, most) = match asked.verb {
            "get" | "list" | "head" | "options" => (&self.reads, READS),
            _ => (&self.writes, WRITES),
        };
        let ticket = Ticket(Some(Arc::clone(count)));
        if count.fetch_add(1, Ordering::Relaxed) < most {
            return Ok(ticket);
        }
        let text = "Too many requests, please try again later.";
        let mut error = ApiError::new(429, "TooManyRequests", text);
        error.details = json!({"retryAfterSeconds": 1});
        Err(error)
    }
}

/// The flow schemas and priority levels that every cluster has: group, plural, namespace, object.
pub(crate) fn seeds() -> impl Iterator<Item = (&'static str, &'static str, &'static str, Value)> {
    seed::seeds()
        .into_iter()
        .map(|(plural, object)| ("flowcontrol.apiserver.k8s.io", plural, "", object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn asked<'a>(verb: &'a str, resource: &'a str, namespace: &'a str) -> Attributes<'a> {
        let path = if resource.is_empty() { "/healthz" } else { "" };
        Attributes {
            verb,
            resource,
            namespace,
            path,
            ..Attributes::default()
        }
    }

    #[rstest]
    #[case::masters("admin", "system:masters", asked("get", "pods", "default"), "exempt")]
    #[case::probes("x", "system:unauthenticated", asked("get", "", ""), "probes")]
    #[case::nodes(
        "system:node:a",
        "system:nodes",
        asked("update", "nodes", ""),
        "system-node-high"
    )]
    #[case::pods_of_nodes(
        "system:node:a",
        "system:nodes",
        asked("list", "pods", ""),
        "system-nodes"
    )]
    #[case::manager(
        "system:kube-controller-manager",
        "system:authenticated",
        asked("list", "pods", ""),
        "kube-controller-manager"
    )]
    #[case::system_accounts(
        "system:serviceaccount:kube-system:x",
        "system:serviceaccounts",
        asked("list", "pods", "a"),
        "kube-system-service-accounts"
    )]
    #[case::accounts(
        "system:serviceaccount:a:x",
        "system:serviceaccounts",
        asked("list", "pods", "a"),
        "service-accounts"
    )]
    #[case::people(
        "bob",
        "system:authenticated",
        asked("list", "pods", "a"),
        "global-default"
    )]
    fn seeds_sort_requests(
        #[case] user: &str,
        #[case] group: &str,
        #[case] asked: Attributes<'_>,
        #[case] want: &str,
    ) {
        let who = Identity::new(user, &[group]);
        let schemas = seeds().filter(|(_, plural, ..)| *plural == "flowschemas");
        let mut schemas: Vec<Schema> = schemas.map(|(.., object)| Schema::parse(&object)).collect();
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        let found = schemas.iter().find(|schema| schema.matches(&who, &asked));
        assert_eq!(found.map(|schema| schema.name.as_str()), Some(want));
    }

    #[test]
    fn the_limit_holds_and_is_given_back() {
        let store = Store::open(crate::store::Options::ephemeral()).unwrap();
        let flow = Flow::new(&store);
        let who = Identity::new("bob", &[]);
        let write = asked("create", "pods", "a");
        let mut tickets: Vec<Ticket> = (0..WRITES)
            .map(|_| flow.enter(&who, &write).unwrap())
            .collect();
        let refused = flow.enter(&who, &write).unwrap_err();
        assert_eq!((refused.code, refused.reason), (429, "TooManyRequests"));
        flow.enter(&who, &asked("get", "pods", "a")).unwrap();
        flow.enter(&who, &asked("watch", "pods", "a")).unwrap();
        tickets.pop();
        flow.enter(&who, &write).unwrap();
    }
}
