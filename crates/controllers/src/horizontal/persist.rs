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
use super::recall::elapsed;
use super::record::{self, Entry};
use crate::runtime::Said;
use crate::runtime::election::no_namespace;
use futures::future::join_all;
use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use plimsoll_engine::horizontal::Memory;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
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

/// How old the note of being alive may get.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// The annotation of a ConfigMap that says until when its entries were in force, in milliseconds
/// since 1970.
const ALIVE: &str = "plimsoll.dev/alive-until";

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
    /// When an entry of a shard was last said to be in force, and when that was last saved.
    alive: BTreeMap<u64, Alive>,
    /// Those for which there was no room.
    left_out: BTreeSet<Arc<str>>,
    /// What is to be written: shard, uid, text (`None` removes).
    unsaved: BTreeMap<u64, BTreeMap<Arc<str>, Option<String>>>,
}

/// Until when the entries of a shard were in force.
#[derive(Debug, Default, Clone, Copy)]
struct Alive {
    known: Timestamp,
    saved: Timestamp,
}

/// What one ConfigMap holds.
#[derive(Default)]
struct Shard {
    data: Map<String, Value>,
    alive: Option<Timestamp>,
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
        let shards = join_all(shards).await;
        let mut state = self.state.lock();
        for Shard { data, alive } in shards {
            for (uid, text) in data {
                let entry = text.as_str();
                match entry.and_then(|text| record::read(text, alive, now)) {
                    Some(entry) if record::is_outdated(&entry.memory, record::LONGEST, now) => {
                        state.queue(&uid.into(), None);
                    }
                    Some(entry) => drop(state.loaded.insert(uid.into(), entry)),
                    None => {
                        tracing::warn!(
                            uid,
                            "an autoscaler's memory cannot be read; it starts anew"
                        );
                    }
                }
            }
        }
    }

    async fn load_shard(&self, shard: u64) -> Result<Shard, String> {
        let path = format!("{}/{}", self.path(), self.name(shard));
        let request = http::Request::get(path).body(Vec::new());
        let mut found: Value = match self.send(request).await {
            Ok(found) => found,
            Err(Refused::Absent) => return Ok(Shard::default()),
            Err(Refused::Full(why) | Refused::Other(why)) => return Err(why),
        };
        let alive = found
            .pointer("/metadata/annotations")
            .and_then(|all| all.get(ALIVE)?.as_str());
        let alive = alive.and_then(|millis| Timestamp::from_millisecond(millis.parse().ok()?).ok());
        Ok(Shard {
            data: match found.get_mut("data").map(Value::take) {
                Some(Value::Object(data)) => data,
                _ => Map::new(),
            },
            alive,
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
        let is_due = state.is_alive(uid, memory);
        let noted = state.noted.get(uid);
        let same = noted.is_some_and(|noted| record::says_the_same(noted, memory));
        if same && !is_due {
            return;
        }
        if !same {
            state.noted.insert(Arc::clone(uid), memory.clone());
            if !state.left_out.contains(uid) {
                let text = record::write(&of.to_string(), memory);
                state.queue(uid, Some(text));
            }
        }
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
            // There may be room again.
            let shard = shard_of(uid);
            state.left_out.retain(|other| shard_of(other) != shard);
            self.changed.notify_one();
        }
    }

    /// Saves changes as they come, for ever.
    pub(super) async fn keep(&self) {
        let mut said = Said::default();
        loop {
            self.changed.notified().await;
            tokio::select! {
                biased;
                () = self.hurried.notified() => tokio::time::sleep(SHORT_PAUSE).await,
                () = tokio::time::sleep(PAUSE) => {}
            }
            match self.save().await {
                Ok(()) => said.is_over(),
                Err(error) => {
                    if said.is_news(&error) {
                        tracing::warn!(%error, "what autoscalers remember is not saved; still trying");
                    }
                    self.changed.notify_one();
                }
            }
        }
    }

    /// Saves what is unsaved now, and until when all of it was in force.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub(super) async fn save_all(&self) -> Result<(), String> {
        self.state.lock().queue_alive();
        self.save().await
    }

    /// Saves what is unsaved now.
    ///
    /// # Errors
    /// What the server says; what was not saved is saved next time.
    pub(super) async fn save(&self) -> Result<(), String> {
        let unsaved = self.state.lock().unsaved.clone();
        let writes = unsaved.into_iter().map(|(shard, entries)| async move {
            let alive = self.state.lock().alive.get(&shard).map(|alive| alive.known);
            let saved = self.save_shard(shard, &entries, alive).await;
            let mut state = self.state.lock();
            match saved {
                Ok(()) => state.saved(shard, &entries, alive),
                Err(Refused::Full(why)) => {
                    state.make_room(shard);
                    return Err(why);
                }
                Err(Refused::Other(why)) => return Err(why),
                Err(Refused::Absent) => {
                    return Err(no_namespace(&self.place.namespace));
                }
            }
            Ok(())
        });
        join_all(writes).await.into_iter().collect()
    }

    async fn save_shard(
        &self,
        shard: u64,
        entries: &BTreeMap<Arc<str>, Option<String>>,
        alive: Option<Timestamp>,
    ) -> Result<(), Refused> {
        let data: Map<String, Value> = entries
            .iter()
            .map(|(uid, text)| (uid.to_string(), json!(text)))
            .collect();
        let mut annotations = Map::new();
        if let Some(alive) = alive {
            let millis = alive.as_millisecond().to_string();
            annotations.insert(ALIVE.to_owned(), millis.into());
        }
        let path = format!("{}/{}?fieldManager=plimsoll", self.path(), self.name(shard));
        let request = http::Request::patch(path)
            .header("content-type", "application/merge-patch+json")
            .body(
                json!({ "metadata": { "annotations": &annotations }, "data": data })
                    .to_string()
                    .into(),
            );
        match self.send(request).await {
            Err(Refused::Absent) => {}
            done => return done.map(drop),
        }
        let data: Map<String, Value> = data.into_iter().filter(|(_, v)| !v.is_null()).collect();
        if data.is_empty() {
            return Ok(());
        }
        let about =
            "What autoscalers remember of their last hour, so that a restart forgets nothing";
        annotations.insert("plimsoll.dev/description".to_owned(), about.into());
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": self.name(shard), "namespace": self.place.namespace,
                "labels": { "app.kubernetes.io/managed-by": "plimsoll" },
                "annotations": annotations,
            },
            "data": data,
        });
        let request = http::Request::post(format!("{}?fieldManager=plimsoll", self.path()))
            .header("content-type", "application/json")
            .body(map.to_string().into_bytes());
        self.send(request).await.map(drop)
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
            Err(error @ kube::Error::Api(_)) if is_full(&error) => {
                Err(Refused::Full(text_of(&error)))
            }
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
    /// It would be too large.
    Full(String),
    Other(String),
}

/// Whether an object would be too large for the server or its storage.
fn is_full(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 413 | 422))
}

impl State {
    fn queue(&mut self, uid: &Arc<str>, text: Option<String>) {
        let shard = self.unsaved.entry(shard_of(uid)).or_default();
        shard.insert(Arc::clone(uid), text);
    }

    /// Takes in that a memory is in force; whether it is time to save that.
    fn is_alive(&mut self, uid: &Arc<str>, memory: &Memory) -> bool {
        let Some(newest) = record::newest(memory) else {
            return false;
        };
        let shard = shard_of(uid);
        let alive = self.alive.entry(shard).or_insert(Alive {
            known: newest,
            saved: newest,
        });
        alive.known = alive.known.max(newest);
        let is_due = elapsed(alive.saved, alive.known) >= HEARTBEAT;
        if is_due {
            self.unsaved.entry(shard).or_default();
        }
        is_due
    }

    fn queue_alive(&mut self) {
        for (shard, alive) in &self.alive {
            if alive.known > alive.saved {
                self.unsaved.entry(*shard).or_default();
            }
        }
    }

    /// Leaves out the oldest quarter of a shard that has become too large.
    fn make_room(&mut self, shard: u64) {
        let known = self.noted.iter();
        let known =
            known.filter(|(uid, _)| shard_of(uid) == shard && !self.left_out.contains(*uid));
        let mut known: Vec<(Option<Timestamp>, Arc<str>)> = known
            .map(|(uid, memory)| (record::newest(memory), Arc::clone(uid)))
            .collect();
        known.sort();
        known.truncate(known.len().div_ceil(4));
        for (_, uid) in known {
            self.queue(&uid, None);
            self.left_out.insert(uid);
        }
    }

    /// Takes out what was written, unless it has changed meanwhile.
    fn saved(
        &mut self,
        shard: u64,
        entries: &BTreeMap<Arc<str>, Option<String>>,
        alive: Option<Timestamp>,
    ) {
        if let (Some(known), Some(until)) = (self.alive.get_mut(&shard), alive) {
            known.saved = until;
        }
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

#[cfg(test)]
mod tests {
    use super::{State, shard_of};
    use jiff::Timestamp;
    use plimsoll_engine::horizontal::Memory;
    use plimsoll_engine::horizontal::memory::Recommendation;
    use std::sync::Arc;

    fn memory(seconds: i64) -> Memory {
        let recommendation = Recommendation {
            replicas: 1,
            time: Timestamp::from_second(seconds).unwrap(),
        };
        Memory {
            recommendations: vec![recommendation],
            ..Memory::default()
        }
    }

    #[test]
    fn a_full_shard_leaves_out_the_oldest_and_then_others() {
        let mut state = State::default();
        let uids: Vec<Arc<str>> = (0..200).map(|uid| uid.to_string().into()).collect();
        let uids = uids.iter().filter(|uid| shard_of(uid) == 3).take(8);
        let uids: Vec<Arc<str>> = uids.map(Arc::clone).collect();
        for (age, uid) in uids.iter().enumerate() {
            let made = 1000 - i64::try_from(age).unwrap();
            state.noted.insert(Arc::clone(uid), memory(made));
        }
        state.make_room(3);
        assert!(state.left_out.iter().all(|uid| uids[6..].contains(uid)));
        assert_eq!((state.left_out.len(), state.unsaved[&3].len()), (2, 2));
        state.make_room(3);
        assert_eq!((state.left_out.len(), state.unsaved[&3].len()), (4, 4));
        assert!(state.unsaved[&3].values().all(Option::is_none));
    }

    #[test]
    fn being_alive_is_saved_once_a_minute() {
        let mut state = State::default();
        let uid: Arc<str> = "a".into();
        let due = [0, 59, 60].map(|seconds| state.is_alive(&uid, &memory(seconds)));
        assert_eq!(due, [false, false, true]);
        let (shard, now) = (shard_of(&uid), Timestamp::from_second(60).unwrap());
        let entries = state.unsaved[&shard].clone();
        state.saved(shard, &entries, Some(now));
        assert!(state.unsaved.is_empty());
        assert!(!state.is_alive(&uid, &memory(61)));
    }
}
