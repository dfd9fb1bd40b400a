//! Probes and lifecycle hooks of containers: HTTP, TCP, exec, gRPC.

mod grpc;
mod http;
mod tls;

use crate::agent::view::Container;
use crate::runtime::Runtime;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use plimsoll_api::node::Output;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Holds the others back.
    Startup,
    /// Decides Ready.
    Readiness,
    /// Restarts the container.
    Liveness,
}

impl Kind {
    /// As messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

/// A running container to probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) runtime: &'a Arc<dyn Runtime>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) container: &'a Container,
    pub(crate) id: &'a str,
}

/// Makes one probe, within its timeout.
pub(crate) async fn run(target: &Target<'_>, probe: &core::Probe) -> Result<(), String> {
    let seconds = probe
        .timeout_seconds
        .and_then(|s| u64::try_from(s).ok())
        .unwrap_or(1)
        .max(1);
    let limit = Duration::from_secs(seconds);
    let made = async {
        if let Some(action) = &probe.http_get {
            http::get(target, action).await
        } else if let Some(action) = &probe.tcp_socket {
            let address = address(target, action.host.as_deref(), &action.port).await?;
            let connected = target.runtime.network().connect(address).await;
            connected
                .map(drop)
                .map_err(|e| format!("dial tcp {address}: connect: {e}"))
        } else if let Some(action) = &probe.exec {
            exec(target, action).await
        } else if let Some(action) = &probe.grpc {
            let address = address(target, None, &IntOrString::Int(action.port)).await?;
            let service = action.service.as_deref().unwrap_or_default();
            grpc::check(target.runtime, address, service).await
        } else {
            Err("the probe names no action".to_owned())
        }
    };
    match tokio::time::timeout(limit, made).await {
        Ok(result) => result,
        Err(_) => Err(timed_out(target, probe, seconds).await),
    }
}

async fn timed_out(target: &Target<'_>, probe: &core::Probe, seconds: u64) -> String {
    const LATE: &str = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    if probe.exec.is_some() {
        return format!("command timed out after {seconds}s");
    }
    if let Some(action) = &probe.http_get
        && let Ok(address) = address(target, action.host.as_deref(), &action.port).await
    {
        return format!("Get \"{}\": {LATE}", http::url(action, address));
    }
    if let Some(action) = &probe.tcp_socket
        && let Ok(address) = address(target, action.host.as_deref(), &action.port).await
    {
        return format!("dial tcp {address}: i/o timeout");
    }
    if let Some(action) = &probe.grpc
        && let Ok(address) = address(target, None, &IntOrString::Int(action.port)).await
    {
        return format!(
            "timeout: failed to connect service {:?} within {seconds}s: context deadline exceeded",
            address.to_string()
        );
    }
    "context deadline exceeded".to_owned()
}

/// Runs a lifecycle hook.
pub(crate) async fn hook(target: &Target<'_>, hook: &core::LifecycleHandler) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        exec(target, action).await
    } else if let Some(action) = &hook.http_get {
        http::get(target, action).await
    } else if let Some(action) = &hook.sleep {
        let seconds = u64::try_from(action.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    } else {
        Err("the hook names no action".to_owned())
    }
}

async fn address(
    target: &Target<'_>,
    host: Option<&str>,
    port: &IntOrString,
) -> Result<SocketAddr, String> {
    let ip = match host.filter(|h| !h.is_empty()) {
        Some(host) => resolve(host).await?,
        None => target
            .ip
            .ok_or_else(|| "the pod has no address".to_owned())?,
    };
    let port = match port {
        IntOrString::Int(port) => u16::try_from(*port).ok(),
        IntOrString::String(name) => {
            let mut ports = target.container.ports.iter();
            let named = ports.find(|p| p.name.as_deref() == Some(name.as_str()));
            named
                .and_then(|p| u16::try_from(p.container_port).ok())
                .or_else(|| name.parse().ok())
        }
    };
    let port = port.ok_or_else(|| "the port names nothing in the container".to_owned())?;
    Ok(SocketAddr::new(ip, port))
}

/// An address as such, or the first one that this machine's resolver knows for a name.
async fn resolve(host: &str) -> Result<IpAddr, String> {
    if let Ok(ip) = host.parse() {
        return Ok(ip);
    }
    let unknown = || format!("lookup {host}: no such host");
    let mut found = tokio::net::lookup_host((host, 0))
        .await
        .map_err(|_| unknown())?;
    found.next().map(|address| address.ip()).ok_or_else(unknown)
}

async fn exec(target: &Target<'_>, action: &core::ExecAction) -> Result<(), String> {
    let command = action.command.clone().unwrap_or_default();
    // Whoever loses patience drops this, and the command ends.
    let started = target.runtime.exec_leashed(target.id, command).await;
    let (mut session, leash) = started.map_err(|e| e.to_string())?;
    let mut text = Vec::new();
    while let Some(output) = session.output.recv().await {
        let (Output::Stdout(bytes) | Output::Stderr(bytes)) = output;
        if text.len() < 10 * 1024 {
            text.extend_from_slice(&bytes);
        }
    }
    let code = session.exit.await;
    leash.release();
    match code {
        Ok(0) => Ok(()),
        Ok(_) | Err(_) => Err(String::from_utf8_lossy(&text).into_owned()),
    }
}
