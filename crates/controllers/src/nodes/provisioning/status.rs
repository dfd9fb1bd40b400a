//! What the status of a request says. Reasons and first sentences are upstream's, which queues read
//! and people look for.

use super::view::{RequestView, SETS_DETAIL};
use crate::runtime::EventKind;
use jiff::Timestamp;
use plimsoll_engine::cluster::Resize;
use serde_json::{Value, json};

/// What messages are cut to; the definition lets no longer ones in.
const LONGEST: usize = 4096;

/// A condition as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) kind: &'static str,
    holds: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Said {
    fn new(kind: &'static str, holds: bool, reason: &'static str, message: &str) -> Self {
        let end = message.char_indices().nth(LONGEST).map(|(at, _)| at);
        let message = message.get(..end.unwrap_or(message.len()));
        Self {
            kind,
            holds,
            reason,
            message: message.unwrap_or_default().to_owned(),
        }
    }

    /// Somebody looks for room.
    pub(super) fn accepted() -> Self {
        let message = "ProvisioningRequest is accepted by ClusterAutoscaler";
        Self::new("Accepted", true, "Accepted", message)
    }

    /// Nodes have room for all pods.
    pub(super) fn found() -> Self {
        let message = "Capacity is found in the cluster";
        Self::new("Provisioned", true, "CapacityIsFound", message)
    }

    /// Nodes to come will have.
    pub(super) fn added(resizes: &[Resize]) -> Self {
        let resizes: Vec<String> = resizes.iter().map(ToString::to_string).collect();
        let message = format!(
            "Capacity is found in the cluster, with new nodes: {}",
            resizes.join(" ")
        );
        Self::new("Provisioned", true, "CapacityIsProvisioned", &message)
    }

    /// Nodes have room for the pods of these templates only; `kept` or not.
    pub(super) fn partly(templates: &[&str], kept: bool) -> Self {
        let message = format!(
            "Partial capacity is found in the cluster. Schedulable podsets: {}",
            templates.join(",")
        );
        Self::new("Provisioned", kept, "PartialCapacityIsFound", &message)
    }

    /// There is no room now.
    pub(super) fn missing(why: &str) -> Self {
        let message = format!("Capacity is not found, CA will try to find it later. {why}.");
        Self::new("Provisioned", false, "CapacityIsNotFound", &message)
    }

    /// What the pods are like is not known.
    pub(super) fn unknown(why: &str) -> Self {
        let message = format!("What the pods are like is not known: {why}.");
        Self::new("Provisioned", false, "FailedToCreatePods", &message)
    }

    /// There is no room, and nobody wants it to be looked for again.
    pub(super) fn missing_for_good(why: &str) -> Self {
        let message = format!("CA could not find requested capacity. {why}.");
        Self::new("Failed", true, "CapacityIsNotFound", &message)
    }

    /// There was no room for too long.
    pub(super) fn given_up() -> Self {
        Self::new("Failed", true, "Expired", "ProvisioningRequest is expired")
    }

    /// What the pods are like is not known any more.
    pub(super) fn unbookable(why: &str) -> Self {
        let message = format!("Couldn't create pods, err: {why}");
        Self::new("Failed", true, "FailedToBookCapacity", &message)
    }

    /// Room was kept long enough.
    pub(super) fn over() -> Self {
        let message = "Capacity reservation time is expired";
        Self::new(
            "BookingExpired",
            true,
            "CapacityReservationTimeExpired",
            message,
        )
    }

    /// All pods have come.
    pub(super) fn consumed(pods: usize) -> Self {
        let message = format!("Capacity booking is consumed: all {pods} pods have nodes");
        Self::new("BookingExpired", true, "CapacityBookingConsumed", &message)
    }

    /// Nodes that had room are gone, or did not come; whether pods wait for it.
    pub(super) fn lost(pods: usize, wait: bool) -> Self {
        let mut message =
            format!("Nodes with room for {pods} of its pods are gone, or did not come");
        let kind = if wait {
            message.push_str("; pods that wait may add nodes themselves");
            "BookingExpired"
        } else {
            "Failed"
        };
        Self::new(kind, true, "NodesGone", &message)
    }

    /// How it is told.
    pub(super) fn severity(&self) -> EventKind {
        let bad = self.kind == "Failed" || self.reason == "NodesGone";
        if bad || (self.kind == "Provisioned" && !self.holds) {
            EventKind::Warning
        } else {
            EventKind::Normal
        }
    }

    fn status(&self) -> &'static str {
        if self.holds { "True" } else { "False" }
    }
}

/// What is to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) said: Vec<Said>,
    /// Templates of the sets that have room, where the class tells them.
    pub(super) sets: Option<Vec<String>>,
}

impl Verdict {
    /// Just this.
    pub(super) fn of(said: Said) -> Self {
        Self {
            said: vec![said],
            sets: None,
        }
    }

    /// This about a request that is looked at.
    pub(super) fn accepted(said: Said) -> Self {
        Self {
            said: vec![Said::accepted(), said],
            sets: None,
        }
    }

    /// What of it is news to the request. An attempt is, whatever comes of it: the time of the last
    /// one tells when the next is made.
    pub(super) fn news(&self, view: &RequestView) -> Vec<&Said> {
        let is_news = |said: &&Said| {
            let known = view.condition(said.kind);
            let status = known.and_then(|known| known.get("status"));
            said.kind == "Provisioned" || status.and_then(Value::as_str) != Some(said.status())
        };
        self.said.iter().filter(is_news).collect()
    }
}

/// The merge patch that writes the news, unless the request was changed meanwhile.
pub(super) fn patch(view: &RequestView, verdict: &Verdict, now: Timestamp) -> Value {
    let news = verdict.news(view);
    let mut conditions = view.conditions.clone();
    for said in &news {
        let condition = json!({
            "type": said.kind, "status": said.status(), "reason": said.reason,
            "message": said.message, "observedGeneration": view.meta.generation,
            "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        let same =
            |known: &&mut Value| known.get("type").and_then(Value::as_str) == Some(said.kind);
        match conditions.iter_mut().find(same) {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
    }
    let mut status = json!({ "conditions": conditions });
    let judged = news.iter().any(|said| said.kind == "Provisioned");
    let told = verdict.sets.is_some() || view.details.contains_key(SETS_DETAIL);
    if let Some(status) = status.as_object_mut().filter(|_| judged && told) {
        // A merge patch takes off what is null.
        let sets = verdict.sets.as_ref().map(|sets| json!(sets).to_string());
        status.insert(
            "provisioningClassDetails".into(),
            json!({ SETS_DETAIL: sets }),
        );
    }
    json!({
        "metadata": { "resourceVersion": view.meta.resource_version() },
        "status": status,
    })
}
