//! `plimsoll convert`: a `HorizontalPodAutoscaler` as the `PodAutoscaler` that does the same.

use crate::output::say;
use crate::reach::Reach;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use plimsoll_api::pod_autoscaler;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What to convert, and where it is.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConvertArgs {
    /// The autoscaler, as hpa/NAME; of a file, every one it holds unless one is named
    #[arg(value_name = "hpa/NAME", required_unless_present = "file")]
    target: Option<String>,
    /// To which kind
    #[arg(long, value_enum)]
    to: Kind,
    /// Read a manifest instead of asking a cluster; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// A kind that autoscalers can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// PodAutoscaler of plimsoll.dev/v1alpha1
    #[value(name = "podautoscaler", alias = "pa")]
    PodAutoscaler,
}

/// Prints the converted autoscalers as YAML.
pub(crate) async fn run(args: ConvertArgs) -> anyhow::Result<()> {
    let Kind::PodAutoscaler = args.to;
    let name = args.target.as_deref().map(target_name).transpose()?;
    let objects = match &args.file {
        Some(file) => {
            documents(&read(file)?).with_context(|| format!("cannot read {}", file.display()))?
        }
        None => vec![fetch(&args, name.unwrap_or_default()).await?],
    };
    let converted = convert(&objects, name);
    if converted.is_empty() {
        match name {
            Some(name) => bail!("there is no HorizontalPodAutoscaler {name:?} in the manifest"),
            None => bail!("there is no HorizontalPodAutoscaler in the manifest"),
        }
    }
    for (index, object) in converted.iter().enumerate() {
        if index > 0 {
            say("---");
        }
        say(serde_saphyr::to_string(object)?.trim_end());
    }
    Ok(())
}

/// `web` of `hpa/web`.
fn target_name(target: &str) -> anyhow::Result<&str> {
    let known = ["hpa", "horizontalpodautoscaler", "horizontalpodautoscalers"];
    let kind_of = |kind: &str| {
        let kind = kind.to_lowercase();
        kind.split('.').next().unwrap_or_default().to_owned()
    };
    match target.split_once('/') {
        Some((kind, name)) if known.contains(&kind_of(kind).as_str()) && !name.is_empty() => {
            Ok(name)
        }
        _ => bail!("say what to convert as hpa/NAME, not {target:?}"),
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Every object of a manifest; those of a List, too.
fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    let mut found = Vec::new();
    for mut document in documents {
        match document.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => found.extend(items),
            _ => found.push(document),
        }
    }
    Ok(found)
}

async fn fetch(args: &ConvertArgs, name: &str) -> anyhow::Result<Value> {
    let cluster = args.reach.cluster().await?;
    let namespace = &cluster.namespace;
    let path =
        format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name}");
    cluster.get(&path).await?.with_context(|| {
        format!("there is no HorizontalPodAutoscaler {name:?} in namespace {namespace:?}")
    })
}

/// The autoscalers among the objects, converted; only the named one if one is named.
fn convert(objects: &[Value], name: Option<&str>) -> Vec<Value> {
    let named = |object: &&Value| {
        let own = object.pointer("/metadata/name").and_then(Value::as_str);
        name.is_none() || own == name
    };
    let wanted = objects.iter().filter(named);
    wanted.filter_map(pod_autoscaler::from_horizontal).collect()
}

#[cfg(test)]
mod tests {
    use super::{convert, documents, target_name};

    const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
---
apiVersion: v1
kind: List
items:
- apiVersion: autoscaling/v2
  kind: HorizontalPodAutoscaler
  metadata: {name: web}
  spec:
    maxReplicas: 3
    scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
    behavior: {}
- apiVersion: autoscaling/v2
  kind: HorizontalPodAutoscaler
  metadata: {name: api}
";

    #[test]
    fn the_autoscalers_of_a_manifest_are_converted() {
        let objects = documents(MANIFEST).unwrap();
        let names = |converted: Vec<serde_json::Value>| {
            let names = converted.iter().map(|object| {
                assert_eq!(object["kind"], "PodAutoscaler");
                object["metadata"]["name"].as_str().unwrap().to_owned()
            });
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(convert(&objects, None)), ["web", "api"]);
        assert_eq!(names(convert(&objects, Some("web"))), ["web"]);
        // Absent and empty behaviors are different controllers.
        let web = &convert(&objects, Some("web"))[0];
        assert!(web["spec"]["behavior"].is_object());
    }

    #[test]
    fn only_a_horizontal_pod_autoscaler_is_a_target() {
        assert_eq!(target_name("hpa/web").unwrap(), "web");
        let long = "HorizontalPodAutoscaler.autoscaling/web";
        assert_eq!(target_name(long).unwrap(), "web");
        for wrong in ["web", "pa/web", "hpa/"] {
            assert!(target_name(wrong).is_err(), "{wrong}");
        }
    }
}
