//! Writes what was decided: the scale first, then events and status.

use super::key::{ScalerKey, ScalerKind};
use super::observe::{Source, source_of};
use super::shell::{Error, Shell};
use super::view::Scaler;
use crate::runtime::{EventKind, WriteError};
use jiff::Timestamp;
use plimsoll_engine::horizontal::spec::TargetRef;
use plimsoll_engine::horizontal::{self as engine, Decision, Status, without_numbers};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Attempts to write a scale that changes meanwhile.
const ATTEMPTS: usize = 5;
/// Pause between them.
const PAUSE: Duration = Duration::from_millis(10);

/// Why a scale was not read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// It changed meanwhile.
    #[error("{0}")]
    Conflict(String),
    /// Anything else; the text is the server's where it has one.
    #[error("{0}")]
    Other(String),
}

impl Shell {
    /// Writes the replica count; answers the resourceVersion of the write.
    ///
    /// Departs: upstream scales what has the target's name by then, even if it is another object,
    /// and whatever its count is by then; here a decision on an older count is dropped.
    pub(super) async fn write_scale(
        &self,
        namespace: &Arc<str>,
        target: &TargetRef,
        source: &Source,
        replicas: i32,
    ) -> Result<u64, String> {
        let mut source = source.clone();
        let mut attempt = 1;
        loop {
            match self.put_scale(namespace, target, &source, replicas).await {
                Ok(scale) => {
                    let Source { version, .. } = source_of(source.path, &scale);
                    return Ok(version.parse().unwrap_or_default());
                }
                Err(Failed::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.to_string()),
            }
            tokio::time::sleep(PAUSE).await;
            let scale = self.get_scale(&source.path).await;
            let scale = scale.map_err(|error| error.to_string())?;
            let (uid, seen) = (std::mem::take(&mut source.uid), source.replicas);
            source = source_of(source.path, &scale);
            if !uid.is_empty() && uid != source.uid {
                return Err("another object has taken the target's name".into());
            }
            if source.replicas != seen {
                let now = source.replicas;
                return Err(format!("it was scaled from {seen} to {now} meanwhile"));
            }
        }
    }

    async fn put_scale(
        &self,
        namespace: &str,
        target: &TargetRef,
        source: &Source,
        replicas: i32,
    ) -> Result<Value, Failed> {
        let Source {
            path, version, uid, ..
        } = source;
        let mut metadata = json!({ "name": target.name, "namespace": namespace });
        if let Some(map) = metadata.as_object_mut() {
            if !version.is_empty() {
                map.insert("resourceVersion".into(), version.as_str().into());
            }
            if !uid.is_empty() {
                map.insert("uid".into(), (**uid).into());
            }
        }
        let scale = json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": metadata, "spec": { "replicas": replicas },
        });
        let manager = self.writer.manager().unwrap_or_default();
        let request = http::Request::put(format!("{path}?fieldManager={manager}"))
            .header("content-type", "application/json")
            .body(scale.to_string().into_bytes());
        self.send_scale(request).await
    }

    /// Tells the decision's events; a warning that repeats is told once a sync period.
    ///
    /// Departs: upstream tells it every pass, which is every sync period there and every second here.
    pub(super) fn tell_events(
        &self,
        key: &ScalerKey,
        scaler: &Scaler,
        decision: &Decision,
        now: Timestamp,
    ) {
        let about = scaler.reference();
        let period = self.options.sync_period;
        for event in &decision.events {
            let kind = match event.kind {
                engine::EventKind::Normal => EventKind::Normal,
                engine::EventKind::Warning => EventKind::Warning,
            };
            let told = event.kind == engine::EventKind::Warning && {
                let text = (event.reason.as_str(), event.message.as_str());
                self.recall.has_warned(key, text, now, period)
            };
            if !told {
                self.recorder
                    .event(&about, kind, &event.reason, event.message.clone());
            }
        }
    }

    /// Tells that the status was not written, unless the autoscaler is gone.
    pub(super) fn tell_unwritten(
        &self,
        key: &ScalerKey,
        scaler: &Scaler,
        error: &Error,
        now: Timestamp,
    ) {
        let message = match error {
            Error::Status(error) if error.is_not_found() => return,
            Error::Status(error) => error.message(),
            Error::Late | Error::Spec(..) => error.to_string(),
        };
        let text = ("FailedUpdateStatus", message.as_str());
        let period = self.options.sync_period;
        if !self.recall.has_warned(key, text, now, period) {
            self.recorder
                .warning(&scaler.reference(), text.0, message.clone());
        }
    }

    /// Writes the status if it differs; numbers alone only now and then.
    pub(super) async fn write_status(
        &self,
        key: &ScalerKey,
        scaler: &Scaler,
        status: &Status,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let interval = self.options.status_interval;
        let shown = scaler.shows(status);
        let status = &*shown;
        if *status == scaler.status
            || (only_numbers_differ(status, &scaler.status)
                && self.recall.wrote_lately(key, now, interval))
        {
            return Ok(());
        }
        let mut patch = patch_of(status);
        scaler.caption(status, &mut patch);
        let patch = json!({ "status": patch });
        match key.kind {
            ScalerKind::Horizontal => {
                let written =
                    self.writer
                        .patch_subresource(&self.hpas, &key.object, "status", &patch);
                drop(written.await?);
            }
            ScalerKind::Pod => {
                let written =
                    self.writer
                        .patch_subresource(&self.pas, &key.object, "status", &patch);
                drop(written.await?);
            }
        }
        self.recall.wrote_status(key, now);
        Ok(())
    }
}

/// The status with every field written out, so that a merge patch removes what is gone.
fn patch_of(status: &Status) -> Value {
    let mut patch = json!(status);
    if let Some(map) = patch.as_object_mut() {
        map.insert("currentReplicas".into(), status.current_replicas.into());
        map.insert("observedGeneration".into(), Value::Null);
        map.insert("conditions".into(), json!(status.conditions));
    }
    patch
}

fn only_numbers_differ(new: &Status, old: &Status) -> bool {
    let known = old.current_metrics.is_some() == new.current_metrics.is_some();
    let mut neutral = Status {
        current_metrics: old.current_metrics.clone(),
        ..new.clone()
    };
    for (condition, before) in neutral.conditions.iter_mut().zip(&old.conditions) {
        if without_numbers(&condition.message) == without_numbers(&before.message) {
            condition.message.clone_from(&before.message);
        }
    }
    known && neutral == *old
}
