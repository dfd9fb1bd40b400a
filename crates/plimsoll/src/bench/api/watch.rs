//! Watches: how late events are, and how many can be delivered.

use super::client::Connection;
use super::measure::{Bodies, PATIENCE, Row, Taken};
use super::server::Target;
use anyhow::{Context as _, Result};
use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// Connections that the paced writes are spread over.
const WRITERS: u32 = 4;
/// How many of the watchers look at when events were written; the others only count them.
const SAMPLED: usize = 10;
/// Where an event says when it was written.
const SENT: &[u8] = b"\"sent\":\"";
/// How long watchers may lag behind the last write.
const LAG: Duration = Duration::from_secs(15);

/// Writes at a steady pace, and watchers that follow it.
pub(super) async fn fan_out(
    target: &Target,
    (watchers, rate, seconds): (usize, u32, u32),
) -> Result<Row> {
    let events = usize::try_from(rate / WRITERS * WRITERS * seconds)?;
    let revision = revision(target).await?;
    let path = format!(
        "{}?watch=1&resourceVersion={revision}",
        Bodies::ConfigMaps.path()
    );
    let mut streams = Vec::new();
    for _ in 0..watchers {
        let mut connection = Connection::open(target).await?;
        let stream = connection.send(Method::GET, &path, "").await?.into_body();
        streams.push((connection, stream));
    }
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        writers.push(Connection::open(target).await?);
    }
    let taken = Taken::begin(target)?;
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(u64::from(seconds)) + LAG;
    let mut reading = JoinSet::new();
    for (index, (connection, stream)) in streams.into_iter().enumerate() {
        let watcher = Watcher::new(begun, events, index < SAMPLED);
        reading.spawn(async move {
            let watcher = watcher.follow(stream, deadline).await;
            drop(connection);
            watcher
        });
    }
    let mut writing = JoinSet::new();
    for (writer, connection) in (0..).zip(writers) {
        let name = format!("watched-{watchers}-{writer}");
        writing.spawn(write(connection, name, (rate / WRITERS, seconds), begun));
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    let wrote = begun.elapsed().as_secs_f64();
    let (mut delivered, mut late) = (0, Vec::new());
    while let Some(watcher) = reading.join_next().await {
        let watcher = watcher??;
        delivered += watcher.seen;
        late.extend(watcher.late);
    }
    let what = match watchers {
        1 => format!("watch at {rate} writes/s"),
        many => format!("{many} watchers at {rate} writes/s"),
    };
    let mut row = taken.row(target, (what, delivered), late)?;
    let written = f64::from(u32::try_from(events)?);
    row.note = format!("wrote {:.0}/s", written / wrote);
    if delivered < events * watchers {
        let missing = events * watchers - delivered;
        row.note = format!("{}; {missing} not delivered", row.note);
    }
    Ok(row)
}

/// The revision to watch from.
async fn revision(target: &Target) -> Result<String> {
    let mut connection = Connection::open(target).await?;
    let path = format!("{}?limit=1", Bodies::ConfigMaps.path());
    let list: Value = serde_json::from_slice(&connection.read(Method::GET, &path, "").await?)?;
    let version = list.pointer("/metadata/resourceVersion");
    let version = version.and_then(Value::as_str);
    Ok(version
        .context("a list without resourceVersion")?
        .to_owned())
}

/// Makes `rate` ConfigMaps a second, each saying when.
async fn write(
    mut connection: Connection,
    name: String,
    (rate, seconds): (u32, u32),
    begun: Instant,
) -> Result<()> {
    let mut tick = interval(Duration::from_secs(1) / rate.max(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let path = Bodies::ConfigMaps.path();
    for index in 0..rate * seconds {
        tick.tick().await;
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": format!("{name}-{index}") },
            "data": { "sent": begun.elapsed().as_nanos().to_string() },
        });
        connection
            .count(Method::POST, &path, body.to_string())
            .await?;
        anyhow::ensure!(begun.elapsed() < PATIENCE, "the writes take too long");
    }
    Ok(())
}

/// One reader of a watch.
#[derive(Debug)]
struct Watcher {
    begun: Instant,
    /// Events to wait for.
    events: usize,
    /// Whether it looks at times.
    sampled: bool,
    seen: usize,
    /// Milliseconds from each write to its event.
    late: Vec<f64>,
    /// The beginning of a line whose end has not come yet.
    partial: BytesMut,
}

impl Watcher {
    fn new(begun: Instant, events: usize, sampled: bool) -> Self {
        Self {
            begun,
            events,
            sampled,
            seen: 0,
            late: Vec::new(),
            partial: BytesMut::new(),
        }
    }

    /// Reads until every event has come, the server ends the watch, or `deadline`.
    async fn follow(mut self, mut stream: Incoming, deadline: Instant) -> Result<Self> {
        while self.seen < self.events {
            match timeout_at(deadline, stream.frame()).await {
                Ok(Some(frame)) => {
                    if let Ok(data) = frame?.into_data() {
                        self.take(&data);
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
        Ok(self)
    }

    fn take(&mut self, data: &Bytes) {
        if !self.sampled {
            // An event ends with the only line break in it.
            self.seen += data.split(|byte| *byte == b'\n').count() - 1;
            return;
        }
        let now = self.begun.elapsed();
        self.partial.extend_from_slice(data);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line = self.partial.split_to(end + 1);
            self.seen += 1;
            if let Some(sent) = sent(&line) {
                self.late.push(now.saturating_sub(sent).as_secs_f64() * 1e3);
            }
        }
    }
}

/// When the event of this line was written.
fn sent(line: &[u8]) -> Option<Duration> {
    let at = line.windows(SENT.len()).position(|window| window == SENT)?;
    let digits = line.get(at + SENT.len()..)?;
    let digits = digits.split(|byte| *byte == b'"').next()?;
    let nanos: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}
