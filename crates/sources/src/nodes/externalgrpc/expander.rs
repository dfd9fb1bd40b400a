//! The gRPC expander of cluster-autoscaler: a service of somebody else's that chooses among groups
//! (reference §10).

use super::calls::Calls;
use super::config::{ConfigError, Settings};
use super::{convert, wire};
use async_trait::async_trait;
use plimsoll_api::nodegroup::{ErrorClass, ExpanderService, OfferedOption, ProviderError};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// The service's full name.
pub(super) const EXPANDER: &str = "grpcplugin.Expander";
/// How long an answer may take, as upstream.
const TIMEOUT: Duration = Duration::from_secs(5);
const METHOD: &str = "BestOptions";

/// Why the service cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExpanderError {
    /// `--grpc-expander-url` is missing.
    #[error("--expander=grpc needs --grpc-expander-url")]
    NoAddress,
    /// `--grpc-expander-cert` is missing.
    #[error("--expander=grpc needs --grpc-expander-cert: it is never asked without TLS")]
    NoCertificate,
    /// Address or certificate are wrong.
    #[error("the gRPC expander cannot be reached as configured")]
    Config(#[from] ConfigError),
}

/// Asks a server.
#[derive(Debug)]
pub struct GrpcExpander {
    calls: Calls,
}

impl GrpcExpander {
    /// Prepares the connection, which is made when it is first needed: to `address` (`HOST:PORT`),
    /// whose certificate the authority in the file `certificate` has signed.
    ///
    /// # Errors
    /// One of both is missing or cannot be used.
    pub fn new(address: &str, certificate: &Path) -> Result<Self, ExpanderError> {
        if address.is_empty() {
            return Err(ExpanderError::NoAddress);
        }
        if certificate.as_os_str().is_empty() {
            return Err(ExpanderError::NoCertificate);
        }
        let settings = Settings {
            address: address.to_owned(),
            identity: None,
            authority: Some(certificate.to_owned()),
            timeout: TIMEOUT,
        };
        let calls = Calls::new(&settings, EXPANDER)?;
        Ok(Self { calls })
    }
}

#[async_trait]
impl ExpanderService for GrpcExpander {
    async fn best_options(
        &self,
        offered: &[OfferedOption],
    ) -> Result<Vec<Arc<str>>, ProviderError> {
        let message = offer(offered).map_err(|status| convert::error(METHOD, &status))?;
        let best: wire::Best = self.calls.call(METHOD, message).await?;
        let known = |group: &str| offered.iter().find(|option| &*option.group == group);
        let groups = best.options.iter().filter_map(|best| known(&best.group));
        let groups: Vec<Arc<str>> = groups.map(|option| Arc::clone(&option.group)).collect();
        if groups.is_empty() {
            let message = format!("{METHOD}: none of the options is among the best");
            return Err(ProviderError::new(ErrorClass::Other, message));
        }
        Ok(groups)
    }
}

fn offer(offered: &[OfferedOption]) -> Result<wire::Offer, Status> {
    let mut message = wire::Offer::default();
    for option in offered {
        let pod = |pod: &Arc<Value>| convert::bytes("Pod", pod);
        let pods: Result<Vec<Vec<u8>>, Status> = option.pods.iter().map(pod).collect();
        message.options.push(wire::Offered {
            group: option.group.to_string(),
            nodes: convert::number(option.nodes),
            debug: option.note.clone(),
            pods: pods?,
        });
        let node = convert::bytes("Node", &option.node)?;
        message.nodes.insert(option.group.to_string(), node);
    }
    Ok(message)
}
