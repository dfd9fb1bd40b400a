//! The live table: watched once for proxy, DNS and environment variables.

use super::{Namespace, Node, Service, ServiceName, Slice, Table};
use crate::agent::{Change, Cluster};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How much of the table has been listed at least once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    services: bool,
    slices: bool,
}

/// What one listener has not heard of yet.
#[derive(Debug, Default)]
struct Pending {
    changed: Mutex<BTreeSet<ServiceName>>,
    told: Notify,
}

#[derive(Debug)]
struct Inner {
    table: RwLock<Table>,
    listeners: Mutex<Vec<Weak<Pending>>>,
    progress: watch::Sender<Progress>,
    _stop: DropGuard,
}

impl Inner {
    fn new(stop: DropGuard) -> Self {
        Self {
            table: RwLock::default(),
            listeners: Mutex::default(),
            progress: watch::Sender::new(Progress::default()),
            _stop: stop,
        }
    }

    /// Changes the table and tells whom it concerns.
    fn change(&self, work: impl FnOnce(&mut Table) -> BTreeSet<ServiceName>) {
        let changed = work(&mut self.table.write());
        if changed.is_empty() {
            return;
        }
        self.listeners.lock().retain(|listener| {
            let Some(pending) = listener.upgrade() else {
                return false;
            };
            pending.changed.lock().extend(changed.iter().cloned());
            pending.told.notify_one();
            true
        });
    }
}

/// The live table. Clones are the same table; the watches end with the last one.
#[derive(Debug, Clone)]
pub struct Directory(Arc<Inner>);

impl Directory {
    /// Starts watching.
    pub fn start(client: kube::Client) -> Self {
        let stop = CancellationToken::new();
        let directory = Self(Arc::new(Inner::new(stop.clone().drop_guard())));
        let cluster = Cluster::new(client);
        let keep = Keep {
            cluster,
            table: Arc::downgrade(&directory.0),
            stop,
        };
        keep.follow::<Service>("/api/v1/services");
        keep.follow::<Slice>("/apis/discovery.k8s.io/v1/endpointslices");
        keep.follow::<Node>("/api/v1/nodes");
        keep.follow::<Namespace>("/api/v1/namespaces");
        directory
    }

    /// A table that is only changed by [`Directory::replace`], for tests and simulation.
    pub fn fixed(table: Table) -> Self {
        let stop = CancellationToken::new().drop_guard();
        let directory = Self(Arc::new(Inner::new(stop)));
        directory.replace(table);
        directory
    }

    /// Puts another table in place of the present one.
    pub fn replace(&self, mut table: Table) {
        self.0.change(|present| {
            // Revisions only grow, whatever the new table was made from.
            table.renumber(present);
            let names = present.entries.keys().chain(table.entries.keys());
            let changed = names.cloned().collect();
            *present = table;
            changed
        });
        let all = Progress {
            services: true,
            slices: true,
        };
        self.0.progress.send_replace(all);
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

    /// Tells which Services change from now on; all there are now count as changed.
    pub(crate) fn changes(&self) -> Changes {
        let pending = Arc::new(Pending::default());
        self.0.listeners.lock().push(Arc::downgrade(&pending));
        let present = self.read(|table| table.entries.keys().cloned().collect::<Vec<_>>());
        pending.changed.lock().extend(present);
        pending.told.notify_one();
        Changes(pending)
    }
}

impl Table {
    fn renumber(&mut self, before: &Self) {
        self.topology += before.topology + 1;
        self.revision += before.revision;
        for entry in self.entries.values_mut() {
            entry.revision += before.revision;
        }
    }
}

/// Tells which Services have changed.
#[derive(Debug)]
pub(crate) struct Changes(Arc<Pending>);

impl Changes {
    /// Waits for changes; those of the meantime come together.
    pub(crate) async fn next(&mut self) -> BTreeSet<ServiceName> {
        loop {
            let changed = std::mem::take(&mut *self.0.changed.lock());
            if !changed.is_empty() {
                return changed;
            }
            self.0.told.notified().await;
        }
    }
}

/// A kind that the table holds.
trait Kept: DeserializeOwned + Clone + Send + 'static {
    /// Applies a change; tells the Services it concerns.
    fn apply(table: &mut Table, change: Change<Self>) -> BTreeSet<ServiceName>;

    /// Notes that the kind has been listed.
    fn listed(_progress: &mut Progress) {}
}

impl Kept for Service {
    fn apply(table: &mut Table, change: Change<Self>) -> BTreeSet<ServiceName> {
        match change {
            Change::All(all) => {
                let mut changed: BTreeSet<ServiceName> =
                    table.services().map(|(name, _)| name.clone()).collect();
                for name in &changed {
                    table.remove_service(name);
                }
                changed.extend(all.into_iter().map(|service| table.put_service(service)));
                changed
            }
            Change::Set(service) => BTreeSet::from([table.put_service(service)]),
            Change::Gone(service) => {
                let name = service.key();
                table.remove_service(&name);
                BTreeSet::from([name])
            }
        }
    }

    fn listed(progress: &mut Progress) {
        progress.services = true;
    }
}

impl Kept for Slice {
    fn apply(table: &mut Table, change: Change<Self>) -> BTreeSet<ServiceName> {
        match change {
            Change::All(all) => {
                let entries = table.entries.values();
                let old: Vec<Arc<Self>> = entries
                    .flat_map(|entry| entry.slices.values().map(Arc::clone))
                    .collect();
                let gone = old.iter().flat_map(|slice| table.remove_slice(slice));
                let mut changed: BTreeSet<ServiceName> = gone.collect();
                changed.extend(all.into_iter().flat_map(|slice| table.put_slice(slice)));
                changed
            }
            Change::Set(slice) => table.put_slice(slice),
            Change::Gone(slice) => table.remove_slice(&slice),
        }
    }

    fn listed(progress: &mut Progress) {
        progress.slices = true;
    }
}

/// Nodes concern no Service by themselves: where clients are is looked up when they connect.
impl Kept for Node {
    fn apply(table: &mut Table, change: Change<Self>) -> BTreeSet<ServiceName> {
        match change {
            Change::All(all) => {
                let names: BTreeSet<&str> = all.iter().map(|n| &*n.metadata.name).collect();
                let gone = table.nodes.keys().filter(|name| !names.contains(&***name));
                for name in gone.cloned().collect::<Vec<_>>() {
                    table.remove_node(&name);
                }
                for node in all {
                    table.put_node(node);
                }
            }
            Change::Set(node) => drop(table.put_node(node)),
            Change::Gone(node) => table.remove_node(&node.metadata.name),
        }
        BTreeSet::new()
    }
}

impl Kept for Namespace {
    fn apply(table: &mut Table, change: Change<Self>) -> BTreeSet<ServiceName> {
        match change {
            Change::All(all) => {
                table.namespaces = all.into_iter().map(|n| n.metadata.name).collect();
            }
            Change::Set(namespace) => table.put_namespace(namespace.metadata.name),
            Change::Gone(namespace) => table.remove_namespace(&namespace.metadata.name),
        }
        BTreeSet::new()
    }
}

/// What a watch needs.
struct Keep {
    cluster: Cluster,
    table: Weak<Inner>,
    stop: CancellationToken,
}

impl Keep {
    fn follow<T: Kept>(&self, path: &'static str) {
        let (sender, mut changes) = mpsc::channel::<Change<T>>(64);
        let follow = self.cluster.clone().follow(path, sender);
        let (table, stop) = (Weak::clone(&self.table), self.stop.clone());
        let apply = async move {
            while let Some(change) = changes.recv().await {
                let Some(inner) = table.upgrade() else { return };
                inner.change(|table| T::apply(table, change));
                inner.progress.send_modify(T::listed);
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = follow => {}
                () = apply => {}
            }
        });
    }
}
