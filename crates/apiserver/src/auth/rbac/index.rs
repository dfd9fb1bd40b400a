//! Roles by name and bindings by whom they are for.

use super::Decision;
use crate::auth::{Attributes, Identity};
use crate::store::{Entry, Key};
use plimsoll_api::meta;
use plimsoll_api::rbac::Rule;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A namespace and a name; the namespace is empty for what belongs to the whole cluster.
type Place = (Arc<str>, Arc<str>);

/// A binding as one of its subjects sees it.
#[derive(Debug)]
pub(crate) struct Grant {
    /// The binding.
    binding: Place,
    /// Whether it refers to a ClusterRole.
    cluster_role: bool,
    /// The role's name.
    role: Arc<str>,
    /// The subject as reasons name it: `User "jane"`.
    subject: String,
}

/// The bindings for one subject: by the namespace they hold in (empty: everywhere), by name.
type Grants = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Grant>>>;

/// The rules of roles: by namespace (empty: ClusterRoles), by name.
type Roles = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<[Rule]>>>;

/// Whom a binding is for, in the form identities are looked up by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    User(String),
    Group(String),
}

/// Every role and binding. The work of a question depends on what is bound to who asks, and not on
/// what is bound to others.
#[derive(Debug, Default)]
pub(crate) struct Index {
    roles: Roles,
    users: BTreeMap<String, Grants>,
    groups: BTreeMap<String, Grants>,
    holders: BTreeMap<Place, Vec<Holder>>,
}

impl Index {
    /// Takes a new or changed role or binding in.
    pub(crate) fn put(&mut self, entry: &Entry) {
        self.remove(&entry.key);
        let object: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
        let place = place(&entry.key);
        if is_role(&entry.key) {
            let here = self.roles.entry(place.0).or_default();
            here.insert(place.1, Rule::all_of(&object).into());
        } else {
            self.bind(&place, &object);
        }
    }

    /// Forgets a role or binding.
    pub(crate) fn remove(&mut self, key: &Key) {
        let place = place(key);
        if is_role(key) {
            if let Some(here) = self.roles.get_mut(&place.0) {
                here.remove(&place.1);
            }
            return;
        }
        for holder in self.holders.remove(&place).unwrap_or_default() {
            let (map, name) = match &holder {
                Holder::User(name) => (&mut self.users, name),
                Holder::Group(name) => (&mut self.groups, name),
            };
            let Some(grants) = map.get_mut(name) else {
                continue;
            };
            if let Some(here) = grants.get_mut(&place.0) {
                here.remove(&place.1);
                if here.is_empty() {
                    grants.remove(&place.0);
                }
            }
            if grants.is_empty() {
                map.remove(name);
            }
        }
    }

    fn bind(&mut self, place: &Place, binding: &Value) {
        let mut holders = Vec::new();
        for subject in meta::list(binding, &["subjects"]) {
            let Some((holder, description)) = subject_of(subject, &place.0) else {
                continue;
            };
            let grant = Arc::new(Grant {
                binding: place.clone(),
                cluster_role: meta::text(binding, &["roleRef", "kind"]) == "ClusterRole",
                role: meta::text(binding, &["roleRef", "name"]).into(),
                subject: description,
            });
            let grants = match &holder {
                Holder::User(name) => self.users.entry(name.clone()),
                Holder::Group(name) => self.groups.entry(name.clone()),
            };
            let here = grants.or_default().entry(Arc::clone(&place.0)).or_default();
            here.entry(Arc::clone(&place.1)).or_insert(grant);
            holders.push(holder);
        }
        self.holders.insert(place.clone(), holders);
    }

    /// The rules of a role.
    pub(crate) fn role(&self, namespace: &str, name: &str) -> Option<Arc<[Rule]>> {
        self.roles.get(namespace)?.get(name).map(Arc::clone)
    }

    /// Whether a binding for `who` or for a group of theirs lets this be done.
    pub(crate) fn decide(&self, who: &Identity, asked: &Attributes<'_>) -> Decision {
        let mut broken = Vec::new();
        for grant in self.grants(who, asked.namespace) {
            let Some(rules) = self.rules_of(grant) else {
                broken.push(grant.missing());
                continue;
            };
            if rules.iter().any(|rule| rule.allows(asked)) {
                return Decision::allow(format!("RBAC: allowed by {grant}"));
            }
        }
        let reason = match broken.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        };
        Decision {
            allowed: false,
            reason,
        }
    }

    /// The rules bound to `who`, and what could not be found.
    pub(crate) fn rules(&self, who: &Identity, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut broken) = (Vec::new(), Vec::new());
        for grant in self.grants(who, namespace) {
            match self.rules_of(grant) {
                Some(found) => rules.extend(found.iter().cloned()),
                None => broken.push(grant.missing()),
            }
        }
        (rules, broken)
    }

    /// Bindings that hold in `namespace`: those of the whole cluster first.
    fn grants<'a>(
        &'a self,
        who: &'a Identity,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Grant> {
        let scopes = [Some(""), Some(namespace).filter(|n| !n.is_empty())];
        scopes.into_iter().flatten().flat_map(move |scope| {
            let user = self.users.get(&who.user);
            let groups = who.groups.iter().filter_map(|g| self.groups.get(g));
            user.into_iter()
                .chain(groups)
                .filter_map(move |grants| grants.get(scope))
                .flat_map(|here| here.values().map(|grant| &**grant))
        })
    }

    fn rules_of(&self, grant: &Grant) -> Option<&Arc<[Rule]>> {
        let namespace = if grant.cluster_role {
            ""
        } else {
            &*grant.binding.0
        };
        self.roles.get(namespace)?.get(&grant.role)
    }
}

impl Grant {
    /// What is said if the role is not there.
    fn missing(&self) -> String {
        let resource = if self.cluster_role {
            "clusterrole"
        } else {
            "role"
        };
        format!(
            "{resource}.rbac.authorization.k8s.io {:?} not found",
            &*self.role
        )
    }
}

impl std::fmt::Display for Grant {
    /// `ClusterRoleBinding "x" of ClusterRole "y" to User "z"`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (namespace, name) = (&self.binding.0, &self.binding.1);
        if namespace.is_empty() {
            write!(f, "ClusterRoleBinding {:?}", &**name)?;
        } else {
            write!(f, "RoleBinding \"{name}/{namespace}\"")?;
        }
        let kind = if self.cluster_role {
            "ClusterRole"
        } else {
            "Role"
        };
        write!(f, " of {kind} {:?} to {}", &*self.role, self.subject)
    }
}

fn place(key: &Key) -> Place {
    (Arc::clone(&key.namespace), Arc::clone(&key.name))
}

fn is_role(key: &Key) -> bool {
    key.resource.ends_with("roles")
}

/// Whom a subject stands for, and how reasons name it.
fn subject_of(subject: &Value, binding_namespace: &str) -> Option<(Holder, String)> {
    let name = meta::text(subject, &["name"]);
    match meta::text(subject, &["kind"]) {
        "User" => Some((Holder::User(name.to_owned()), format!("User {name:?}"))),
        "Group" => Some((Holder::Group(name.to_owned()), format!("Group {name:?}"))),
        "ServiceAccount" => {
            let namespace = match meta::text(subject, &["namespace"]) {
                "" => binding_namespace,
                namespace => namespace,
            };
            (!namespace.is_empty()).then(|| {
                let user = format!("system:serviceaccount:{namespace}:{name}");
                (
                    Holder::User(user),
                    format!("ServiceAccount \"{name}/{namespace}\""),
                )
            })
        }
        _ => None,
    }
}
