//! What a leader does before it acts.

use super::begin;
use anyhow::{Result, anyhow};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use plimsoll_controllers::runtime::election::{Elector, Settings, Timing};
use plimsoll_controllers::runtime::{Recorder, Writer};
use serde_json::{Value, json};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The one lease of an API server.
#[derive(Debug, Clone, Default)]
struct Lease(Arc<Mutex<Stored>>);

#[derive(Debug, Default)]
struct Stored {
    lease: Option<Value>,
    writes: usize,
    /// It answers nothing any more.
    is_down: bool,
}

impl Lease {
    fn client(&self) -> Client {
        let lease = self.clone();
        let service =
            tower::service_fn(move |request: Request<Body>| lease.clone().answer(request));
        Client::new(service, "default")
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let (head, body) = request.into_parts();
        if head
            .uri
            .query()
            .is_some_and(|query| query.contains("fieldSelector"))
        {
            // The watch only hints.
            return pending().await;
        }
        if self.0.lock().is_down {
            return pending().await;
        }
        let body = body.collect().await?.to_bytes();
        let mut stored = self.0.lock();
        if head.method != Method::GET && head.uri.path().contains("/leases") {
            stored.lease = serde_json::from_slice(&body).ok();
            stored.writes += 1;
        }
        let (code, answer) = match &stored.lease {
            Some(lease) => (200, lease.clone()),
            None => (
                404,
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                "status": "Failure", "message": "no", "reason": "NotFound", "code": 404}),
            ),
        };
        let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
        *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
        Ok(response)
    }

    fn holder(&self) -> Option<String> {
        let stored = self.0.lock();
        let holder = stored.lease.as_ref()?.pointer("/spec/holderIdentity")?;
        holder.as_str().map(str::to_owned)
    }

    async fn elector(&self) -> Elector {
        let (client, clock) = (self.client(), Clock::system());
        let recorder = Recorder::start(Writer::new(client.clone()), clock);
        let settings = Settings {
            namespace: "plimsoll-system".into(),
            name: "plimsoll".into(),
            identity: "a".into(),
            timing: Timing::default(),
        };
        let mut elector = Elector::new(client, clock, recorder, settings, 1);
        elector.acquire().await;
        elector
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_leader_that_takes_long_to_begin_keeps_its_lease() {
    let lease = Lease::default();
    let mut elector = lease.elector().await;
    let work = async {
        sleep(MINUTE).await;
        Ok(7)
    };
    let stop = CancellationToken::new();
    let begun = begin(Some(&mut elector), &stop, work).await.unwrap();
    assert_eq!(begun, Some(7));
    assert!(elector.leads());
    assert!(lease.0.lock().writes > 20);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_begin_gives_its_lease_back() {
    let lease = Lease::default();
    let mut elector = lease.elector().await;
    assert_eq!(lease.holder().as_deref(), Some("a"));
    let work = async { Err::<(), _>(anyhow!("the port is taken")) };
    let stop = CancellationToken::new();
    let error = begin(Some(&mut elector), &stop, work).await.unwrap_err();
    assert_eq!(error.to_string(), "the port is taken");
    assert_eq!(lease.holder(), None);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_stuck_at_its_beginning_heeds_signals_and_the_loss_of_its_lease() {
    let lease = Lease::default();
    let mut elector = lease.elector().await;
    let stop = CancellationToken::new();
    let signal = async {
        sleep(MINUTE).await;
        stop.cancel();
    };
    let stuck = begin(Some(&mut elector), &stop, pending::<Result<()>>());
    let (begun, ()) = tokio::join!(stuck, signal);
    assert_eq!(begun.unwrap(), None);
    assert!(elector.leads());

    let stop = CancellationToken::new();
    lease.0.lock().is_down = true;
    let stuck = begin(Some(&mut elector), &stop, pending::<Result<()>>());
    let error = tokio::time::timeout(MINUTE, stuck).await.unwrap();
    let error = error.unwrap_err();
    assert!(error.to_string().contains("leadership is lost"), "{error}");
}
