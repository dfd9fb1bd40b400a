//! The pods of a target: those in the files, else as many as the target has.

use super::autoscaler::Autoscaler;
use super::files::{Files, decode};
use super::target::{self, Target};
use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::kind::Kinds;
use plimsoll_controllers::horizontal::wire;
use plimsoll_controllers::pods::{PodView, Selector};
use plimsoll_engine::horizontal::Selection;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How long an assumed pod has been ready: longer than any start-up rule looks back.
const READY_FOR: SignedDuration = SignedDuration::from_hours(24);
/// The most pods that are assumed.
const MOST: i32 = 100_000;
/// Names in a sentence.
const NAMED: usize = 5;

/// The selected pods and what was assumed about them.
pub(super) struct Pods {
    pub(super) selected: Vec<Arc<PodView>>,
    /// Whether they are in the files.
    pub(super) real: bool,
    pub(super) assumed: Vec<String>,
}

impl Pods {
    /// The pods that the target selects.
    ///
    /// # Errors
    /// Names the document that cannot be read.
    pub(super) fn read(
        kinds: &Kinds,
        files: &Files,
        (hpa, target): (&Autoscaler, &Target),
        now: Timestamp,
    ) -> Result<Self> {
        let own = files.pods.iter().filter(|pod| pod.is_in(&hpa.namespace));
        let selector = match &target.scale.selector {
            Selection::Valid(text) if target.selects => Selector::parse(text)?,
            Selection::Valid(_) | Selection::Missing | Selection::Invalid(_) => Selector::default(),
        };
        let mut selected = Vec::new();
        let mut any = false;
        for document in own {
            any = true;
            let (_, pod) = decode(kinds, document)?;
            let pod = wire::pod(&pod).with_context(|| document.place.to_string())?;
            if selector.matches(&pod.meta.labels) {
                selected.push(Arc::new(pod));
            }
        }
        if any || !matches!(target.scale.selector, Selection::Valid(_)) {
            return Ok(Self {
                selected,
                real: true,
                assumed: Vec::new(),
            });
        }
        assume(files, hpa, target, now)
    }
}

/// As many ready pods as the target has, under the names that are measured.
fn assume(files: &Files, hpa: &Autoscaler, target: &Target, now: Timestamp) -> Result<Pods> {
    let count = target.scale.status_replicas;
    let mut assumed = Vec::new();
    if count <= 0 {
        return Ok(Pods {
            selected: Vec::new(),
            real: false,
            assumed,
        });
    }
    if count > MOST {
        bail!("{count} pods are too many to assume; put the pods into the files");
    }
    let since = (now - READY_FOR).to_string();
    let measured = measured(files, hpa);
    let fresh = (1..).map(|index| format!("{}-{index}", hpa.spec.scale_target_ref.name));
    let fresh = fresh.filter(|name| !measured.contains(name));
    let count = usize::try_from(count).unwrap_or_default();
    let names: Vec<String> = measured.iter().cloned().chain(fresh).take(count).collect();
    let mut selected = Vec::with_capacity(count);
    for name in &names {
        let template = match &target.template {
            Some(template) => template.clone(),
            None => containers_of(files, hpa, name),
        };
        let pod = wire::pod(&target::made(name, &hpa.namespace, &template, &since))?;
        selected.push(Arc::new(pod));
    }
    let from = match &target.template {
        Some(_) => "made by the template",
        None => "without requests",
    };
    let pods = if count == 1 { "pod" } else { "pods" };
    assumed.push(format!("{count} ready {pods} {from}: {}", listed(&names)));
    Ok(Pods {
        selected,
        real: false,
        assumed,
    })
}

/// The names of pods that the files have values of, in the order of their first value.
fn measured(files: &Files, hpa: &Autoscaler) -> Vec<String> {
    let usages = files
        .usages
        .iter()
        .filter(|usage| usage.is_in(&hpa.namespace));
    let usages = usages.map(|usage| usage.name().to_owned());
    let values = files.values.iter().filter(|value| {
        let namespace = value.text("/describedObject/namespace");
        let is_pod = value.text("/describedObject/kind") == "Pod";
        is_pod && (namespace.is_empty() || namespace == hpa.namespace)
    });
    let values = values.map(|value| value.text("/describedObject/name").to_owned());
    let mut known = BTreeSet::new();
    let named = usages.chain(values).filter(|name| !name.is_empty());
    named.filter(|name| known.insert(name.clone())).collect()
}

/// A template with the containers that are measured in a pod; nobody knows what they ask for.
fn containers_of(files: &Files, hpa: &Autoscaler, pod: &str) -> Value {
    let mut usages = files.usages.iter();
    let usage = usages.find(|usage| usage.is_in(&hpa.namespace) && usage.name() == pod);
    let containers = usage.and_then(|usage| usage.value.get("containers"));
    let containers = containers.and_then(Value::as_array);
    let named: Vec<Value> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| Some(json!({ "name": container.get("name")? })))
        .collect();
    json!({ "spec": { "containers": named } })
}

/// `a, b, c`, or the first few and how many more.
pub(super) fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).map(String::as_str);
    let shown: Vec<&str> = shown.collect();
    match names.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
