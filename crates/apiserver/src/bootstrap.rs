//! What every cluster contains before anyone asked for anything.

use crate::pki::front_proxy;
use crate::resource::own::Own;
use crate::resource::patch::Part;
use crate::server::{ApiServer, key};
use crate::store::Change;
use futures::StreamExt;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};

/// Group, plural, namespace, and the object.
type Seed = (&'static str, &'static str, &'static str, Value);

/// Resources whose deletions make the seeds be looked after.
const TENDED: [&str; 8] = [
    "namespaces",
    "services",
    "endpoints",
    "discovery.k8s.io/endpointslices",
    "configmaps",
    "flowcontrol.apiserver.k8s.io/flowschemas",
    "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations",
    "networking.k8s.io/servicecidrs",
];

impl ApiServer {
    /// Creates what is missing of the objects a cluster starts with: the four namespaces, Service
    /// `default/kubernetes` with its endpoints, the two priority classes, the ConfigMap that
    /// extension servers read, the default roles and bindings, and the APIServices of what is
    /// served. Safe to repeat.
    pub async fn bootstrap(&self) -> Result<(), ApiError> {
        self.plant().await?;
        self.publish_authentication().await?;
        self.bootstrap_rbac().await?;
        self.register_own().await
    }

    /// What extension servers check clients with: ours, and proxies that speak for others.
    fn authentication(&self) -> Value {
        let cluster = &self.0.cluster;
        let Some(front) = &cluster.front_proxy else {
            return json!({"client-ca-file": cluster.ca});
        };
        json!({
            "client-ca-file": cluster.ca,
            "requestheader-allowed-names": json!([front_proxy::CLIENT]).to_string(),
            "requestheader-client-ca-file": front.ca,
            "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
            "requestheader-group-headers": r#"["X-Remote-Group"]"#,
            "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
            "requestheader-username-headers": r#"["X-Remote-User"]"#,
        })
    }

    /// Brings what extension servers read up to date: a data directory may be older than this
    /// program, or have been given new keys.
    async fn publish_authentication(&self) -> Result<(), ApiError> {
        let Some(kind) = self.stored_kind("", "configmaps") else {
            return Ok(());
        };
        let own = Own::new(&kind);
        let writer = own.writer(self);
        let data = self.authentication();
        let step = |old: &Value| {
            let mut new = old.clone();
            let held = plimsoll_api::meta::object_mut(&mut new, &["data"]);
            for (key, value) in data.as_object().into_iter().flatten() {
                held.insert(key.clone(), value.clone());
            }
            Ok(new)
        };
        let key = key(&kind, "kube-system", "extension-apiserver-authentication");
        match writer.update(&key, Part::Main, &step).await {
            Err(error) if error.code != 404 => Err(error),
            Err(_) | Ok(_) => Ok(()),
        }
    }

    /// Creates what is missing of the seeds that are looked after.
    async fn plant(&self) -> Result<(), ApiError> {
        for (group, plural, namespace, object) in self.seeds() {
            let Some(kind) = self.stored_kind(group, plural) else {
                continue;
            };
            let own = Own::new(&kind);
            let writer = own.writer(self);
            match writer.create(namespace, object).await {
                Err(error) if error.reason == "AlreadyExists" => {}
                Err(error) if error.reason == "Forbidden" => {
                    tracing::debug!(%error, plural, "not seeded while its namespace terminates");
                }
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        crate::custom::resume(self).await;
        Ok(())
    }

    /// Recreates a seed whenever one is deleted. Runs until dropped.
    pub async fn tend(&self) {
        let store = self.store();
        let from = store.revision();
        let watches = TENDED
            .iter()
            .filter_map(|resource| store.watch(resource, from).ok());
        let mut events = futures::stream::select_all(watches.map(|watch| {
            Box::pin(futures::stream::unfold(watch, |mut watch| async move {
                let event = watch.next().await.ok()?;
                Some((event, watch))
            }))
        }));
        while let Some(event) = events.next().await {
            if event.change == Change::Delete
                && let Err(error) = self.plant().await
            {
                tracing::warn!(%error, "a seed object could not be recreated");
            }
        }
    }

    fn seeds(&self) -> Vec<Seed> {
        let mut seeds: Vec<Seed> = ["default", "kube-system", "kube-public", "kube-node-lease"]
            .into_iter()
            .map(|name| ("", "namespaces", "", json!({"metadata": {"name": name}})))
            .collect();
        seeds.extend(self.kubernetes_service());
        let classes = [
            (
                "system-cluster-critical",
                2_000_000_000,
                "Used for system critical pods that must run in the cluster, but can be moved to \
                 another node if necessary.",
            ),
            (
                "system-node-critical",
                2_000_001_000,
                "Used for system critical pods that must not be moved from their current node.",
            ),
        ];
        seeds.extend(classes.map(|(name, value, description)| {
            let class = json!({
                "metadata": {"name": name}, "value": value, "description": description,
            });
            ("scheduling.k8s.io", "priorityclasses", "", class)
        }));
        let authentication = json!({
            "metadata": {"name": "extension-apiserver-authentication"},
            "data": self.authentication(),
        });
        seeds.push(("", "configmaps", "kube-system", authentication));
        for (_, plural, _, object) in &mut seeds {
            let (api_version, kind) = match *plural {
                "namespaces" => ("v1", "Namespace"),
                "services" => ("v1", "Service"),
                "endpoints" => ("v1", "Endpoints"),
                "configmaps" => ("v1", "ConfigMap"),
                "endpointslices" => ("discovery.k8s.io/v1", "EndpointSlice"),
                _ => ("scheduling.k8s.io/v1", "PriorityClass"),
            };
            let map = plimsoll_api::meta::as_object(object);
            map.insert("kind".into(), kind.into());
            map.insert("apiVersion".into(), api_version.into());
        }
        seeds.extend(crate::flow::seeds());
        seeds.push(self.service_range());
        seeds
    }

    /// The range that addresses of Services come from.
    fn service_range(&self) -> Seed {
        let cluster = &self.0.cluster;
        let range = format!("{}/{}", cluster.service_network, cluster.service_prefix);
        let object = json!({
            "kind": "ServiceCIDR", "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": "kubernetes"}, "spec": {"cidrs": [range]},
        });
        ("networking.k8s.io", "servicecidrs", "", object)
    }

    /// Service `default/kubernetes` and where it leads.
    fn kubernetes_service(&self) -> [Seed; 3] {
        let cluster = &self.0.cluster;
        let (address, port) = (
            cluster.advertise_address.to_string(),
            cluster.advertise_port,
        );
        let service = json!({
            "metadata": {
                "name": "kubernetes",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": self.0.allocator.first_address().to_string(),
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
            },
        });
        let endpoints = json!({
            "metadata": {
                "name": "kubernetes",
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{
                "addresses": [{"ip": address}],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }],
        });
        let slice = json!({
            "metadata": {
                "name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        });
        [
            ("", "services", "default", service),
            ("", "endpoints", "default", endpoints),
            ("discovery.k8s.io", "endpointslices", "default", slice),
        ]
    }
}
