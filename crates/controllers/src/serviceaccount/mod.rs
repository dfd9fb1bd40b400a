//! Gives every namespace its `default` service account and the cluster's CA certificate.

use crate::runtime::{
    Action, Cache, Cached, Meta, ObjectKey, Queue, Reconcile, WriteError, run, wire,
};
use crate::supervisor::Context;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

const ACCOUNT: &str = "default";
const CONFIG_MAP: &str = "kube-root-ca.crt";
const CERTIFICATE: &str = "ca.crt";

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let named = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let certificates: Cache<CertificateView> =
        Cache::start_selected(context.client.clone(), context.seed ^ 0x53, named);
    context.caches.namespaces.ready().await;
    context.caches.service_accounts.ready().await;
    certificates.ready().await;
    let add = queue.clone();
    context.caches.namespaces.on_change(move |change| {
        if let Some(namespace) = &change.new {
            add.add(namespace.meta.key.clone());
        }
    });
    let add = queue.clone();
    context.caches.service_accounts.on_change(move |change| {
        if change.new.is_none() && &*change.key.name == ACCOUNT {
            add.add(ObjectKey::new("", &change.key.namespace));
        }
    });
    let add = queue.clone();
    certificates.on_change(move |change| add.add(ObjectKey::new("", &change.key.namespace)));
    match run(
        Arc::new(Accounts {
            context,
            certificates,
        }),
        queue,
    )
    .await {}
}

struct Accounts {
    context: Context,
    certificates: Cache<CertificateView>,
}

impl Reconcile for Accounts {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "serviceaccount"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let Some(namespace) = self.context.caches.namespaces.get(key) else {
            return Ok(Action::Wait);
        };
        if namespace.meta.is_deleting() {
            return Ok(Action::Wait);
        }
        let outcome = match self.publish(&key.name).await {
            Ok(()) => self.open_account(&key.name).await,
            error => error,
        };
        match outcome {
            Err(error) if error.is_namespace_terminating() || error.is_not_found() => {
                Ok(Action::Wait)
            }
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(Action::Wait),
        }
    }
}

impl Accounts {
    async fn open_account(&self, namespace: &str) -> Result<(), WriteError> {
        let cache = &self.context.caches.service_accounts;
        if cache.find(namespace, ACCOUNT).is_none() {
            let body = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT},
            });
            self.context.writer.create(cache, namespace, &body).await?;
        }
        Ok(())
    }

    async fn publish(&self, namespace: &str) -> Result<(), WriteError> {
        let Some(wanted) = &self.context.options.root_ca else {
            return Ok(());
        };
        let writer = &self.context.writer;
        let data = json!({(CERTIFICATE): **wanted});
        match self.certificates.find(namespace, CONFIG_MAP) {
            Some(view) if view.certificate.as_deref() == Some(&**wanted) => {}
            Some(view) => {
                let patch = json!({"data": data});
                writer
                    .patch(&self.certificates, &view.meta.key, &patch)
                    .await?;
            }
            None => {
                let why = "Contains a CA bundle that can be used to verify the kube-apiserver \
                           when using internal endpoints such as the internal service IP or \
                           kubernetes.default.svc.";
                let body = json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {
                        "name": CONFIG_MAP,
                        "annotations": {"kubernetes.io/description": why},
                    },
                    "data": data,
                });
                writer.create(&self.certificates, namespace, &body).await?;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct CertificateView {
    meta: Meta,
    certificate: Option<Box<str>>,
}

impl Cached for CertificateView {
    type Wire = CertificateWire;

    fn from_wire(wire: CertificateWire) -> Self {
        let mut data = wire.data.unwrap_or_default();
        let certificate = data.remove(CERTIFICATE).map(String::into_boxed_str);
        Self {
            meta: wire.metadata.into(),
            certificate,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[derive(Debug, Clone, Deserialize)]
struct CertificateWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
}

wire!(
    CertificateWire,
    NamespaceResourceScope,
    "",
    "v1",
    "ConfigMap",
    "configmaps"
);
