//! The values that expressions about a request see.

use super::expression::request_type;
use crate::admission::webhook::{Matched, Subject};
use crate::auth::{Attributes, Identity};
use crate::call::Run;
use crate::resource::present::parse;
use crate::server::ApiServer;
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_cel::{Authorizer, Bindings, Check, Decision, Opaque, Question, Value as Cel};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

static REQUEST_TYPE: LazyLock<plimsoll_cel::Type> = LazyLock::new(request_type);

/// Everything an expression may look at, in the version it wants to see.
#[derive(Debug)]
pub(crate) struct Inputs<'s> {
    object: Value,
    old: Value,
    request: Value,
    namespace: Value,
    asker: Asker<'s>,
    /// What the request is about, for `authorizer.requestResource`.
    about: Question,
}

impl<'s> Inputs<'s> {
    /// The inputs for a request in the form in which it matched.
    pub(crate) fn new(
        subject: &'s Subject<'_>,
        matched: &Matched,
        (object, old): (&Value, Option<&Value>),
    ) -> Self {
        let old = old.unwrap_or(&Value::Null);
        Self {
            object: subject.shown(matched, object).into_owned(),
            old: subject.shown(matched, old).into_owned(),
            request: request(subject, matched),
            namespace: namespace(subject),
            asker: Asker {
                server: subject.server,
                identity: subject.identity,
            },
            about: Question {
                group: subject.kind.group.to_string(),
                resource: subject.kind.plural.to_string(),
                subresource: subject.subresource.to_owned(),
                namespace: subject.namespace.to_owned(),
                name: subject.name.to_owned(),
                ..Question::default()
            },
        }
    }

    /// The object as it is now.
    pub(crate) fn object(&self) -> &Value {
        &self.object
    }

    /// The same inputs about a changed object.
    pub(crate) fn set_object(&mut self, object: Value) {
        self.object = object;
    }

    /// The variables; `params` is absent where there are none.
    pub(crate) fn bindings<'a>(&'a self, params: Option<&'a Value>) -> Bindings<'a> {
        let request = Cel::of_json(&self.request, &REQUEST_TYPE).unwrap_or(Cel::Null);
        let authorizer: &'a dyn Authorizer = &self.asker;
        let about = Check::resource(authorizer, self.about.clone());
        let mut bindings = Bindings::new()
            .with("object", Cel::dynamic(&self.object))
            .with("oldObject", Cel::dynamic(&self.old))
            .with("request", request)
            .with("namespaceObject", Cel::dynamic(&self.namespace))
            .with("authorizer", Cel::Opaque(Opaque::Authorizer(authorizer)))
            .with(
                "authorizer.requestResource",
                Cel::Opaque(Opaque::Check(Arc::new(about))),
            );
        if let Some(params) = params {
            bindings.set("params", Cel::dynamic(params));
        }
        bindings
    }
}

fn request(subject: &Subject<'_>, matched: &Matched) -> Value {
    let (asked, shown) = (&**subject.kind, matched.kind());
    let kind = |kind: &Kind| {
        let (group, version, kind) = subject.kind_names(kind);
        json!({"group": group, "version": version, "kind": kind})
    };
    let resource = |kind: &Kind| json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
    let identity = subject.identity;
    let mut request = json!({
        "kind": kind(shown), "resource": resource(shown),
        "requestKind": kind(asked), "requestResource": resource(asked),
        "operation": subject.operation.text(), "dryRun": subject.run == Run::Dry,
        "userInfo": {"username": identity.user, "groups": identity.groups},
    });
    let map = meta::as_object(&mut request);
    let is_namespace = asked.group.is_empty() && asked.plural == "namespaces";
    let namespace = if is_namespace {
        subject.name
    } else {
        subject.namespace
    };
    let texts = [
        ("subResource", subject.subresource),
        ("requestSubResource", subject.subresource),
        ("name", subject.name),
        ("namespace", namespace),
    ];
    for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        map.insert(key.into(), text.into());
    }
    if let Some(kind) = subject.operation.options() {
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if subject.run == Run::Dry {
            meta::as_object(&mut options).insert("dryRun".into(), json!(["All"]));
        }
        map.insert("options".into(), options);
    }
    let user = meta::object_mut(&mut request, &["userInfo"]);
    if !identity.uid.is_empty() {
        user.insert("uid".into(), identity.uid.as_str().into());
    }
    if !identity.extra.is_empty() {
        user.insert("extra".into(), json!(identity.extra));
    }
    request
}

/// The namespace the object is in, null for objects outside namespaces.
fn namespace(subject: &Subject<'_>) -> Value {
    if !subject.kind.namespaced {
        return Value::Null;
    }
    let entry = subject
        .server
        .find("", "namespaces", ("", subject.namespace));
    entry
        .and_then(|entry| parse(&entry.json).ok())
        .unwrap_or_default()
}

/// Answers `authorizer` by the server's own authorizer.
#[derive(Debug)]
struct Asker<'s> {
    server: &'s ApiServer,
    identity: &'s Identity,
}

impl Authorizer for Asker<'_> {
    fn decide(&self, question: &Question) -> Decision {
        let account = question.account.as_ref().map(|(namespace, name)| {
            let user = format!("system:serviceaccount:{namespace}:{name}");
            let group = format!("system:serviceaccounts:{namespace}");
            let groups = [
                "system:serviceaccounts",
                group.as_str(),
                "system:authenticated",
            ];
            Identity::new(&user, &groups)
        });
        let asked = Attributes {
            verb: &question.verb,
            group: &question.group,
            resource: &question.resource,
            subresource: &question.subresource,
            namespace: &question.namespace,
            name: &question.name,
            path: &question.path,
        };
        let decision = self
            .server
            .authorize(account.as_ref().unwrap_or(self.identity), &asked);
        Decision {
            allowed: decision.allowed,
            reason: decision.reason,
            error: String::new(),
        }
    }
}
