//! What happens in the cluster, gathered from the caches until the next look takes it in.

use super::buffers::BufferCaches;
use super::provisioning::RequestCaches;
use super::quotas::QuotaView;
use crate::daemonset::DaemonSetView;
use crate::devices::{ClassObject, DeviceCaches, SliceObject, TemplateObject};
use crate::facts::ClaimChange;
use crate::pods::{
    BudgetView, Caches, ClaimView, ClassView, NamespaceView, NodeView, PodView, VolumeView,
};
use crate::runtime::{Cache, Cached, Change, Full};
use k8s_openapi::api::storage::v1::CSINode;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a node's CSI drivers can do.
pub(super) type CsiNode = Full<CSINode>;

/// One change.
#[derive(Debug)]
pub(super) enum News {
    /// Of a pod.
    Pod(Change<PodView>),
    /// Of a node.
    Node(Change<NodeView>),
    /// Of what can be attached to a node.
    Attachable(Arc<str>),
    /// Of a namespace's labels.
    Namespace(Change<NamespaceView>),
    /// Of a claim.
    Claim(Change<ClaimView>),
    /// Of a volume.
    Volume(Change<VolumeView>),
    /// Of a storage class.
    Class(Change<ClassView>),
    /// Of devices, or of claims to them.
    Devices(DeviceNews),
    /// Of a disruption budget.
    Budget(Change<BudgetView>),
    /// Of what pods of this controller (its uid) are judged by.
    Owner(Arc<str>),
    /// Of a DaemonSet.
    Daemons,
    /// Of what a `CapacityBuffer` asks for.
    Buffers,
    /// Of what a `CapacityQuota` says.
    Quotas,
    /// Of a `ProvisioningRequest`, or of what its pods are like.
    Requests,
}

/// One change of devices.
#[derive(Debug)]
pub(super) enum DeviceNews {
    /// Of a claim.
    Claim(ClaimChange),
    /// Of a template of claims.
    Template(Change<TemplateObject>),
    /// Of a class.
    Class(Change<ClassObject>),
    /// Of a slice of a pool.
    Slice(Change<SliceObject>),
}

/// The kinds of which only node autoscaling keeps a cache.
#[derive(Debug, Clone)]
pub(super) struct OwnCaches {
    pub(super) csi_nodes: Cache<CsiNode>,
    pub(super) daemon_sets: Cache<DaemonSetView>,
    /// Where buffers are looked at.
    pub(super) buffers: Option<BufferCaches>,
    /// Where quotas are looked at.
    pub(super) quotas: Option<Cache<QuotaView>>,
    /// Where requests are looked at.
    pub(super) requests: Option<RequestCaches>,
}

/// Follows the caches from now on. What is there already comes as news, what pods are judged by
/// before the pods.
pub(super) fn follow(caches: &Caches, own: &OwnCaches) -> UnboundedReceiver<News> {
    let (sender, receiver) = unbounded_channel();
    tell(&caches.namespaces, &sender, |c| Some(News::Namespace(c)));
    tell(&caches.storage_classes, &sender, |c| Some(News::Class(c)));
    tell(&caches.volumes, &sender, |c| Some(News::Volume(c)));
    tell(&caches.claims, &sender, |c| Some(News::Claim(c)));
    tell(&caches.budgets, &sender, |c| Some(News::Budget(c)));
    device_news(&caches.devices, &sender);
    tell(&caches.nodes, &sender, |c| Some(News::Node(c)));
    tell(&own.csi_nodes, &sender, |c| {
        Some(News::Attachable(c.key.name))
    });
    tell(&own.daemon_sets, &sender, |c| {
        let template = |set: &Option<Arc<DaemonSetView>>| {
            set.as_deref().map(|set| set.template.get().to_owned())
        };
        (template(&c.old) != template(&c.new)).then_some(News::Daemons)
    });
    tell(&caches.pods, &sender, |c| Some(News::Pod(c)));
    if let Some(buffers) = &own.buffers {
        buffer_news(buffers, caches, &sender);
    }
    if let Some(quotas) = &own.quotas {
        tell(quotas, &sender, |c| {
            (generation(c.old.as_ref()) != generation(c.new.as_ref())).then_some(News::Quotas)
        });
        tell_ready(quotas, &sender, || News::Quotas);
    }
    if let Some(requests) = &own.requests {
        request_news(requests, &sender);
    }
    owners(caches, own, &sender);
    receiver
}

/// What counts the changes of an object's spec.
fn generation<V: Cached>(object: Option<&Arc<V>>) -> Option<i64> {
    object.map(|object| object.meta().generation)
}

/// A request came or went, or what its pods are like.
fn request_news(own: &RequestCaches, sender: &UnboundedSender<News>) {
    tell(&own.requests, sender, |c| {
        (c.old.is_some() != c.new.is_some()).then_some(News::Requests)
    });
    tell(&own.templates, sender, |_| Some(News::Requests));
    tell_ready(&own.templates, sender, || News::Requests);
}

fn device_news(caches: &DeviceCaches, sender: &UnboundedSender<News>) {
    tell(&caches.classes, sender, |c| {
        Some(News::Devices(DeviceNews::Class(c)))
    });
    tell(&caches.templates, sender, |c| {
        Some(News::Devices(DeviceNews::Template(c)))
    });
    tell(&caches.claims, sender, |c| {
        Some(News::Devices(DeviceNews::Claim(c)))
    });
    tell(&caches.slices, sender, |c| {
        Some(News::Devices(DeviceNews::Slice(c)))
    });
}

/// A buffer, or what it takes its pods from, came, went or was changed by somebody else.
fn buffer_news(own: &BufferCaches, caches: &Caches, sender: &UnboundedSender<News>) {
    tell(&own.buffers, sender, |c| {
        (generation(c.old.as_ref()) != generation(c.new.as_ref())).then_some(News::Buffers)
    });
    tell(&own.templates, sender, |_| Some(News::Buffers));
    tell_ready(&own.templates, sender, || News::Buffers);
    tell(&caches.deployments, sender, |c| {
        (generation(c.old.as_ref()) != generation(c.new.as_ref())).then_some(News::Buffers)
    });
}

fn owners(caches: &Caches, own: &OwnCaches, sender: &UnboundedSender<News>) {
    tell(&caches.replica_sets, sender, |c| {
        owner(&c, |set| i64::from(set.replicas))
    });
    tell(&caches.replication_controllers, sender, |c| {
        owner(&c, |controller| i64::from(controller.0.replicas))
    });
    tell(&caches.stateful_sets, sender, |c| {
        owner(&c, |set| i64::from(set.replicas))
    });
    tell(&caches.jobs.all, sender, |c| owner(&c, |_| 0));
    tell(&own.daemon_sets, sender, |c| owner(&c, |_| 0));
}

/// A controller came, went, or wants another number of pods.
fn owner<V: Cached>(change: &Change<V>, replicas: fn(&V) -> i64) -> Option<News> {
    let figure = |object: &Option<Arc<V>>| object.as_deref().map(replicas);
    let object = change.new.as_ref().or(change.old.as_ref())?;
    let changed = figure(&change.old) != figure(&change.new);
    changed.then(|| News::Owner(Arc::clone(&object.meta().uid)))
}

/// Tells once a cache is complete that nobody waited for.
fn tell_ready<V: Cached>(cache: &Cache<V>, sender: &UnboundedSender<News>, news: fn() -> News) {
    if cache.is_ready() {
        return;
    }
    let (cache, sender) = (cache.clone(), sender.clone());
    drop(tokio::spawn(async move {
        tokio::select! {
            () = cache.ready() => drop(sender.send(news())),
            () = sender.closed() => {}
        }
    }));
}

fn tell<V: Cached>(
    cache: &Cache<V>,
    sender: &UnboundedSender<News>,
    news: fn(Change<V>) -> Option<News>,
) {
    let sender = sender.clone();
    cache.on_change(move |change| {
        if let Some(news) = news(change.clone()) {
            // A receiver that is gone has lost interest.
            drop(sender.send(news));
        }
    });
}
