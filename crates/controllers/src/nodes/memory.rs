//! What a restart must not forget, in one ConfigMap: open requests and backoffs, timers of unneeded
//! nodes, what nodes of each group were like.
//!
//! Only entries that changed are written.

use super::config_map::{ConfigMap, ConfigMapError};
use crate::runtime::{Said, chain};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

/// Pause before loading is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The entries as they are and as they were written.
#[derive(Debug)]
pub(super) struct Memory {
    map: Option<ConfigMap>,
    saved: BTreeMap<String, String>,
    unsaved: BTreeMap<String, Option<String>>,
    /// Why it could not be saved, told once.
    said: Said,
}

impl Memory {
    /// Without a ConfigMap, nothing is kept.
    pub(super) fn new(map: Option<ConfigMap>) -> Self {
        Self {
            map,
            saved: BTreeMap::new(),
            unsaved: BTreeMap::new(),
            said: Said::default(),
        }
    }

    /// Reads everything, and tries until it succeeds: who acts without memory repeats what was done.
    pub(super) async fn load(&mut self) {
        let Some(map) = &self.map else {
            return;
        };
        loop {
            match map.get().await {
                Ok(found) => {
                    self.saved = entries(&found);
                    return;
                }
                Err(ConfigMapError::Absent) => return,
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(%error, "what node autoscaling remembers cannot be read yet");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// An entry that was saved, if it can be read.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let text = self.saved.get(key)?;
        match serde_json::from_str(text) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(key, %error, "what was remembered cannot be read; it starts anew");
                None
            }
        }
    }

    /// The keys that were saved and begin so.
    pub(super) fn keys(&self, prefix: &str) -> BTreeSet<String> {
        let keys = self.saved.keys().filter(|key| key.starts_with(prefix));
        keys.cloned().collect()
    }

    /// Notes an entry.
    pub(super) fn set(&mut self, key: &str, value: &impl Serialize) {
        if self.map.is_none() {
            return;
        }
        let Ok(text) = serde_json::to_string(value) else {
            return;
        };
        if self.saved.get(key) == Some(&text) {
            self.unsaved.remove(key);
        } else {
            self.unsaved.insert(key.to_owned(), Some(text));
        }
    }

    /// Notes that an entry is gone.
    pub(super) fn remove(&mut self, key: &str) {
        self.unsaved.remove(key);
        if self.saved.contains_key(key) {
            self.unsaved.insert(key.to_owned(), None);
        }
    }

    /// Writes what changed. What could not be written is tried with the next changes.
    pub(super) async fn save(&mut self) {
        let Some(map) = self.map.as_ref().filter(|_| !self.unsaved.is_empty()) else {
            return;
        };
        let changes = self.unsaved.iter();
        let data: Map<String, Value> = changes
            .map(|(key, text)| (key.clone(), json!(text)))
            .collect();
        if let Err(error) = map.merge(&json!({ "data": data })).await {
            let error = chain(&error);
            if self.said.is_news(&error) {
                tracing::warn!(%error, "what node autoscaling remembers is not saved; still trying");
            }
            return;
        }
        self.said.is_over();
        for (key, text) in std::mem::take(&mut self.unsaved) {
            match text {
                Some(text) => drop(self.saved.insert(key, text)),
                None => drop(self.saved.remove(&key)),
            }
        }
    }
}

fn entries(map: &Value) -> BTreeMap<String, String> {
    let data = map.get("data").and_then(Value::as_object);
    let entries = data.into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A key of a ConfigMap for any name: what keys may not contain is written as its code.
pub(super) fn key(prefix: &str, name: &str) -> String {
    let mut key = prefix.to_owned();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') {
            key.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            write!(key, "_{byte:02x}").ok();
        }
    }
    // Longer keys are refused.
    key.truncate(253);
    key
}

#[cfg(test)]
mod tests {
    use super::key;
    use rstest::rstest;

    #[rstest]
    #[case("workers-1.a", "t.workers-1.a")]
    #[case("a/b_c", "t.a_2fb_5fc")]
    #[case("é", "t._c3_a9")]
    fn any_name_makes_a_key(#[case] name: &str, #[case] want: &str) {
        assert_eq!(key("t.", name), want);
    }
}
