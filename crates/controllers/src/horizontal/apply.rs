//! Writes what was decided: the scale first, then events and status.

use super::key::{ScalerKey, ScalerKind};
use super::observe::{Source, scale_api, server_text, version_of};
use super::shell::Shell;
use super::view::Scaler;
use crate::runtime::{EventKind, WriteError};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use plimsoll_engine::horizontal::spec::TargetRef;
use plimsoll_engine::horizontal::{self as engine, Decision, Status};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Attempts to write a scale that changes meanwhile.
const ATTEMPTS: usize = 5;
/// Pause between them.
const PAUSE: Duration = Duration::from_millis(10);

impl Shell {
    /// Writes the replica count; answers the resourceVersion of the write.
    pub(super) async fn write_scale(
        &self,
        namespace: &Arc<str>,
        target: &TargetRef,
        source: &Source,
        replicas: i32,
    ) -> Result<u64, String> {
        let api = scale_api(self.writer.client(), namespace, target)?;
        let mut scale = Scale {
            metadata: ObjectMeta {
                name: Some(target.name.clone()),
                namespace: Some(namespace.to_string()),
                resource_version: Some(source.version.clone()).filter(|v| !v.is_empty()),
                ..ObjectMeta::default()
            },
            ..Scale::default()
        };
        let params = PostParams {
            field_manager: self.writer.manager().map(str::to_owned),
            ..PostParams::default()
        };
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            scale.spec = Some(ScaleSpec {
                replicas: Some(replicas),
            });
            let written = api.replace_scale(&target.name, &params, &scale).await;
            match written {
                Ok(written) => return Ok(version_of(&written).parse().unwrap_or_default()),
                Err(kube::Error::Api(status)) if status.code == 409 && attempt < ATTEMPTS => {
                    last.clone_from(&status.message);
                }
                Err(error) => return Err(server_text(&error)),
            }
            tokio::time::sleep(PAUSE).await;
            scale = api
                .get_scale(&target.name)
                .await
                .map_err(|error| server_text(&error))?;
        }
        Err(last)
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
    let neutral = Status {
        current_metrics: old.current_metrics.clone(),
        ..new.clone()
    };
    known && neutral == *old
}
