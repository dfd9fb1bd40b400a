//! Tells of each flow schema whether its priority level exists.

use super::schema::Schema;
use crate::resource::metadata::whole_seconds;
use crate::resource::own::Own;
use crate::resource::patch::Part;
use crate::server::{ApiServer, key};
use crate::store::Watch;
use futures::future::select_all;
use plimsoll_api::meta;
use serde_json::{Value, json};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const FOLLOWED: [&str; 2] = [
    "flowcontrol.apiserver.k8s.io/flowschemas",
    "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations",
];

impl ApiServer {
    /// Keeps the `Dangling` condition of every FlowSchema right. Runs until dropped.
    pub async fn tend_flows(&self) {
        let store = self.store();
        let from = store.revision();
        let watches = FOLLOWED
            .iter()
            .filter_map(|name| store.watch(name, from).ok());
        let mut watches: Vec<Watch> = watches.collect();
        while !watches.is_empty() {
            for schema in self.0.flow.schemas.in_namespace("") {
                self.judge_flow(&schema).await;
            }
            let events = watches.iter_mut().map(|watch| Box::pin(watch.next()));
            if select_all(events).await.0.is_err() {
                return;
            }
        }
    }

    async fn judge_flow(&self, schema: &Schema) {
        let level = &schema.level;
        let exists = self.0.flow.levels.get("", level).is_some();
        let head = format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {level:?}"
        );
        let (status, reason, message) = if exists {
            ("False", "Found", format!("{head} and it exists"))
        } else {
            (
                "True",
                "NotFound",
                format!("{head} but there is no such object"),
            )
        };
        if schema.dangling == status {
            return;
        }
        let Some(kind) = self.stored_kind(GROUP, "flowschemas") else {
            return;
        };
        let own = Own::status(&kind);
        let writer = own.writer(self);
        let now = whole_seconds(self.now());
        let step = |old: &Value| {
            let mut new = old.clone();
            let conditions = meta::list(old, &["status", "conditions"]).iter();
            let others = conditions.filter(|c| meta::text(c, &["type"]) != "Dangling");
            let mut conditions: Vec<Value> = others.cloned().collect();
            conditions.push(json!({
                "type": "Dangling", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": now,
            }));
            meta::object_mut(&mut new, &["status"]).insert("conditions".into(), conditions.into());
            Ok(new)
        };
        let place = key(&kind, "", &schema.name);
        if let Err(error) = writer.update(&place, Part::Status, &step).await
            && error.code != 404
        {
            tracing::warn!(%error, schema = schema.name, "a flow schema's status could not be written");
        }
    }
}
