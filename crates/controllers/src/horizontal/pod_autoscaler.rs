//! What the shell does differently for a `PodAutoscaler`, and what an autoscaler of either kind
//! asks for beyond upstream's spec.

use super::key::{ScalerKey, ScalerKind};
use super::shell::Shell;
use super::view::Scaler;
use crate::runtime::{Cached, EventKind, Meta, wire};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plimsoll_api::pod_autoscaler;
use plimsoll_engine::horizontal::{Scale, Selection, Settings, Spec, Status};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The shortest period an autoscaler may ask for.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(3600);

/// A `PodAutoscaler`.
#[derive(Debug)]
pub(super) struct PaView(pub(super) Arc<Scaler>);

impl Cached for PaView {
    type Wire = PaWire;

    fn from_wire(wire: PaWire) -> Self {
        let mut object = json!({"spec": wire.spec});
        pod_autoscaler::complete(&mut object);
        let written = object.get_mut("spec").map(Value::take).unwrap_or_default();
        let spec = serde_json::from_value::<Spec>(written.clone()).map(Arc::new);
        let period = written.get("syncPeriod").and_then(Value::as_str);
        Self(Arc::new(Scaler {
            kind: ScalerKind::Pod,
            meta: wire.metadata.into(),
            spec: spec.map_err(|error| error.to_string()),
            status: serde_json::from_value(wire.status).unwrap_or_default(),
            sync_period: sync_period(period),
            written: Some(written),
        }))
    }

    fn meta(&self) -> &Meta {
        &self.0.meta
    }
}

/// What is decoded of one.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PaWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default = "super::view::empty")]
    status: Value,
}

wire!(
    PaWire,
    NamespaceResourceScope,
    "plimsoll.dev",
    "v1alpha1",
    "PodAutoscaler",
    "podautoscalers"
);

/// A period such as `5s`, or what is wrong with it.
pub(super) fn sync_period(text: Option<&str>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let read = text.trim().parse::<SignedDuration>().ok();
    let read = read.and_then(|period| Duration::try_from(period).ok());
    match read {
        Some(period) if (SHORTEST..=LONGEST).contains(&period) => Ok(Some(period)),
        Some(_) | None => Err(format!(
            "sync period {text:?} is left out: it is no length of time between 1s and 1h"
        )),
    }
}

impl Scaler {
    /// The status as its kind shows it: only a `PodAutoscaler` has a generation to name.
    pub(super) fn shows<'a>(&self, status: &'a Status) -> Cow<'a, Status> {
        match self.kind {
            ScalerKind::Horizontal => Cow::Borrowed(status),
            ScalerKind::Pod => Cow::Owned(Status {
                observed_generation: Some(self.meta.generation),
                ..status.clone()
            }),
        }
    }

    /// Adds the texts that `kubectl get` prints.
    pub(super) fn caption(&self, status: &Status, patch: &mut Value) {
        let Some(written) = &self.written else { return };
        let (reference, targets) = pod_autoscaler::shown(written, &json!(status));
        if let Some(map) = patch.as_object_mut() {
            map.insert("observedGeneration".into(), self.meta.generation.into());
            map.insert("reference".into(), reference.into());
            map.insert("targets".into(), targets.into());
        }
    }
}

impl Shell {
    /// Waits for the first list of `PodAutoscalers` where their kind is served. Elsewhere nothing
    /// waits for it; once it is served, the watch finds them within half a minute. Answers whether
    /// all are known.
    pub(super) async fn pod_autoscalers_ready(&self) -> bool {
        let client = self.writer.client();
        let served = client.list_api_group_resources(pod_autoscaler::API_VERSION);
        match served.await {
            Ok(_) => {
                self.pas.ready().await;
                true
            }
            Err(kube::Error::Api(status)) => status.code == 404,
            Err(_) => false,
        }
    }

    /// The settings of a decision. A `PodAutoscaler` needs no gate to scale to zero.
    pub(super) fn settings_of(&self, kind: ScalerKind) -> Settings {
        let settings = self.options.settings;
        Settings {
            scale_to_zero: settings.scale_to_zero || kind == ScalerKind::Pod,
            ..settings
        }
    }

    /// How long an autoscaler goes unevaluated: as long as it or the controller says, but not past
    /// the time at which its bounds change.
    pub(super) fn rest(&self, scaler: &Scaler, next_change: Option<Timestamp>) -> Duration {
        let own = scaler.sync_period.as_ref().ok().copied().flatten();
        let period = own.unwrap_or(self.options.sync_period);
        let period = period.max(self.options.shortest_interval);
        let Some(change) = next_change else {
            return period;
        };
        let left = change.duration_since(self.clock.now());
        period.min(Duration::try_from(left).unwrap_or_default())
    }

    /// Tells that a sync period cannot be read, once in a while.
    pub(super) fn tell_period(&self, key: &ScalerKey, scaler: &Scaler, now: Timestamp) {
        let Err(why) = &scaler.sync_period else {
            return;
        };
        let (reason, period) = ("InvalidSyncPeriod", self.options.sync_period);
        if !self.recall.has_warned(key, (reason, why), now, period) {
            self.recorder
                .event(&scaler.reference(), EventKind::Warning, reason, why.clone());
        }
    }

    /// Learns what an autoscaler that another controller obeys scales, so that one of ours does not
    /// fight it over the same pods.
    pub(super) async fn note(&self, key: &ScalerKey, scaler: &Scaler) {
        let Ok(spec) = &scaler.spec else { return };
        let scale = self.read_scale(key, &spec.scale_target_ref).await;
        if let Ok((
            Scale {
                selector: Selection::Valid(text),
                ..
            },
            _,
        )) = scale
        {
            // What is no selector selects nothing.
            drop(self.registry.learn(key, &text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sync_period;
    use rstest::rstest;
    use std::time::Duration;

    #[rstest]
    #[case::seconds("5s", 5)]
    #[case::several_units("1m30s", 90)]
    #[case::the_longest("1h", 3600)]
    fn a_period(#[case] text: &str, #[case] seconds: u64) {
        let want = Ok(Some(Duration::from_secs(seconds)));
        assert_eq!(sync_period(Some(text)), want);
    }

    #[rstest]
    #[case::prose("often")]
    #[case::no_unit("5")]
    #[case::nothing("")]
    #[case::too_short("10ms")]
    #[case::too_long("2h")]
    #[case::negative("-5s")]
    fn no_period(#[case] text: &str) {
        let why = sync_period(Some(text)).unwrap_err();
        assert!(why.contains(&format!("{text:?}")), "{why}");
    }
}
