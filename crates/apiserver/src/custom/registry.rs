//! What is known of the definitions, and the table of kinds that follows them.

use crate::server::ApiServer;
use parking_lot::Mutex;
use plimsoll_api::custom::{Definition, Names, Taken};
use plimsoll_api::kind::{Kind, Kinds};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The definitions a server knows.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// One definition is settled at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    known: Mutex<BTreeMap<String, Known>>,
    /// Definitions whose objects are being removed.
    pub(super) removing: Mutex<BTreeSet<String>>,
}

#[derive(Debug)]
struct Known {
    group: String,
    /// Names it holds.
    accepted: Names,
    /// Whether it still waits for a name.
    waits: bool,
    /// What it was served from: uid, generation and accepted names as JSON.
    form: Form,
    storage_kind: Option<Arc<Kind>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Form {
    uid: String,
    generation: Option<i64>,
    accepted: Value,
    established: bool,
}

impl Form {
    pub(super) fn of(object: &Value, status: &Value) -> Self {
        let at = plimsoll_api::meta::at;
        Self {
            uid: plimsoll_api::meta::uid(object).to_owned(),
            generation: at(object, &["metadata", "generation"]).and_then(Value::as_i64),
            accepted: at(status, &["acceptedNames"]).cloned().unwrap_or_default(),
            established: is_established(status),
        }
    }
}

impl Registry {
    /// Names that other definitions of the group hold.
    pub(super) fn taken(&self, name: &str, group: &str) -> Taken {
        let mut taken = Taken::default();
        let known = self.known.lock();
        let others = known
            .iter()
            .filter(|(other, k)| *other != name && k.group == group);
        others.for_each(|(_, other)| taken.add(&other.accepted));
        taken
    }

    /// Definitions of a group that wait for a name.
    pub(super) fn waiting(&self, group: &str) -> Vec<String> {
        let known = self.known.lock();
        let waiting = known.iter().filter(|(_, k)| k.waits && k.group == group);
        waiting.map(|(name, _)| name.clone()).collect()
    }

    /// The group of a known definition.
    pub(super) fn group(&self, name: &str) -> Option<String> {
        self.known.lock().get(name).map(|k| k.group.clone())
    }

    /// The kind objects of a definition are stored as, served or not.
    pub(super) fn storage_kind(&self, name: &str) -> Option<Arc<Kind>> {
        self.known.lock().get(name)?.storage_kind.clone()
    }

    /// Serves what a definition says, unless it is served in this form already.
    pub(super) fn serve(&self, server: &ApiServer, object: &Value, status: &Value, revision: u64) {
        let form = Form::of(object, status);
        let name = plimsoll_api::meta::name(object).to_owned();
        if self.known.lock().get(&name).is_some_and(|k| k.form == form) {
            return;
        }
        let mut kinds = Kinds::clone(&server.kinds());
        self.enter(&mut kinds, object, status, revision);
        *server.0.kinds.write() = Arc::new(kinds);
        server.0.aggregation.groups_changed();
    }

    /// Puts the kinds of a definition into a table.
    pub(super) fn enter(&self, kinds: &mut Kinds, object: &Value, status: &Value, revision: u64) {
        let mut definition = Definition::parse(object);
        let accepted = status.get("acceptedNames").unwrap_or(&Value::Null);
        let waits = definition.names != Names::parse(accepted);
        definition.names = Names::parse(accepted);
        withdraw(kinds, &definition.name);
        let established = is_established(status);
        for kind in definition.kinds(revision) {
            // What is built in stays what it is.
            let free = kinds
                .find(&kind.group, &kind.version, &kind.plural)
                .is_none();
            if established && free {
                kinds.insert(kind);
            }
        }
        let known = Known {
            group: definition.group.clone(),
            storage_kind: definition.storage_kind(revision).map(Arc::new),
            form: Form::of(object, status),
            accepted: definition.names,
            waits,
        };
        self.known.lock().insert(definition.name, known);
    }

    /// Stops serving a definition that is gone.
    ///
    /// Departs: upstream ends the watches of its objects; here they stay open until they time out,
    /// having seen every deletion.
    pub(super) fn forget(&self, server: &ApiServer, name: &str) {
        if self.known.lock().remove(name).is_none() {
            return;
        }
        let mut kinds = Kinds::clone(&server.kinds());
        withdraw(&mut kinds, name);
        *server.0.kinds.write() = Arc::new(kinds);
        server.0.aggregation.groups_changed();
    }
}

fn withdraw(kinds: &mut Kinds, definition: &str) {
    kinds.retain(|kind| {
        kind.custom
            .as_ref()
            .is_none_or(|c| c.definition != definition)
    });
}

fn is_established(status: &Value) -> bool {
    let conditions = plimsoll_api::meta::list(status, &["conditions"]);
    conditions.iter().any(|c| {
        c.get("type") == Some(&"Established".into()) && c.get("status") == Some(&"True".into())
    })
}
