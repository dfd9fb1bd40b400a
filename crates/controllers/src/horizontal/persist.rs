//! What autoscalers remember, kept in ConfigMaps, so that a restart or a new leader forgets nothing.
//!
//! ```text
//! pass ──note──► unsaved ──every 5 s, at once after a scale──► PATCH of a few keys per ConfigMap
//! start ◄──load── ConfigMaps
//! ```
//!
//! The entries are spread over a fixed number of ConfigMaps, keyed by the autoscaler's uid, so that
//! one of the same name made anew starts afresh.

use super::ask::text_of;
use super::options::MemoryPlace;
use super::record::{self, Entry};
use futures::future::join_all;
use kube::Client;
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use plimsoll_engine::horizontal::Memory;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Over how many ConfigMaps the entries are spread: 16 MiB in all, some 50,000 autoscalers.
const SHARDS: u64 = 16;
/// How long changes wait for others, unless a scale was written.
const PAUSE: Duration = Duration::from_secs(5);
/// The same after a scale.
const SHORT_PAUSE: Duration = Duration::from_millis(50);
/// Pause before loading is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// How soon a change is to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// With others, in a few seconds.
    Soon,
    /// A scale was written: at once.
    Now,
}

/// The ConfigMaps, and what is not yet in them.
pub(super) struct Persisted {
    client: Client,
    clock: Clock,
    place: MemoryPlace,
    timeout: Duration,
    state: Mutex<State>,
    changed: Notify,
    hurried: Notify,
}

#[derive(Default)]
struct State {
    /// What was loaded and not yet asked for.
    loaded: BTreeMap<Arc<str>, Entry>,
    /// What the ConfigMaps hold or will hold, by uid.
    noted: BTreeMap<Arc<str>, Memory>,
    /// What is to be written: shard, uid, text (`None` removes).
    unsaved: BTreeMap<u64, BTreeMap<Arc<str>, Option<String>>>,
}

impl std::fmt::Debug for Persisted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Persisted")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Persisted {
    pub(super) fn new(client: Client, clock: Clock, place: MemoryPlace, timeout: Duration) -> Self {
        Self {
            client,
            clock,
            place,
            timeout,
            state: Mutex::default(),
            changed: Notify::new(),
            hurried: Notify::new(),
        }
    }

    /// Reads every ConfigMap, and tries until it succeeds: acting without memory would forget.
    pub(super) async fn load(&self) {
        let shards = (0..SHARDS).map(|shard| async move {
            loop {
                match self.load_shard(shard).await {
                    Ok(data) => return data,
                    Err(error) => {
                        let name = self.name(shard);
                        tracing::warn!(%name, %error, "what autoscalers remember cannot be read yet");
                    }
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        let now = self.clock.now();
        let data = join_all(shards).await;
        let mut state = self.state.lock();
        for (uid, text) in data.into_iter().flatten() {
            match text.as_str().and_then(|text| record::read(text, now)) {
                Some(entry) => drop(state.loaded.insert(uid.into(), entry)),
                None => {
                    tracing::warn!(uid, "an autoscaler's memory cannot be read; it starts anew");
                }
            }
        }
    }

    async fn load_shard(&self, shard: u64) -> Result<Map<String, Value>, String> {
        let path = format!("{}/{}", self.path(), self.name(shard));
        let request = http::Request::get(path).body(Vec::new());
        let mut found: Value = match self.send(request).await {
            Ok(found) => found,
            Err(Refused::Absent) => return Ok(Map::new()),
            Err(Refused::Other(why)) => return Err(why),
        };
        Ok(match found.get_mut("data").map(Value::take) {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        })
    }

    /// What an autoscaler remembered before the start, once.
    pub(super) fn recall(&self, uid: &Arc<str>) -> Option<Memory> {
        let mut state = self.state.lock();
        let Entry { memory, .. } = state.loaded.remove(uid)?;
        state.noted.insert(Arc::clone(uid), memory.clone());
        Some(memory)
    }

    /// Removes what was loaded of autoscalers that are no more.
    pub(super) fn sweep(&self, is_gone: impl Fn(&Entry, &Arc<str>) -> bool) {
        let mut state = self.state.lock();
        let gone = state
            .loaded
            .iter()
            .filter(|(uid, entry)| is_gone(entry, uid));
        let gone: Vec<Arc<str>> = gone.map(|(uid, _)| Arc::clone(uid)).collect();
        for uid in gone {
            state.loaded.remove(&uid);
            state.queue(&uid, None);
        }
        self.changed.notify_one();
    }

    /// Takes in what an autoscaler (`of`: kind, namespace and name) remembers after a pass.
    pub(super) fn note(
        &self,
        uid: &Arc<str>,
        of: std::fmt::Arguments<'_>,
        memory: &Memory,
        haste: Haste,
    ) {
        let mut state = self.state.lock();
        let noted = state.noted.get(uid);
        if noted.is_some_and(|noted| record::says_the_same(noted, memory)) {
            return;
        }
        let text = record::write(&of.to_string(), memory);
        state.queue(uid, Some(text));
        state.noted.insert(Arc::clone(uid), memory.clone());
        drop(state);
        self.changed.notify_one();
        if haste == Haste::Now {
            self.hurried.notify_one();
        }
    }

    /// Forgets an autoscaler that is gone.
    pub(super) fn forget(&self, uid: &Arc<str>) {
        let mut state = self.state.lock();
        let known = state.noted.remove(uid).is_some();
        if state.loaded.remove(uid).is_some() || known {
            state.queue(uid, None);
            self.changed.notify_one();
        }
    }

    /// Saves changes as they come, for ever.
    pub(super) async fn keep(&self) {
        loop {
            self.changed.notified().await;
            tokio::select! {
                biased;
                () = self.hurried.notified() => tokio::time::sleep(SHORT_PAUSE).await,
                () = tokio::time::sleep(PAUSE) => {}
            }
            if let Err(error) = self.save().await {
                tracing::warn!(%error, "what autoscalers remember was not saved; trying again");
                self.changed.notify_one();
            }
        }
    }

    /// Saves what is unsaved now.
    ///
    /// # Errors
    /// What the server says; what was not saved is saved next time.
    pub(super) async fn save(&self) -> Result<(), String> {
        let unsaved = self.state.lock().unsaved.clone();
        let writes = unsaved.into_iter().map(|(shard, entries)| async move {
            self.save_shard(shard, &entries).await?;
            self.state.lock().saved(shard, &entries);
            Ok(())
        });
        join_all(writes).await.into_iter().collect()
    }

    async fn save_shard(
        &self,
        shard: u64,
        entries: &BTreeMap<Arc<str>, Option<String>>,
    ) -> Result<(), String> {
        let data: Map<String, Value> = entries
            .iter()
            .map(|(uid, text)| (uid.to_string(), json!(text)))
            .collect();
        let path = format!("{}/{}?fieldManager=plimsoll", self.path(), self.name(shard));
        let request = http::Request::patch(path)
            .header("content-type", "application/merge-patch+json")
            .body(json!({ "data": data }).to_string().into_bytes());
        match self.send(request).await {
            Ok(_) => return Ok(()),
            Err(Refused::Other(why)) => return Err(why),
            Err(Refused::Absent) => {}
        }
        let data: Map<String, Value> = data.into_iter().filter(|(_, v)| !v.is_null()).collect();
        if data.is_empty() {
            return Ok(());
        }
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": self.name(shard), "namespace": self.place.namespace,
                "labels": { "app.kubernetes.io/managed-by": "plimsoll" },
                "annotations": {
                    "plimsoll.dev/description":
                        "What autoscalers remember of their last hour, so that a restart forgets nothing",
                },
            },
            "data": data,
        });
        let request = http::Request::post(format!("{}?fieldManager=plimsoll", self.path()))
            .header("content-type", "application/json")
            .body(map.to_string().into_bytes());
        self.send(request)
            .await
            .map(drop)
            .map_err(|refused| match refused {
                Refused::Other(why) => why,
                Refused::Absent => format!("there is no namespace {}", self.place.namespace),
            })
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, http::Error>,
    ) -> Result<Value, Refused> {
        let request = request.map_err(|error| Refused::Other(error.to_string()))?;
        let answer = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let late = || Refused::Other(format!("no answer within {} s", self.timeout.as_secs()));
        match answer.map_err(|_| late())? {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(Refused::Absent),
            Err(error) => Err(Refused::Other(text_of(&error))),
        }
    }

    fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.place.namespace)
    }

    fn name(&self, shard: u64) -> String {
        format!("{}-{shard:02}", self.place.name)
    }
}

enum Refused {
    Absent,
    Other(String),
}

impl State {
    fn queue(&mut self, uid: &Arc<str>, text: Option<String>) {
        let shard = self.unsaved.entry(shard_of(uid)).or_default();
        shard.insert(Arc::clone(uid), text);
    }

    /// Takes out what was written, unless it has changed meanwhile.
    fn saved(&mut self, shard: u64, entries: &BTreeMap<Arc<str>, Option<String>>) {
        let Some(unsaved) = self.unsaved.get_mut(&shard) else {
            return;
        };
        unsaved.retain(|uid, text| entries.get(uid) != Some(text));
        if unsaved.is_empty() {
            self.unsaved.remove(&shard);
        }
    }
}

/// FNV-1a, the same in every version.
fn shard_of(uid: &str) -> u64 {
    let hash = uid.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash % SHARDS
}
