//! Counts the requests of a client, under the names that client-go's have.

use futures::future::BoxFuture;
use http::{Request, Response};
use parking_lot::Mutex;
use plimsoll_api::exposition::{Exposition, Histogram, Kind, Page};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;
use tower::{Layer, Service};

/// client-go's buckets, in seconds.
static BOUNDS: [f64; 12] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0,
];

/// The requests of one client. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Requests(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    host: String,
    /// By status code (`<error>` where there was no answer) and method.
    totals: Mutex<BTreeMap<(String, String), u64>>,
    durations: Mutex<BTreeMap<String, Arc<Histogram<12>>>>,
}

impl Requests {
    /// Counts requests to a host.
    pub(crate) fn to(host: &http::Uri) -> Self {
        let host = host.authority().map(ToString::to_string);
        Self(Arc::new(Counters {
            host: host.unwrap_or_default(),
            totals: Mutex::default(),
            durations: Mutex::default(),
        }))
    }

    fn count(&self, method: String, code: String, took: std::time::Duration) {
        let histogram = Arc::clone(
            self.0
                .durations
                .lock()
                .entry(method.clone())
                .or_insert_with(|| Arc::new(Histogram::new(&BOUNDS))),
        );
        histogram.observe(took);
        *self.0.totals.lock().entry((code, method)).or_default() += 1;
    }
}

impl Exposition for Requests {
    fn expose(&self, page: &mut Page) {
        let name = "rest_client_requests_total";
        page.family(name, Kind::Counter, "Requests by code, method and host.");
        for ((code, method), count) in self.0.totals.lock().iter() {
            let labels = [
                ("code", code.as_str()),
                ("host", &self.0.host),
                ("method", method),
            ];
            page.sample(name, &labels, count);
        }
        let name = "rest_client_request_duration_seconds";
        page.family(name, Kind::Histogram, "Time to the head of the answer.");
        for (method, histogram) in self.0.durations.lock().iter() {
            let labels = [("host", self.0.host.as_str()), ("verb", method)];
            page.histogram(name, &labels, histogram);
        }
    }
}

impl<S> Layer<S> for Requests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            requests: self.clone(),
        }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub(crate) struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (requests, method) = (self.requests.clone(), request.method().to_string());
        let (began, answer) = (Instant::now(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await;
            let code = match &answer {
                Ok(response) => response.status().as_u16().to_string(),
                Err(_) => "<error>".to_owned(),
            };
            requests.count(method, code, began.elapsed());
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Exposition, Page, Requests};
    use http::{Request, Response};
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    #[tokio::test]
    async fn requests_count_by_code_and_method() {
        let requests = Requests::to(&"https://10.0.0.1:6443/".parse().unwrap());
        let answers = service_fn(|request: Request<u16>| async move {
            match *request.body() {
                0 => Err("refused"),
                code => Ok(Response::builder().status(code).body(()).unwrap()),
            }
        });
        let service = ServiceBuilder::new()
            .layer(requests.clone())
            .service(answers);
        for code in [200, 200, 409, 0] {
            drop(
                service
                    .clone()
                    .oneshot(Request::put("/").body(code).unwrap())
                    .await,
            );
        }
        let mut page = Page::default();
        requests.expose(&mut page);
        let text = page.into_text();
        for (code, count) in [("200", 2), ("409", 1), ("<error>", 1)] {
            let line = format!(
                "rest_client_requests_total{{code=\"{code}\",host=\"10.0.0.1:6443\",method=\"PUT\"}} {count}\n"
            );
            assert!(text.contains(&line), "{line} is not in {text}");
        }
        let all =
            "rest_client_request_duration_seconds_count{host=\"10.0.0.1:6443\",verb=\"PUT\"} 4";
        assert!(text.contains(all), "{text}");
    }
}
