//! Approves what node agents ask for themselves, and signs what is approved.

use super::constraints::Wanted;
use super::{CLIENT, GROUP, KUBELET_CLIENT, KUBELET_SERVING, stamp};
use crate::auth::{Attributes, Identity};
use crate::pki::Pki;
use crate::resource::metadata::whole_seconds;
use crate::resource::own::Own;
use crate::resource::patch::Part;
use crate::resource::present::parse;
use crate::server::ApiServer;
use crate::store::{Change, Entry, ListQuery};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

const REQUESTS: &str = "certificates.k8s.io/certificatesigningrequests";
/// How long certificates last if the request does not say: a year, as upstream's.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

impl ApiServer {
    /// Approves node agents' own requests and signs approved ones with `pki`'s authority. Runs
    /// until dropped.
    pub async fn sign_certificates(&self, pki: Pki) {
        let query = ListQuery {
            resource: REQUESTS.into(),
            ..ListQuery::default()
        };
        // A watcher that fell behind begins again.
        while let Ok((page, mut watch)) = self.store().list_and_watch(&query) {
            for entry in &page.entries {
                self.tend_request(&pki, entry).await;
            }
            while let Ok(event) = watch.next().await {
                if event.change == Change::Put {
                    self.tend_request(&pki, &event.entry).await;
                }
            }
        }
    }

    async fn tend_request(&self, pki: &Pki, entry: &Arc<Entry>) {
        let Ok(request) = parse(&entry.json) else {
            return;
        };
        let signer = meta::text(&request, &["spec", "signerName"]);
        let decided = |what: &str| {
            let conditions = meta::list(&request, &["status", "conditions"]);
            conditions.iter().any(|c| meta::text(c, &["type"]) == what)
        };
        let ours = [CLIENT, KUBELET_CLIENT, KUBELET_SERVING].contains(&signer);
        let done = !meta::text(&request, &["status", "certificate"]).is_empty();
        if !ours || done || decided("Denied") || decided("Failed") {
            return;
        }
        let change = if decided("Approved") {
            self.signed(pki, &request, signer)
        } else if signer == KUBELET_CLIENT && self.is_own(&request) {
            let message = "Auto approving kubelet client certificate after SubjectAccessReview.";
            condition("Approved", "AutoApproved", message)
        } else {
            return;
        };
        if let Err(error) = self.write_status(entry, &change).await {
            tracing::warn!(%error, request = %entry.key.name, "a certificate request waits");
        }
    }

    /// The status with the certificate, or with why there is none.
    fn signed(&self, pki: &Pki, request: &Value, signer: &str) -> Map<String, Value> {
        let wanted = Wanted::of(request).and_then(|w| w.fits(signer).map(|()| w));
        let asked = meta::integer(request, &["spec", "expirationSeconds"]);
        let lifetime = asked.and_then(|s| u64::try_from(s).ok());
        let lifetime = lifetime.map_or(LIFETIME, Duration::from_secs);
        let serves = signer == KUBELET_SERVING;
        let issued = wanted.map_err(|why| why.to_string()).and_then(|wanted| {
            let begins = Duration::from_secs(self.now().as_second().unsigned_abs());
            pki.sign_request(
                wanted.params,
                &wanted.organizations,
                serves,
                (begins, lifetime),
            )
            .map_err(|why| why.to_string())
        });
        match issued {
            Ok(pem) => Map::from_iter([("certificate".to_owned(), STANDARD.encode(pem).into())]),
            Err(why) => condition("Failed", "SignerValidationFailure", &why),
        }
    }

    /// Whether a node agent asks for its own client certificate, or a bootstrapper for one, and
    /// may.
    fn is_own(&self, request: &Value) -> bool {
        let Ok(wanted) = Wanted::of(request) else {
            return false;
        };
        let user = meta::text(request, &["spec", "username"]);
        let groups = meta::list(request, &["spec", "groups"]).iter();
        let groups: Vec<&str> = groups.filter_map(Value::as_str).collect();
        let permission = if user == wanted.common_name {
            "selfnodeclient"
        } else {
            "nodeclient"
        };
        let asked = Attributes {
            verb: "create",
            group: GROUP,
            resource: "certificatesigningrequests",
            subresource: permission,
            ..Attributes::default()
        };
        wanted.fits(KUBELET_CLIENT).is_ok()
            && self
                .authorize(&Identity::new(user, &groups), &asked)
                .allowed
    }

    /// Merges `change` into the status; its conditions are added.
    async fn write_status(
        &self,
        entry: &Entry,
        change: &Map<String, Value>,
    ) -> Result<(), ApiError> {
        let Some(kind) = self.stored_kind(GROUP, "certificatesigningrequests") else {
            return Ok(());
        };
        let own = Own::status(&kind);
        let writer = own.writer(self);
        let now = whole_seconds(self.now());
        let step = |old: &Value| {
            let mut new = old.clone();
            let mut conditions = meta::list(old, &["status", "conditions"]).to_vec();
            let status = meta::object_mut(&mut new, &["status"]);
            for (field, value) in change {
                status.insert(field.clone(), value.clone());
            }
            if let Some(Value::Array(added)) = change.get("conditions") {
                conditions.extend(added.iter().cloned().map(|mut condition| {
                    stamp(meta::as_object(&mut condition), &now);
                    condition
                }));
                status.insert("conditions".into(), conditions.into());
            }
            Ok(new)
        };
        match writer.update(&entry.key, Part::Status, &step).await {
            Err(error) if error.code != 404 => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn condition(kind: &str, reason: &str, message: &str) -> Map<String, Value> {
    let condition = json!([{
        "type": kind, "status": "True", "reason": reason, "message": message,
    }]);
    Map::from_iter([("conditions".to_owned(), condition)])
}
