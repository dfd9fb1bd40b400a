//! Probes and lifecycle hooks of containers: HTTP, TCP, exec.

use crate::agent::view::Container;
use crate::runtime::Runtime;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
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
            http(target, action).await
        } else if let Some(action) = &probe.tcp_socket {
            let address = address(target, action.host.as_deref(), &action.port)?;
            let connected = target.runtime.network().connect(address).await;
            connected
                .map(drop)
                .map_err(|e| format!("dial tcp {address}: connect: {e}"))
        } else if let Some(action) = &probe.exec {
            exec(target, action).await
        } else if probe.grpc.is_some() {
            Err("plimsoll does not make grpc probes yet".to_owned())
        } else {
            Err("the probe names no action".to_owned())
        }
    };
    match tokio::time::timeout(limit, made).await {
        Ok(result) => result,
        Err(_) => Err(timed_out(target, probe, seconds)),
    }
}

fn timed_out(target: &Target<'_>, probe: &core::Probe, seconds: u64) -> String {
    if probe.exec.is_some() {
        return format!("command timed out after {seconds}s");
    }
    let url = probe.http_get.as_ref().and_then(|action| {
        let address = address(target, action.host.as_deref(), &action.port).ok()?;
        Some(format!(
            "Get \"http://{address}{}\": ",
            action.path.as_deref().unwrap_or("/")
        ))
    });
    format!("{}context deadline exceeded", url.unwrap_or_default())
}

/// Runs a lifecycle hook.
pub(crate) async fn hook(target: &Target<'_>, hook: &core::LifecycleHandler) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        exec(target, action).await
    } else if let Some(action) = &hook.http_get {
        http(target, action).await
    } else if let Some(action) = &hook.sleep {
        let seconds = u64::try_from(action.seconds).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    } else {
        Err("the hook names no action".to_owned())
    }
}

fn address(
    target: &Target<'_>,
    host: Option<&str>,
    port: &IntOrString,
) -> Result<SocketAddr, String> {
    let ip = match host.filter(|h| !h.is_empty()) {
        Some(host) => host
            .parse()
            .map_err(|_| format!("host {host:?} is not an address"))?,
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

async fn http(target: &Target<'_>, action: &core::HTTPGetAction) -> Result<(), String> {
    if action
        .scheme
        .as_deref()
        .is_some_and(|s| s.eq_ignore_ascii_case("https"))
    {
        return Err("plimsoll does not make https probes yet".to_owned());
    }
    let address = address(target, action.host.as_deref(), &action.port)?;
    let path = action
        .path
        .as_deref()
        .filter(|p| !p.is_empty())
        .unwrap_or("/");
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let failed = |e: &dyn std::fmt::Display| format!("Get \"http://{address}{path}\": {e}");
    let mut request = http::Request::get(&path);
    let mut has_host = false;
    let mut has_agent = false;
    for header in action.http_headers.iter().flatten() {
        has_host |= header.name.eq_ignore_ascii_case("host");
        has_agent |= header.name.eq_ignore_ascii_case("user-agent");
        request = request.header(&header.name, &header.value);
    }
    if !has_host {
        request = request.header(http::header::HOST, address.to_string());
    }
    if !has_agent {
        request = request.header(http::header::USER_AGENT, "kube-probe/1.36");
    }
    let request = request
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|e| failed(&e))?;
    let connected = target.runtime.network().connect(address).await;
    let stream = connected.map_err(|e| failed(&format!("dial tcp {address}: connect: {e}")))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| failed(&e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let status = response.status();
        // Read a little so that the server sees its answer taken.
        drop(
            Limited::new(response.into_body(), 10 * 1024)
                .collect()
                .await,
        );
        Ok::<_, String>(status)
    };
    let mut exchange = std::pin::pin!(exchange);
    let status = tokio::select! {
        biased;
        status = &mut exchange => status?,
        ended = connection => {
            ended.map_err(|e| failed(&e))?;
            exchange.await?
        }
    };
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(format!(
        "HTTP probe failed with statuscode: {}",
        status.as_u16()
    ))
}

async fn exec(target: &Target<'_>, action: &core::ExecAction) -> Result<(), String> {
    let command = action.command.clone().unwrap_or_default();
    let session = target.runtime.exec(target.id, command, false, false).await;
    let mut session = session.map_err(|e| e.to_string())?;
    let mut text = Vec::new();
    while let Some(output) = session.output.recv().await {
        let (Output::Stdout(bytes) | Output::Stderr(bytes)) = output;
        if text.len() < 10 * 1024 {
            text.extend_from_slice(&bytes);
        }
    }
    match session.exit.await {
        Ok(0) => Ok(()),
        Ok(_) | Err(_) => Err(String::from_utf8_lossy(&text).into_owned()),
    }
}
