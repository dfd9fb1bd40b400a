//! What differs between two objects, path by path.

use super::set::Set;
use super::shape::{Form, form, is_void};
use super::step::{Step, element};
use crate::schema::{Keys, ListType, Node};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The difference of two objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference<'a> {
    /// Paths only the new one has.
    pub added: Set<'a>,
    /// Paths whose value differs.
    pub modified: Set<'a>,
    /// Paths only the old one has.
    pub removed: Set<'a>,
}

impl<'a> Difference<'a> {
    /// Whether the objects are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Paths the new object has otherwise than the old one.
    pub fn changed(&self) -> Set<'a> {
        self.added.union(&self.modified)
    }

    /// [`Difference::changed`] and what was removed, without copies where one part is empty.
    pub(super) fn split(self) -> (Set<'a>, Set<'a>) {
        let changed = match (self.added.is_empty(), self.modified.is_empty()) {
            (_, true) => self.added,
            (true, _) => self.modified,
            (false, false) => self.added.union(&self.modified),
        };
        (changed, self.removed)
    }

    fn push(&mut self, step: &Step<'a>, below: Self) {
        self.added.push(step.clone(), below.added);
        self.modified.push(step.clone(), below.modified);
        self.removed.push(step.clone(), below.removed);
    }

    fn tidy(&mut self) {
        self.added.tidy();
        self.modified.tidy();
        self.removed.tidy();
    }
}

/// One of the two values at a path.
#[derive(Debug, Clone, Copy)]
enum Side<'a> {
    Absent,
    /// Absent from the JSON, but upstream's typed object would have it, empty.
    Empty,
    Present(&'a Value),
}

impl<'a> Side<'a> {
    fn value(self) -> Option<&'a Value> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Empty => None,
        }
    }

    fn is_absent(self) -> bool {
        matches!(self, Self::Absent)
    }

    fn map(self) -> Option<&'a Map<String, Value>> {
        self.value().and_then(Value::as_object)
    }

    /// The field of an object; fields that are always there are empty rather than absent.
    fn field(self, node: Node<'_>, name: &str) -> Self {
        if let Some(value) = self.map().and_then(|map| map.get(name)) {
            return Self::Present(value);
        }
        if !self.is_absent() && node.always_has(name) {
            Self::Empty
        } else {
            Self::Absent
        }
    }
}

/// Compares two objects of a type.
pub fn compare<'a>(node: Node<'_>, old: &'a Value, new: &'a Value) -> Difference<'a> {
    walk(node, Side::Present(old), Side::Present(new))
}

/// Compares nothing with an object: what its creation adds.
pub(super) fn creation<'a>(node: Node<'_>, new: &'a Value) -> Difference<'a> {
    walk(node, Side::Empty, Side::Present(new))
}

fn walk<'a>(node: Node<'_>, old: Side<'a>, new: Side<'a>) -> Difference<'a> {
    let form = form(node, old.value(), new.value());
    let void = is_void(old.value()) && is_void(new.value());
    let mut found = match form {
        Form::Leaf => return leaf(old, new),
        Form::Fields | Form::Elements(..) if void => return leaf(old, new),
        Form::Fields => fields(node, old, new),
        Form::Elements(kind, keys) => elements(node, (kind, keys), old, new),
    };
    if old.is_absent() {
        found.added.member = true;
    } else if new.is_absent() {
        found.removed.member = true;
    }
    found
}

fn leaf<'a>(old: Side<'a>, new: Side<'a>) -> Difference<'a> {
    let mut found = Difference::default();
    match (old, new) {
        (Side::Absent | Side::Empty, Side::Absent | Side::Empty) => {}
        (Side::Absent, Side::Present(_)) => found.added.member = true,
        (Side::Present(_), Side::Absent) => found.removed.member = true,
        (Side::Empty, Side::Present(value)) | (Side::Present(value), Side::Empty) => {
            found.modified.member = !is_void(Some(value));
        }
        (Side::Present(old), Side::Present(new)) => found.modified.member = old != new,
    }
    found
}

fn fields<'a>(node: Node<'_>, old: Side<'a>, new: Side<'a>) -> Difference<'a> {
    let mut found = Difference::default();
    let names = |side: Side<'a>| side.map().into_iter().flat_map(Map::keys);
    let only_old = names(old).filter(|name| new.map().is_none_or(|m| !m.contains_key(*name)));
    for name in names(new).chain(only_old) {
        let child = node.child(name).unwrap_or(Node::Unknown);
        let below = walk(child, old.field(node, name), new.field(node, name));
        if !below.is_empty() {
            found.push(&Step::field(name), below);
        }
    }
    found.tidy();
    found
}

fn elements<'a>(
    node: Node<'_>,
    (kind, keys): (ListType, Keys<'_>),
    old: Side<'a>,
    new: Side<'a>,
) -> Difference<'a> {
    if let (Side::Present(old), Side::Present(new)) = (old, new)
        && old == new
    {
        return Difference::default();
    }
    let mut pairs: BTreeMap<Step<'a>, [Vec<&'a Value>; 2]> = BTreeMap::new();
    for (place, side) in [old, new].into_iter().enumerate() {
        let items = side.value().and_then(Value::as_array).into_iter().flatten();
        for item in items {
            // Elements without identity cannot be owned; validation refuses them.
            let Ok(step) = element(node, kind, keys, item) else {
                continue;
            };
            if let Some(list) = pairs.entry(step).or_default().get_mut(place) {
                list.push(item);
            }
        }
    }
    let mut found = Difference::default();
    for (step, [olds, news]) in pairs {
        let below = match (olds.as_slice(), news.as_slice()) {
            (olds, news) if olds.len() > 1 || news.len() > 1 => duplicates(olds, news),
            (olds, news) => {
                let side =
                    |items: &[&'a Value]| items.first().map_or(Side::Absent, |v| Side::Present(v));
                walk(node.element(), side(olds), side(news))
            }
        };
        if !below.is_empty() {
            found.push(&step, below);
        }
    }
    found
}

/// Elements that share their identity are compared as one leaf.
fn duplicates<'a>(old: &[&Value], new: &[&Value]) -> Difference<'a> {
    let mut found = Difference::default();
    found.added.member = old.is_empty();
    found.removed.member = new.is_empty();
    found.modified.member = !old.is_empty() && !new.is_empty() && old != new;
    found
}
