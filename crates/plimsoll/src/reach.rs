//! Which cluster a command talks to, and which autoscaler it is about.

use anyhow::{Context, bail};
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;

/// A cluster and a namespace in it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Reach {
    /// Namespace [default: the context's]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long)]
    context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A client of a cluster, with the namespace in question.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) server: String,
    pub(crate) namespace: String,
}

impl Reach {
    /// Builds the client; nothing is asked yet.
    pub(crate) async fn cluster(&self) -> anyhow::Result<Cluster> {
        let config = self.config().await?;
        let namespace = self.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).context("cannot use this kubeconfig")?;
        Ok(Cluster {
            client,
            server,
            namespace,
        })
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        match &self.kubeconfig {
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
}

impl Cluster {
    /// What the server has at a path; `None` if nothing is there.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let request = http::Request::get(path).body(Vec::new())?;
        match self.send(request).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(self.told(error)),
        }
    }

    /// Sends a request as it is.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<T, kube::Error> {
        self.client.request(request).await
    }

    /// An error for people: what the server says, or that it cannot be reached.
    pub(crate) fn told(&self, error: kube::Error) -> anyhow::Error {
        if let kube::Error::Api(status) = error {
            return anyhow::anyhow!("{} answers: {}", self.server, status.message);
        }
        anyhow::Error::new(error).context(format!("cannot reach {}", self.server))
    }
}

/// A kind of autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `HorizontalPodAutoscaler`.
    Horizontal,
    /// `PodAutoscaler`.
    Pod,
}

impl Kind {
    /// The plural in API paths.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Horizontal => "horizontalpodautoscalers",
            Self::Pod => "podautoscalers",
        }
    }

    /// The kind's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Horizontal => "HorizontalPodAutoscaler",
            Self::Pod => "PodAutoscaler",
        }
    }

    /// `hpa`, `pa`.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Horizontal => "hpa",
            Self::Pod => "pa",
        }
    }

    fn group_version(self) -> &'static str {
        match self {
            Self::Horizontal => "autoscaling/v2",
            Self::Pod => "plimsoll.dev/v1alpha1",
        }
    }

    /// The path of an autoscaler.
    pub(crate) fn path(self, namespace: &str, name: &str) -> String {
        let (group_version, plural) = (self.group_version(), self.plural());
        format!("/apis/{group_version}/namespaces/{namespace}/{plural}/{name}")
    }

    fn parse(text: &str) -> Option<Self> {
        let kind = text.to_lowercase();
        match kind.split('.').next().unwrap_or_default() {
            "hpa" | "horizontalpodautoscaler" | "horizontalpodautoscalers" => {
                Some(Self::Horizontal)
            }
            "pa" | "podautoscaler" | "podautoscalers" => Some(Self::Pod),
            _ => None,
        }
    }
}

/// One autoscaler, or all of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) name: Option<String>,
}

impl Target {
    /// Reads `hpa/web`, `podautoscaler/web` or, for all of a kind, `hpa`.
    ///
    /// # Errors
    /// Says what is understood.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let Some((kind, name)) = text.split_once('/') else {
            let Some(kind) = Kind::parse(text) else {
                bail!("say which autoscaler as hpa/NAME or podautoscaler/NAME, e.g. hpa/{text}");
            };
            return Ok(Self { kind, name: None });
        };
        let Some(kind) = Kind::parse(kind) else {
            bail!("{kind:?} is no kind of autoscaler: it is hpa/NAME or podautoscaler/NAME");
        };
        if name.is_empty() || name.contains('/') {
            bail!("{name:?} is no name of an autoscaler");
        }
        let name = Some(name.to_owned());
        Ok(Self { kind, name })
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Target};

    #[test]
    fn only_autoscalers_can_be_named() {
        let parse = |text| Target::parse(text).map(|target| (target.kind, target.name));
        let web = Some("web".to_owned());
        assert_eq!(parse("hpa/web").unwrap(), (Kind::Horizontal, web.clone()));
        assert_eq!(
            parse("HorizontalPodAutoscaler.autoscaling/web").unwrap(),
            (Kind::Horizontal, web.clone())
        );
        assert_eq!(parse("podautoscaler/web").unwrap(), (Kind::Pod, web));
        assert_eq!(parse("hpa").unwrap(), (Kind::Horizontal, None));
        for wrong in ["web", "deployment/web", "hpa/", "hpa/a/b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
