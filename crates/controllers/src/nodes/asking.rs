//! Asks a service which group grows (`--expander=grpc`).

use super::growing::Question;
use super::work::Work;
use kube::core::Request;
use plimsoll_api::nodegroup::{ErrorClass, ExpanderService, OfferedOption, ProviderError};
use plimsoll_engine::cluster::{Expander, ExpansionOption, GroupFacts, GroupId, NodeTemplate};
use plimsoll_engine::placement::{PodKey, Resources};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The service of `--expander=grpc`.
#[derive(Debug, Clone)]
pub struct Adviser(pub Arc<dyn ExpanderService>);

impl PartialEq for Adviser {
    /// Whether it is the same one.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Work {
    /// The chain with the service's answer in its place. It is asked about the options that the
    /// expanders before it keep. Where it does not answer, it keeps all of them.
    pub(super) async fn advised(
        &mut self,
        mut chain: Vec<Expander>,
        question: &Question<'_>,
    ) -> Vec<Expander> {
        let own = |expander: &Expander| matches!(expander, Expander::Chosen(_));
        let place = chain.iter().position(own);
        let (Some(at), Some(Adviser(service))) = (place, self.options.adviser.clone()) else {
            return chain;
        };
        let before = chain.get(..at).unwrap_or_default().to_vec();
        let preview = self.decided(before, question);
        let options = preview.options.iter().filter(|option| option.kept);
        let options: Vec<&ExpansionOption> = options.collect();
        if options.len() < 2 {
            return chain;
        }
        match self.ask(&*service, &options, question.groups).await {
            Ok(groups) => {
                if let Some(place) = chain.get_mut(at) {
                    *place = Expander::Chosen(groups);
                }
            }
            Err(error) => tracing::warn!(%error, "the gRPC expander keeps all options"),
        }
        chain
    }

    async fn ask(
        &self,
        service: &dyn ExpanderService,
        options: &[&ExpansionOption],
        groups: &[GroupFacts],
    ) -> Result<Vec<GroupId>, ProviderError> {
        let pods = self.waiting_objects().await?;
        let offered = options.iter().filter_map(|option| {
            let group = groups.iter().find(|group| group.id == option.group)?;
            let of = option.pods.iter().filter_map(|key| pods.get(key));
            Some(OfferedOption {
                group: Arc::clone(&option.group),
                nodes: option.nodes,
                note: option.note.clone(),
                node: Arc::new(node(group.template.as_deref()?)),
                pods: of.map(Arc::clone).collect(),
            })
        });
        let offered: Vec<OfferedOption> = offered.collect();
        service.best_options(&offered).await
    }

    /// Pods without a node as whole objects, which no cache keeps. Pods that are only imagined are
    /// not among them.
    async fn waiting_objects(&self) -> Result<BTreeMap<PodKey, Arc<Value>>, ProviderError> {
        let failed = |error: &dyn std::fmt::Display| {
            let message = format!("listing the pods that wait: {error}");
            ProviderError::new(ErrorClass::Other, message)
        };
        let params = kube::api::ListParams::default().fields("spec.nodeName=");
        let request = Request::new("/api/v1/pods").list(&params);
        let request = request.map_err(|error| failed(&error))?;
        let listed: Value = self
            .context
            .client
            .request(request)
            .await
            .map_err(|error| failed(&error))?;
        let items = listed.get("items").and_then(Value::as_array);
        let pods = items.into_iter().flatten().filter_map(|pod| {
            let text = |path: &str| pod.pointer(path).and_then(Value::as_str);
            let (namespace, name) = (text("/metadata/namespace")?, text("/metadata/name")?);
            Some((PodKey::new(namespace, name), Arc::new(pod.clone())))
        });
        Ok(pods.collect())
    }
}

/// What a new node will be, as a v1 Node.
fn node(template: &NodeTemplate) -> Value {
    let facts = &template.node;
    let taints = facts.taints.iter().map(
        |taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect.text()}),
    );
    let quantities = |amounts: &Resources| {
        let quantities = amounts.requested().map(|(name, amount)| {
            let unit = if name == "cpu" { "m" } else { "" };
            (name.to_owned(), json!(format!("{amount}{unit}")))
        });
        let mut quantities: Map<String, Value> = quantities.collect();
        quantities.insert("pods".to_owned(), json!(facts.max_pods.to_string()));
        quantities
    };
    json!({
        "metadata": {"name": facts.name, "labels": facts.labels},
        "spec": {"taints": taints.collect::<Vec<_>>()},
        "status": {
            "capacity": quantities(&template.capacity),
            "allocatable": quantities(&facts.allocatable),
        },
    })
}
