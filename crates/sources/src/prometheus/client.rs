//! The questions.

use super::answer::{Envelope, Instant, Kinds, Sample, Series};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of an answer to a query.
const QUERY_BYTES: usize = 16 << 20;
/// Most bytes of a list of series.
const SERIES_BYTES: usize = 128 << 20;
/// Queries longer than this are posted whatever the verb, since servers bound their URLs.
const LONGEST_URL: usize = 4096;
/// How much of an answer that is not Prometheus' is shown.
const SHOWN: usize = 200;

/// How questions are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verb {
    /// In the URL, unless they are too long for one.
    #[default]
    Get,
    /// As a form.
    Post,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    /// The server cannot be reached, or the connection broke.
    #[error("prometheus cannot be reached: {0}")]
    Unreachable(String),
    /// It takes too long.
    #[error("prometheus did not answer within {0:?}")]
    TimedOut(Duration),
    /// The answer is longer than allowed.
    #[error("the answer of prometheus is larger than {0} bytes")]
    TooLarge(usize),
    /// Prometheus refuses the question.
    #[error("prometheus refuses the query ({kind}): {why}")]
    Refused {
        /// `bad_data`, `timeout`, `execution` …
        kind: String,
        /// Its words.
        why: String,
    },
    /// Something answers that is not Prometheus, or a proxy before it refuses.
    #[error("prometheus answered {code}: {text}")]
    Status {
        /// HTTP status code.
        code: u16,
        /// The start of the body.
        text: String,
    },
    /// The answer is not what the API describes.
    #[error("prometheus answered something else than samples")]
    Garbage(#[source] Option<serde_json::Error>),
}

/// A Prometheus server. Clones share its connections.
#[derive(Clone)]
pub struct Prometheus {
    client: Client,
    /// Path before `/api/v1`.
    prefix: Arc<str>,
    verb: Verb,
    timeout: Duration,
    warned: Arc<Mutex<String>>,
}

impl std::fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prometheus")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Prometheus {
    /// A server that `client` reaches below the path `prefix`.
    pub fn new(client: Client, prefix: &str, verb: Verb, timeout: Duration) -> Self {
        Self {
            client,
            prefix: prefix.trim_end_matches('/').into(),
            verb,
            timeout,
            warned: Arc::default(),
        }
    }

    /// Evaluates an expression now, by Prometheus' clock.
    ///
    /// # Errors
    /// [`PrometheusError`], also for expressions that give no vector or scalar.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, PrometheusError> {
        let timeout = format!("{}ms", self.timeout.as_millis());
        let form = [("query", expression), ("timeout", &timeout)];
        let data: Instant = self.ask("query", &form, QUERY_BYTES).await?;
        data.samples().ok_or(PrometheusError::Garbage(None))
    }

    /// The kinds of series that match a selector and had samples since `start`.
    ///
    /// # Errors
    /// [`PrometheusError`].
    pub async fn series(
        &self,
        selector: &str,
        start: Timestamp,
    ) -> Result<BTreeSet<Series>, PrometheusError> {
        let start = format!("{}.{:03}", start.as_second(), start.subsec_millisecond());
        let form = [("match[]", selector), ("start", &start)];
        let data: Kinds = self.ask("series", &form, SERIES_BYTES).await?;
        Ok(data.0)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        form: &[(&str, &str)],
        limit: usize,
    ) -> Result<T, PrometheusError> {
        let request = self.request(what, form);
        let asked = self.exchange(request?, limit);
        let (code, body) = tokio::time::timeout(self.timeout, asked)
            .await
            .unwrap_or(Err(PrometheusError::TimedOut(self.timeout)))?;
        let envelope: Envelope<T> = match serde_json::from_slice(&body) {
            Ok(envelope) => envelope,
            Err(error) if code.is_success() => return Err(PrometheusError::Garbage(Some(error))),
            Err(_) => {
                return Err(PrometheusError::Status {
                    code: code.as_u16(),
                    text: beginning(&body),
                });
            }
        };
        if envelope.status != "success" || !code.is_success() {
            return Err(if envelope.status == "error" {
                PrometheusError::Refused {
                    kind: envelope.error_type,
                    why: envelope.error,
                }
            } else {
                PrometheusError::Status {
                    code: code.as_u16(),
                    text: beginning(match envelope.message.as_bytes() {
                        [] => &body,
                        message => message,
                    }),
                }
            });
        }
        self.remark(&envelope.warnings);
        envelope.data.ok_or(PrometheusError::Garbage(None))
    }

    fn request(&self, what: &str, form: &[(&str, &str)]) -> Result<Request<Body>, PrometheusError> {
        let path = format!("{}/api/v1/{what}", self.prefix);
        let text = encode(form);
        let request = if self.verb == Verb::Post || text.len() > LONGEST_URL {
            Request::builder()
                .method(Method::POST)
                .uri(path)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(ACCEPT, "application/json")
                .body(Body::from(text.into_bytes()))
        } else {
            Request::get(format!("{path}?{text}"))
                .header(ACCEPT, "application/json")
                .body(Body::empty())
        };
        request.map_err(|error| PrometheusError::Unreachable(error.to_string()))
    }

    async fn exchange(
        &self,
        request: Request<Body>,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), PrometheusError> {
        let response = self.client.send(request).await;
        let response = response.map_err(|e| PrometheusError::Unreachable(innermost(&e)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, limit).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                PrometheusError::TooLarge(limit)
            } else {
                PrometheusError::Unreachable(innermost(&*error))
            }
        })?;
        Ok((head.status, body.to_bytes()))
    }

    /// Logs warnings (a store that Thanos did not reach, say), each time they change.
    fn remark(&self, warnings: &[String]) {
        let text = warnings.join("; ");
        let mut warned = self.warned.lock();
        if *warned == text {
            return;
        }
        if !text.is_empty() {
            tracing::warn!(warnings = text, "prometheus warns about its answers");
        }
        *warned = text;
    }
}

/// What a chain of errors comes down to.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn beginning(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim().replace(['\n', '\r'], " ");
    line.chars().take(SHOWN).collect()
}

/// `application/x-www-form-urlencoded`, which is also what a query string may be.
fn encode(form: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (index, (key, value)) in form.iter().enumerate() {
        if index > 0 {
            text.push('&');
        }
        escape(key, &mut text);
        text.push('=');
        escape(value, &mut text);
    }
    text
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn escape(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(byte.into());
        } else {
            write!(into, "%{byte:02X}").unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Prometheus, Verb, beginning, encode};
    use http::{Request, Response, StatusCode};
    use kube::Client;
    use kube::client::Body;
    use rstest::rstest;
    use std::convert::Infallible;
    use std::time::Duration;

    #[rstest]
    #[case::prometheus(
        422,
        r#"{"status":"error","errorType":"execution","error":"too much"}"#,
        "prometheus refuses the query (execution): too much"
    )]
    #[case::the_api_server_before_it(
        503,
        r#"{"kind":"Status","status":"Failure","message":"no endpoints available","reason":"ServiceUnavailable","code":503}"#,
        "prometheus answered 503: no endpoints available"
    )]
    #[case::something_else(
        502,
        r#"{"status":"down"}"#,
        r#"prometheus answered 502: {"status":"down"}"#
    )]
    #[case::a_page(502, "bad gateway", "prometheus answered 502: bad gateway")]
    #[tokio::test]
    async fn who_refuses_is_told_in_its_words(
        #[case] code: u16,
        #[case] body: &'static str,
        #[case] want: &str,
    ) {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            let mut response = Response::new(Body::from(body.as_bytes().to_vec()));
            *response.status_mut() = StatusCode::from_u16(code).unwrap();
            Ok::<_, Infallible>(response)
        });
        let client = Client::new(service, "default");
        let prometheus = Prometheus::new(client, "", Verb::Get, Duration::from_secs(5));
        let error = prometheus.query("up").await.unwrap_err();
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn a_form_escapes_what_expressions_are_made_of() {
        let got = encode(&[("query", r#"sum(a{b="c d"}) by (e)"#), ("match[]", "a+b")]);
        let want = "query=sum%28a%7Bb%3D%22c%20d%22%7D%29%20by%20%28e%29&match%5B%5D=a%2Bb";
        assert_eq!(got, want);
    }

    #[test]
    fn only_the_start_of_a_page_is_shown() {
        let page = format!("<html>\n{}", "x".repeat(1000));
        assert_eq!(beginning(page.as_bytes()).len(), 200);
    }
}
