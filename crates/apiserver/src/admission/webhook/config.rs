//! Webhook configurations as the dispatcher uses them: read once, when they change.

use super::rules::Rule;
use crate::admission::policy::conditions::Conditions;
use crate::outbound::Destination;
use plimsoll_api::meta;
use plimsoll_api::selector::LabelSelector;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What a webhook may take when its configuration does not say.
const USUAL_SECONDS: i64 = 10;
/// The longest that a webhook may take, in seconds.
const MOST_SECONDS: i64 = 30;

/// What happens when a webhook cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailurePolicy {
    /// The request fails.
    Fail,
    /// The request goes on.
    Ignore,
}

/// One `MutatingWebhookConfiguration` or `ValidatingWebhookConfiguration`.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) hooks: Vec<Arc<Hook>>,
}

/// One webhook of a configuration.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) name: String,
    /// The configuration it is from; two configurations may use the same name.
    pub(super) configuration: String,
    pub(super) rules: Vec<Rule>,
    /// Whether requests for another version of a resource match, too (`matchPolicy`).
    pub(super) equivalent: bool,
    pub(super) namespaces: Selector,
    pub(super) objects: Selector,
    pub(super) on_failure: FailurePolicy,
    pub(super) timeout: Duration,
    /// Whether it may be asked in a dry run (`sideEffects`).
    pub(super) dry_runs: bool,
    /// Whether it wants to see what later webhooks changed (`reinvocationPolicy`).
    pub(super) reinvocable: bool,
    /// How it is called, or why it cannot be.
    pub(super) client: Result<Destination, String>,
    /// `matchConditions`.
    pub(super) conditions: Conditions,
}

/// A label selector; absent ones select everything.
#[derive(Debug)]
pub(crate) enum Selector {
    Everything,
    Labels(LabelSelector),
    /// It cannot be understood: nothing can be said about an object.
    Bad(String),
}

impl Selector {
    /// Reads a label selector.
    pub(crate) fn read(selector: Option<&Value>) -> Self {
        let Some(selector) = selector.filter(|s| s.as_object().is_some_and(|m| !m.is_empty()))
        else {
            return Self::Everything;
        };
        match LabelSelector::from_object(selector) {
            Ok(selector) => Self::Labels(selector),
            Err(error) => Self::Bad(error.to_string()),
        }
    }
}

impl Configuration {
    /// Reads a stored configuration.
    pub(super) fn parse(object: &Value) -> Self {
        let name = meta::name(object);
        let hooks = meta::list(object, &["webhooks"]).iter();
        Self {
            hooks: hooks.map(|h| Arc::new(Hook::read(name, h))).collect(),
        }
    }
}

impl Hook {
    fn read(configuration: &str, hook: &Value) -> Self {
        let rules = meta::list(hook, &["rules"]);
        let config = hook.get("clientConfig").unwrap_or(&Value::Null);
        let seconds = meta::integer(hook, &["timeoutSeconds"]).unwrap_or(USUAL_SECONDS);
        let seconds = seconds.clamp(1, MOST_SECONDS).unsigned_abs();
        let on_failure = match meta::text(hook, &["failurePolicy"]) {
            "Ignore" => FailurePolicy::Ignore,
            _ => FailurePolicy::Fail,
        };
        let versions = meta::list(hook, &["admissionReviewVersions"]);
        let conditions = meta::list(hook, &["matchConditions"]);
        Self {
            name: meta::text(hook, &["name"]).to_owned(),
            configuration: configuration.to_owned(),
            rules: rules.iter().map(Rule::read).collect(),
            equivalent: meta::text(hook, &["matchPolicy"]) != "Exact",
            namespaces: Selector::read(hook.get("namespaceSelector")),
            objects: Selector::read(hook.get("objectSelector")),
            on_failure,
            timeout: Duration::from_secs(seconds),
            dry_runs: matches!(meta::text(hook, &["sideEffects"]), "None" | "NoneOnDryRun"),
            reinvocable: meta::text(hook, &["reinvocationPolicy"]) == "IfNeeded",
            client: if versions.iter().any(|v| v == "v1") {
                Destination::from_client_config(config)
                    .map_err(|error| format!("could not get REST client: {error}"))
            } else {
                Err("webhook does not accept known AdmissionReview versions (v1)".to_owned())
            },
            conditions: Conditions::of_webhook(conditions),
        }
    }
}
