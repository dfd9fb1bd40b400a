//! Tells events about objects.

use super::correlate::{Correlator, Group, Sent, Verdict};
use super::{Meta, Writer};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Request;
use plimsoll_clock::Clock;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events waiting to be written; more are dropped, as losing one harms less than blocking.
const BACKLOG: usize = 1000;

/// Severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// As it should be.
    Normal,
    /// Someone should look.
    Warning,
}

impl EventKind {
    fn text(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// The object an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `apps/v1`.
    pub api_version: Arc<str>,
    /// `Deployment`.
    pub kind: Arc<str>,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Uid.
    pub uid: Arc<str>,
    /// resourceVersion at that time.
    pub revision: u64,
    /// `spec.containers{web}`, or empty.
    pub field_path: Arc<str>,
}

impl Reference {
    /// A reference to a cached object of this kind.
    pub fn to(api_version: &str, kind: &str, meta: &Meta) -> Self {
        Self {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: Arc::clone(&meta.key.namespace),
            name: Arc::clone(&meta.key.name),
            uid: Arc::clone(&meta.uid),
            revision: meta.revision,
            field_path: "".into(),
        }
    }

    fn to_json(&self) -> Value {
        let mut json = json!({
            "kind": *self.kind, "namespace": *self.namespace, "name": *self.name,
            "uid": *self.uid, "apiVersion": *self.api_version,
            "resourceVersion": self.revision.to_string(),
        });
        if let Some(map) = json.as_object_mut() {
            if self.namespace.is_empty() {
                map.remove("namespace");
            }
            if !self.field_path.is_empty() {
                map.insert("fieldPath".into(), (*self.field_path).into());
            }
        }
        json
    }
}

#[derive(Debug)]
struct Told {
    component: &'static str,
    host: Arc<str>,
    about: Reference,
    kind: EventKind,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Tells events under one component's name. Cheap to clone; clones of all components share one
/// writer, so events appear in the order they are told.
#[derive(Debug, Clone)]
pub struct Recorder {
    component: &'static str,
    host: Arc<str>,
    clock: Clock,
    sender: mpsc::Sender<Told>,
}

impl Recorder {
    /// Starts the task that writes events. Must be called inside a runtime.
    pub fn start(writer: Writer, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        drop(tokio::spawn(write_all(writer, receiver)));
        Self {
            component: "plimsoll",
            host: "".into(),
            clock,
            sender,
        }
    }

    /// The same recorder under another component's name, e.g. `deployment-controller`.
    #[must_use]
    pub fn component(&self, component: &'static str) -> Self {
        Self {
            component,
            ..self.clone()
        }
    }

    /// The same recorder speaking from a host (`source.host`, `reportingInstance`).
    #[must_use]
    pub fn host(&self, host: &str) -> Self {
        Self {
            host: host.into(),
            ..self.clone()
        }
    }

    /// Tells an event. Never waits: with too many waiting, the event is dropped.
    pub fn event(&self, about: &Reference, kind: EventKind, reason: &str, message: String) {
        let told = Told {
            component: self.component,
            host: Arc::clone(&self.host),
            about: about.clone(),
            kind,
            reason: reason.to_owned(),
            message,
            at: self.clock.now(),
        };
        if self.sender.try_send(told).is_err() {
            tracing::debug!(component = self.component, reason, "event dropped");
        }
    }

    /// Tells a normal event.
    pub fn normal(&self, about: &Reference, reason: &str, message: String) {
        self.event(about, EventKind::Normal, reason, message);
    }

    /// Tells a warning.
    pub fn warning(&self, about: &Reference, reason: &str, message: String) {
        self.event(about, EventKind::Warning, reason, message);
    }
}

async fn write_all(writer: Writer, mut receiver: mpsc::Receiver<Told>) {
    let mut correlator = Correlator::default();
    let mut sequence = 0_u64;
    while let Some(told) = receiver.recv().await {
        sequence += 1;
        write(&writer, &mut correlator, &told, sequence).await;
    }
}

async fn write(writer: &Writer, correlator: &mut Correlator, told: &Told, sequence: u64) {
    let group = Group {
        component: told.component,
        object: format!(
            "{:?}",
            Reference {
                revision: 0,
                ..told.about.clone()
            }
        ),
        kind: told.kind.text(),
        reason: told.reason.clone(),
    };
    let message = match correlator.judge(&group, &told.message, told.at) {
        Verdict::Drop => return,
        Verdict::Create { message } => message,
        Verdict::Bump { message, sent } => match bump(writer, told, &message, &sent).await {
            // The event has expired meanwhile: tell it anew.
            Err(kube::Error::Api(status)) if status.code == 404 => message,
            Ok(()) => return,
            Err(error) => return tracing::debug!(%error, "event not written"),
        },
    };
    // Several events may be told in one nanosecond of a paused clock, hence the sequence.
    let stamp = told.at.as_nanosecond().saturating_add(i128::from(sequence));
    let name = format!("{}.{stamp:x}", told.about.name);
    match create(writer, told, &name, &message).await {
        Ok(()) => {
            let sent = Sent {
                name,
                count: 1,
                first: told.at,
            };
            correlator.created(group, message, sent);
        }
        Err(error) => tracing::debug!(%error, "event not written"),
    }
}

/// Events about cluster-scoped objects live in `default`.
fn path(about: &Reference) -> String {
    let namespace = if about.namespace.is_empty() {
        "default"
    } else {
        &*about.namespace
    };
    format!("/api/v1/namespaces/{namespace}/events")
}

/// RFC 3339 in whole seconds, as `metav1.Time` prints.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

async fn create(
    writer: &Writer,
    told: &Told,
    name: &str,
    message: &str,
) -> Result<(), kube::Error> {
    let at = seconds(told.at);
    let mut source = json!({"component": told.component});
    if let Some(map) = source.as_object_mut().filter(|_| !told.host.is_empty()) {
        map.insert("host".into(), (*told.host).into());
    }
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": told.about.to_json(),
        "reason": told.reason, "message": message, "type": told.kind.text(),
        "source": source,
        "reportingComponent": told.component, "reportingInstance": *told.host,
        "firstTimestamp": at, "lastTimestamp": at, "count": 1, "eventTime": null,
    });
    let body = serde_json::to_vec(&event).map_err(kube::Error::SerdeError)?;
    let request = Request::new(path(&told.about)).create(&PostParams::default(), body);
    let _answer: IgnoredAny = writer
        .client()
        .request(request.map_err(kube::Error::BuildRequest)?)
        .await?;
    Ok(())
}

async fn bump(writer: &Writer, told: &Told, message: &str, sent: &Sent) -> Result<(), kube::Error> {
    let patch = json!({
        "count": sent.count, "message": message,
        "firstTimestamp": seconds(sent.first), "lastTimestamp": seconds(told.at),
    });
    let params = PatchParams::default();
    let request = Request::new(path(&told.about)).patch(&sent.name, &params, &Patch::Merge(&patch));
    let _answer: IgnoredAny = writer
        .client()
        .request(request.map_err(kube::Error::BuildRequest)?)
        .await?;
    Ok(())
}
