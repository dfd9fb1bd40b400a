//! How an object should be deleted.

use super::decode::{self, Expected};
use crate::call::{Call, Run, dry_run};
use plimsoll_api::kind::{Kind, Propagation};
use plimsoll_api::status::{ApiError, FieldError};
use plimsoll_api::{meta, schema};
use serde_json::{Value, json};

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependents {
    /// They are collected afterwards.
    Background,
    /// They are collected first.
    Foreground,
    /// They stay.
    Orphan,
}

/// Parsed DeleteOptions.
#[derive(Debug, Clone)]
pub(crate) struct DeleteOptions {
    /// Seconds; `None` for the object's own.
    pub(crate) grace: Option<i64>,
    /// `None` when the caller did not say.
    pub(crate) dependents: Option<Dependents>,
    /// The deprecated `orphanDependents: false` was sent (answers differ slightly).
    pub(crate) legacy_no_orphans: bool,
    /// The uid the object must have.
    pub(crate) uid: Option<String>,
    /// The resourceVersion the object must have.
    pub(crate) version: Option<String>,
    /// Whether it is done.
    pub(crate) run: Run,
}

impl DeleteOptions {
    /// Deletes whatever is there; dependents are collected afterwards.
    pub(crate) fn background() -> Self {
        Self {
            grace: None,
            dependents: Some(Dependents::Background),
            legacy_no_orphans: false,
            uid: None,
            version: None,
            run: Run::Real,
        }
    }

    /// The options of a DELETE: from its body, else from its query.
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        if call.body.is_empty() {
            let query = &call.query;
            let mut options = json!({});
            let map = meta::as_object(&mut options);
            if let Some(grace) = query.number::<i64>("gracePeriodSeconds") {
                map.insert("gracePeriodSeconds".into(), grace.into());
            }
            if let Some(policy) = query.get("propagationPolicy") {
                map.insert("propagationPolicy".into(), policy.into());
            }
            if query.get("orphanDependents").is_some() {
                map.insert(
                    "orphanDependents".into(),
                    query.flag("orphanDependents").into(),
                );
            }
            map.insert(
                "dryRun".into(),
                json!(query.all("dryRun").collect::<Vec<_>>()),
            );
            return Self::read(&options);
        }
        Self::read(&body(call)?)
    }

    /// Reads a DeleteOptions object.
    pub(crate) fn read(options: &Value) -> Result<Self, ApiError> {
        let orphan = options.get("orphanDependents").and_then(Value::as_bool);
        let policy = meta::text(options, &["propagationPolicy"]);
        if orphan.is_some() && !policy.is_empty() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            return Err(invalid(FieldError::invalid(
                "propagationPolicy",
                &json!(policy),
                why,
            )));
        }
        let dependents = match (policy, orphan) {
            ("Background", _) | ("", Some(false)) => Some(Dependents::Background),
            ("Foreground", _) => Some(Dependents::Foreground),
            ("Orphan", _) | ("", Some(true)) => Some(Dependents::Orphan),
            ("", None) => None,
            (other, _) => {
                let allowed = ["Background", "Foreground", "Orphan"];
                let error = FieldError::not_supported("propagationPolicy", &json!(other), &allowed);
                return Err(invalid(error));
            }
        };
        let dry: Vec<&str> = meta::list(options, &["dryRun"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let condition = |name: &str| {
            let text = meta::text(options, &["preconditions", name]);
            (!text.is_empty()).then(|| text.to_owned())
        };
        let grace = meta::integer(options, &["gracePeriodSeconds"]);
        Ok(Self {
            grace: grace.map(|seconds| if seconds < 0 { 1 } else { seconds }),
            dependents,
            legacy_no_orphans: orphan == Some(false),
            uid: condition("uid"),
            version: condition("resourceVersion"),
            run: dry_run(&dry)?,
        })
    }

    /// What happens to the dependents of an object of `kind` that carries these finalizers.
    pub(crate) fn dependents_of(&self, kind: &Kind, finalizers: &[Value]) -> Dependents {
        let has = |name: &str| finalizers.iter().any(|f| f == name);
        match (self.dependents, kind.propagation) {
            (Some(chosen), _) => chosen,
            (None, _) if has("orphan") => Dependents::Orphan,
            (None, _) if has("foregroundDeletion") => Dependents::Foreground,
            (None, Propagation::Orphan) => Dependents::Orphan,
            (None, Propagation::Background) => Dependents::Background,
        }
    }
}

fn body(call: &Call) -> Result<Value, ApiError> {
    let schema = schema::by_kind("", "v1", "DeleteOptions")
        .ok_or_else(|| ApiError::internal("no schema for DeleteOptions"))?;
    // Every group has its own DeleteOptions; clients send theirs or v1's, and both read the same.
    if decode::media_type(call) == "application/vnd.kubernetes.protobuf" {
        let envelope = plimsoll_api::protobuf::decode_envelope(&call.body)?;
        return plimsoll_api::protobuf::decode(schema, envelope.raw);
    }
    let head: Value = decode::yaml(&call.body)?;
    let api_version = meta::text(&head, &["apiVersion"]).to_owned();
    decode::typed(
        call,
        Expected {
            schema: decode::Schema::Table(schema),
            api_version: &api_version,
            kind: "DeleteOptions",
        },
    )
}

fn invalid(error: FieldError) -> ApiError {
    ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error])
}
