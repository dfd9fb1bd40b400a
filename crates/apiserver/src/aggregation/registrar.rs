//! Keeps the APIServices of what is served here: made when missing, removed with their kinds.

use super::registration::{
    AUTOMANAGED, Available, Origin, Registered, condition, is_built_in, own,
};
use super::{RESOURCE, registration};
use crate::resource::delete_options::DeleteOptions;
use crate::resource::encode;
use crate::resource::metadata::whole_seconds;
use crate::resource::own::Own;
use crate::resource::patch::Part;
use crate::server::{ApiServer, key_of};
use crate::store::{Entry, Expect, ListQuery};
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who serves which group version.
type Wanted = BTreeMap<String, (String, String, Origin)>;

fn wanted(server: &ApiServer) -> Wanted {
    let mut wanted = Wanted::new();
    let mut add = |group: &str, version: &str, origin: Origin| {
        let name = registration::name(group, version);
        let value = (group.to_owned(), version.to_owned(), origin);
        wanted.entry(name).or_insert(value);
    };
    for kind in server.kinds().iter() {
        let origin = if is_built_in(&kind.group) {
            Origin::BuiltIn
        } else {
            Origin::Custom
        };
        // The group of APIServices does not register itself.
        if kind.group != "apiregistration.k8s.io" {
            add(&kind.group, &kind.version, origin);
        }
    }
    for local in server.0.locals.read().iter() {
        add(local.group(), local.version(), Origin::Local);
    }
    wanted
}

impl ApiServer {
    /// Makes the APIServices that are missing, in one commit, and removes those of groups that are
    /// no longer served. Does nothing where APIServices are not served.
    pub(crate) async fn register_own(&self) -> Result<(), ApiError> {
        let Some(kind) = self.stored_kind("apiregistration.k8s.io", "apiservices") else {
            return Ok(());
        };
        let query = ListQuery {
            resource: RESOURCE.into(),
            ..ListQuery::default()
        };
        let page = self.store().list(&query).map_err(ApiError::internal)?;
        let mut missing = wanted(self);
        for entry in &page.entries {
            let is_served = missing.remove(&*entry.key.name).is_some();
            self.review(&kind, entry, is_served).await?;
        }
        let drafts = missing.iter().map(|(name, (group, version, origin))| {
            let object = self.own_service(name, (group, version, *origin));
            let key = key_of(RESOURCE, "", name);
            (encode::draft(&kind, key, &object), Expect::Absent)
        });
        // One that somebody else made meanwhile is as good.
        drop(self.store().put_many(drafts.collect()).await);
        Ok(())
    }

    /// The uid depends on the name, so that it takes nothing from the numbers other objects draw.
    fn own_service(&self, name: &str, (group, version, origin): (&str, &str, Origin)) -> Value {
        let now = whole_seconds(self.now());
        let mut object = own(group, version, origin, &now);
        let metadata = meta::object_mut(&mut object, &["metadata"]);
        let uid = self.0.random.uid_of(&format!("apiservices//{name}"));
        metadata.insert("uid".into(), uid.into());
        metadata.insert("creationTimestamp".into(), now.into());
        object
    }

    /// Removes one of ours that is not served any more; notes on others without a Service that
    /// they are available.
    async fn review(
        &self,
        kind: &Arc<Kind>,
        entry: &Entry,
        is_served: bool,
    ) -> Result<(), ApiError> {
        let object: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
        let Registered::Own(noted) = Registered::parse(&object) else {
            return Ok(());
        };
        let is_ours = entry.index.labels.iter().any(|(k, _)| &**k == AUTOMANAGED);
        if !is_served && is_ours {
            return self.unregister(kind, entry).await;
        }
        if noted {
            return Ok(());
        }
        self.note_available(kind, &entry.key.name, &Available::local())
            .await
    }

    async fn unregister(&self, kind: &Arc<Kind>, entry: &Entry) -> Result<(), ApiError> {
        let own = Own::new(kind);
        let writer = own.writer(self);
        let options = DeleteOptions::read(&json!({}))?;
        match writer.delete(&entry.key, &options).await {
            Err(error) if error.code != 404 => Err(error),
            Err(_) | Ok(_) => Ok(()),
        }
    }

    /// Writes the condition `Available` of an APIService, if it is another than it was.
    pub(super) async fn note_available(
        &self,
        kind: &Arc<Kind>,
        name: &str,
        available: &Available,
    ) -> Result<(), ApiError> {
        let own = Own::status(kind);
        let writer = own.writer(self);
        let now = whole_seconds(self.now());
        let step = |old: &Value| Ok(with_condition(old, available, &now));
        let key = key_of(RESOURCE, "", name);
        match writer.update(&key, Part::Status, &step).await {
            Err(error) if error.code != 404 => Err(error),
            Err(_) | Ok(_) => Ok(()),
        }
    }
}

/// The time of a condition moves only with its status.
fn with_condition(old: &Value, available: &Available, now: &str) -> Value {
    let mut new = old.clone();
    let mut fresh = condition(available, now);
    let mut conditions = meta::list(old, &["status", "conditions"]).to_vec();
    let same = |c: &&mut Value| meta::text(c, &["type"]) == "Available";
    match conditions.iter_mut().find(same) {
        Some(known) => {
            if known.get("status") == fresh.get("status")
                && let Some(time) = known.get("lastTransitionTime")
            {
                meta::as_object(&mut fresh).insert("lastTransitionTime".into(), time.clone());
            }
            *known = fresh;
        }
        None => conditions.push(fresh),
    }
    meta::object_mut(&mut new, &["status"]).insert("conditions".into(), conditions.into());
    new
}
