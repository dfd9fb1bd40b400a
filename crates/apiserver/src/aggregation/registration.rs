//! What an APIService says.

use crate::outbound::{Destination, Place, ServiceRef, Trust};
use plimsoll_api::meta;
use serde_json::{Value, json};
use std::sync::Arc;

/// The built-in groups: their `groupPriorityMinimum`, which orders them in discovery.
const BUILT_IN: [(&str, i64); 21] = [
    ("", 18_000),
    ("apiregistration.k8s.io", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("admissionregistration.k8s.io", 16_700),
    ("apiextensions.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("resource.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
];
/// The priority of groups made of custom resources.
const CUSTOM_PRIORITY: i64 = 1_000;
/// The priority of groups that parts of this program serve; what metrics-server asks for.
const LOCAL_PRIORITY: i64 = 100;

/// Marks APIServices that the server makes itself.
pub(super) const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Who serves a group version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Kubernetes' own.
    BuiltIn,
    /// A CustomResourceDefinition.
    Custom,
    /// A part of this program.
    Local,
}

/// Whether the group is one of Kubernetes' own, which no other server can take over.
pub(super) fn is_built_in(group: &str) -> bool {
    BUILT_IN.iter().any(|(known, _)| *known == group)
}

/// `groupPriorityMinimum` and `versionPriority` of a group version that is ours.
pub(super) fn priorities(group: &str, version: &str, origin: Origin) -> (i64, i64) {
    let known = BUILT_IN.iter().find(|(name, _)| *name == group);
    let of_group = match (origin, known) {
        (Origin::BuiltIn, Some((_, priority))) => *priority,
        (Origin::BuiltIn | Origin::Custom, _) => CUSTOM_PRIORITY,
        (Origin::Local, _) => LOCAL_PRIORITY,
    };
    let of_version = match (origin, group, version) {
        (Origin::BuiltIn, "", _) => 1,
        (Origin::BuiltIn, "autoscaling", "v2") => 30,
        (Origin::BuiltIn, _, _) => 15,
        (Origin::Custom | Origin::Local, _, _) => 100,
    };
    (of_group, of_version)
}

/// Name of a group version's APIService: `v1.apps`, and `v1.` for the core group.
pub(super) fn name(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

/// The APIService of a group version that is ours, without uid and times.
pub(super) fn own(group: &str, version: &str, origin: Origin, now: &str) -> Value {
    let (of_group, of_version) = priorities(group, version, origin);
    let managed = if origin == Origin::Custom {
        "true"
    } else {
        "onstart"
    };
    let mut spec = json!({});
    let map = meta::as_object(&mut spec);
    if !group.is_empty() {
        map.insert("group".into(), group.into());
    }
    map.insert("groupPriorityMinimum".into(), of_group.into());
    map.insert("version".into(), version.into());
    map.insert("versionPriority".into(), of_version.into());
    json!({
        "metadata": {"name": name(group, version), "labels": {AUTOMANAGED: managed}},
        "spec": spec,
        "status": {"conditions": [condition(&Available::local(), now)]},
    })
}

/// Whether a server answers, and why that is thought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Available {
    pub(super) yes: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Available {
    /// What is ours is there.
    pub(super) fn local() -> Self {
        Self {
            yes: true,
            reason: "Local",
            message: "Local APIServices are always available".to_owned(),
        }
    }
}

/// The condition `Available`.
pub(super) fn condition(available: &Available, now: &str) -> Value {
    json!({
        "type": "Available", "status": if available.yes { "True" } else { "False" },
        "lastTransitionTime": now, "reason": available.reason, "message": available.message,
    })
}

/// An APIService, as far as it matters here.
#[derive(Debug)]
pub(super) enum Registered {
    /// Ours; whether its status says so.
    Own(bool),
    /// Another server's.
    External(Arc<Registration>),
}

/// Another server that answers for a group version.
#[derive(Debug)]
pub(super) struct Registration {
    /// Name of the APIService.
    pub(super) name: String,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) group_priority: i64,
    pub(super) version_priority: i64,
    pub(super) service: ServiceRef,
    trust: Result<Trust, String>,
    /// Its spec, to see changes.
    pub(super) spec: Value,
    /// Whether its status says that it answers.
    pub(super) available: bool,
}

impl Registered {
    /// Reads a stored APIService.
    pub(super) fn parse(object: &Value) -> Self {
        let conditions = meta::list(object, &["status", "conditions"]).iter();
        let mut conditions = conditions.filter(|c| meta::text(c, &["type"]) == "Available");
        let condition = conditions.next().unwrap_or(&Value::Null);
        let available = meta::text(condition, &["status"]) == "True";
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let Some(service) = spec.get("service").filter(|s| s.is_object()) else {
            return Self::Own(available && meta::text(condition, &["reason"]) == "Local");
        };
        let text = |key: &str| meta::text(spec, &[key]).to_owned();
        let insecure = meta::at(spec, &["insecureSkipTLSVerify"]);
        let trust = if insecure == Some(&Value::Bool(true)) {
            Ok(Trust::Anyone)
        } else {
            Trust::from_base64(&text("caBundle")).map_err(|e| e.to_string())
        };
        let number = |key: &str| meta::integer(spec, &[key]).unwrap_or_default();
        Self::External(Arc::new(Registration {
            name: meta::name(object).to_owned(),
            group: text("group"),
            version: text("version"),
            group_priority: number("groupPriorityMinimum"),
            version_priority: number("versionPriority"),
            service: ServiceRef::from_json(service),
            trust,
            spec: spec.clone(),
            available,
        }))
    }

    /// The other server, if there is one.
    pub(super) fn external(&self) -> Option<Arc<Registration>> {
        match self {
            Self::Own(_) => None,
            Self::External(registration) => Some(Arc::clone(registration)),
        }
    }
}

impl Registration {
    /// Where its requests go, except for our certificate.
    ///
    /// # Errors
    /// Why its `caBundle` is no use.
    pub(super) fn destination(&self) -> Result<Destination, String> {
        Ok(Destination {
            place: Place::Service(self.service.clone()),
            trust: self.trust.clone()?,
            certificate: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", "v1", Origin::BuiltIn, "v1.", (18_000, 1))]
    #[case("apps", "v1", Origin::BuiltIn, "v1.apps", (17_800, 15))]
    #[case("autoscaling", "v2", Origin::BuiltIn, "v2.autoscaling", (17_500, 30))]
    #[case("stable.example.com", "v1", Origin::Custom, "v1.stable.example.com", (1_000, 100))]
    #[case("metrics.k8s.io", "v1beta1", Origin::Local, "v1beta1.metrics.k8s.io", (100, 100))]
    fn our_own_carry_upstreams_priorities(
        #[case] group: &str,
        #[case] version: &str,
        #[case] origin: Origin,
        #[case] name: &str,
        #[case] priorities: (i64, i64),
    ) {
        let object = own(group, version, origin, "2026-01-01T00:00:00Z");
        assert_eq!(object["metadata"]["name"], name);
        assert_eq!(object["spec"]["groupPriorityMinimum"], priorities.0);
        assert_eq!(object["spec"]["versionPriority"], priorities.1);
        assert!(matches!(Registered::parse(&object), Registered::Own(true)));
    }

    #[test]
    fn another_server_is_known_by_its_service() {
        let object = json!({
            "metadata": {"name": "v1.a.b"},
            "spec": {
                "group": "a.b", "version": "v1", "insecureSkipTLSVerify": true,
                "service": {"namespace": "n", "name": "s", "port": 8443},
                "groupPriorityMinimum": 5, "versionPriority": 6,
            },
        });
        let external = Registered::parse(&object).external().unwrap();
        assert_eq!(external.service.origin(), "https://s.n.svc:8443");
        assert_eq!(external.destination().unwrap().trust, Trust::Anyone);
        assert!(!external.available);
    }
}
