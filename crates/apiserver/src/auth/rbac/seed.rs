//! Puts the roles and bindings of the table into the store, and mends those that lack something.

use super::policy::{Seed, seeds};
use crate::resource::encode;
use crate::resource::metadata::whole_seconds;
use crate::resource::own::Own;
use crate::resource::patch::Part;
use crate::resource::present::parse;
use crate::server::{ApiServer, key};
use crate::store::{Expect, Key};
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::rbac::{Rule, uncovered};
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::sync::Arc;

const GROUP: &str = "rbac.authorization.k8s.io";
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

impl ApiServer {
    /// Creates the default roles and bindings that are missing, in one commit, and gives back to
    /// the others what they have lost, unless they are annotated not to be updated. Does nothing
    /// where RBAC's kinds are not served.
    pub(crate) async fn bootstrap_rbac(&self) -> Result<(), ApiError> {
        let mut drafts = Vec::new();
        for seed in seeds() {
            let Some(kind) = self.stored_kind(GROUP, seed.plural) else {
                continue;
            };
            let key = key(&kind, &seed.namespace, meta::name(&seed.object));
            let Some(entry) = self.store().get(&key) else {
                let draft = encode::draft(&kind, key, &self.stamped(&seed));
                drafts.push((draft, Expect::Absent));
                continue;
            };
            let held = parse(&entry.json)?;
            let annotation = ["metadata", "annotations", AUTO_UPDATE];
            if meta::text(&held, &annotation) != "false" && mended(&held, &seed.object) != held {
                self.mend(&kind, &key, &seed).await?;
            }
        }
        for outcome in self.store().put_many(drafts).await {
            outcome.map_err(ApiError::internal)?;
        }
        Ok(())
    }

    /// The object with what the server adds to new ones. The uid depends on the name, so that it
    /// takes nothing from the numbers other objects draw.
    fn stamped(&self, seed: &Seed) -> Value {
        let mut object = seed.object.clone();
        let name = format!("{}/{}/{}", seed.plural, seed.namespace, meta::name(&object));
        let metadata = meta::object_mut(&mut object, &["metadata"]);
        metadata.insert("uid".into(), self.0.random.uid_of(&name).into());
        let now = whole_seconds(self.now());
        metadata.insert("creationTimestamp".into(), now.into());
        object
    }

    async fn mend(&self, kind: &Arc<Kind>, key: &Key, seed: &Seed) -> Result<(), ApiError> {
        let own = Own::new(kind);
        let writer = own.writer(self);
        let step = |old: &Value| Ok(mended(old, &seed.object));
        writer.update(key, Part::Main, &step).await.map(drop)
    }
}

/// `held` with the rules, subjects, selectors and labels of `seed` that it lacks. A binding to
/// another role stays as it is: that cannot be changed in place.
fn mended(held: &Value, seed: &Value) -> Value {
    let mut out = held.clone();
    for map in ["labels", "annotations"] {
        let wanted = meta::at(seed, &["metadata", map]).and_then(Value::as_object);
        for (name, value) in wanted.into_iter().flatten() {
            let held = meta::object_mut(&mut out, &["metadata", map]);
            held.entry(name).or_insert_with(|| value.clone());
        }
    }
    let aggregation = ["aggregationRule", "clusterRoleSelectors"];
    if seed.get("aggregationRule").is_some() {
        add_missing(&mut out, seed, &aggregation);
    } else if seed.get("rules").is_some() {
        add_rules(&mut out, seed);
    } else if held.get("roleRef") == seed.get("roleRef") {
        add_missing(&mut out, seed, &["subjects"]);
    }
    out
}

/// Adds the items of the list at `path` that are not there.
fn add_missing(out: &mut Value, seed: &Value, path: &[&str]) {
    let mut items = meta::list(out, path).to_vec();
    let known = items.len();
    for item in meta::list(seed, path) {
        if !items.contains(item) {
            items.push(item.clone());
        }
    }
    if let (true, Some((last, parents))) = (items.len() > known, path.split_last()) {
        meta::object_mut(out, parents).insert((*last).to_owned(), items.into());
    }
}

fn add_rules(out: &mut Value, seed: &Value) {
    let held = Rule::all_of(out);
    let Some(missing) = uncovered(&held, &Rule::all_of(seed)) else {
        return;
    };
    let mut rules = meta::list(out, &["rules"]).to_vec();
    rules.extend(missing.rules().iter().map(Rule::to_value));
    meta::as_object(out).insert("rules".into(), rules.into());
}
