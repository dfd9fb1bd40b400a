//! Nobody grants what they do not hold: who writes roles must hold their rules, and who binds a
//! role must hold its rules, unless they may `escalate` or `bind`.

use super::super::{Attributes, Identity, MASTERS};
use crate::admission::Request;
use crate::server::ApiServer;
use plimsoll_api::meta;
use plimsoll_api::rbac::{Rule, uncovered};
use plimsoll_api::status::ApiError;
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses to grant more than the caller holds. `old` is absent on create.
pub(crate) fn check(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let (writer, kind) = (request.writer, &request.writer.kind);
    if kind.group != GROUP || writer.identity.is_in(MASTERS) {
        return Ok(());
    }
    let (who, server) = (writer.identity, writer.server);
    let same = |field: &str| old.is_some_and(|old| old.get(field) == object.get(field));
    match kind.plural.as_ref() {
        "roles" | "clusterroles" => {
            if same("rules") && same("aggregationRule") || may(request, "escalate", request.name) {
                return Ok(());
            }
            let aggregates = |role: &Value| {
                !meta::list(role, &["aggregationRule", "clusterRoleSelectors"]).is_empty()
            };
            if aggregates(object) || old.is_some_and(aggregates) {
                holds(server, who, "", &Rule::everything()).map_err(|why| {
                    request.forbidden(&format!(
                        "must have cluster-admin privileges to use the aggregationRule: {why}"
                    ))
                })?;
            }
            let rules = Rule::all_of(object);
            holds(server, who, request.namespace, &rules).map_err(|why| request.forbidden(&why))
        }
        _ if same("subjects") && same("roleRef") => Ok(()),
        _ => binding(request, object),
    }
}

fn binding(request: &Request<'_>, binding: &Value) -> Result<(), ApiError> {
    let role = meta::text(binding, &["roleRef", "name"]);
    let is_cluster = meta::text(binding, &["roleRef", "kind"]) == "ClusterRole";
    let (plural, namespace) = if is_cluster {
        ("clusterroles", "")
    } else {
        ("roles", request.namespace)
    };
    let asked = Attributes {
        verb: "bind",
        group: GROUP,
        resource: plural,
        // A ClusterRole that is bound in a namespace is asked for there.
        namespace: request.namespace,
        name: role,
        ..Attributes::default()
    };
    let (server, who) = (request.writer.server, request.writer.identity);
    if server.authorize(who, &asked).allowed {
        return Ok(());
    }
    let rules = server.0.rbac.role(namespace, role);
    let rules = rules.ok_or_else(|| ApiError::not_found(GROUP, plural, role))?;
    holds(server, who, request.namespace, &rules).map_err(|why| request.forbidden(&why))
}

fn may(request: &Request<'_>, verb: &str, name: &str) -> bool {
    let kind = &request.writer.kind;
    let asked = Attributes {
        verb,
        group: &kind.group,
        resource: &kind.plural,
        namespace: request.namespace,
        name,
        ..Attributes::default()
    };
    let decision = request
        .writer
        .server
        .authorize(request.writer.identity, &asked);
    decision.allowed
}

/// Whether `who` holds `wanted` in `namespace`; what is missing, in upstream's words.
fn holds(
    server: &ApiServer,
    who: &Identity,
    namespace: &str,
    wanted: &[Rule],
) -> Result<(), String> {
    let (held, broken) = server.0.rbac.rules(who, namespace);
    let Some(missing) = uncovered(&held, wanted) else {
        return Ok(());
    };
    let groups: Vec<String> = who.groups.iter().map(|g| format!("{g:?}")).collect();
    let mut why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{missing}",
        who.user,
        groups.join(" "),
    );
    if !broken.is_empty() {
        why.push_str("; resolution errors: [");
        why.push_str(&broken.join(", "));
        why.push(']');
    }
    Err(why)
}
