//! `plimsoll hold` and `plimsoll resume`: stop an autoscaler for a while without losing it.

use crate::output::{complain, say};
use crate::reach::{Cluster, Kind, Reach, Target};
use anyhow::{Context, bail};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind};
use plimsoll_clock::Clock;
use plimsoll_controllers::horizontal::hold::{ANNOTATION, INDEFINITELY, REASON_ANNOTATION};
use serde_json::{Value, json};

/// Whose changes these are, as `metadata.managedFields` shows it.
const MANAGER: &str = "plimsoll-hold";

/// What to hold, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct HoldArgs {
    /// The autoscaler, as hpa/NAME or podautoscaler/NAME
    #[arg(value_name = "hpa/NAME")]
    target: String,
    /// How long, e.g. 30m or 1h30m [default: until it is resumed]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Option<SignedDuration>,
    /// Scale to this many replicas, too
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    at: Option<i32>,
    /// Why, for whoever wonders
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    reach: Reach,
}

/// What to resume.
#[derive(Debug, Clone, Args)]
pub(crate) struct ResumeArgs {
    /// The autoscaler, as hpa/NAME or podautoscaler/NAME
    #[arg(value_name = "hpa/NAME")]
    target: String,
    #[command(flatten)]
    reach: Reach,
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let parsed: Result<SignedDuration, _> = text.parse();
    match parsed {
        Ok(duration) if duration.is_positive() => Ok(duration),
        Ok(_) => Err("must be more than nothing".into()),
        Err(_) => Err("write a duration like 30m or 1h30m".into()),
    }
}

/// An autoscaler that is there.
struct Named {
    cluster: Cluster,
    kind: Kind,
    name: String,
    object: Value,
}

/// Holds an autoscaler, and scales its target first if asked.
pub(crate) async fn hold(args: HoldArgs) -> anyhow::Result<()> {
    let named = Named::find(&args.target, &args.reach).await?;
    let until = args
        .duration
        .map(|duration| end(Clock::system().now(), duration))
        .transpose()?;
    let value = until.map_or_else(|| INDEFINITELY.to_owned(), |until| until.to_string());
    // Held before it is scaled: otherwise the autoscaler could undo it in between.
    named.annotate(&json!(value), &json!(args.reason)).await?;
    if let Some(replicas) = args.at
        && let Err(error) = named.scale(replicas).await
    {
        let before = |key| named.annotation(key).cloned().unwrap_or_default();
        let (hold, reason) = (before(ANNOTATION), before(REASON_ANNOTATION));
        named.annotate(&hold, &reason).await?;
        return Err(error.context("nothing is held: the target could not be scaled"));
    }
    let until = until.map_or_else(|| "it is resumed".to_owned(), |until| until.to_string());
    let at = args.at.map_or_else(String::new, |at| format!(" at {at}"));
    let (kind, name) = (named.kind.short(), &named.name);
    say(format!("{kind}/{name} held{at} until {until}"));
    if !named.is_obeyed().await? {
        complain(format!(
            "warning: Plimsoll's horizontal autoscaler does not answer at {}; no other one obeys \
             this hold",
            named.cluster.server
        ));
    }
    Ok(())
}

/// Lets an autoscaler go on.
pub(crate) async fn resume(args: ResumeArgs) -> anyhow::Result<()> {
    let named = Named::find(&args.target, &args.reach).await?;
    let (kind, name) = (named.kind.short(), &named.name);
    if named.annotation(ANNOTATION).is_none() {
        say(format!("{kind}/{name} was not held"));
        return Ok(());
    }
    named.annotate(&Value::Null, &Value::Null).await?;
    say(format!("{kind}/{name} resumed"));
    Ok(())
}

/// The end of a hold, in whole seconds.
fn end(now: Timestamp, duration: SignedDuration) -> anyhow::Result<Timestamp> {
    let end = now.checked_add(duration);
    let end = end.context("that is beyond all time; leave out --for")?;
    Ok(end.round(jiff::Unit::Second)?)
}

impl Named {
    async fn find(target: &str, reach: &Reach) -> anyhow::Result<Self> {
        let Target { kind, name } = Target::parse(target)?;
        let Some(name) = name else {
            bail!("say which one, as {}/NAME", kind.short());
        };
        let cluster = reach.cluster().await?;
        let namespace = &cluster.namespace;
        let Some(object) = cluster.get(&kind.path(namespace, &name)).await? else {
            bail!(
                "there is no {} {name:?} in namespace {namespace:?}",
                kind.name()
            );
        };
        Ok(Self {
            cluster,
            kind,
            name,
            object,
        })
    }

    fn annotation(&self, key: &str) -> Option<&Value> {
        self.object.get("metadata")?.get("annotations")?.get(key)
    }

    async fn annotate(&self, hold: &Value, reason: &Value) -> anyhow::Result<()> {
        let body = json!({ "metadata": { "annotations": {
            ANNOTATION: hold, REASON_ANNOTATION: reason } } });
        let path = self.kind.path(&self.cluster.namespace, &self.name);
        let request = http::Request::patch(format!("{path}?fieldManager={MANAGER}"))
            .header("content-type", "application/merge-patch+json")
            .body(serde_json::to_vec(&body)?)?;
        let patched: Result<Value, _> = self.cluster.send(request).await;
        patched.map(drop).map_err(|error| self.cluster.told(error))
    }

    /// Scales the autoscaler's target.
    async fn scale(&self, replicas: i32) -> anyhow::Result<()> {
        let of_target = |key: &str| {
            let text = self.object.pointer(&format!("/spec/scaleTargetRef/{key}"));
            text.and_then(Value::as_str).unwrap_or_default()
        };
        let (kind, name) = (of_target("kind"), of_target("name"));
        let version = of_target("apiVersion");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let client = self.cluster.client.clone();
        let kind = GroupVersionKind::gvk(group, version, kind);
        let found = kube::discovery::pinned_kind(&client, &kind).await;
        let (resource, _) = found.with_context(|| format!("cannot find the kind {}", kind.kind))?;
        let namespace = &self.cluster.namespace;
        let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
        let patch = json!({ "spec": { "replicas": replicas } });
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        let scaled = api.patch_scale(name, &params, &Patch::Merge(&patch)).await;
        scaled.map(drop).map_err(|error| self.cluster.told(error))
    }

    /// Whether an autoscaler that knows holds runs there.
    async fn is_obeyed(&self) -> anyhow::Result<bool> {
        let path = "/apis/explain.plimsoll.dev/v1alpha1";
        Ok(self.cluster.get(path).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, end};
    use jiff::Timestamp;

    #[test]
    fn durations_are_positive_and_readable() {
        assert_eq!(duration("1h30m").unwrap().as_mins(), 90);
        for wrong in ["", "30", "-5m", "0s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_hold_ends_on_a_whole_second() {
        let now: Timestamp = "2026-01-01T12:00:00.7Z".parse().unwrap();
        let end = end(now, duration("30m").unwrap()).unwrap();
        assert_eq!(end.to_string(), "2026-01-01T12:30:01Z");
    }
}
