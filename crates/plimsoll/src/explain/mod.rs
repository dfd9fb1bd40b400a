//! `plimsoll explain`: why an autoscaler did what it did last, or would do.

mod offline;

use crate::output::say;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use std::path::PathBuf;

const EXPLANATIONS: &str = "/apis/explain.plimsoll.dev/v1alpha1";
const AUTOSCALERS: &str = "/apis/autoscaling/v2";

/// What to explain, and where to ask.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExplainArgs {
    /// The autoscaler, as hpa/NAME
    #[arg(value_name = "hpa/NAME", required_unless_present = "offline")]
    target: Option<String>,
    #[command(flatten)]
    offline: offline::OfflineArgs,
    /// Namespace [default: the context's]
    #[arg(short, long)]
    namespace: Option<String>,
    /// Print the whole record instead of sentences
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Context of the kubeconfig
    #[arg(long)]
    context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A machine-readable form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Prints the explanation of one autoscaler.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<()> {
    let name = args.target.as_deref().map(target_name).transpose()?;
    if !args.offline.offline.is_empty() {
        let asked = (args.namespace.as_deref(), name);
        return offline::run(&args.offline, asked, args.output);
    }
    let name = name.unwrap_or_default();
    let config = config(&args).await?;
    let namespace = args
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let server = config.cluster_url.to_string();
    let client = Client::try_from(config).context("cannot use this kubeconfig")?;
    let asked = Asked {
        client,
        server,
        namespace,
        name: name.to_owned(),
    };
    let explanation = asked.explanation().await?;
    match args.output {
        None => lines(&explanation).iter().for_each(say),
        Some(Format::Json) => say(serde_json::to_string_pretty(&explanation)?),
        Some(Format::Yaml) => say(serde_saphyr::to_string(&explanation)?.trim_end()),
    }
    Ok(())
}

/// `web` of `hpa/web`.
fn target_name(target: &str) -> anyhow::Result<&str> {
    let Some((kind, name)) = target.split_once('/') else {
        bail!("say what to explain as hpa/NAME, e.g. hpa/{target}");
    };
    let known = ["hpa", "horizontalpodautoscaler", "horizontalpodautoscalers"];
    let kind = kind.to_lowercase();
    let kind = kind.split('.').next().unwrap_or_default();
    if !known.contains(&kind) {
        bail!("cannot explain a {kind:?}: only hpa/NAME can be explained");
    }
    if name.is_empty() || name.contains('/') {
        bail!("{name:?} is no name of an autoscaler");
    }
    Ok(name)
}

async fn config(args: &ExplainArgs) -> anyhow::Result<Config> {
    let options = KubeConfigOptions {
        context: args.context.clone(),
        ..KubeConfigOptions::default()
    };
    match &args.kubeconfig {
        Some(file) => {
            let text = Kubeconfig::read_from(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Ok(Config::from_custom_kubeconfig(text, &options).await?)
        }
        None => Config::from_kubeconfig(&options)
            .await
            .context("found no usable kubeconfig; name one with --kubeconfig FILE"),
    }
}

struct Asked {
    client: Client,
    server: String,
    namespace: String,
    name: String,
}

impl Asked {
    async fn explanation(&self) -> anyhow::Result<Value> {
        let Self {
            server,
            namespace,
            name,
            ..
        } = self;
        if let Some(found) = self.get(EXPLANATIONS).await? {
            return Ok(found);
        }
        if self.get(AUTOSCALERS).await?.is_none() {
            bail!("there is no HorizontalPodAutoscaler {name:?} in namespace {namespace:?}");
        }
        if !self.serves_explanations().await? {
            bail!(
                "{server} does not serve explanations: it is not Plimsoll's API server, or \
                 Plimsoll's horizontal autoscaler does not run there"
            );
        }
        bail!("HorizontalPodAutoscaler {name:?} has not been evaluated yet; try again in a second")
    }

    /// The object under a group version; `None` if there is none.
    async fn get(&self, group_version: &str) -> anyhow::Result<Option<Value>> {
        let (namespace, name) = (&self.namespace, &self.name);
        let path =
            format!("{group_version}/namespaces/{namespace}/horizontalpodautoscalers/{name}");
        self.read(&path).await
    }

    async fn serves_explanations(&self) -> anyhow::Result<bool> {
        Ok(self.read(EXPLANATIONS).await?.is_some())
    }

    async fn read(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let request = http::Request::get(path).body(Vec::new())?;
        match self.client.request::<Value>(request).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(kube::Error::Api(status)) => bail!("{} answers: {}", self.server, status.message),
            Err(error) => Err(error).with_context(|| format!("cannot reach {}", self.server)),
        }
    }
}

/// The explanation for people: a head line, the sentences, what else is worth knowing.
fn lines(explanation: &Value) -> Vec<String> {
    let text = |pointer: &str| explanation.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").unwrap_or_default();
    let namespace = text("/metadata/namespace").unwrap_or_default();
    let time = text("/time").unwrap_or_default();
    let mut lines = vec![format!("hpa/{name} in {namespace}, decided at {time}")];
    let sentences = explanation.get("sentences").and_then(Value::as_array);
    let sentences = sentences.into_iter().flatten().filter_map(Value::as_str);
    lines.extend(sentences.map(|sentence| format!("  {sentence}")));
    if let Some(error) = text("/decision/error") {
        lines.push(format!("  error: {error}"));
    }
    let changes = explanation.get("changes").and_then(Value::as_array);
    let changes: Vec<String> = changes
        .into_iter()
        .flatten()
        .rev()
        .take(5)
        .map(change)
        .collect();
    if !changes.is_empty() {
        lines.push("recent changes:".into());
        lines.extend(changes);
    }
    lines
}

fn change(change: &Value) -> String {
    let text = |key: &str| change.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| change.get(key).and_then(Value::as_i64).unwrap_or_default();
    let (time, reason) = (text("time"), text("reason"));
    format!("  {time}  {} -> {}  {reason}", number("from"), number("to"))
}

#[cfg(test)]
mod tests {
    use super::{lines, target_name};
    use serde_json::json;

    #[test]
    fn only_autoscalers_can_be_explained() {
        assert_eq!(target_name("hpa/web").unwrap(), "web");
        assert_eq!(
            target_name("HorizontalPodAutoscaler.autoscaling/web").unwrap(),
            "web"
        );
        for wrong in ["web", "deployment/web", "hpa/", "hpa/a/b"] {
            assert!(target_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_explanation_prints_its_sentences_and_changes() {
        let explanation = json!({
            "metadata": { "name": "web", "namespace": "default" },
            "time": "2026-01-01T12:00:00Z",
            "decision": { "error": null },
            "sentences": ["2 replicas now, 1 to 10 allowed", "2 -> 4 replicas"],
            "changes": [{ "time": "2026-01-01T12:00:00Z", "from": 2, "to": 4,
                          "reason": "cpu above target" }],
        });
        assert_eq!(
            lines(&explanation),
            [
                "hpa/web in default, decided at 2026-01-01T12:00:00Z",
                "  2 replicas now, 1 to 10 allowed",
                "  2 -> 4 replicas",
                "recent changes:",
                "  2026-01-01T12:00:00Z  2 -> 4  cpu above target",
            ]
        );
    }
}
