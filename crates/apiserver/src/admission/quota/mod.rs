//! ResourceQuota: writes are charged before they happen, and what is used is shown in the status.
//!
//! Departs: upstream keeps the balance in `status.used`, which a controller corrects afterwards.
//! Here it is counted from what is stored, plus what writes in flight have been promised. So a
//! quota is in force the moment it exists, and a deletion makes room at once.

mod account;
mod books;
mod publish;
mod rule;
mod usage;

pub(crate) use books::Books;

use super::{Operation, Request};
use crate::resource::patch::Part;
use crate::server::ApiServer;
use account::Exceeded;
use plimsoll_api::resources::Amounts;
use plimsoll_api::status::ApiError;
use rule::Rule;
use serde_json::Value;
use std::sync::Arc;

/// Room in the namespace's quotas, held for a write until this is dropped.
#[derive(Debug, Default)]
#[must_use = "the room is given back when this is dropped"]
pub(crate) struct Charge(Option<Held>);

#[derive(Debug)]
struct Held {
    server: ApiServer,
    namespace: Arc<str>,
    number: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            held.server
                .0
                .admission
                .quotas
                .release(&held.namespace, held.number);
        }
    }
}

/// Charges a write, or refuses it.
pub(super) fn charge(request: &Request<'_>, object: &Value) -> Result<Charge, ApiError> {
    let (server, kind) = (request.writer.server, request.writer.kind);
    let books = &server.0.admission.quotas;
    if !kind.namespaced || !counts(request) {
        return Ok(Charge::default());
    }
    let quotas = books.quotas(request.namespace);
    if quotas.is_empty() {
        return Ok(Charge::default());
    }
    let kind = request.writer.stored_kind();
    let rules: Vec<Arc<Rule>> = quotas.iter().map(|q| Arc::clone(&q.rule)).collect();
    if request.is_core("Pod") && request.operation == Operation::Create {
        specified(request, &rules, object)?;
    }
    let usage = books::by_quota(&kind, &rules, object);
    if usage.is_empty() {
        return Ok(Charge::default());
    }
    let item = (Arc::clone(&kind.storage), request.name.into());
    let number = books
        .promise(server, request.namespace, (item, usage))
        .map_err(|exceeded| refusal(request, &exceeded))?;
    Ok(Charge(Some(Held {
        server: server.clone(),
        namespace: request.namespace.into(),
        number,
    })))
}

/// Whether the write can change what is counted.
fn counts(request: &Request<'_>) -> bool {
    let updates = usage::moves_on_update(request.writer.kind);
    match (request.operation, request.part) {
        (Operation::Create, Part::Main) => true,
        (Operation::Update, Part::Main) => updates && !request.is_core("Pod"),
        (Operation::Update, Part::Other) => {
            request.is_core("Pod") && request.writer.subresource == "resize"
        }
        (_, _) => false,
    }
}

/// Where a quota bounds CPU or memory, every container must say what it needs.
fn specified(request: &Request<'_>, rules: &[Arc<Rule>], pod: &Value) -> Result<(), ApiError> {
    for rule in rules {
        if !rule.covers(request.writer.kind, pod) {
            continue;
        }
        if let Some(missing) = usage::unspecified(pod, rule.hard.keys()) {
            let why = format!("failed quota: {}: must specify {missing}", rule.name);
            return Err(request.forbidden(&why));
        }
    }
    Ok(())
}

fn refusal(request: &Request<'_>, exceeded: &Exceeded) -> ApiError {
    request.forbidden(&format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        exceeded.quota,
        listed(&exceeded.requested),
        listed(&exceeded.used),
        listed(&exceeded.limited)
    ))
}

/// `cpu=1,pods=2`.
fn listed(amounts: &Amounts) -> String {
    let parts: Vec<String> = amounts
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"))
        .collect();
    parts.join(",")
}
