//! Field owners of stored objects: what the rules of [`plimsoll_api::apply`] need to know of a
//! write.

use super::metadata::whole_seconds;
use super::patch::Part;
use super::present::to_served;
use super::write::Writer;
use crate::call::Call;
use http::header::USER_AGENT;
use plimsoll_api::apply::{self, Author, Managers, Operation, Scope, Source, Versions};
use plimsoll_api::kind::{Kind, Kinds};
use plimsoll_api::meta;
use plimsoll_api::schema::Node;
use plimsoll_api::status::{ApiError, CauseReason, FieldError};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Longest `fieldManager`, in bytes.
const MAX_MANAGER: usize = 128;
const MANAGED_FIELDS: [&str; 2] = ["metadata", "managedFields"];

/// How a write is entered in `metadata.managedFields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking<'a> {
    /// Not at all: upstream's bindings and evictions do not either.
    Off,
    /// Its author takes what it changes.
    Update(Door<'a>),
    /// It has been already: the object carries the list to be stored.
    Done,
}

impl Tracking<'static> {
    /// What the server writes on its own account.
    pub(crate) const SERVER: Self = Self::Update(Door {
        manager: "kube-apiserver",
        subresource: "",
    });
}

/// Who writes, and through which subresource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Door<'a> {
    /// The field manager.
    pub(crate) manager: &'a str,
    /// The subresource, or `""`.
    pub(crate) subresource: &'a str,
}

impl<'a> Door<'a> {
    /// The author a request names, or its client's program.
    pub(crate) fn of(call: &'a Call) -> Self {
        let agent = call.headers.get(USER_AGENT).and_then(|v| v.to_str().ok());
        let program = agent.unwrap_or_default().split('/').next();
        // Parts of this process send no User-Agent; their user says who they are.
        let user = call.identity.user.rsplit(':').next();
        let candidates = [
            Some(call.query.text("fieldManager")),
            program.map(cut),
            user.map(cut),
        ];
        let mut given = candidates.into_iter().flatten().filter(|m| !m.is_empty());
        Self {
            manager: given.next().unwrap_or("unknown"),
            subresource: call.path.subresource.as_deref().unwrap_or_default(),
        }
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_MANAGER);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Checks `fieldManager` and `force` of a write; `applies` says whether it is an apply.
pub(crate) fn check_options(call: &Call, applies: bool) -> Result<(), ApiError> {
    let (kind, is_patch) = match call.verb {
        "create" => ("CreateOptions", false),
        "update" => ("UpdateOptions", false),
        _ => ("PatchOptions", true),
    };
    let manager = call.query.text("fieldManager");
    let mut errors = Vec::new();
    if is_patch && !applies && call.query.get("force").is_some() {
        let why = "may not be specified for non-apply patch";
        errors.push(FieldError::forbidden("force", why));
    }
    if applies && manager.is_empty() {
        errors.push(FieldError::required(
            "fieldManager",
            "is required for apply patch",
        ));
    }
    if manager.len() > MAX_MANAGER {
        let why = format!("Too long: may not be more than {MAX_MANAGER} bytes");
        errors.push(FieldError {
            field: "fieldManager".to_owned(),
            reason: CauseReason::FieldValueTooLong,
            detail: why,
        });
    }
    if manager.chars().any(char::is_control) {
        let why = "should only contain printable characters";
        errors.push(FieldError::invalid("fieldManager", &manager.into(), why));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("meta.k8s.io", kind, "", &errors))
}

/// The managedFields a client sent, taken out of its object.
pub(super) fn take(object: &mut Value) -> Option<Value> {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut)?;
    metadata.shift_remove("managedFields")
}

/// The list an object carries.
pub(super) fn list(object: &Value) -> Option<&Value> {
    meta::at(object, &MANAGED_FIELDS)
}

/// Puts a list into an object, or removes the one there.
pub(super) fn put(object: &mut Value, managed: Option<Value>) {
    let metadata = meta::object_mut(object, &["metadata"]);
    match managed {
        Some(list) => drop(metadata.insert("managedFields".into(), list)),
        None => drop(metadata.shift_remove("managedFields")),
    }
}

/// Whether nothing differs but the times in managedFields, which then go back.
pub(super) fn is_unchanged(new: &mut Value, old: &Value) -> bool {
    if list(new) == list(old) {
        return new == old;
    }
    if !apply::same_but_times(list(new), list(old)) {
        return false;
    }
    let later = take(new);
    put(new, list(old).cloned());
    let unchanged = new == old;
    if !unchanged {
        put(new, later);
    }
    unchanged
}

/// The served versions of one resource.
#[derive(Debug)]
pub(super) struct ServedVersions {
    kinds: Arc<Kinds>,
    storage: Arc<str>,
}

impl ServedVersions {
    pub(super) fn of(writer: &Writer<'_>) -> Self {
        Self {
            kinds: writer.server.kinds(),
            storage: Arc::clone(&writer.kind.storage),
        }
    }

    fn kind(&self, api_version: &str) -> Option<&Arc<Kind>> {
        let mut kinds = self.kinds.iter();
        kinds.find(|kind| kind.storage == self.storage && kind.api_version() == api_version)
    }
}

impl Versions for ServedVersions {
    fn node(&self, api_version: &str) -> Option<Node<'_>> {
        self.kind(api_version).map(|kind| kind.node())
    }

    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<Value> {
        let (from, to) = (self.kind(from)?, self.kind(to)?);
        let stored = match &from.conversion {
            Some(conversion) => (conversion.to_stored)(object.clone()),
            None => object.clone(),
        };
        Some(to_served(to, stored))
    }
}

/// A stored object in the version the writer speaks.
pub(super) fn served<'v>(kind: &Kind, stored: &'v Value) -> Cow<'v, Value> {
    if kind.conversion.is_none() {
        Cow::Borrowed(stored)
    } else {
        Cow::Owned(to_served(kind, stored.clone()))
    }
}

/// Which fields a write through this door can change.
fn scope(kind: &Kind, part: Part) -> Scope {
    match part {
        Part::Status if kind.custom.is_some() => Scope::StatusAlone,
        Part::Status => Scope::Status,
        Part::Main if kind.subresource("status").is_some() => Scope::WithoutStatus,
        Part::Main | Part::Other | Part::Placement => Scope::Whole,
    }
}

/// Whoever is known to own fields of a stored object.
pub(super) fn stored(object: &Value) -> Managers<'_> {
    // Like upstream: a list that cannot be read says nothing.
    Managers::read(list(object), Source::Stored).unwrap_or_default()
}

/// What the rules need of a write, beyond the objects.
pub(super) struct Context<'a> {
    kind: &'a Kind,
    api_version: String,
    time: String,
    versions: ServedVersions,
    door: Door<'a>,
}

impl<'a> Context<'a> {
    pub(super) fn of(writer: &Writer<'a>, door: Door<'a>) -> Self {
        Self {
            kind: writer.kind,
            api_version: writer.kind.api_version(),
            time: whole_seconds(writer.server.now()),
            versions: ServedVersions::of(writer),
            door,
        }
    }

    pub(super) fn write(&self, operation: Operation, part: Part) -> apply::Write<'_> {
        apply::Write {
            author: Author {
                manager: self.door.manager,
                operation,
                api_version: &self.api_version,
                subresource: self.door.subresource,
            },
            time: &self.time,
            scope: scope(self.kind, part),
            node: self.kind.node(),
            versions: &self.versions,
        }
    }
}

impl Writer<'_> {
    /// Enters the creator of a new object (stored version, defaulted). `sent` is the list it came
    /// with.
    pub(super) fn track_creation(&self, object: &mut Value, sent: Option<Value>) {
        let door = match self.tracking {
            Tracking::Off => return,
            Tracking::Done => return put(object, sent),
            Tracking::Update(door) => door,
        };
        let context = Context::of(self, door);
        let write = context.write(Operation::Update, Part::Main);
        let list = {
            let new = served(self.kind, object);
            let mut managers = Managers::read(sent.as_ref(), Source::Client).unwrap_or_default();
            apply::create(&write, &mut managers, &new);
            managers.write(None)
        };
        put(object, list);
    }

    /// Enters the author of a change (stored version, defaulted). `sent` is the list the new
    /// object came with; `new` carries the stored one.
    pub(super) fn track_update(
        &self,
        (new, old): (&mut Value, &Value),
        sent: Option<Value>,
        part: Part,
    ) {
        let door = match self.tracking {
            Tracking::Off => return,
            Tracking::Done => return put(new, sent),
            Tracking::Update(door) => door,
        };
        let sent = sent.filter(|sent| part == Part::Main && Some(sent) != list(old));
        if sent.as_ref().is_some_and(apply::is_reset) {
            return put(new, None);
        }
        let theirs = sent.as_ref().and_then(|sent| {
            let read = Managers::read(Some(sent), Source::Client).ok()?;
            (!read.is_empty()).then_some(read)
        });
        let is_theirs = theirs.is_some();
        let mut managers = theirs.unwrap_or_else(|| stored(old));
        if managers.is_empty() {
            return;
        }
        let context = Context::of(self, door);
        let kept = if is_theirs { None } else { take(new) };
        let (list, moved) = {
            let (before, after) = (served(self.kind, old), served(self.kind, new));
            let write = context.write(Operation::Update, part);
            let moved = apply::update(&write, &mut managers, &before, &after) || is_theirs;
            let list = if moved { managers.write(kept) } else { kept };
            (list, moved)
        };
        if moved || list.is_some() {
            put(new, list);
        }
    }
}
