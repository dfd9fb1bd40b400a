//! Webhooks that agree or refuse, all at once.

use super::ask::ask;
use super::review::Role;
use super::subject::Subject;
use plimsoll_api::status::ApiError;
use serde_json::Value;

/// Asks the validating webhooks about the object as it would be stored.
///
/// # Errors
/// The first refusal in the webhooks' order, or a webhook that could not be asked.
pub(crate) async fn validate(
    subject: &Subject<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let hooks = subject.server.0.webhooks.validating();
    if hooks.is_empty() || subject.is_exempt() {
        return Ok(());
    }
    let mut relevant = Vec::new();
    for hook in &hooks {
        if let Some(matched) = subject.matched(hook, object, old)? {
            relevant.push((hook, matched));
        }
    }
    let questions = relevant
        .iter()
        .map(|(hook, matched)| ask(subject, hook, Role::Validating, (matched, object, old)));
    for answer in futures::future::join_all(questions).await {
        answer?;
    }
    Ok(())
}
