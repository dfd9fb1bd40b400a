//! Credentials, region, addresses and the way there, as the SDK finds them: environment
//! (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_ROLE_ARN` with `AWS_WEB_IDENTITY_TOKEN_FILE`,
//! `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_AUTO_SCALING`, `AWS_ENDPOINT_URL_EC2`,
//! `AWS_ENDPOINT_URL_EKS`), profiles, the container's or the instance's own role.

use super::config::CloudConfig;
use super::ec2::Ec2;
use super::eks::Eks;
use aws_config::{ConfigLoader, Region, SdkConfig};
use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::config::retry::RetryConfig;
use aws_sdk_autoscaling::config::timeout::TimeoutConfig;
use aws_smithy_async::time::TimeSource;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use plimsoll_clock::Clock;
use std::time::{Duration, SystemTime};

/// One attempt of a call.
const ATTEMPT: Duration = Duration::from_secs(10);
/// A call with all its attempts.
const CALL: Duration = Duration::from_secs(30);
/// Attempts of a call. A decision waits for them, so there are few; after the last one groups are
/// left alone for longer (see `state`).
const ATTEMPTS: u32 = 4;
/// The longest pause before the second attempt; each further one is up to twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Clients, and the region they speak to.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The Auto Scaling service.
    pub scaling: Client,
    /// The few reads of EC2.
    pub ec2: Ec2,
    /// The one read of EKS.
    pub eks: Eks,
    /// Region.
    pub region: String,
}

/// The SDK's idea of time.
#[derive(Debug)]
struct SdkTime(Clock);

impl TimeSource for SdkTime {
    fn now(&self) -> SystemTime {
        self.0.now().into()
    }
}

/// Reads the environment, beyond what `loader` says, and makes the clients. No call is made yet.
///
/// # Errors
/// No region is set anywhere.
pub(crate) async fn connect(
    loader: ConfigLoader,
    file: &CloudConfig,
    clock: Clock,
) -> Result<Connection, ProviderError> {
    let http = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(CALL)
        .build();
    let retry = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(FIRST_PAUSE);
    let mut loader = loader
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(retry)
        .time_source(SdkTime(clock));
    if !file.region.is_empty() {
        loader = loader.region(Region::new(file.region.clone()));
    }
    let shared = loader.load().await;
    let region = shared.region().map(ToString::to_string);
    let lacking =
        "no AWS region is known; set AWS_REGION, or Region in the section Global of --cloud-config";
    let region = region.ok_or_else(|| ProviderError::new(ErrorClass::Invalid, lacking))?;
    let ec2 = Ec2::new(&shared, file, &region, clock)?;
    let eks = Eks::new(&shared, file, &region, clock)?;
    let scaling = scaling(&shared, file);
    Ok(Connection {
        scaling,
        ec2,
        eks,
        region,
    })
}

fn scaling(shared: &SdkConfig, file: &CloudConfig) -> Client {
    let mut config = aws_sdk_autoscaling::config::Builder::from(shared);
    if let Some(found) = file.service("autoscaling") {
        config = config.endpoint_url(&found.url);
        if !found.signing_region.is_empty() {
            config = config.region(Region::new(found.signing_region.clone()));
        }
    }
    Client::from_conf(config.build())
}
