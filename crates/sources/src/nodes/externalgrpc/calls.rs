//! One call to a plug-in.

use super::config::{ConfigError, Settings, read};
use super::convert;
use http::uri::PathAndQuery;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use prost::Message;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_prost::ProstCodec;

/// Largest message in bytes: thousands of instances or pods.
const LARGEST: usize = 128 << 20;

/// A connection that is made when it is first needed, and again when it is lost.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    /// The service's full name.
    service: &'static str,
    endpoint: Endpoint,
    channel: Arc<OnceLock<Channel>>,
    timeout: Duration,
}

impl Calls {
    pub(super) fn new(settings: &Settings, service: &'static str) -> Result<Self, ConfigError> {
        let scheme = if settings.identity.is_some() || settings.authority.is_some() {
            "https"
        } else {
            "http"
        };
        let address = format!("{scheme}://{}", settings.address);
        let mut endpoint = Endpoint::from_shared(address)
            .map_err(ConfigError::Transport)?
            .connect_timeout(settings.timeout);
        if scheme == "https" {
            let tls = tls(settings)?;
            endpoint = endpoint.tls_config(tls).map_err(ConfigError::Transport)?;
        }
        Ok(Self {
            service,
            endpoint,
            channel: Arc::default(),
            timeout: settings.timeout,
        })
    }

    /// Calls `method` and waits for the answer, no longer than allowed.
    pub(super) async fn call<I, O>(
        &self,
        method: &'static str,
        message: I,
    ) -> Result<O, ProviderError>
    where
        I: Message + Send + Sync + 'static,
        O: Message + Default + Send + Sync + 'static,
    {
        let answer = tokio::time::timeout(self.timeout, self.ask(method, message));
        let Ok(answer) = answer.await else {
            let message = format!("{method}: no answer within {:?}", self.timeout);
            return Err(ProviderError {
                code: "DeadlineExceeded".to_owned(),
                ..ProviderError::new(ErrorClass::Unreachable, message)
            });
        };
        answer.map_err(|status| convert::error(method, &status))
    }

    async fn ask<I, O>(&self, method: &str, message: I) -> Result<O, tonic::Status>
    where
        I: Message + Send + Sync + 'static,
        O: Message + Default + Send + Sync + 'static,
    {
        let path = PathAndQuery::try_from(format!("/{}/{method}", self.service))
            .map_err(|error| tonic::Status::internal(error.to_string()))?;
        let channel = self.channel.get_or_init(|| self.endpoint.connect_lazy());
        let mut grpc = Grpc::new(channel.clone())
            .max_decoding_message_size(LARGEST)
            .max_encoding_message_size(LARGEST);
        grpc.ready()
            .await
            .map_err(|error| tonic::Status::unavailable(causes(&error)))?;
        let codec: ProstCodec<I, O> = ProstCodec::default();
        let answer = grpc.unary(Request::new(message), path, codec).await?;
        Ok(answer.into_inner())
    }
}

fn tls(settings: &Settings) -> Result<ClientTlsConfig, ConfigError> {
    let mut tls = ClientTlsConfig::new();
    if let Some(authority) = &settings.authority {
        tls = tls.ca_certificate(Certificate::from_pem(read(authority)?));
    }
    if let Some((cert, key)) = &settings.identity {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(tls)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
