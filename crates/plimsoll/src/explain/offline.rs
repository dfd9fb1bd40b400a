//! `plimsoll explain --offline FILES`: what an autoscaler would do, from manifests and samples
//! alone. No cluster is asked; the decision is the one that a cluster's autoscaler makes.

mod autoscaler;
mod documents;
mod files;
mod pods;
mod readings;
mod target;

use super::Format;
use crate::gates::GateArgs;
use anyhow::{Context, Result, bail};
use autoscaler::Autoscaler;
use clap::Args;
use files::Files;
use jiff::Timestamp;
use plimsoll_api::kind::Kinds;
use plimsoll_clock::Clock;
use plimsoll_controllers::horizontal::{describe, gated};
use plimsoll_engine::horizontal::spec::TargetRef;
use plimsoll_engine::horizontal::{Memory, Observed, Settings, decide};
use pods::Pods;
use readings::Source;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use target::Target;

/// How to explain without a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct OfflineArgs {
    /// Decide from manifests and samples instead of asking a cluster: autoscalers, their targets,
    /// pods and metrics, in YAML or JSON; - is standard input
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["context", "kubeconfig", "watch", "last", "all_namespaces"])]
    pub(crate) offline: Vec<PathBuf>,
    /// When it is [default: the time of the newest sample, else now]
    #[arg(long, value_name = "TIME", requires = "offline")]
    now: Option<Timestamp>,
    #[command(flatten)]
    gates: GateArgs,
}

/// One autoscaler's inputs, and what the files left open.
struct Case {
    hpa: Autoscaler,
    observed: Observed,
    assumed: Vec<String>,
    unused: Vec<String>,
    /// What it works on: its pods by name, or its target where they are assumed.
    own: BTreeSet<String>,
}

/// Explains every autoscaler in the files, or the one that is named.
pub(super) fn run(
    args: &OfflineArgs,
    (namespace, name): (Option<&str>, Option<&str>),
    format: Option<Format>,
) -> Result<()> {
    let files = Files::read(&args.offline)?;
    let kinds = files::kinds(args.gates.gates);
    let now = args.now.or_else(|| readings::newest(&files));
    let now = now.unwrap_or_else(|| Clock::system().now());
    let mut cases = Vec::new();
    for document in &files.autoscalers {
        let hpa = Autoscaler::read(&kinds, document, namespace.unwrap_or("default"))?;
        let settings = gated(Settings::default(), args.gates.gates);
        cases.push(case(&kinds, &files, hpa, (now, settings))?);
    }
    find_rivals(&mut cases);
    let asked = |case: &&Case| {
        name.is_none_or(|name| case.hpa.name == name)
            && namespace.is_none_or(|namespace| case.hpa.namespace == namespace)
    };
    let told: Vec<Value> = cases.iter().filter(asked).map(Case::explanation).collect();
    if told.is_empty() {
        bail!("there is no such autoscaler in the files");
    }
    print(&told, format)
}

fn print(told: &[Value], format: Option<Format>) -> Result<()> {
    let whole = match told {
        [one] => one.clone(),
        many => json!({
            "kind": "ExplanationList", "apiVersion": "explain.plimsoll.dev/v1alpha1",
            "metadata": {}, "items": many,
        }),
    };
    super::print(&whole, format, || {
        let each: Vec<Vec<String>> = told.iter().map(lines).collect();
        each.join(&String::new())
    })
}

fn case(
    kinds: &Kinds,
    files: &Files,
    hpa: Autoscaler,
    (now, settings): (Timestamp, Settings),
) -> Result<Case> {
    let target = Target::read(kinds, files, &hpa)?;
    let pods = Pods::read(kinds, files, (&hpa, &target), now)?;
    let source = Source {
        files,
        hpa: &hpa,
        pods: &pods.selected,
        now,
    };
    let (readings, unused) = (source.readings()?, source.unused());
    let (memory, remembered) = memory(files, &hpa)?;
    let own = if pods.real {
        let names = pods.selected.iter().map(|pod| pod.meta.key.to_string());
        names.collect()
    } else {
        let TargetRef { kind, name, .. } = &hpa.spec.scale_target_ref;
        BTreeSet::from([format!("{kind} {}/{name}", hpa.namespace)])
    };
    let mut assumed = target.assumed;
    assumed.extend(pods.assumed);
    assumed.extend(remembered);
    let observed = Observed {
        now,
        settings,
        namespace: hpa.namespace.as_str().into(),
        spec: Arc::clone(&hpa.spec),
        status: hpa.status.clone(),
        scale: Ok(target.scale),
        pods: pods
            .selected
            .iter()
            .map(|pod| Arc::clone(&pod.facts))
            .collect(),
        rivals: Vec::new(),
        readings,
        memory: Some(memory),
    };
    Ok(Case {
        hpa,
        observed,
        assumed,
        unused,
        own,
    })
}

/// What earlier passes left: as in an explanation among the files, else nothing.
fn memory(files: &Files, hpa: &Autoscaler) -> Result<(Memory, Option<String>)> {
    let mut told = files.explanations.iter();
    let told = told.find(|told| told.name() == hpa.name && told.is_in(&hpa.namespace));
    let Some(document) = told else {
        let text = "nothing is remembered: every stabilization window and policy period has passed";
        return Ok((Memory::default(), Some(text.to_owned())));
    };
    let raw = document.value.pointer("/inputs/memory").cloned();
    let raw = raw
        .filter(|raw| !raw.is_null())
        .unwrap_or_else(|| json!({}));
    let memory = serde_json::from_value(raw);
    let memory = memory.with_context(|| format!("{}: inputs.memory", document.place))?;
    Ok((memory, None))
}

/// Autoscalers that select the same pods freeze each other, as in a cluster.
fn find_rivals(cases: &mut [Case]) {
    let named = |case: &Case| format!("{}/{}", case.hpa.namespace, case.hpa.name);
    let all = cases.iter().map(|case| (named(case), case.own.clone()));
    let all: Vec<(String, BTreeSet<String>)> = all.collect();
    for case in cases {
        let rivals = all
            .iter()
            .filter(|(_, theirs)| !case.own.is_disjoint(theirs));
        let mut rivals: Vec<String> = rivals.map(|(name, _)| name.clone()).collect();
        rivals.sort();
        if rivals.len() > 1 {
            case.observed.rivals = rivals;
        }
    }
}

impl Case {
    fn explanation(&self) -> Value {
        let decision = decide(&self.observed);
        let mut told = describe(
            (&self.hpa.namespace, &self.hpa.name),
            &self.observed,
            &decision,
        );
        if let Some(map) = told.as_object_mut() {
            let own = format!("{}/{}", self.hpa.kind, self.hpa.name);
            map.insert("autoscaler".into(), own.into());
            map.insert("assumed".into(), json!(self.assumed));
            map.insert("unused".into(), json!(self.unused));
        }
        told
    }
}

/// The explanation for people: what was assumed, the sentences, what was of no use.
fn lines(explanation: &Value) -> Vec<String> {
    let text = |pointer: &str| explanation.pointer(pointer).and_then(Value::as_str);
    let list = |key: &str| {
        let list = explanation.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    };
    let name = text("/autoscaler").unwrap_or_default();
    let namespace = text("/metadata/namespace").unwrap_or_default();
    let mut lines = vec![format!("{name} in {namespace}, decided from files")];
    lines.extend(list("assumed").map(|what| format!("  assumed: {what}")));
    lines.extend(list("sentences").map(|sentence| format!("  {sentence}")));
    if let Some(error) = text("/decision/error") {
        lines.push(format!("  error: {error}"));
    }
    lines.extend(list("unused").map(|what| format!("  unused: {what}")));
    lines
}
