//! The two ways a write changes who owns what.

use super::compare::{Difference, compare, creation};
use super::conflict::Conflicts;
use super::extract::set_of;
use super::managers::{Author, Entry, Managers, Operation};
use super::merge::merge;
use super::prune::prune;
use super::set::Set;
use super::step::Step;
use crate::schema::Node;
use serde_json::Value;

/// Fields that belong to nobody, below `metadata`.
const SERVER_METADATA: &[&str] = &[
    "clusterName",
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Who owned everything before anything was tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Which part of an object a door opens on; what a write says about the rest is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Whole,
    /// All but the status.
    WithoutStatus,
    /// The status and the metadata people write.
    Status,
    /// The status alone.
    StatusAlone,
}

/// Other versions of an object, for owners that speak them.
pub trait Versions {
    /// The type at a version; `None` if it is not served any more.
    fn node(&self, api_version: &str) -> Option<Node<'_>>;
    /// An object from one version to another.
    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<Value>;
}

/// One write.
#[derive(Clone, Copy)]
pub struct Write<'w> {
    /// Who writes.
    pub author: Author<'w>,
    /// When: RFC 3339, whole seconds, UTC.
    pub time: &'w str,
    /// Which part may change.
    pub scope: Scope,
    /// The type, at the author's version.
    pub node: Node<'w>,
    /// Where owners at other versions are understood.
    pub versions: &'w dyn Versions,
}

impl std::fmt::Debug for Write<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Write")
            .field("author", &self.author)
            .field("time", &self.time)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// Whether an apply may take what others own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Conflicts are refused.
    No,
    /// They are won.
    Yes,
}

/// Who owns a new object: its creator, everything.
pub fn create<'a>(write: &Write<'a>, managers: &mut Managers<'a>, new: &'a Value) {
    let found = creation(write.node, new);
    take(write, managers, relevant(write, found));
}

/// Gives the author what differs between the two objects (at the author's version).
///
/// Where nobody is known to own anything, nobody does afterwards: tracking was switched off.
/// Answers whether the managers may have changed.
pub fn update<'a>(
    write: &Write<'a>,
    managers: &mut Managers<'a>,
    old: &'a Value,
    new: &'a Value,
) -> bool {
    if managers.is_empty() {
        return false;
    }
    let found = relevant(write, compare(write.node, old, new));
    if found.is_empty() {
        return false;
    }
    let own = managers.position(&write.author);
    let change = Change {
        old,
        new,
        found: &found,
    };
    settle(write, managers, own, &change);
    take(write, managers, found);
    true
}

/// An object whose managers may have to be asked at other versions.
struct Change<'c> {
    old: &'c Value,
    new: &'c Value,
    found: &'c Difference<'c>,
}

/// Adds what an update found to its author's entry.
fn take<'a>(write: &Write<'a>, managers: &mut Managers<'a>, found: Difference<'a>) {
    let (changed, removed) = found.split();
    match managers.position(&write.author) {
        Some(index) => {
            let Some(own) = managers.0.get_mut(index) else {
                return;
            };
            if own.set.intersects(&removed) || !own.set.covers(&changed) {
                own.set_to(own.set.difference(&removed).union(&changed));
            }
            if !changed.is_empty() {
                own.time = write.time.into();
            }
            if own.set.is_empty() {
                managers.0.remove(index);
            }
        }
        None if changed.is_empty() => {}
        None => managers
            .0
            .push(Entry::of(&write.author, changed, write.time)),
    }
    managers.cap();
}

/// Takes changed and removed fields from everybody but entry `own`.
fn settle(write: &Write<'_>, managers: &mut Managers<'_>, own: Option<usize>, change: &Change<'_>) {
    let mut index = 0;
    managers.0.retain_mut(|entry| {
        let is_own = Some(index) == own;
        index += 1;
        if is_own {
            return true;
        }
        let elsewhere;
        let found = if entry.api_version == write.author.api_version {
            change.found
        } else {
            match difference_at(write, &entry.api_version, change) {
                Some(found) => {
                    elsewhere = found;
                    &elsewhere
                }
                None => return false,
            }
        };
        for gone in [&found.added, &found.modified, &found.removed] {
            if entry.set.intersects(gone) {
                let left = entry.set.difference(gone);
                entry.set_to(left);
            }
        }
        !entry.set.is_empty()
    });
}

fn difference_at(
    write: &Write<'_>,
    version: &str,
    change: &Change<'_>,
) -> Option<Difference<'static>> {
    let node = write.versions.node(version)?;
    let from = write.author.api_version;
    let old = write.versions.convert(change.old, from, version)?;
    let new = write.versions.convert(change.new, from, version)?;
    let found = relevant(write, compare(node, &old, &new));
    Some(Difference {
        added: found.added.into_owned(),
        modified: found.modified.into_owned(),
        removed: found.removed.into_owned(),
    })
}

/// Applies a configuration (at the author's version) to the live object; the object may not exist
/// yet. Answers the merged object, not yet decoded or defaulted.
///
/// # Errors
///
/// The fields that others own, unless forced.
pub fn apply<'a>(
    write: &Write<'a>,
    managers: &mut Managers<'a>,
    (live, config): (Option<&'a Value>, &'a Value),
    force: Force,
) -> Result<Value, Conflicts> {
    let set = restrict(write.scope, strip(set_of(write.node, config)));
    let Some(live) = live else {
        managers.0.push(Entry::of(&write.author, set, write.time));
        managers.0.retain(|entry| !entry.set.is_empty());
        return Ok(config.clone());
    };
    if managers.is_empty() {
        let author = Author {
            manager: BEFORE_FIRST_APPLY,
            operation: Operation::Update,
            ..write.author
        };
        create(&Write { author, ..*write }, managers, live);
    }
    let own = managers.position(&write.author);
    let last = own.and_then(|index| managers.0.get(index)).cloned();
    let merged = merge(write.node, live, config);
    let mine = Entry::of(&write.author, set, write.time);
    let new = match &last {
        Some(last) => {
            let mut others = managers.clone();
            others
                .0
                .retain(|entry| !std::ptr::eq(entry, last) && !same_owner(entry, last));
            let owned = others.owned().union(&mine.set);
            pruned(write, merged, last, &owned)
        }
        None => merged,
    };
    let found = relevant(write, compare(write.node, live, &new));
    let change = Change {
        old: live,
        new: &new,
        found: &found,
    };
    if force == Force::No {
        let conflicts = conflicts(write, managers, own, &change);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
    }
    settle(write, managers, own, &change);
    claim(write, managers, mine);
    drop(found);
    Ok(new)
}

fn same_owner(one: &Entry<'_>, other: &Entry<'_>) -> bool {
    one.manager == other.manager
        && one.operation == other.operation
        && one.subresource == other.subresource
}

/// Replaces the applier's entry.
fn claim<'a>(write: &Write<'a>, managers: &mut Managers<'a>, mine: Entry<'a>) {
    let Some(own) = managers.position(&write.author) else {
        if !mine.set.is_empty() {
            managers.0.push(mine);
        }
        return;
    };
    let Some(entry) = managers.0.get_mut(own) else {
        return;
    };
    let unchanged = entry.set == mine.set;
    let origin = entry.origin.filter(|_| unchanged);
    *entry = Entry { origin, ..mine };
    if entry.set.is_empty() {
        managers.0.remove(own);
    }
}

/// Prunes at the version the applier last applied in.
fn pruned(write: &Write<'_>, merged: Value, last: &Entry<'_>, owned: &Set<'_>) -> Value {
    let (here, there) = (write.author.api_version, &*last.api_version);
    if here == there {
        return prune(write.node, &merged, &last.set, owned);
    }
    let elsewhere = write.versions.node(there).and_then(|node| {
        let converted = write.versions.convert(&merged, here, there)?;
        let pruned = prune(node, &converted, &last.set, owned);
        write.versions.convert(&pruned, there, here)
    });
    elsewhere.unwrap_or(merged)
}

fn conflicts(
    write: &Write<'_>,
    managers: &Managers<'_>,
    own: Option<usize>,
    change: &Change<'_>,
) -> Conflicts {
    let mut conflicts = Conflicts::default();
    for (index, entry) in managers.0.iter().enumerate() {
        if Some(index) == own {
            continue;
        }
        let fields = if entry.api_version == write.author.api_version {
            entry.set.intersection(&change.found.changed())
        } else {
            match difference_at(write, &entry.api_version, change) {
                Some(found) => entry.set.intersection(&found.changed()),
                None => continue,
            }
        };
        if !fields.is_empty() {
            conflicts.add(entry, fields);
        }
    }
    conflicts
}

fn relevant<'a>(write: &Write<'_>, found: Difference<'a>) -> Difference<'a> {
    let cut = |set| restrict(write.scope, strip(set));
    Difference {
        added: cut(found.added),
        modified: cut(found.modified),
        removed: cut(found.removed),
    }
}

/// Without what belongs to nobody.
pub(super) fn strip(mut set: Set<'_>) -> Set<'_> {
    set.member = false;
    set.children.retain_mut(|(step, child)| match step {
        Step::Field(name) if name == "apiVersion" || name == "kind" => false,
        Step::Field(name) if name == "metadata" => {
            child.member = false;
            child.children.retain(|(step, _)| match step {
                Step::Field(name) => !SERVER_METADATA.contains(&&**name),
                Step::Element(_) => true,
            });
            !child.is_empty()
        }
        Step::Field(_) | Step::Element(_) => true,
    });
    set
}

fn restrict(scope: Scope, mut set: Set<'_>) -> Set<'_> {
    match scope {
        Scope::Whole => {}
        Scope::WithoutStatus => set
            .children
            .retain(|(step, _)| *step != Step::field("status")),
        Scope::StatusAlone => set
            .children
            .retain(|(step, _)| *step == Step::field("status")),
        Scope::Status => set
            .children
            .retain(|(step, _)| *step == Step::field("status") || *step == Step::field("metadata")),
    }
    set
}
