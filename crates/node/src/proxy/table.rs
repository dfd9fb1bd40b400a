//! Services and their endpoints, watched once for proxy, DNS and environment variables.

use crate::agent::view::Meta;
use crate::agent::{Change, Cluster};
use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A Service, as far as routing and names go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: ServiceSpec,
}

/// The routed parts of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP` (default), `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its address; `None` text for a headless one.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// Target of an `ExternalName`.
    pub external_name: String,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// `ClientIP` or `None`.
    pub session_affinity: String,
    /// How long an affinity lasts.
    pub session_affinity_config: Option<AffinityConfig>,
    /// Whether unready endpoints have names too.
    pub publish_not_ready_addresses: bool,
}

/// `sessionAffinityConfig`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AffinityConfig {
    /// Affinity by client address.
    #[serde(rename = "clientIP")]
    pub client_ip: ClientIp,
}

/// `sessionAffinityConfig.clientIP`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientIp {
    /// Seconds since the last connection (10800 by default).
    pub timeout_seconds: Option<u64>,
}

/// One port of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name; empty for a single port.
    pub name: String,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Port on the Service's address.
    pub port: u16,
    /// Port on every node, if any.
    pub node_port: u16,
}

/// An EndpointSlice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Slice {
    /// Metadata; the label `kubernetes.io/service-name` names the Service.
    pub metadata: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Ports all of them have.
    pub ports: Vec<SlicePort>,
}

/// One endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Addresses; all the same to a client.
    pub addresses: Vec<String>,
    /// Readiness.
    pub conditions: Conditions,
    /// Host name within the Service.
    pub hostname: Option<String>,
}

/// Readiness of an endpoint.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// Takes connections; unknown counts as ready.
    pub ready: Option<bool>,
    /// Works, perhaps on its way out.
    pub serving: Option<bool>,
    /// On its way out.
    pub terminating: Option<bool>,
}

/// One port of a slice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SlicePort {
    /// Name of the Service port.
    pub name: Option<String>,
    /// `TCP` or `UDP`.
    pub protocol: Option<String>,
    /// Port on the pods.
    pub port: Option<u16>,
}

impl Conditions {
    /// Whether it takes new connections.
    pub fn is_ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// Whether it still works although it is on its way out.
    pub fn is_draining(&self) -> bool {
        self.serving.unwrap_or(self.is_ready()) && self.terminating == Some(true)
    }
}

impl Service {
    /// Its address, unless it is headless, external or has none yet.
    pub fn cluster_ip(&self) -> Option<IpAddr> {
        self.spec.cluster_ip.parse().ok()
    }

    /// Whether it has no address on purpose.
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip == "None"
    }

    /// `NAMESPACE/NAME`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }
}

/// (namespace, Service name).
pub type ServiceName = (String, String);

/// The present Services and slices.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Services.
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    /// Slices by Service, then by slice name.
    pub slices: BTreeMap<ServiceName, BTreeMap<String, Arc<Slice>>>,
}

impl Table {
    /// Every slice of a Service.
    pub fn slices_of(&self, name: &ServiceName) -> impl Iterator<Item = &Arc<Slice>> {
        self.slices.get(name).into_iter().flat_map(BTreeMap::values)
    }

    fn put_slice(&mut self, slice: Slice) {
        let Some(owner) = owner(&slice) else { return };
        let name = slice.metadata.name.clone();
        self.slices
            .entry(owner)
            .or_default()
            .insert(name, Arc::new(slice));
    }
}

fn owner(slice: &Slice) -> Option<ServiceName> {
    let service = slice.metadata.labels.get("kubernetes.io/service-name")?;
    Some((slice.metadata.namespace.clone(), service.clone()))
}

/// How much of the table has been listed at least once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    services: bool,
    slices: bool,
    changes: u64,
}

#[derive(Debug)]
struct Inner {
    table: RwLock<Table>,
    progress: watch::Sender<Progress>,
    _stop: DropGuard,
}

/// The live table. Clones are the same table; the watches end with the last one.
#[derive(Debug, Clone)]
pub struct Directory(Arc<Inner>);

impl Directory {
    /// Starts watching.
    pub fn start(client: kube::Client) -> Self {
        let stop = CancellationToken::new();
        let directory = Self::fixed_with(Table::default(), stop.clone().drop_guard());
        let cluster = Cluster::new(client);
        let weak = Arc::downgrade(&directory.0);
        keep::<Service>(&cluster, "/api/v1/services", Weak::clone(&weak), &stop);
        keep::<Slice>(
            &cluster,
            "/apis/discovery.k8s.io/v1/endpointslices",
            weak,
            &stop,
        );
        directory
    }

    /// A table that is only changed by [`Directory::replace`], for tests and simulation.
    pub fn fixed(table: Table) -> Self {
        let directory = Self::fixed_with(Table::default(), CancellationToken::new().drop_guard());
        directory.replace(table);
        directory
    }

    /// Puts another table in place of the present one.
    pub fn replace(&self, table: Table) {
        *self.0.table.write() = table;
        self.0.progress.send_modify(|progress| {
            *progress = Progress {
                services: true,
                slices: true,
                changes: progress.changes.wrapping_add(1),
            };
        });
    }

    fn fixed_with(table: Table, stop: DropGuard) -> Self {
        let progress = watch::Sender::new(Progress::default());
        Self(Arc::new(Inner {
            table: RwLock::new(table),
            progress,
            _stop: stop,
        }))
    }

    /// Reads the present table. Keep it short: changes wait.
    pub fn read<R>(&self, reader: impl FnOnce(&Table) -> R) -> R {
        reader(&self.0.table.read())
    }

    /// Waits until Services and slices have been listed once.
    pub async fn synced(&self) {
        let mut progress = self.0.progress.subscribe();
        // The sender lives as long as `self`.
        drop(progress.wait_for(|p| p.services && p.slices).await);
    }

    /// Tells of changes, of the first listing included.
    pub(crate) fn changes(&self) -> Changes {
        let mut progress = self.0.progress.subscribe();
        progress.mark_changed();
        Changes(progress)
    }
}

/// Tells that the table has changed.
#[derive(Debug)]
pub(crate) struct Changes(watch::Receiver<Progress>);

impl Changes {
    /// Waits for a change; `false` when there will be none any more.
    pub(crate) async fn next(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// A kind that the table holds.
trait Entry: DeserializeOwned + Clone + Send + 'static {
    fn apply(table: &mut Table, change: Change<Self>);
    fn listed(progress: &mut Progress);
}

impl Entry for Service {
    fn apply(table: &mut Table, change: Change<Self>) {
        let key = |s: &Self| (s.metadata.namespace.clone(), s.metadata.name.clone());
        match change {
            Change::All(all) => {
                table.services = all.into_iter().map(|s| (key(&s), Arc::new(s))).collect();
            }
            Change::Set(service) => drop(table.services.insert(key(&service), Arc::new(service))),
            Change::Gone(service) => drop(table.services.remove(&key(&service))),
        }
    }

    fn listed(progress: &mut Progress) {
        progress.services = true;
    }
}

impl Entry for Slice {
    fn apply(table: &mut Table, change: Change<Self>) {
        match change {
            Change::All(all) => {
                table.slices.clear();
                for slice in all {
                    table.put_slice(slice);
                }
            }
            Change::Set(slice) => table.put_slice(slice),
            Change::Gone(slice) => {
                let Some(owner) = owner(&slice) else { return };
                if let Some(slices) = table.slices.get_mut(&owner) {
                    slices.remove(&slice.metadata.name);
                    if slices.is_empty() {
                        table.slices.remove(&owner);
                    }
                }
            }
        }
    }

    fn listed(progress: &mut Progress) {
        progress.slices = true;
    }
}

fn keep<T: Entry>(
    cluster: &Cluster,
    path: &'static str,
    table: Weak<Inner>,
    stop: &CancellationToken,
) {
    let (sender, mut changes) = mpsc::channel::<Change<T>>(64);
    let follow = cluster.clone().follow(path, sender);
    let stop = stop.clone();
    tokio::spawn(async move {
        let apply = async {
            while let Some(change) = changes.recv().await {
                let Some(inner) = table.upgrade() else { return };
                T::apply(&mut inner.table.write(), change);
                inner.progress.send_modify(|progress| {
                    T::listed(progress);
                    progress.changes = progress.changes.wrapping_add(1);
                });
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = follow => {}
            () = apply => {}
        }
    });
}
