//! The server that is measured: one made for it, or someone else's.

use super::ApiArgs;
use anyhow::{Context as _, Result};
use http::HeaderValue;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use plimsoll_apiserver::ClusterSettings;
use plimsoll_apiserver::pki::{self, Pki};
use plimsoll_apiserver::serve::{Listener, Peer};
use plimsoll_apiserver::store::{Options as StoreOptions, Store};
use plimsoll_clock::Clock;
use plimsoll_cluster::{ControlPlane, Parts};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// Name of the thread that writes a durable store's log.
const WRITER: &str = "store-writer";

/// Where the server's objects live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Keeps {
    /// In memory only
    Ephemeral,
    /// On disk as well, synced before the answer
    Durable,
}

impl Keeps {
    /// As it is called in the results.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ephemeral => "ephemeral",
            Self::Durable => "durable",
        }
    }

    /// Name of the server's threads, by which their CPU time is told from the clients' and from
    /// that of a server before it.
    fn threads(self) -> &'static str {
        match self {
            Self::Ephemeral => "bench-ephemeral",
            Self::Durable => "bench-durable",
        }
    }
}

/// A server and the way to it.
pub(super) struct Target {
    /// Address and credentials.
    pub(super) config: Config,
    /// The token's header.
    pub(super) authorization: Option<HeaderValue>,
    own: Option<Own>,
}

/// A server of this process, on threads of its own.
struct Own {
    runtime: Threads,
    plane: ControlPlane,
    store: Store,
    stop: CancellationToken,
    keeps: Keeps,
    dir: PathBuf,
}

/// The server's own threads.
struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    fn start(name: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name(name)
            .build()
            .context("starting the server's runtime")?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Drop for Threads {
    /// A runtime may not be waited for from within another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Target {
    /// Starts a server without controllers on a free port.
    pub(super) async fn own(keeps: Keeps) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("plimsoll-bench-{}", std::process::id()));
        let runtime = Threads::start(keeps.threads())?;
        let store = Store::open(match keeps {
            Keeps::Ephemeral => StoreOptions::ephemeral(),
            Keeps::Durable => StoreOptions::durable(&dir),
        })?;
        let pki = Pki::ephemeral(&[])?;
        let without = ["controllers", "scheduler", "horizontal", "metrics"];
        let parts = Parts {
            store: store.clone(),
            clock: Clock::system(),
            seed: 1,
            kinds: plimsoll_api::kinds::built_in(),
            settings: ClusterSettings::default(),
            token_key: pki.token_key(),
            without: without.into_iter().map(str::to_owned).collect(),
            controllers: plimsoll_controllers::supervisor::Options::default(),
            horizontal: plimsoll_controllers::horizontal::Options::default(),
        };
        let stop = CancellationToken::new();
        let until = stop.clone();
        let tls = pki.server_config()?;
        let start = async move {
            let plane = ControlPlane::start(parts).await?;
            let server = plane.server.clone();
            let handler = move |request, peer: Peer| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.handle(peer.identity, request).await) }
            };
            let listener = Listener::bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).await?;
            let address = listener.address();
            tokio::spawn(listener.serve(tls, handler, until, Duration::ZERO));
            anyhow::Ok((plane, address))
        };
        let (plane, address) = runtime.handle.spawn(start).await??;
        let client = pki.client("bench", &["system:masters"])?;
        let entry = pki::Context {
            name: "bench",
            server: &format!("https://{address}"),
            ca: pki.ca(),
            client: &client,
        };
        let mut target = Self::of(Kubeconfig::from_yaml(&pki::kubeconfig(&entry))?).await?;
        target.own = Some(Own {
            runtime,
            plane,
            store,
            stop,
            keeps,
            dir,
        });
        Ok(target)
    }

    /// Someone else's server.
    pub(super) async fn remote(args: &ApiArgs) -> Result<Self> {
        if let Some(file) = &args.kubeconfig {
            let read = Kubeconfig::read_from(file);
            return Self::of(read.with_context(|| format!("reading {}", file.display()))?).await;
        }
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {
                "server": args.server, "insecure-skip-tls-verify": args.insecure }}],
            "users": [{"name": "bench", "user": { "token": args.token }}],
            "contexts": [{"name": "bench", "context": { "cluster": "bench", "user": "bench" }}],
        });
        Self::of(serde_json::from_value(config)?).await
    }

    async fn of(kubeconfig: Kubeconfig) -> Result<Self> {
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let token = serde_json::to_value(&config.auth_info)?;
        let token = token.get("token").and_then(Value::as_str);
        let authorization = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}")));
        Ok(Self {
            config,
            authorization: authorization.transpose()?,
            own: None,
        })
    }

    /// The server in words.
    pub(super) fn describe(&self) -> String {
        match self.own.as_ref().map(|own| own.keeps) {
            None => self.config.cluster_url.to_string(),
            Some(Keeps::Ephemeral) => "objects in memory".to_owned(),
            Some(Keeps::Durable) => "objects on disk, each write synced".to_owned(),
        }
    }

    /// Whether new namespaces get their service account.
    pub(super) fn has_controllers(&self) -> bool {
        self.own.is_none()
    }

    /// CPU seconds the server's threads have used; `None` for another process.
    pub(super) fn cpu(&self) -> Result<Option<f64>> {
        let Some(own) = &self.own else {
            return Ok(None);
        };
        let mut nanos = 0_u64;
        for task in std::fs::read_dir("/proc/self/task").context("reading /proc/self/task")? {
            let task = task?.path();
            // A thread may end while they are looked at.
            let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
            if [own.keeps.threads(), WRITER].contains(&name.trim()) {
                let times = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
                let running = times.split(' ').next().and_then(|n| n.parse::<u64>().ok());
                nanos += running.unwrap_or_default();
            }
        }
        Ok(Some(Duration::from_nanos(nanos).as_secs_f64()))
    }

    /// Resident memory of this process in MiB; `None` if the server is another one.
    pub(super) fn rss(&self) -> Result<Option<f64>> {
        self.own
            .as_ref()
            .map(|_| crate::bench::hpa::rss_mebibytes())
            .transpose()
    }

    /// Ends a server of our own and removes its files.
    pub(super) async fn stop(self) {
        let Some(own) = self.own else { return };
        own.stop.cancel();
        own.store.close().await;
        drop(own.plane);
        drop(own.runtime);
        if own.keeps == Keeps::Durable {
            std::fs::remove_dir_all(&own.dir).ok();
        }
    }
}
