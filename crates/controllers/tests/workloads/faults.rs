//! A way to the API that answers some requests itself, well or badly.

use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// What happens to a request instead of being served.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status and body come back.
    Answer(u16, String),
    /// Nothing comes back.
    Silence,
    /// The connection breaks.
    Reset,
    /// It is served, but the answer gets lost.
    Lost,
    /// It is served after this time; nobody may be waiting any more.
    Late(Duration),
}

type Rule = Box<dyn FnMut(&str, &str) -> Option<Fault> + Send>;

/// Decides by method and URI what happens to a request. Clones share it.
#[derive(Clone)]
pub(crate) struct Faults {
    rule: Arc<Mutex<Rule>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Faults {
    pub(crate) fn none() -> Self {
        Self {
            rule: Arc::new(Mutex::new(Box::new(|_, _| None))),
            asked: Arc::default(),
        }
    }

    /// Decides differently from now on.
    pub(crate) fn set(&self, rule: impl FnMut(&str, &str) -> Option<Fault> + Send + 'static) {
        *self.rule.lock() = Box::new(rule);
    }

    /// Every request since the last call, as `GET /path`.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock())
    }

    /// A client whose requests pass through here.
    pub(crate) fn client(&self, inner: Client) -> Client {
        let faults = self.clone();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (method, uri) = (request.method().to_string(), request.uri().to_string());
            faults.asked.lock().push(format!("{method} {uri}"));
            let fault = (faults.rule.lock())(&method, &uri);
            let inner = inner.clone();
            async move {
                match fault {
                    None => Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                        inner.send(request).await?,
                    ),
                    Some(Fault::Answer(code, body)) => Ok(http::Response::builder()
                        .status(code)
                        .body(Body::from(body.into_bytes()))?),
                    Some(Fault::Silence) => std::future::pending().await,
                    Some(Fault::Reset) => Err("connection reset by peer".into()),
                    Some(Fault::Lost) => {
                        drop(inner.send(request).await?);
                        Err("connection reset by peer".into())
                    }
                    Some(Fault::Late(delay)) => {
                        let serving = serve_late(inner, request, delay);
                        Ok(tokio::spawn(serving).await??)
                    }
                }
            }
        });
        Client::new(service, "default")
    }
}

async fn serve_late(
    inner: Client,
    request: http::Request<Body>,
    delay: Duration,
) -> Result<http::Response<Body>, kube::Error> {
    tokio::time::sleep(delay).await;
    inner.send(request).await
}
