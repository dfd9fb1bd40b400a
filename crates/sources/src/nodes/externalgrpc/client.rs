//! The side that asks.

use super::calls::Calls;
use super::config::{ConfigError, Settings};
use super::{SERVICE, convert, wire};
use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{
    ErrorClass, Instance, InstanceState, NodeGroup, NodeProvider, NodeRef, OptionOverrides,
    ProviderError, ProviderTemplate,
};
use plimsoll_clock::Clock;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// How many groups are asked about at once.
const AT_ONCE: usize = 16;
/// For how long an answer is good: looks follow events, and a plug-in's own API may be dear.
const FRESH: Duration = Duration::from_secs(10);
/// The same while instances come or go.
const FRESH_AWAITING: Duration = Duration::from_secs(2);

/// A provider that answers over gRPC.
#[derive(Debug)]
pub struct ExternalGrpc {
    calls: Calls,
    clock: Clock,
    defaults: OptionOverrides,
    gpu_label: OnceLock<&'static str>,
    known: Mutex<Known>,
}

/// What was answered since the groups were last listed, and what is not offered at all.
#[derive(Debug, Default)]
struct Known {
    /// The groups, and when they were asked for.
    groups: Option<(Instant, Vec<NodeGroup>)>,
    /// Writes so far: an answer that was asked for before one is not kept.
    writes: u64,
    /// Instance to group.
    instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Answers about nodes that no group names among its instances, by name.
    nodes: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// US dollars an hour, by group.
    prices: BTreeMap<Arc<str>, f64>,
    /// Optional calls that are not implemented.
    missing: BTreeSet<&'static str>,
}

impl Known {
    /// The last answer, if it is still good.
    fn fresh(&self) -> Option<&[NodeGroup]> {
        let (at, groups) = self.groups.as_ref()?;
        let awaiting = groups.iter().any(|group| {
            let settled = |one: &&Instance| {
                matches!(one.state, None | Some(InstanceState::Running)) && one.problem.is_none()
            };
            let settled = group.instances.iter().filter(settled).count();
            settled != group.target || settled != group.instances.len()
        });
        let good = if awaiting { FRESH_AWAITING } else { FRESH };
        (at.elapsed() < good).then_some(groups.as_slice())
    }
}

impl ExternalGrpc {
    /// Connects, and asks which label nodes with GPUs carry; a plug-in that cannot say so yet is
    /// asked again with each look. See [`ExternalGrpc::new`].
    ///
    /// # Errors
    /// The settings cannot be used.
    pub async fn connect(
        settings: &Settings,
        defaults: OptionOverrides,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        let plugin = Self::new(settings, defaults, clock)?;
        if let Err(error) = plugin.learn_gpu_label().await {
            tracing::warn!(%error, "the plug-in does not answer yet");
        }
        Ok(plugin)
    }

    /// Prepares the connection, which is made with the first call. `defaults` are the flags'
    /// values, which the plug-in may overlay for each group.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn new(
        settings: &Settings,
        defaults: OptionOverrides,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            calls: Calls::new(settings, SERVICE)?,
            clock,
            defaults,
            gpu_label: OnceLock::new(),
            known: Mutex::default(),
        })
    }

    /// An optional call: `None` where the plug-in does not implement it, which is remembered.
    async fn optional<I, O>(
        &self,
        method: &'static str,
        message: I,
    ) -> Result<Option<O>, ProviderError>
    where
        I: prost::Message + Send + Sync + 'static,
        O: prost::Message + Default + Send + Sync + 'static,
    {
        if self.known.lock().missing.contains(method) {
            return Ok(None);
        }
        match self.calls.call(method, message).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.class == ErrorClass::Unsupported => {
                self.known.lock().missing.insert(method);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A call that changes something; what is known of the groups is no longer true.
    async fn write<I>(&self, method: &'static str, message: I) -> Result<(), ProviderError>
    where
        I: prost::Message + Send + Sync + 'static,
    {
        let done = self.calls.call::<_, wire::Empty>(method, message).await;
        let mut known = self.known.lock();
        known.groups = None;
        known.writes += 1;
        done.map(drop)
    }

    /// Everything about one group; `None` where it has vanished since it was listed.
    async fn describe_if_there(
        &self,
        group: wire::Group,
    ) -> Result<Option<NodeGroup>, ProviderError> {
        match self.describe(group).await {
            Err(error) if error.class == ErrorClass::NotFound => {
                tracing::info!(%error, "a node group has vanished");
                Ok(None)
            }
            described => described.map(Some),
        }
    }

    async fn describe(&self, group: wire::Group) -> Result<NodeGroup, ProviderError> {
        let id = || wire::Id {
            id: group.id.clone(),
        };
        let asked = wire::OptionsOf {
            id: group.id.clone(),
            defaults: Some(convert::told_options(&self.defaults)),
        };
        let (target, nodes, options) = futures::try_join!(
            self.calls
                .call::<_, wire::TargetSize>("NodeGroupTargetSize", id()),
            self.calls
                .call::<_, wire::Instances>("NodeGroupNodes", id()),
            self.optional::<_, wire::MaybeOptions>("NodeGroupGetOptions", asked),
        )?;
        let options = options.and_then(|answer| answer.options);
        let instances = nodes.instances.into_iter().map(convert::instance);
        Ok(NodeGroup {
            id: group.id.as_str().into(),
            min: convert::count(group.min_size),
            max: convert::count(group.max_size),
            target: convert::count(target.target_size),
            instances: instances.collect(),
            options: options.map_or_else(OptionOverrides::default, |told| convert::options(&told)),
            debug: group.debug,
        })
    }

    /// Asks once which label nodes with GPUs carry.
    async fn learn_gpu_label(&self) -> Result<(), ProviderError> {
        if self.gpu_label.get().is_none() {
            let answer: Option<wire::Label> = self.optional("GPULabel", wire::Empty {}).await?;
            let label = answer.unwrap_or_default().label;
            // Once for each plug-in: a few bytes that stay.
            self.gpu_label.get_or_init(|| label.leak());
        }
        Ok(())
    }

    /// US dollars for one hour of a node of the template.
    async fn ask_price(&self, group: &str, node: &Value) -> Result<Option<f64>, ProviderError> {
        let now = self.clock.now().as_second();
        let stamp = |seconds: i64| Some(wire::Span { seconds, nanos: 0 });
        let asked = wire::PriceOfNode {
            node: Some(convert::node(&reference(node))),
            start: stamp(now),
            end: stamp(now.saturating_add(3600)),
        };
        let answer: Option<wire::Price> = self.optional("PricingNodePrice", asked).await?;
        let price = answer.map(|answer| answer.price);
        let price = price.filter(|price| price.is_finite() && *price >= 0.0);
        if let Some(price) = price {
            self.known.lock().prices.insert(group.into(), price);
        }
        Ok(price)
    }

    async fn remove(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        let asked = wire::Deletion {
            nodes: nodes.iter().map(convert::node).collect(),
            id: group.to_owned(),
        };
        self.write("NodeGroupDeleteNodes", asked).await
    }
}

/// A Node object, by what a plug-in knows it by.
fn reference(node: &Value) -> NodeRef {
    let text = |path: &str| -> Arc<str> {
        let text = node.pointer(path).and_then(Value::as_str);
        text.unwrap_or_default().into()
    };
    let pairs = |path: &str| {
        let map = node.pointer(path).and_then(Value::as_object);
        let pairs = map.into_iter().flatten();
        pairs
            .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
            .collect()
    };
    NodeRef {
        name: text("/metadata/name"),
        provider_id: text("/spec/providerID"),
        labels: pairs("/metadata/labels"),
        annotations: pairs("/metadata/annotations"),
    }
}

#[async_trait]
impl NodeProvider for ExternalGrpc {
    fn name(&self) -> &'static str {
        "externalgrpc"
    }

    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError> {
        let writes = {
            let known = self.known.lock();
            if let Some(groups) = known.fresh() {
                return Ok(groups.to_vec());
            }
            known.writes
        };
        let _: wire::Empty = self.calls.call("Refresh", wire::Empty {}).await?;
        if let Err(error) = self.learn_gpu_label().await {
            tracing::warn!(%error, "the label of nodes with GPUs stays unknown");
        }
        let listed: wire::Groups = self.calls.call("NodeGroups", wire::Empty {}).await?;
        let described = stream::iter(listed.groups).map(|group| self.describe_if_there(group));
        let groups: Vec<Option<NodeGroup>> = described.buffered(AT_ONCE).try_collect().await?;
        let groups: Vec<NodeGroup> = groups.into_iter().flatten().collect();
        let instances = groups.iter().flat_map(|group| {
            let ids = group.instances.iter().map(|i| Arc::clone(&i.id));
            ids.map(|id| (id, Arc::clone(&group.id)))
        });
        let instances = instances.collect();
        let mut known = self.known.lock();
        known.instances = instances;
        known.nodes.clear();
        if known.writes == writes {
            known.groups = Some((Instant::now(), groups.clone()));
        }
        Ok(groups)
    }

    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        // Departs: upstream asks about every node; the instances of the groups say it already.
        {
            let known = self.known.lock();
            let group = known.instances.get(&node.provider_id).map(Arc::clone);
            if let Some(group) = group.filter(|_| !node.provider_id.is_empty()) {
                return Ok(Some(group));
            }
            if let Some(answer) = known.nodes.get(&node.name) {
                return Ok(answer.clone());
            }
        }
        let asked = wire::OfNode {
            node: Some(convert::node(node)),
        };
        let answer: wire::MaybeGroup = self.calls.call("NodeGroupForNode", asked).await?;
        let group = answer.group.map(|group| group.id);
        let group: Option<Arc<str>> = group.filter(|id| !id.is_empty()).map(Into::into);
        let mut known = self.known.lock();
        known.nodes.insert(Arc::clone(&node.name), group.clone());
        Ok(group)
    }

    async fn template(&self, group: &str) -> Result<Option<ProviderTemplate>, ProviderError> {
        let id = group.to_owned();
        let method = "NodeGroupTemplateNodeInfo";
        let answer: Option<wire::Template> = self.optional(method, wire::Id { id }).await?;
        let Some(template) = answer.filter(|answer| !answer.node.is_empty()) else {
            return Ok(None);
        };
        let node = convert::object("Node", &template.node)?;
        let price_per_hour = self.ask_price(group, &node).await?;
        Ok(Some(ProviderTemplate {
            node,
            price_per_hour,
        }))
    }

    async fn increase(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let asked = wire::Delta {
            delta: convert::number(delta),
            id: group.to_owned(),
        };
        self.write("NodeGroupIncreaseSize", asked).await
    }

    async fn delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        self.remove(group, nodes).await
    }

    async fn decrease_target(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let asked = wire::Delta {
            // The protocol wants it below zero.
            delta: convert::number(delta).saturating_neg(),
            id: group.to_owned(),
        };
        self.write("NodeGroupDecreaseTargetSize", asked).await
    }

    fn gpu_label(&self) -> &'static str {
        self.gpu_label.get().copied().unwrap_or_default()
    }

    fn price(&self, node: &Value) -> Option<f64> {
        let id = node.pointer("/spec/providerID")?.as_str()?;
        let known = self.known.lock();
        let group = known.instances.get(id)?;
        known.prices.get(group).copied()
    }

    async fn close(&self) {
        // Upstream's autoscaler says so at its end; a plug-in that is gone needs not hear it.
        let said = self.calls.call::<_, wire::Empty>("Cleanup", wire::Empty {});
        if let Err(error) = said.await {
            tracing::debug!(%error, "the plug-in was not told of the end");
        }
    }
}
