//! Runtime classes and controller revisions.

use super::object::{self, Lives, metadata};
use super::scope::{Errors, Scope};
use crate::names;
use serde_json::Value;

pub(super) fn runtime_class(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let root = Scope::root(new);
    let handler = root.at("handler");
    handler.name(names::is_dns_label, &mut errors);
    super::container::resources(
        &Scope {
            path: "overhead.podFixed".into(),
            value: &serde_json::json!({"requests": root.path(&["overhead", "podFixed"]).value}),
        },
        &mut errors,
    );
    object::labels(&root.path(&["scheduling", "nodeSelector"]), &mut errors);
    super::pod::tolerations(&root.at("scheduling"), &mut errors);
    if let Some(old) = old {
        handler.unchanged(&Scope::root(old).at("handler"), &mut errors);
    }
    errors
}

pub(super) fn controller_revision(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    root.at("revision").not_negative(&mut errors);
    if !root.at("data").present() {
        errors.push(root.at("data").required("data is mandatory"));
    }
    if let Some(old) = old {
        root.at("data")
            .unchanged(&Scope::root(old).at("data"), &mut errors);
    }
    errors
}
