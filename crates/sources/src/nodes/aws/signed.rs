//! Requests that are signed here, for services whose SDK is larger than the rest of this program.
//!
//! Facts: signature version 4.

use super::config::CloudConfig;
use super::error::{innermost, no_credentials};
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

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts, with pauses of 0.5 s, 1 s, … between them.
const ATTEMPTS: u32 = 4;
/// The largest answer that is read, in bytes.
const LARGEST: usize = 4 << 20;

/// A service, by its names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    /// In host names, signatures and `--cloud-config`, e.g. `ec2`.
    pub name: &'static str,
    /// In `AWS_ENDPOINT_URL_…` and profiles, e.g. `EC2`.
    pub id: &'static str,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// What is tried, for errors.
    pub tried: &'a str,
    /// `GET`, `POST`.
    pub method: &'static str,
    /// Path without the first slash, in percent form.
    pub path: &'a str,
    /// Type and contents of the body, where there is one.
    pub body: Option<(&'static str, &'a str)>,
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// `x-amzn-errortype`, where some services say what was wrong; otherwise empty.
    pub error_type: String,
    /// The body.
    pub body: String,
}

/// A client of one service.
#[derive(Debug)]
pub(super) struct Signed {
    service: Service,
    connector: Connector,
    credentials: Option<SharedCredentialsProvider>,
    /// Where it is, ending in a slash.
    url: String,
    region: String,
    clock: Clock,
}

impl Signed {
    /// A client that speaks to where the environment, a profile or the file says.
    ///
    /// # Errors
    /// The address is none.
    pub(super) fn new(
        service: Service,
        (shared, file): (&SdkConfig, &CloudConfig),
        region: &str,
        clock: Clock,
    ) -> Result<Self, ProviderError> {
        let own = file.service(service.name);
        let url = own
            .map(|found| found.url.clone())
            .or_else(|| configured(shared, service.id));
        let mut url = url.unwrap_or_else(|| regional(service.name, region));
        if !url.ends_with('/') {
            url.push('/');
        }
        if let Err(error) = url.parse::<http::Uri>() {
            return Err(ProviderError::new(
                ErrorClass::Invalid,
                format!("the address of {}, {url}: {error}", service.id),
            ));
        }
        let signed_for = own
            .map(|found| found.signing_region.as_str())
            .filter(|region| !region.is_empty());
        Ok(Self {
            service,
            connector: Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .build(),
            credentials: shared.credentials_provider(),
            url,
            region: signed_for.unwrap_or(region).to_owned(),
            clock,
        })
    }

    /// Asks until there is an answer that more attempts would not change. `refusal` makes an error
    /// of an answer that is no success.
    pub(super) async fn ask(
        &self,
        question: &Question<'_>,
        refusal: impl Fn(&Answer) -> ProviderError + Send + Sync,
    ) -> Result<String, ProviderError> {
        let mut pause = Duration::from_millis(500);
        for _ in 1..ATTEMPTS {
            match self.attempt(question, &refusal).await {
                Err(error) if may_pass(error.class) => tokio::time::sleep(pause).await,
                answered => return answered,
            }
            pause *= 2;
        }
        self.attempt(question, &refusal).await
    }

    async fn attempt(
        &self,
        question: &Question<'_>,
        refusal: impl Fn(&Answer) -> ProviderError,
    ) -> Result<String, ProviderError> {
        let tried = question.tried;
        let unreachable =
            |why: String| ProviderError::new(ErrorClass::Unreachable, format!("{tried}: {why}"));
        let request = self.signed(question).await?;
        let exchange = async {
            let answer = self
                .connector
                .call(request)
                .await
                .map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            let error_type = answer.headers().get("x-amzn-errortype");
            let error_type = error_type.unwrap_or_default().to_owned();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>(Answer {
                status,
                error_type,
                body: String::from_utf8_lossy(&body).into_owned(),
            })
        };
        let done = tokio::time::timeout(PATIENCE, exchange).await;
        let late = |_| unreachable(format!("no answer within {} s", PATIENCE.as_secs()));
        let answer = done.map_err(late)?.map_err(unreachable)?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        Err(refusal(&answer))
    }

    async fn signed(&self, question: &Question<'_>) -> Result<HttpRequest, ProviderError> {
        let tried = question.tried;
        let other = |why: &dyn std::fmt::Display| {
            ProviderError::new(ErrorClass::Other, format!("{tried}: {why}"))
        };
        let lacking = || no_credentials(tried, "nobody provides any");
        let provider = self.credentials.as_ref().ok_or_else(lacking)?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| no_credentials(tried, &innermost(&error)))?;
        let identity = credentials.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.name)
            .time(self.clock.now().into())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| other(&error))?;
        let url = format!("{}{}", self.url, question.path);
        let (kind, body) = question.body.unzip();
        let body = body.unwrap_or_default();
        let headers = kind.map(|kind| ("content-type", kind));
        let signable = SignableRequest::new(
            question.method,
            url.as_str(),
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        );
        let sign = |signable| sign(signable, &parameters.into());
        let signed: Result<_, SigningError> = signable.and_then(sign);
        let (instructions, _) = signed.map_err(|error| other(&error))?.into_parts();
        let mut request = http::Request::builder()
            .method(question.method)
            .uri(url.as_str());
        if let Some((name, value)) = headers {
            request = request.header(name, value);
        }
        let mut request = request
            .body(SdkBody::from(body))
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

/// The address of the environment (`AWS_ENDPOINT_URL_…`) or profile for a service, or for all.
fn configured(shared: &SdkConfig, id: &str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url");
    let key = key.build().ok()?;
    let own = shared
        .service_config()
        .and_then(|config| config.load_config(key));
    own.or_else(|| shared.endpoint_url().map(str::to_owned))
}

fn regional(service: &str, region: &str) -> String {
    let suffix = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    format!("https://{service}.{region}.{suffix}")
}

/// Everything but unreserved characters in percent form.
pub(super) fn encoded(text: &str) -> String {
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
    use super::regional;

    #[test]
    fn finds_the_service_of_a_region() {
        assert_eq!(
            regional("ec2", "eu-west-1"),
            "https://ec2.eu-west-1.amazonaws.com"
        );
        assert_eq!(
            regional("eks", "cn-north-1"),
            "https://eks.cn-north-1.amazonaws.com.cn"
        );
    }
}
