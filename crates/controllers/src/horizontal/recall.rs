//! What is kept between passes of each autoscaler.

use super::key::ScalerKey;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use plimsoll_engine::horizontal::{Memory, without_numbers};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// What is kept between passes of one autoscaler.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// Of which object; another one of its name starts afresh.
    pub(super) uid: Arc<str>,
    pub(super) memory: Option<Memory>,
    pub(super) evaluated: Option<Timestamp>,
    status_written: Option<Timestamp>,
    /// Revision of the last own write to the target: older views are not believed.
    pub(super) awaited: u64,
    /// Reason and text, without its numbers, of what was told, and when.
    warnings: BTreeMap<(String, String), Timestamp>,
}

/// What is kept between passes, by autoscaler. Only ever looked up, several times a pass: by hash.
#[derive(Debug, Default)]
pub(super) struct Recall(Mutex<HashMap<ScalerKey, Remembered>>);

impl Recall {
    /// Looks at or changes what is kept of one.
    pub(super) fn with<T>(&self, scaler: &ScalerKey, f: impl FnOnce(&mut Remembered) -> T) -> T {
        f(self.0.lock().entry(scaler.clone()).or_default())
    }

    /// Looks at what is kept of one, if anything is.
    pub(super) fn get<T>(&self, scaler: &ScalerKey, f: impl FnOnce(&Remembered) -> T) -> Option<T> {
        self.0.lock().get(scaler).map(f)
    }

    /// How long each of these has been left alone; for ever, if it is unknown.
    pub(super) fn idle(
        &self,
        scalers: impl IntoIterator<Item = ScalerKey>,
        now: Timestamp,
    ) -> Vec<(ScalerKey, Duration)> {
        let remembered = self.0.lock();
        let scalers = scalers.into_iter().map(|scaler| {
            let evaluated = remembered.get(&scaler).and_then(|known| known.evaluated);
            let since = evaluated.map_or(Duration::MAX, |at| elapsed(at, now));
            (scaler, since)
        });
        scalers.collect()
    }

    /// Whether this warning was told within `period`; notes it otherwise. Other numbers, as of an age
    /// that grows, make no other warning.
    pub(super) fn has_warned(
        &self,
        scaler: &ScalerKey,
        (reason, message): (&str, &str),
        now: Timestamp,
        period: Duration,
    ) -> bool {
        let warning = (reason.to_owned(), without_numbers(message));
        self.with(scaler, |known| {
            known.warnings.retain(|_, at| elapsed(*at, now) < period);
            let told = known.warnings.contains_key(&warning);
            if !told {
                known.warnings.insert(warning, now);
            }
            told
        })
    }

    /// Whether a status was written less than `interval` ago.
    pub(super) fn wrote_lately(
        &self,
        scaler: &ScalerKey,
        now: Timestamp,
        interval: Duration,
    ) -> bool {
        let written = self.get(scaler, |known| known.status_written).flatten();
        written.is_some_and(|at| elapsed(at, now) < interval)
    }

    /// Notes that a status is written.
    pub(super) fn wrote_status(&self, scaler: &ScalerKey, now: Timestamp) {
        self.with(scaler, |known| known.status_written = Some(now));
    }

    /// Begins a pass: what is kept of the object, if anything is of exactly this one, and which
    /// object of its name there was before.
    pub(super) fn begin(
        &self,
        scaler: &ScalerKey,
        uid: &Arc<str>,
        now: Timestamp,
    ) -> (Option<Memory>, Option<Arc<str>>) {
        self.with(scaler, |known| {
            let mut former = None;
            if known.uid != *uid {
                let fresh = Remembered {
                    uid: Arc::clone(uid),
                    ..Remembered::default()
                };
                former = Some(std::mem::replace(known, fresh).uid).filter(|uid| !uid.is_empty());
            }
            known.evaluated = Some(now);
            (known.memory.clone(), former)
        })
    }

    /// Forgets one that is gone; answers which object it was.
    pub(super) fn forget(&self, scaler: &ScalerKey) -> Option<Arc<str>> {
        let known = self.0.lock().remove(scaler)?;
        Some(known.uid)
    }
}

/// The time from one moment to another; none if it is the other way round.
pub(super) fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    let passed: SignedDuration = to.duration_since(from);
    Duration::try_from(passed).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Recall, ScalerKey};
    use crate::runtime::ObjectKey;
    use jiff::Timestamp;
    use plimsoll_engine::horizontal::Memory;
    use std::sync::Arc;

    #[test]
    fn another_object_of_the_name_starts_afresh_and_tells_of_the_former() {
        let (recall, now) = (Recall::default(), Timestamp::UNIX_EPOCH);
        let key = ScalerKey::horizontal(ObjectKey::new("default", "web"));
        let (old, new): (Arc<str>, Arc<str>) = ("old".into(), "new".into());
        assert_eq!(recall.begin(&key, &old, now), (None, None));
        recall.with(&key, |known| known.memory = Some(Memory::default()));
        let kept = Some(Memory::default());
        assert_eq!(recall.begin(&key, &old, now), (kept, None));
        assert_eq!(recall.begin(&key, &new, now), (None, Some(old)));
        assert_eq!(recall.begin(&key, &new, now), (None, None));
    }
}
