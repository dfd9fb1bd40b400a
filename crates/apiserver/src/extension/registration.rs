//! The APIServices by which the API server finds an extension server.

use super::certificate::Serving;
use crate::outbound::decode_base64;
use crate::server::ApiServer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use kube::Client;
use plimsoll_api::meta;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const PATH: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Authorities in one bundle: far more than there are replicas.
const MOST_AUTHORITIES: usize = 8;
const END: &str = "-----END CERTIFICATE-----";
/// Priorities, as metrics-server and prometheus-adapter have them in their manifests.
const PRIORITIES: [i64; 2] = [100, 100];

/// The Service in front of an extension server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The port there.
    pub port: u16,
}

impl ServiceAddress {
    /// The names that its certificate must be for.
    pub fn names(&self) -> Vec<String> {
        let Self {
            namespace, name, ..
        } = self;
        vec![
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}"),
            format!("{name}.{namespace}.svc.cluster.local"),
            name.clone(),
        ]
    }
}

/// What to do about APIServices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registrations {
    /// Nothing: somebody else cares.
    Leave,
    /// Those that lead to this Service learn the authority of the certificate.
    Update(ServiceAddress),
    /// As [`Registrations::Update`], and those that do not exist are made.
    Create(ServiceAddress),
}

/// Keeps APIServices current, for ever: at the start, when groups or the authority change, and now
/// and then.
pub(super) async fn keep(
    client: &Client,
    server: &ApiServer,
    registrations: &Registrations,
    serving: &Serving,
) {
    let (service, creates) = match registrations {
        Registrations::Leave => return std::future::pending().await,
        Registrations::Update(service) => (service, false),
        Registrations::Create(service) => (service, true),
    };
    let mut authorities = serving.authority();
    let mut said = BTreeMap::new();
    loop {
        let authority = authorities.borrow_and_update().clone();
        let groups: BTreeSet<(&str, &str)> = {
            let locals = server.0.locals.read();
            locals.iter().map(|l| (l.group(), l.version())).collect()
        };
        for (group, version) in groups {
            let wanted = Wanted {
                service,
                authority: &authority,
                group,
                version,
            };
            let name = wanted.name();
            let outcome = wanted.settle(client, creates).await;
            let failure = outcome.err().map(|error| error.to_string());
            if let Some(why) = &failure
                && said.get(&name) != Some(why)
            {
                tracing::warn!(api_service = name, why, "an APIService is not kept current");
            }
            match failure {
                Some(why) => drop(said.insert(name, why)),
                None => drop(said.remove(&name)),
            }
        }
        tokio::select! {
            biased;
            changed = authorities.changed() => if changed.is_err() {
                return std::future::pending().await;
            },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// How an APIService should be.
struct Wanted<'a> {
    service: &'a ServiceAddress,
    /// PEM; empty where the certificate is somebody else's.
    authority: &'a str,
    group: &'a str,
    version: &'a str,
}

impl Wanted<'_> {
    fn name(&self) -> String {
        format!("{}.{}", self.version, self.group)
    }

    async fn settle(&self, client: &Client, creates: bool) -> Result<(), kube::Error> {
        let path = format!("{PATH}/{}", self.name());
        let found: Value = match call(client, Method::GET, &path, None).await {
            Ok(found) => found,
            Err(kube::Error::Api(status)) if status.code == 404 && creates => {
                return match call(client, Method::POST, PATH, Some(&self.object())).await {
                    Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
                    other => other.map(drop),
                };
            }
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error),
        };
        match self.change(&found) {
            // A conflict is settled at the next look.
            Some(change) => call(client, Method::PATCH, &path, Some(&change))
                .await
                .map(drop),
            None => Ok(()),
        }
    }

    fn object(&self) -> Value {
        let ServiceAddress {
            namespace,
            name,
            port,
        } = self.service;
        let [group_priority, version_priority] = PRIORITIES;
        let mut spec = json!({
            "group": self.group, "version": self.version,
            "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
            "service": {"namespace": namespace, "name": name, "port": port},
        });
        if !self.authority.is_empty() {
            meta::as_object(&mut spec)
                .insert("caBundle".into(), STANDARD.encode(self.authority).into());
        }
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": self.name(), "labels": {"app.kubernetes.io/name": "plimsoll"}},
            "spec": spec,
        })
    }

    /// The merge patch that an APIService of ours needs; `None` for others' and for good ones. The
    /// authorities of other replicas stay.
    fn change(&self, found: &Value) -> Option<Value> {
        let at = |field: &str| meta::text(found, &["spec", "service", field]);
        let ours = at("namespace") == self.service.namespace && at("name") == self.service.name;
        if !ours || self.authority.is_empty() {
            return None;
        }
        let old = decode_base64(meta::text(found, &["spec", "caBundle"])).unwrap_or_default();
        let old = String::from_utf8_lossy(&old);
        let insecure = found.pointer("/spec/insecureSkipTLSVerify") == Some(&Value::Bool(true));
        if old.contains(self.authority.trim()) && !insecure {
            return None;
        }
        let bundle = STANDARD.encode(joined(&old, self.authority));
        Some(json!({
            // Two replicas may do this at once.
            "metadata": {"resourceVersion": meta::text(found, &["metadata", "resourceVersion"])},
            "spec": {"caBundle": bundle, "insecureSkipTLSVerify": false},
        }))
    }
}

/// A bundle with one more authority; the oldest go, since replicas come and go.
fn joined(old: &str, authority: &str) -> String {
    let mut all: Vec<&str> = old
        .split_inclusive(END)
        .map(str::trim)
        .filter(|pem| pem.ends_with(END) && *pem != authority.trim())
        .collect();
    all.push(authority.trim());
    let first = all.len().saturating_sub(MOST_AUTHORITIES);
    let mut bundle = all.split_off(first).join("\n");
    bundle.push('\n');
    bundle
}

async fn call(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, kube::Error> {
    let content = if method == Method::PATCH {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    let bytes = body.map(serde_json::to_vec).transpose();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(bytes.map_err(kube::Error::SerdeError)?.unwrap_or_default())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// Namespace of the Service, caBundle, insecureSkipTLSVerify; whether it is changed.
    #[rstest]
    #[case::good(("ours", "PEM", false), false)]
    #[case::another_authority(("ours", "old", false), true)]
    #[case::unchecked(("ours", "PEM", true), true)]
    #[case::of_others(("theirs", "old", false), false)]
    fn only_our_own_learn_the_authority(
        #[case] (namespace, bundle, insecure): (&str, &str, bool),
        #[case] changed: bool,
    ) {
        let service = ServiceAddress {
            namespace: "ours".to_owned(),
            name: "plimsoll".to_owned(),
            port: 443,
        };
        let wanted = Wanted {
            service: &service,
            authority: "PEM",
            group: "metrics.k8s.io",
            version: "v1beta1",
        };
        let found = json!({"spec": {
            "service": {"namespace": namespace, "name": "plimsoll"},
            "caBundle": STANDARD.encode(bundle), "insecureSkipTLSVerify": insecure,
        }});
        assert_eq!(wanted.change(&found).is_some(), changed);
        assert_eq!(wanted.change(&wanted.object()), None);
        assert_eq!(wanted.name(), "v1beta1.metrics.k8s.io");
    }

    #[test]
    fn replicas_share_a_bundle_and_the_oldest_leave_it() {
        let authority = |number: usize| format!("-----BEGIN CERTIFICATE-----\n{number}\n{END}\n");
        let bundle = (0..10).fold(String::new(), |old, number| {
            joined(&old, &authority(number))
        });
        assert_eq!(bundle.matches(END).count(), MOST_AUTHORITIES);
        assert!(bundle.contains("\n9\n") && !bundle.contains("\n1\n"));
        assert_eq!(joined(&bundle, &authority(9)), bundle);
    }
}
