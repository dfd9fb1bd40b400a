//! `metadata.managedFields`: who owns which fields.

use super::fields_v1::{self, Malformed};
use super::set::Set;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Updaters beyond this many are folded into one.
const MAX_UPDATERS: usize = 10;
/// Under this name.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By applying a configuration.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    const fn text(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who writes, and through which door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Author<'a> {
    /// `fieldManager` of the request.
    pub manager: &'a str,
    /// How.
    pub operation: Operation,
    /// `apiVersion` the fields are named in.
    pub api_version: &'a str,
    /// The subresource, or `""`.
    pub subresource: &'a str,
}

/// One manager's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    pub(super) manager: Cow<'a, str>,
    pub(super) operation: Operation,
    pub(super) api_version: Cow<'a, str>,
    pub(super) subresource: Cow<'a, str>,
    /// RFC 3339, whole seconds, UTC; `""` where unknown.
    pub(super) time: Cow<'a, str>,
    pub(super) set: Set<'a>,
    /// Where the entry's FieldsV1 still stand as they were read, so that they need not be written
    /// again.
    pub(super) origin: Option<usize>,
}

/// managedFields that cannot be taken as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Something else where a list of entries should be.
    #[error("managedFields must be a list of objects")]
    NotEntries,
    /// An operation that is neither Apply nor Update.
    #[error("invalid operation {0:?}")]
    Operation(String),
    /// A `fieldsType` other than FieldsV1.
    #[error("invalid fieldsType {0:?}")]
    FieldsType(String),
    /// The paths.
    #[error(transparent)]
    Fields(#[from] Malformed),
}

/// Whose writing is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A stored object's.
    Stored,
    /// A client's: spelling may differ.
    Client,
}

/// Every manager of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Managers<'a>(pub(super) Vec<Entry<'a>>);

/// Whether the list asks to forget all managers: one entry without any content.
pub fn is_reset(managed: &Value) -> bool {
    let void = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_) => false,
    };
    match managed.as_array().map(Vec::as_slice) {
        Some([Value::Object(only)]) => only.values().all(void),
        Some(_) | None => false,
    }
}

/// Whether two lists are the same but for their times.
pub fn same_but_times(one: Option<&Value>, other: Option<&Value>) -> bool {
    let entries = |value: Option<&Value>| -> Vec<Value> {
        let list = value.and_then(Value::as_array).cloned().unwrap_or_default();
        let strip = |mut entry: Value| {
            if let Some(map) = entry.as_object_mut() {
                map.shift_remove("time");
            }
            entry
        };
        list.into_iter().map(strip).collect()
    };
    if one == other {
        return true;
    }
    // Their order follows the times.
    let (one, other) = (entries(one), entries(other));
    one.len() == other.len() && one.iter().all(|entry| other.contains(entry))
}

impl<'a> Managers<'a> {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// An unknown operation or type, or malformed paths.
    pub fn read(managed: Option<&'a Value>, source: Source) -> Result<Self, Unreadable> {
        let list = match managed {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(Unreadable::NotEntries),
        };
        let entries = list.iter().enumerate();
        let mut read = Vec::with_capacity(list.len() + 1);
        for (index, entry) in entries {
            let entry = Entry::read(entry, source)?;
            read.push(Entry {
                origin: (source == Source::Stored).then_some(index),
                ..entry
            });
        }
        Ok(Self(read))
    }

    /// Whether nobody is known to own anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn position(&self, author: &Author<'_>) -> Option<usize> {
        self.0.iter().position(|entry| entry.is_of(author))
    }

    /// Everything anyone owns.
    pub(super) fn owned(&self) -> Set<'a> {
        let sets = self.0.iter().map(|entry| &entry.set);
        sets.fold(Set::default(), |all, set| all.union(set))
    }

    /// Folds the oldest updaters into one per version when there are too many.
    pub(super) fn cap(&mut self) {
        let updaters = |entries: &[Entry<'_>]| {
            let updates = entries.iter().filter(|e| e.operation == Operation::Update);
            updates.count()
        };
        if updaters(&self.0) <= MAX_UPDATERS {
            return;
        }
        self.0
            .sort_by(|a, b| (&a.time, &a.manager).cmp(&(&b.time, &b.manager)));
        let mut excess = updaters(&self.0) - MAX_UPDATERS;
        let mut oldest: BTreeMap<Cow<'a, str>, Entry<'a>> = BTreeMap::new();
        let mut kept = Vec::with_capacity(self.0.len());
        for entry in self.0.drain(..) {
            if entry.operation != Operation::Update || excess == 0 {
                kept.push(entry);
                continue;
            }
            match oldest.get_mut(&entry.api_version) {
                None => drop(oldest.insert(entry.api_version.clone(), entry)),
                Some(bucket) => {
                    bucket.absorb(entry);
                    excess -= 1;
                }
            }
        }
        self.0 = kept;
        self.0.extend(oldest.into_values());
    }

    /// Writes the list; `stored` is what [`Managers::read`] read, from which unchanged fields move.
    pub fn write(mut self, stored: Option<Value>) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let mut stored = match stored {
            Some(Value::Array(list)) => list,
            Some(_) | None => Vec::new(),
        };
        self.0.sort_by(Entry::order);
        let entries = self.0.into_iter().map(|entry| {
            let kept = entry.origin.and_then(|index| stored.get_mut(index));
            let kept = kept
                .and_then(|old| old.get_mut("fieldsV1"))
                .map(Value::take);
            entry.write(kept)
        });
        Some(Value::Array(entries.collect()))
    }
}

impl<'a> Entry<'a> {
    fn read(entry: &'a Value, source: Source) -> Result<Self, Unreadable> {
        let map = entry.as_object().ok_or(Unreadable::NotEntries)?;
        let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            other => return Err(Unreadable::Operation(other.to_owned())),
        };
        let kind = text("fieldsType");
        if kind != "FieldsV1" {
            return Err(Unreadable::FieldsType(kind.to_owned()));
        }
        let set = match (map.get("fieldsV1"), source) {
            (None | Some(Value::Null), _) => Set::default(),
            (Some(fields), Source::Stored) => fields_v1::read_own(fields)?,
            (Some(fields), Source::Client) => fields_v1::read(fields)?,
        };
        Ok(Self {
            manager: Cow::Borrowed(text("manager")),
            operation,
            api_version: Cow::Borrowed(text("apiVersion")),
            subresource: Cow::Borrowed(text("subresource")),
            time: Cow::Borrowed(text("time")),
            set,
            origin: None,
        })
    }

    pub(super) fn of(author: &Author<'a>, set: Set<'a>, time: &'a str) -> Self {
        Self {
            manager: Cow::Borrowed(author.manager),
            operation: author.operation,
            api_version: Cow::Borrowed(author.api_version),
            subresource: Cow::Borrowed(author.subresource),
            time: Cow::Borrowed(time),
            set,
            origin: None,
        }
    }

    /// Appliers are the same whatever version they apply in; updaters are not.
    fn is_of(&self, author: &Author<'_>) -> bool {
        let same_version =
            author.operation == Operation::Apply || self.api_version == author.api_version;
        self.manager == author.manager
            && self.operation == author.operation
            && self.subresource == author.subresource
            && same_version
    }

    /// Replaces the fields.
    pub(super) fn set_to(&mut self, set: Set<'a>) {
        self.set = set;
        self.origin = None;
    }

    fn absorb(&mut self, younger: Self) {
        let set = self.set.union(&younger.set);
        self.set_to(set);
        self.manager = Cow::Borrowed(ANCIENT);
        self.subresource = Cow::Borrowed("");
        self.time = younger.time;
    }

    fn order(&self, other: &Self) -> Ordering {
        let key = |entry: &Self| {
            (
                entry.operation,
                entry.time.clone(),
                entry.manager.clone(),
                entry.api_version.clone(),
                entry.subresource.clone(),
            )
        };
        key(self).cmp(&key(other))
    }

    /// The owner as conflicts name it.
    pub(super) fn label(&self) -> String {
        let through = match &*self.subresource {
            "" => String::new(),
            name => format!(" with subresource {name:?}"),
        };
        let version = match self.operation {
            Operation::Apply => String::new(),
            Operation::Update => format!(" using {}", self.api_version),
        };
        format!("{:?}{through}{version}", self.manager)
    }

    fn write(self, fields: Option<Value>) -> Value {
        let mut map = Map::with_capacity(7);
        let mut put = |key: &str, value: Cow<'_, str>| {
            if !value.is_empty() {
                map.insert(key.to_owned(), Value::String(value.into_owned()));
            }
        };
        put("manager", self.manager);
        put("operation", Cow::Borrowed(self.operation.text()));
        put("apiVersion", self.api_version);
        put("time", self.time);
        put("fieldsType", Cow::Borrowed("FieldsV1"));
        let fields = fields.unwrap_or_else(|| fields_v1::write(&self.set));
        map.insert("fieldsV1".to_owned(), fields);
        if !self.subresource.is_empty() {
            map.insert(
                "subresource".to_owned(),
                Value::String(self.subresource.into_owned()),
            );
        }
        Value::Object(map)
    }
}
