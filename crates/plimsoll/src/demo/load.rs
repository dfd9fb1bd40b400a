//! A load generator: requests leave at a set rate whatever the answers do (open loop), each on a
//! connection of its own, so that the Service spreads them.

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use plimsoll_node::runtime::Network;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// An answer must come within this time, or the request counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Steps of the schedule; also the longest a new rate takes to be heard.
const TICK: Duration = Duration::from_millis(20);

/// What came of the requests so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Answered with 200.
    pub(crate) served: u64,
    /// Refused, cut off, late, or answered with anything else.
    pub(crate) failed: u64,
    /// The first failure, in words.
    pub(crate) first_failure: Option<String>,
    /// Latencies of the served ones, in milliseconds.
    pub(crate) latencies: Vec<f32>,
}

impl Tally {
    /// The latency that `share` (0–1) of the served requests stayed under, in milliseconds.
    pub(crate) fn latency(&self, share: f32) -> Option<f32> {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f32::total_cmp);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into at most a few thousand samples"
        )]
        let at = (sorted.len().saturating_sub(1) as f32 * share) as usize;
        sorted.get(at).copied()
    }
}

/// A running generator.
#[derive(Debug)]
pub(crate) struct Load {
    rate: tokio::sync::watch::Sender<f64>,
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    /// Starts at 0 requests a second against `address`.
    pub(crate) fn start(network: Arc<dyn Network>, address: SocketAddr, host: String) -> Self {
        let (rate, heard) = tokio::sync::watch::channel(0.0);
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stop = CancellationToken::new();
        let target = Target {
            network,
            address,
            host,
            tally: Arc::clone(&tally),
        };
        let task = tokio::spawn(drive(Arc::new(target), heard, stop.clone()));
        Self {
            rate,
            tally,
            stop,
            task,
        }
    }

    /// Changes the rate, in requests a second.
    pub(crate) fn set_rate(&self, rate: f64) {
        self.rate.send_replace(rate);
    }

    /// The rate now.
    pub(crate) fn rate(&self) -> f64 {
        *self.rate.borrow()
    }

    /// Counts so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let tally = self.tally.lock();
        (tally.served, tally.failed)
    }

    /// Stops, waits for the answers still on their way, and returns what came of it all.
    pub(crate) async fn finish(self) -> Tally {
        self.stop.cancel();
        self.task.await.ok();
        std::mem::take(&mut *self.tally.lock())
    }
}

struct Target {
    network: Arc<dyn Network>,
    address: SocketAddr,
    host: String,
    tally: Arc<Mutex<Tally>>,
}

async fn drive(
    target: Arc<Target>,
    rate: tokio::sync::watch::Receiver<f64>,
    stop: CancellationToken,
) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut due = 0.0;
    let mut flying = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        due += *rate.borrow() * TICK.as_secs_f64();
        while due >= 1.0 {
            due -= 1.0;
            flying.spawn(Box::pin(once(Arc::clone(&target))));
        }
        while flying.try_join_next().is_some() {}
    }
    while flying.join_next().await.is_some() {}
}

async fn once(target: Arc<Target>) {
    let start = Instant::now();
    let outcome = tokio::time::timeout(PATIENCE, request(&target)).await;
    let mut tally = target.tally.lock();
    match outcome {
        Ok(Ok(())) => {
            tally.served += 1;
            tally.latencies.push(start.elapsed().as_secs_f32() * 1000.0);
        }
        Ok(Err(why)) => tally.fail(format!("{why:#}")),
        Err(_) => tally.fail(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

impl Tally {
    fn fail(&mut self, why: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(why);
    }
}

async fn request(target: &Target) -> anyhow::Result<()> {
    let stream = target.network.connect(target.address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::get("/")
        .header("Host", &target.host)
        .header("Connection", "close")
        .body(Empty::<bytes::Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        anyhow::ensure!(status == 200, "answered {status}");
        Ok(())
    };
    let (_, result) = tokio::join!(connection, exchange);
    result
}
