//! The board that an autoscaler tells its decisions on, and those who ask read and wait at.

use super::query::{Wanted, list, named, wait};
use jiff::Timestamp;
use parking_lot::{RwLock, RwLockReadGuard};
use plimsoll_api::local::LocalRequest;
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What is told on a board.
pub(crate) trait Told {
    /// Id of the newest decision.
    fn newest(&self) -> u64;
    /// When the newest pass was: what "an hour ago" counts from.
    fn latest(&self) -> Timestamp;
    /// The wanted decisions, past and in force, each with its id.
    fn wanted(&self, wanted: &Wanted) -> Vec<(u64, Value)>;
}

/// What was told, for everybody to read. Clones share it.
#[derive(Debug)]
pub(crate) struct Board<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    told: RwLock<T>,
    /// Id of the newest decision, for whoever waits.
    newest: watch::Sender<u64>,
}

impl<T> Clone for Board<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Board<T> {
    fn default() -> Self {
        let (newest, _) = watch::channel(0);
        Self(Arc::new(Shared {
            told: RwLock::default(),
            newest,
        }))
    }
}

impl<T: Told> Board<T> {
    /// What stands on it now.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.told.read()
    }

    /// Changes what stands on it, and wakes who waits if that brings a new decision.
    pub(crate) fn tell(&self, change: impl FnOnce(&mut T)) {
        let mut told = self.0.told.write();
        let before = told.newest();
        change(&mut told);
        let newest = told.newest();
        drop(told);
        if newest > before {
            self.0.newest.send_replace(newest);
        }
    }

    /// Answers a read of decisions: the one with a name, or all that are wanted, oldest first. With
    /// `after` and `timeoutSeconds`, waits until there is one.
    ///
    /// # Errors
    /// There is no decision with this name, or the request is wrong.
    pub(crate) async fn decisions(&self, request: &LocalRequest) -> Result<Value, ApiError> {
        let wanted = Wanted::parse(request, self.read().latest())?;
        if let Some(name) = &request.name {
            return named(self.sorted(&wanted).0, name);
        }
        Ok(self.until_news(wait(request)?, &wanted).await)
    }

    /// The wanted decisions, oldest first, and the id of the newest of all.
    fn sorted(&self, wanted: &Wanted) -> (Vec<Value>, u64) {
        let told = self.read();
        let mut found = told.wanted(wanted);
        let newest = told.newest();
        drop(told);
        found.sort_by_key(|(id, _)| *id);
        let decisions = found.into_iter().map(|(_, decision)| decision);
        (decisions.collect(), newest)
    }

    /// Reads until something is found or `wait` is over.
    async fn until_news(&self, wait: Duration, wanted: &Wanted) -> Value {
        let mut newest = self.0.newest.subscribe();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            newest.mark_unchanged();
            let (items, last) = self.sorted(wanted);
            let over = wait.is_zero() || !items.is_empty();
            if over
                || tokio::time::timeout_at(deadline, newest.changed())
                    .await
                    .is_err()
            {
                return list("DecisionList", &items, &last.to_string());
            }
        }
    }
}
