//! A limit range, parsed.

use plimsoll_api::meta;
use plimsoll_api::resources::{Amounts, amounts};
use serde_json::Value;

/// What a limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// Each container.
    Container,
    /// The sum of a pod.
    Pod,
    /// A claim for storage.
    Claim,
    /// A kind of limit that nothing here measures.
    Other,
}

/// One entry of `spec.limits`.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) subject: Subject,
    /// `type` as messages show it.
    pub(super) name: String,
    pub(super) min: Amounts,
    pub(super) max: Amounts,
    pub(super) ratio: Amounts,
}

/// One LimitRange.
#[derive(Debug)]
pub(crate) struct LimitRange {
    pub(super) limits: Vec<Limit>,
    /// Requests for containers that name none.
    pub(super) requests: Amounts,
    /// Limits for containers that name none.
    pub(super) ceilings: Amounts,
}

impl LimitRange {
    /// Reads the object.
    pub(crate) fn parse(object: &Value) -> Self {
        let mut range = Self {
            limits: Vec::new(),
            requests: Amounts::new(),
            ceilings: Amounts::new(),
        };
        for entry in meta::list(object, &["spec", "limits"]) {
            let limit = Limit::parse(entry);
            if limit.subject == Subject::Container {
                range.requests.extend(amounts(entry.get("defaultRequest")));
                range.ceilings.extend(amounts(entry.get("default")));
            }
            range.limits.push(limit);
        }
        range
    }
}

impl Limit {
    fn parse(entry: &Value) -> Self {
        let name = meta::text(entry, &["type"]).to_owned();
        let subject = match name.as_str() {
            "Container" => Subject::Container,
            "Pod" => Subject::Pod,
            "PersistentVolumeClaim" => Subject::Claim,
            _ => Subject::Other,
        };
        Self {
            subject,
            name,
            min: amounts(entry.get("min")),
            max: amounts(entry.get("max")),
            ratio: amounts(entry.get("maxLimitRequestRatio")),
        }
    }
}
