//! Keeps volumes current while their pods run: a changed ConfigMap, Secret or pod, and tokens that
//! grow old.
//!
//! One watch of each of the two kinds serves all pods of this machine, and begins with the first
//! pod that mounts one; a change wakes only the pods that mount the object.

use super::content::{self, Mounted, Source};
use crate::agent::{Change, Cluster, Site};
use parking_lot::Mutex;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// Pause after a change could not be taken over.
const PAUSE: Duration = Duration::from_secs(10);

/// The pods whose volumes follow something. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refresher(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pods: Mutex<BTreeMap<String, Kept>>,
    watching: AtomicBool,
}

#[derive(Debug)]
struct Kept {
    namespace: String,
    sources: BTreeSet<Source>,
    wake: watch::Sender<Site>,
    task: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Refresher {
    /// Keeps a pod's volumes current from now on.
    pub(super) fn keep(&self, site: &Site, ip: IpAddr, mounted: Mounted) {
        let runs = site.node.runtime.runs_processes() && site.node.runtime.mounts_volumes();
        if mounted.is_fixed() || !runs {
            return;
        }
        if !mounted.sources.is_empty() && !self.0.watching.swap(true, Ordering::AcqRel) {
            self.watch(&site.shared.cluster);
        }
        let (wake, woken) = watch::channel(site.clone());
        let sources = mounted.sources.clone();
        let task = tokio::spawn(keep_current(woken, ip, mounted));
        let kept = Kept {
            namespace: site.pod.metadata.namespace.clone(),
            sources,
            wake,
            task: task.abort_handle(),
        };
        let uid = &site.pod.metadata.uid;
        let mut pods = self.0.pods.lock();
        pods.insert(uid.clone(), kept);
        // Once more: something may have changed after it was read and before it was followed.
        if let Some(kept) = pods.get(uid) {
            kept.wake.send_modify(|_| {});
        }
    }

    /// Takes note of a pod's new labels, annotations or resources.
    pub(crate) fn pod_changed(&self, site: &Site) {
        if let Some(kept) = self.0.pods.lock().get(&site.pod.metadata.uid) {
            kept.wake.send_replace(site.clone());
        }
    }

    pub(super) fn forget(&self, uid: &str) {
        self.0.pods.lock().remove(uid);
    }

    fn watch(&self, cluster: &Cluster) {
        for (kind, path) in [
            ("configmap", "/api/v1/configmaps"),
            ("secret", "/api/v1/secrets"),
        ] {
            let (sender, changes) = mpsc::channel(64);
            drop(tokio::spawn(cluster.clone().follow(path, sender)));
            drop(tokio::spawn(pass_on(
                kind,
                changes,
                Arc::downgrade(&self.0),
            )));
        }
    }
}

impl Inner {
    /// Wakes the pods that mount an object.
    fn changed(&self, kind: &str, object: &Meta) {
        for kept in self.pods.lock().values() {
            let mounts = kept.namespace == object.namespace
                && kept
                    .sources
                    .iter()
                    .any(|(k, n)| *k == kind && *n == object.name);
            if mounts {
                kept.wake.send_modify(|_| {});
            }
        }
    }
}

/// All that is looked at of a ConfigMap or Secret here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Named {
    metadata: Meta,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Meta {
    namespace: String,
    name: String,
}

async fn pass_on(
    kind: &'static str,
    mut changes: mpsc::Receiver<Change<Named>>,
    pods: Weak<Inner>,
) {
    while let Some(change) = changes.recv().await {
        let Some(pods) = pods.upgrade() else { return };
        match change {
            // The first list too: something may have changed since it was read for a mount.
            Change::All(objects) => {
                for object in objects {
                    pods.changed(kind, &object.metadata);
                }
            }
            Change::Set(object) => pods.changed(kind, &object.metadata),
            // Upstream, too, leaves the files in place.
            Change::Gone(_) => {}
        }
    }
}

async fn keep_current(mut woken: watch::Receiver<Site>, ip: IpAddr, mut mounted: Mounted) {
    let mut failed = false;
    loop {
        let site = woken.borrow().clone();
        let due = mounted.due().map(|at| {
            let left = at.duration_since(site.shared.clock.now());
            Duration::try_from(left).unwrap_or_default()
        });
        let due = if failed { Some(PAUSE) } else { due };
        let timer = async {
            match due {
                Some(due) => tokio::time::sleep(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = woken.changed() => if changed.is_err() { return },
            () = timer => {}
        }
        let site = woken.borrow_and_update().clone();
        failed = refresh(&site, ip, &mut mounted).await.is_err();
    }
}

async fn refresh(site: &Site, ip: IpAddr, mounted: &mut Mounted) -> Result<(), ()> {
    let mut outcome = Ok(());
    let volumes = site.pod.spec.volumes.iter();
    for volume in volumes.filter(|volume| content::may_change(volume)) {
        if let Err(why) = content::update(site, volume, ip, mounted).await {
            let pod = site.pod.full_name();
            tracing::debug!(%pod, volume = volume.name, %why, "volume not refreshed");
            outcome = Err(());
        }
    }
    outcome
}
