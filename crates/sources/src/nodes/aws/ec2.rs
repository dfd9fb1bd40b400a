//! The few reads of EC2 that tell what machines a launch template makes: signed here, since the
//! SDK's crate for EC2 is larger than the rest of this program.
//!
//! Facts: the query protocol of EC2's API (version 2016-11-15), signature version 4.

use super::config::CloudConfig;
use super::ec2_answer as answer;
use super::error::refused;
use super::model::{LaunchFacts, Shape, TemplateRef};
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_types::service_config::ServiceConfigKey;
use http_body_util::{BodyExt, Limited};
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use plimsoll_clock::Clock;
use std::time::Duration;

const VERSION: &str = "2016-11-15";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts, with pauses of 0.5 s, 1 s, … between them.
const ATTEMPTS: u32 = 4;
/// The largest answer that is read, in bytes.
const LARGEST: usize = 4 << 20;
/// What the body of a request is.
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A client for the reads of EC2.
#[derive(Debug)]
pub(crate) struct Ec2 {
    connector: Connector,
    credentials: Option<SharedCredentialsProvider>,
    /// Where it is, ending in a slash.
    url: String,
    region: String,
    clock: Clock,
}

impl Ec2 {
    /// A client that speaks to where the environment, a profile or the file says.
    ///
    /// # Errors
    /// The address is none.
    pub(crate) fn new(
        shared: &SdkConfig,
        file: &CloudConfig,
        region: &str,
        clock: Clock,
    ) -> Result<Self, ProviderError> {
        let own = file.service("ec2");
        let url = own
            .map(|found| found.url.clone())
            .or_else(|| configured(shared));
        let mut url = url.unwrap_or_else(|| regional(region));
        if !url.ends_with('/') {
            url.push('/');
        }
        if let Err(error) = url.parse::<http::Uri>() {
            return Err(ProviderError::new(
                ErrorClass::Invalid,
                format!("the address of EC2, {url}: {error}"),
            ));
        }
        let signed_for = own
            .map(|found| found.signing_region.as_str())
            .filter(|region| !region.is_empty());
        Ok(Self {
            connector: Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .build(),
            credentials: shared.credentials_provider(),
            url,
            region: signed_for.unwrap_or(region).to_owned(),
            clock,
        })
    }

    /// `DescribeLaunchTemplateVersions`.
    pub(crate) async fn launch_template(
        &self,
        template: &TemplateRef,
    ) -> Result<Option<LaunchFacts>, ProviderError> {
        let (key, which) = if template.id.is_empty() {
            ("LaunchTemplateName", template.name.as_str())
        } else {
            ("LaunchTemplateId", template.id.as_str())
        };
        let tried = format!("describing launch template {which}");
        let parameters = [
            ("Action", "DescribeLaunchTemplateVersions"),
            (key, which),
            ("LaunchTemplateVersion.1", &template.version),
        ];
        let body = self.ask(&tried, &parameters).await?;
        answer::launch_template(&body).map_err(|error| unreadable(&tried, &error))
    }

    /// `DescribeInstanceTypes`.
    pub(crate) async fn instance_type(&self, name: &str) -> Result<Option<Shape>, ProviderError> {
        let tried = format!("describing instance type {name}");
        let parameters = [
            ("Action", "DescribeInstanceTypes"),
            ("InstanceType.1", name),
        ];
        let body = self.ask(&tried, &parameters).await?;
        answer::instance_type(&body).map_err(|error| unreadable(&tried, &error))
    }

    /// Asks until there is an answer that more attempts would not change.
    async fn ask(&self, tried: &str, parameters: &[(&str, &str)]) -> Result<String, ProviderError> {
        let form = form(parameters);
        let mut pause = Duration::from_millis(500);
        for _ in 1..ATTEMPTS {
            match self.attempt(tried, &form).await {
                Err(error) if may_pass(error.class) => tokio::time::sleep(pause).await,
                answered => return answered,
            }
            pause *= 2;
        }
        self.attempt(tried, &form).await
    }

    async fn attempt(&self, tried: &str, form: &str) -> Result<String, ProviderError> {
        let unreachable =
            |why: String| ProviderError::new(ErrorClass::Unreachable, format!("{tried}: {why}"));
        let request = self.signed(tried, form).await?;
        let exchange = async {
            let answer = self
                .connector
                .call(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>((status, String::from_utf8_lossy(&body).into_owned()))
        };
        let done = tokio::time::timeout(PATIENCE, exchange).await;
        let late = |_| unreachable(format!("no answer within {} s", PATIENCE.as_secs()));
        let (status, body) = done.map_err(late)?.map_err(unreachable)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let (code, message) = answer::refusal(&body);
        Err(refused(tried, status, &code, &message))
    }

    async fn signed(&self, tried: &str, form: &str) -> Result<HttpRequest, ProviderError> {
        let other = |why: &dyn std::fmt::Display| {
            ProviderError::new(ErrorClass::Other, format!("{tried}: {why}"))
        };
        let lacking =
            || ProviderError::new(ErrorClass::Forbidden, format!("{tried}: no credentials"));
        let provider = self.credentials.as_ref().ok_or_else(lacking)?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| {
            ProviderError::new(ErrorClass::Forbidden, format!("{tried}: {error}"))
        })?;
        let identity = credentials.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("ec2")
            .time(self.clock.now().into())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| other(&error))?;
        let headers = [("content-type", FORM)].into_iter();
        let signable = SignableRequest::new(
            "POST",
            self.url.as_str(),
            headers,
            SignableBody::Bytes(form.as_bytes()),
        );
        let sign = |signable| sign(signable, &parameters.into());
        let signed: Result<_, SigningError> = signable.and_then(sign);
        let (instructions, _) = signed.map_err(|error| other(&error))?.into_parts();
        let request = http::Request::post(self.url.as_str()).header("content-type", FORM);
        let mut request = request
            .body(SdkBody::from(form))
            .map_err(|error| other(&error))?;
        instructions.apply_to_request_http1x(&mut request);
        HttpRequest::try_from(request).map_err(|error| other(&error))
    }
}

/// Whether another attempt may go better.
fn may_pass(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::Throttled | ErrorClass::Unreachable | ErrorClass::Other
    )
}

fn unreadable(tried: &str, error: &quick_xml::DeError) -> ProviderError {
    ProviderError::new(
        ErrorClass::Other,
        format!("{tried}: the answer cannot be read: {error}"),
    )
}

/// The address of the environment (`AWS_ENDPOINT_URL_EC2`) or profile for EC2, or for all services.
fn configured(shared: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("EC2")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url");
    let key = key.build().ok()?;
    let own = shared
        .service_config()
        .and_then(|config| config.load_config(key));
    own.or_else(|| shared.endpoint_url().map(str::to_owned))
}

fn regional(region: &str) -> String {
    let suffix = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    format!("https://ec2.{region}.{suffix}")
}

fn form(parameters: &[(&str, &str)]) -> String {
    let version = std::iter::once(&("Version", VERSION));
    let pair = |(key, value): &(&str, &str)| format!("{}={}", encoded(key), encoded(value));
    let pairs: Vec<_> = parameters.iter().chain(version).map(pair).collect();
    pairs.join("&")
}

/// Everything but unreserved characters in percent form.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::{form, regional};

    #[test]
    fn writes_forms() {
        let got = form(&[
            ("Action", "DescribeInstanceTypes"),
            ("LaunchTemplateVersion.1", "$Latest &é"),
        ]);
        let want = "Action=DescribeInstanceTypes&LaunchTemplateVersion.1=%24Latest%20%26%C3%A9&Version=2016-11-15";
        assert_eq!(got, want);
    }

    #[test]
    fn finds_the_service_of_a_region() {
        assert_eq!(regional("eu-west-1"), "https://ec2.eu-west-1.amazonaws.com");
        assert_eq!(
            regional("cn-north-1"),
            "https://ec2.cn-north-1.amazonaws.com.cn"
        );
    }
}
