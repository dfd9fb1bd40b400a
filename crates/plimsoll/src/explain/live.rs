//! Explanations and decisions of a running cluster.

use super::subject::Subject;
use super::text::{self, Palette};
use super::{Format, print};
use crate::nodes::EXPLANATIONS;
use crate::output::{complain, say};
use crate::reach::Cluster;
use anyhow::bail;
use serde_json::Value;
use std::time::Duration;

/// How long a read waits for a new decision.
const WAIT_SECONDS: u64 = 30;
/// First and longest pause before connecting again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What is asked, of whom, and how the answer is to look.
pub(super) struct Asked {
    pub(super) cluster: Cluster,
    pub(super) subject: Subject,
    pub(super) every_namespace: bool,
    pub(super) format: Option<Format>,
}

impl Asked {
    /// Prints the last decision of one autoscaler, or one line for each.
    pub(super) async fn explain(&self) -> anyhow::Result<()> {
        let Some(name) = &self.subject.name else {
            return self.overview().await;
        };
        let explanation = self.explanation(name).await?;
        self.print(&explanation, || {
            text::explanation(&explanation, Palette::of_terminal())
        })
    }

    /// Prints the decisions of the last while.
    pub(super) async fn log(&self, span: &str) -> anyhow::Result<()> {
        self.check().await?;
        let parameters = format!("since={}", encode(span));
        let list = self.decisions(&parameters).await?;
        self.print(&list, || {
            let one = |decision| self.line(decision);
            let lines: Vec<String> = items(&list).map(one).collect();
            if lines.is_empty() {
                return vec![format!("no decision within {span}")];
            }
            lines
        })
    }

    /// Prints the last decision, then each new one as it is made, until interrupted.
    pub(super) async fn watch(&self, span: Option<&str>) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
            ended = self.follow(span) => ended,
        }
    }

    async fn follow(&self, span: Option<&str>) -> anyhow::Result<()> {
        self.check().await?;
        let begin = span.map(|span| format!("since={}", encode(span)));
        let mut list = self.decisions(&begin.unwrap_or_default()).await?;
        // Without a span of time, the decision in force is where it begins.
        if span.is_none()
            && let Some(items) = list.get_mut("items").and_then(Value::as_array_mut)
        {
            items.reverse();
            let mut known = std::collections::BTreeSet::new();
            items.retain(|decision| {
                known.insert(decision.get("involvedObject").map(Value::to_string))
            });
            items.reverse();
        }
        let mut after = self.tell(&list)?;
        let mut pause = PAUSES.0;
        loop {
            let parameters = format!("after={after}&timeoutSeconds={WAIT_SECONDS}");
            match self.decisions(&parameters).await {
                Ok(list) => {
                    after = self.tell(&list)?;
                    pause = PAUSES.0;
                }
                Err(error) => {
                    if pause == PAUSES.0 {
                        complain(format!("lost the connection, trying again: {error:#}"));
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Prints new decisions; answers where to go on.
    fn tell(&self, list: &Value) -> anyhow::Result<String> {
        for decision in items(list) {
            match self.format {
                None => say(self.line(decision)),
                Some(Format::Json) => say(decision),
                Some(Format::Yaml) => {
                    say(format!(
                        "---\n{}",
                        serde_saphyr::to_string(decision)?.trim_end()
                    ));
                }
            }
        }
        let version = list.pointer("/metadata/resourceVersion");
        let version = version.and_then(Value::as_str).unwrap_or("0");
        Ok(version.to_owned())
    }

    fn line(&self, decision: &Value) -> String {
        let named = self.subject.name.is_none();
        text::decision(decision, named, Palette::of_terminal())
    }

    async fn overview(&self) -> anyhow::Result<()> {
        let plural = self.subject.plural;
        let path = format!("{EXPLANATIONS}{}/{plural}", self.scope());
        let Some(list) = self.cluster.get(&path).await? else {
            return self.nobody_explains();
        };
        self.print(&list, || {
            let lines = text::overview(items(&list), self.every_namespace);
            if lines.is_empty() {
                return vec!["no autoscaler has been evaluated yet".into()];
            }
            lines
        })
    }

    fn print(&self, whole: &Value, lines: impl FnOnce() -> Vec<String>) -> anyhow::Result<()> {
        print(whole, self.format, lines)
    }

    async fn explanation(&self, name: &str) -> anyhow::Result<Value> {
        let namespace = &self.cluster.namespace;
        let (kind, plural) = (self.subject.kind, self.subject.plural);
        let path = format!("{EXPLANATIONS}/namespaces/{namespace}/{plural}/{name}");
        if let Some(found) = self.cluster.get(&path).await? {
            return Ok(found);
        }
        self.check().await?;
        bail!("{kind} {name:?} has not been evaluated yet; try again in a second")
    }

    /// Whether there is such an autoscaler, and somebody who explains it.
    async fn check(&self) -> anyhow::Result<()> {
        let Subject {
            kind, name, path, ..
        } = &self.subject;
        if let (Some(name), Some(path)) = (name, path)
            && self.cluster.get(path).await?.is_none()
        {
            if !self.subject.namespaced {
                bail!("there is no {kind} {name:?}");
            }
            let namespace = &self.cluster.namespace;
            bail!("there is no {kind} {name:?} in namespace {namespace:?}");
        }
        if self.cluster.get(EXPLANATIONS).await?.is_none() {
            return self.nobody_explains();
        }
        Ok(())
    }

    fn nobody_explains(&self) -> anyhow::Result<()> {
        bail!(
            "{} does not serve explanations: it is not Plimsoll's API server, or Plimsoll's \
             {} does not run there",
            self.cluster.server,
            self.subject.by
        )
    }

    async fn decisions(&self, parameters: &str) -> anyhow::Result<Value> {
        let mut fields = format!("involvedObject.kind={}", self.subject.kind);
        if let Some(name) = &self.subject.name {
            fields = format!("{fields},involvedObject.name={name}");
        }
        let fields = encode(&fields);
        let scope = self.scope();
        let path = format!("{EXPLANATIONS}{scope}/decisions?fieldSelector={fields}&{parameters}");
        let found = self.cluster.get(&path).await?;
        found.ok_or_else(|| anyhow::anyhow!("{} keeps no decisions", self.cluster.server))
    }

    fn scope(&self) -> String {
        if self.every_namespace || !self.subject.namespaced {
            return String::new();
        }
        format!("/namespaces/{}", self.cluster.namespace)
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    let items = list.get("items").and_then(Value::as_array);
    items.into_iter().flatten()
}

/// Percent-encodes what a query must not hold as it is.
fn encode(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encode).collect()
}
