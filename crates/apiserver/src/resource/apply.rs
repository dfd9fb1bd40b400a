//! Server-side apply.

use super::decode;
use super::managers::{self, Context, Door, Tracking};
use super::patch::Part;
use super::update::agrees;
use super::write::Writer;
use crate::auth::Attributes;
use crate::call::Call;
use bytes::Bytes;
use plimsoll_api::apply::{self, Conflicts, Force, Operation, Set};
use plimsoll_api::decode::FieldValidation;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::Value;

/// Kubectl's own record of what it applied, from before servers knew.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager whose applies keep that record up to date.
const KUBECTL: &str = "kubectl";
/// Most bytes of all annotations together.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// An apply meets a concurrent create or delete this often before it gives up.
const ATTEMPTS: usize = 5;

/// A configuration to be applied.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    object: Value,
    force: Force,
}

impl Config {
    /// The configuration a request carries.
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        let object = parse(call)?;
        let force = if call.query.flag("force") {
            Force::Yes
        } else {
            Force::No
        };
        Ok(Self { object, force })
    }

    /// The same intent about an object that holds what this one describes (a Scale's workload).
    pub(crate) fn about(&self, object: Value) -> Self {
        Self {
            object,
            force: self.force,
        }
    }

    /// What is applied.
    pub(crate) fn object(&self) -> &Value {
        &self.object
    }

    /// The object (stored version) that applying to `old` gives, its managers included; `old` is
    /// absent where the object is to be created.
    pub(crate) fn onto(
        &self,
        writer: &Writer<'_>,
        (door, part): (Door<'_>, Part),
        old: Option<&Value>,
    ) -> Result<Value, ApiError> {
        let context = Context::of(writer, door);
        let write = context.write(Operation::Apply, part);
        let live = old.map(|old| managers::served(writer.kind, old));
        let mut owners = old.map(managers::stored).unwrap_or_default();
        let before = owners.clone();
        let objects = (live.as_deref(), &self.object);
        let applied =
            apply::apply(&write, &mut owners, objects, self.force).or_else(|conflicts| {
                let allowed = live
                    .as_deref()
                    .filter(|_| door.manager == KUBECTL)
                    .and_then(|live| last_applied(writer, live));
                forgive(&conflicts, allowed.as_ref())?;
                owners = before;
                apply::apply(&write, &mut owners, objects, Force::Yes).map_err(|c| c.to_error())
            })?;
        let list = owners.write(old.and_then(managers::list).cloned());
        let decoded = writer.kind.decode_value(applied, FieldValidation::Ignore)?;
        let mut object = decoded.object;
        let map = meta::as_object(&mut object);
        map.insert("kind".into(), writer.kind.kind.as_ref().into());
        map.insert("apiVersion".into(), writer.kind.api_version().into());
        if door.manager == KUBECTL && part == Part::Main {
            self.renew_last_applied(&mut object);
        }
        let mut object = writer.stored_form(object);
        managers::put(&mut object, list);
        Ok(object)
    }

    /// Brings kubectl's record up to date where there is one.
    fn renew_last_applied(&self, object: &mut Value) {
        if meta::at(object, &["metadata", "annotations", LAST_APPLIED]).is_none() {
            return;
        }
        let mut config = self.object.clone();
        let annotations = meta::object_mut(&mut config, &["metadata", "annotations"]);
        annotations.shift_remove(LAST_APPLIED);
        if annotations.is_empty() {
            meta::object_mut(&mut config, &["metadata"]).shift_remove("annotations");
        }
        let annotations = meta::object_mut(object, &["metadata", "annotations"]);
        annotations.insert(LAST_APPLIED.into(), format!("{config}\n").into());
        let size = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
        if annotations.iter().map(size).sum::<usize>() > MAX_ANNOTATIONS {
            annotations.shift_remove(LAST_APPLIED);
        }
    }
}

fn forgive(conflicts: &Conflicts, allowed: Option<&Set<'static>>) -> Result<(), ApiError> {
    let left = match allowed {
        Some(allowed) => conflicts.without(allowed),
        None => conflicts.clone(),
    };
    if left.is_empty() {
        Ok(())
    } else {
        Err(left.to_error())
    }
}

/// The fields that kubectl's record says kubectl set and nobody has changed since.
fn last_applied(writer: &Writer<'_>, live: &Value) -> Option<Set<'static>> {
    let record = meta::text(live, &["metadata", "annotations", LAST_APPLIED]);
    let record: Value = serde_json::from_str(record).ok()?;
    if meta::text(&record, &["apiVersion"]) != writer.kind.api_version() {
        return None;
    }
    let node = writer.kind.node();
    let found = apply::compare(node, &record, live);
    let set = apply::set_of(node, &record)
        .difference(&found.modified)
        .difference(&found.added)
        .difference(&found.removed);
    Some(set.into_owned())
}

/// Applies to the object the path names, which is created where the main endpoint does not find
/// it. Answers the code and the stored JSON.
pub(crate) async fn serve(call: &Call, part: Part) -> Result<(u16, Bytes), ApiError> {
    let config = Config::of(call)?;
    check(call, config.object())?;
    let run = call.run()?;
    decode::field_validation(call)?;
    let door = Door::of(call);
    let writer = Writer {
        tracking: Tracking::Done,
        ..Writer::of(call, run)
    };
    let mut attempt = 1;
    loop {
        let exists = call.server.store().get(&call.key()).is_some();
        let outcome = if exists || part != Part::Main {
            let step = |old: &Value| config.onto(&writer, (door, part), Some(old));
            let written = writer.update(&call.key(), part, &step).await;
            written.map(|json| (200, json))
        } else {
            create(call, &writer, &config, door).await
        };
        match outcome {
            // Somebody created or deleted it in between.
            Err(error)
                if part == Part::Main
                    && attempt < ATTEMPTS
                    && (exists && error.reason == "NotFound"
                        || !exists && error.reason == "AlreadyExists") =>
            {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

async fn create(
    call: &Call,
    writer: &Writer<'_>,
    config: &Config,
    door: Door<'_>,
) -> Result<(u16, Bytes), ApiError> {
    // The request was authorised as a patch; this one creates.
    call.server.demand(
        &call.identity,
        &Attributes {
            verb: "create",
            group: &call.kind.group,
            resource: &call.kind.plural,
            namespace: call.namespace(),
            name: call.name(),
            ..Attributes::default()
        },
    )?;
    if !meta::uid(config.object()).is_empty() {
        let uid = meta::uid(config.object());
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        let kind = &call.kind;
        return Err(ApiError::conflict(
            &kind.group,
            &kind.plural,
            call.name(),
            &why,
        ));
    }
    let mut object = config.onto(writer, (door, Part::Main), None)?;
    let metadata = meta::object_mut(&mut object, &["metadata"]);
    metadata.insert("name".into(), call.name().into());
    let json = writer.create_stored(call.namespace(), object).await?;
    Ok((201, json))
}

fn parse(call: &Call) -> Result<Value, ApiError> {
    let text = |error: &dyn std::fmt::Display| {
        ApiError::bad_request(format!("error decoding YAML: {error}"))
    };
    let object = match serde_json::from_slice::<Value>(&call.body) {
        Ok(object) => object,
        Err(_) => decode::yaml(&call.body).map_err(|error| text(&error.message))?,
    };
    if object.is_object() {
        Ok(object)
    } else {
        Err(text(
            &"json: cannot unmarshal into Go value of type map[string]interface {}",
        ))
    }
}

/// Refuses configurations that are not about the object, or do not fit its type.
fn check(call: &Call, config: &Value) -> Result<(), ApiError> {
    let wanted = call.kind.api_version();
    let version = meta::text(config, &["apiVersion"]);
    if version != wanted {
        return Err(ApiError::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {wanted}"
        )));
    }
    let kind = meta::text(config, &["kind"]);
    if kind != call.kind.kind {
        return Err(ApiError::bad_request(format!(
            "the kind in the data ({kind}) does not match the expected kind ({})",
            call.kind.kind
        )));
    }
    if meta::at(config, &["metadata", "managedFields"]).is_some_and(|list| !list.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    // The path names it; a configuration of some fields need not.
    agrees(config, call)?;
    let problems = apply::problems(call.kind.node(), config);
    let Some(why) = apply::message(&problems) else {
        return Ok(());
    };
    let (namespace, name) = (call.namespace(), call.name());
    let (group, version) = (&call.kind.group, &call.kind.version);
    // Parity: upstream answers these with 500 and no reason.
    Err(ApiError::new(
        500,
        "",
        format!(
            "failed to create typed patch object ({namespace}/{name}; {group}/{version}, Kind={kind}): {why}"
        ),
    ))
}
