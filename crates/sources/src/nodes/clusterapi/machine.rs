//! Machines, which are instances.

use super::annotations::{annotation, text};
use super::scalable::{self, Kind, Source};
use plimsoll_api::nodegroup::{ErrorClass, Instance, InstanceProblem, InstanceState};
use serde_json::Value;
use std::sync::Arc;

/// Who marked a machine for deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// This program: its marks are times.
    Own,
    /// Somebody else.
    Foreign,
}

/// A Machine.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) owner: Option<Source>,
    pub(super) group: Option<Arc<str>>,
    provider_id: Option<String>,
    has_node: bool,
    pub(super) deleting: bool,
    /// Whether it is marked for deletion, and by whom.
    pub(super) mark: Option<Mark>,
    /// Why it failed.
    failure: Option<(String, String)>,
}

impl Machine {
    pub(super) fn of(object: &Value, prefix: &str) -> Option<Self> {
        let mark = annotation(object, &format!("{prefix}/delete-machine"));
        Some(Self {
            namespace: text(object, "/metadata/namespace")?.to_owned(),
            name: text(object, "/metadata/name")?.to_owned(),
            owner: scalable::owner(object, &[Kind::Set, Kind::Pool]),
            group: None,
            provider_id: text(object, "/spec/providerID")
                .filter(|id| !id.is_empty())
                .map(str::to_owned),
            has_node: object.pointer("/status/nodeRef/name").is_some(),
            deleting: object.pointer("/metadata/deletionTimestamp").is_some(),
            mark: mark.map(|mark| match mark.parse::<jiff::Timestamp>() {
                Ok(_) => Mark::Own,
                Err(_) => Mark::Foreign,
            }),
            failure: failure(object),
        })
    }

    /// Whether there is a machine behind it that would have to go.
    pub(super) fn is_there(&self) -> bool {
        !self.deleting && self.failure.is_none() && (self.has_node || self.provider_id.is_some())
    }

    /// As the node's `spec.providerID`; machines without one have names of upstream's form.
    pub(super) fn instance_id(&self) -> String {
        if let Some(id) = &self.provider_id {
            return id.clone();
        }
        let state = if self.deleting {
            "deleting"
        } else if self.failure.is_some() {
            "failed"
        } else {
            "pending"
        };
        format!("{state}-machine-{}_{}", self.namespace, self.name)
    }

    pub(super) fn instance(&self) -> Instance {
        let state = if self.deleting {
            InstanceState::Deleting
        } else if self.provider_id.is_some() && self.failure.is_none() {
            InstanceState::Running
        } else {
            InstanceState::Creating
        };
        let problem = self.failure.as_ref().filter(|_| !self.deleting);
        Instance {
            id: self.instance_id().into(),
            state: Some(state),
            problem: problem.map(|(code, message)| InstanceProblem {
                class: ErrorClass::Other,
                code: code.clone(),
                message: message.clone(),
            }),
        }
    }
}

/// Why a machine that never became a node failed.
fn failure(object: &Value) -> Option<(String, String)> {
    let failed = text(object, "/status/phase") == Some("Failed");
    let at = |old: &str, new: &str| text(object, old).or_else(|| text(object, new));
    let reason = at(
        "/status/failureReason",
        "/status/deprecated/v1beta1/failureReason",
    );
    let message = at(
        "/status/failureMessage",
        "/status/deprecated/v1beta1/failureMessage",
    );
    if object.pointer("/status/nodeRef/name").is_some() || !(failed || message.is_some()) {
        return None;
    }
    let reason = reason.unwrap_or("ProvisioningFailed");
    let message = message.unwrap_or("the machine failed");
    Some((reason.to_owned(), message.to_owned()))
}
