//! Strategic merge patches.

use super::order;
use crate::apply::go_plain;
use crate::schema::{self, FieldDef, FieldType, Item, Shape, TypeDef, TypeId};
use serde_json::{Map, Value};

/// Why a strategic merge patch cannot be applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("a strategic merge patch must be an object")]
    NotAnObject,
    #[error("unknown patch type: {0} in map: {1}")]
    Directive(String, String),
    #[error("merging lists cannot yet be specified in the patch")]
    MergeElement,
    #[error("map: {element} does not contain declared merge key: {key}")]
    NoMergeKey { element: String, key: &'static str },
    #[error("invalid patch format of {0}")]
    Format(&'static str),
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    NotInOrder { patch: String, order: String },
}

const RETAIN_FORMAT: Refusal = Refusal::Format("retainKeys");
const ORDER_FORMAT: Refusal = Refusal::Format("setElementOrder list");
const DELETE_FORMAT: Refusal = Refusal::Format("primitive list");

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

pub(super) fn apply(ty: TypeId, original: &Value, patch: &Value) -> Result<Value, Refusal> {
    let patch = patch.as_object().ok_or(Refusal::NotAnObject)?;
    let original = original.as_object().cloned().unwrap_or_default();
    merge_object(original, patch, row_of(Item::Type(ty))).map(Value::Object)
}

/// The fields of an object type; `None` where anything goes.
fn row_of(item: Item) -> Option<&'static TypeDef> {
    let Item::Type(id) = item else { return None };
    Some(schema::get(id)).filter(|row| row.shape == Shape::Object)
}

/// What is known about a key of an object.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The type of an object there, or of the elements of a list there.
    row: Option<&'static TypeDef>,
    field: Option<&'static FieldDef>,
}

impl Known {
    fn of(row: Option<&'static TypeDef>, key: &str) -> Self {
        let Some(field) = row.and_then(|row| row.field(key)) else {
            return Self::default();
        };
        let row = match field.ty {
            FieldType::One(item) | FieldType::List(item) => row_of(item),
            FieldType::Map(_) | FieldType::MapOfLists(_) => None,
        };
        Self {
            row,
            field: Some(field),
        }
    }

    fn merges_lists(self) -> bool {
        self.field.is_some_and(FieldDef::patch_merges)
    }

    /// Whether a patch replaces an object here instead of merging into it.
    fn replaces_objects(self) -> bool {
        // The one such field of the API: a disruption budget's selector.
        self.field.is_some_and(FieldDef::patch_replaces)
    }

    fn merge_key(self) -> Option<&'static str> {
        self.field.and_then(FieldDef::patch_merge_key)
    }
}

fn merge_object(
    mut original: Object,
    patch: &Object,
    row: Option<&'static TypeDef>,
) -> Result<Object, Refusal> {
    match patch
        .get(PATCH)
        .map(|directive| (directive.as_str(), directive))
    {
        None | Some((Some("merge"), _)) => {}
        Some((Some("replace"), _)) => {
            let mut replacement = patch.clone();
            replacement.shift_remove(PATCH);
            return Ok(replacement);
        }
        Some((Some("delete"), _)) => return Ok(Object::new()),
        Some((_, other)) => {
            return Err(Refusal::Directive(
                go_plain(other),
                go_plain(&Value::Object(patch.clone())),
            ));
        }
    }
    retain_keys(&mut original, patch)?;
    for (directive, values) in patch {
        if let Some(key) = directive.strip_prefix(DELETE) {
            let values = values.as_array().ok_or(DELETE_FORMAT)?;
            if let Some(Value::Array(list)) = original.get_mut(key) {
                list.retain(|item| !values.contains(item));
            }
        }
    }
    for (key, value) in patch.iter().filter(|(key, _)| !is_directive(key)) {
        let known = Known::of(row, key);
        let before = original.get(key).cloned();
        match merge_value(before, value, patch.get(&format!("{ORDER}{key}")), known)? {
            Some(value) => drop(original.insert(key.clone(), value)),
            None => drop(original.shift_remove(key)),
        }
    }
    reorder_untouched(&mut original, patch, row)?;
    Ok(original)
}

fn is_directive(key: &str) -> bool {
    key == PATCH || key == RETAIN || key.starts_with(DELETE) || key.starts_with(ORDER)
}

fn retain_keys(original: &mut Object, patch: &Object) -> Result<(), Refusal> {
    let Some(retain) = patch.get(RETAIN) else {
        return Ok(());
    };
    let retain = retain.as_array().ok_or(RETAIN_FORMAT)?;
    let kept = |key: &str| retain.iter().any(|r| r.as_str() == Some(key));
    for (key, value) in patch {
        if !is_directive(key) && !value.is_null() && !kept(key) {
            return Err(RETAIN_FORMAT);
        }
    }
    original.retain(|key, _| kept(key));
    Ok(())
}

/// The new value of a key; `None` deletes it.
fn merge_value(
    before: Option<Value>,
    patch: &Value,
    order: Option<&Value>,
    known: Known,
) -> Result<Option<Value>, Refusal> {
    Ok(Some(match (before, patch) {
        (_, Value::Null) => return Ok(None),
        (before, Value::Object(patch)) => {
            let before = match before {
                Some(Value::Object(map)) if !known.replaces_objects() => map,
                _ => Object::new(),
            };
            Value::Object(merge_object(before, patch, known.row)?)
        }
        (before, Value::Array(patch)) if known.merges_lists() => {
            let before = match before {
                Some(Value::Array(list)) => list,
                _ => Vec::new(),
            };
            Value::Array(merge_list(&before, patch, order, known)?)
        }
        (_, value) => value.clone(),
    }))
}

fn merge_list(
    before: &[Value],
    patch: &[Value],
    order: Option<&Value>,
    known: Known,
) -> Result<Vec<Value>, Refusal> {
    let merge_key = known.merge_key();
    let merged = match merge_key {
        Some(merge_key) => merge_elements(before, patch, merge_key, known.row)?,
        None => merge_scalars(before, patch),
    };
    let (merged, patch) = match merged {
        Merged::Replaced(list) => return Ok(list),
        Merged::Changed { list, set } => (list, set),
    };
    let Some(order) = order else {
        return Ok(order::arrange(merged, &patch, before, merge_key));
    };
    let order = order.as_array().ok_or(ORDER_FORMAT)?;
    let positions: Option<Vec<usize>> = patch
        .iter()
        .map(|item| order::position(order, item, merge_key))
        .collect();
    if positions.is_none_or(|positions| !positions.is_sorted()) {
        return Err(Refusal::NotInOrder {
            patch: go_plain(&Value::Array(patch)),
            order: go_plain(&Value::Array(order.clone())),
        });
    }
    Ok(order::arrange(merged, order, before, merge_key))
}

fn merge_scalars(before: &[Value], patch: &[Value]) -> Merged {
    let mut list = before.to_vec();
    for item in patch {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
    Merged::Changed {
        list,
        set: patch.to_vec(),
    }
}

enum Merged {
    /// A `$patch: replace` element made the patch the whole list.
    Replaced(Vec<Value>),
    /// The list after the patch, and the patch's elements without deletions.
    Changed { list: Vec<Value>, set: Vec<Value> },
}

fn merge_elements(
    before: &[Value],
    patch: &[Value],
    merge_key: &'static str,
    row: Option<&'static TypeDef>,
) -> Result<Merged, Refusal> {
    let directive = |item: &Value| item.get(PATCH).and_then(Value::as_str).map(str::to_owned);
    if patch
        .iter()
        .any(|item| directive(item).as_deref() == Some("replace"))
    {
        let list = patch.iter().filter(|item| directive(item).is_none());
        return list
            .map(|item| clean(item, row))
            .collect::<Result<_, _>>()
            .map(Merged::Replaced);
    }
    let mut list = before.to_vec();
    let mut set = Vec::new();
    for item in patch {
        let no_key = || Refusal::NoMergeKey {
            element: go_plain(item),
            key: merge_key,
        };
        let id = item
            .get(merge_key)
            .filter(|id| !id.is_null())
            .ok_or_else(no_key)?;
        let fields = item.as_object().ok_or_else(no_key)?;
        match directive(item).as_deref() {
            Some("merge") => return Err(Refusal::MergeElement),
            Some(other) if other != "delete" => {
                return Err(Refusal::Directive(other.to_owned(), go_plain(item)));
            }
            Some(_) | None => {}
        }
        if directive(item).is_some() {
            list.retain(|old| old.get(merge_key) != Some(id));
            continue;
        }
        let found = list.iter_mut().find(|old| old.get(merge_key) == Some(id));
        match found {
            Some(old) => {
                let fields_before = old.as_object().cloned().unwrap_or_default();
                *old = Value::Object(merge_object(fields_before, fields, row)?);
            }
            None => list.push(clean(item, row)?),
        }
        set.push(item.clone());
    }
    Ok(Merged::Changed { list, set })
}

/// A new element: the patch without nulls and directives.
fn clean(item: &Value, row: Option<&'static TypeDef>) -> Result<Value, Refusal> {
    match item {
        Value::Object(fields) => merge_object(Object::new(), fields, row).map(Value::Object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Ok(item.clone())
        }
    }
}

/// `$setElementOrder/F` for lists that the patch orders without changing them.
fn reorder_untouched(
    original: &mut Object,
    patch: &Object,
    row: Option<&'static TypeDef>,
) -> Result<(), Refusal> {
    for (directive, order) in patch {
        let Some(key) = directive.strip_prefix(ORDER) else {
            continue;
        };
        let order = order.as_array().ok_or(ORDER_FORMAT)?;
        if patch.contains_key(key) {
            continue;
        }
        if let Some(Value::Array(list)) = original.get_mut(key) {
            let before = list.clone();
            let merge_key = Known::of(row, key).merge_key();
            *list = order::arrange(std::mem::take(list), order, &before, merge_key);
        }
    }
    Ok(())
}
