//! Operations.

use super::parameters::{self, DELETE, LIST, PATCH, WRITE};
use super::schemas::reference;
use crate::custom::publish;
use crate::kind::{Kind, Subresource};
use crate::schema;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const JSON_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
const STREAM_TYPES: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// One operation of a path.
#[derive(Debug, Clone, Copy)]
struct Operation {
    method: &'static str,
    /// `x-kubernetes-action`.
    action: &'static str,
    /// Query parameters.
    query: &'static [&'static str],
}

const fn operation(
    method: &'static str,
    action: &'static str,
    query: &'static [&'static str],
) -> Operation {
    Operation {
        method,
        action,
        query,
    }
}

/// What a path is about: one of these per path.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    kind: &'a Kind,
    sub: Option<&'a Subresource>,
    /// Path parameters.
    parameters: &'a [&'static str],
    /// What operation ids end in.
    suffix: &'static str,
}

/// Adds the paths of a kind and its subresources.
pub(super) fn of_kind(kind: &Kind, all: &mut Map<String, Value>) {
    let root = super::path_of(kind);
    let (within, parameters, named): (&str, &[&str], &[&str]) = if kind.namespaced {
        (
            "/namespaces/{namespace}",
            &["namespace"],
            &["name", "namespace"],
        )
    } else {
        ("", &[], &["name"])
    };
    let collection = format!("{within}/{}", kind.plural);
    let item = format!("{collection}/{{name}}");
    let place = Place {
        kind,
        sub: None,
        parameters,
        suffix: "",
    };
    let one = Place {
        parameters: named,
        ..place
    };
    let everywhere = Place {
        parameters: &[],
        suffix: "ForAllNamespaces",
        ..place
    };
    if kind.namespaced && kind.allows("list") {
        let list = [operation("get", "list", &LIST)];
        add(all, format!("/{root}/{}", kind.plural), everywhere, &list);
    }
    let operations = collection_operations(kind);
    add(all, format!("/{root}{collection}"), place, &operations);
    let operations = item_operations(kind);
    if !operations.is_empty() {
        add(all, format!("/{root}{item}"), one, &operations);
    }
    for sub in &kind.subresources {
        let about = Place {
            sub: Some(sub),
            ..one
        };
        let path = format!("/{root}{item}/{}", sub.name);
        add(all, path, about, &subresource_operations(sub));
    }
    if kind.allows("watch") {
        let lists = [operation("get", "watchlist", &LIST)];
        if kind.namespaced {
            let path = format!("/{root}/watch/{}", kind.plural);
            add(all, path, everywhere, &lists);
        }
        add(all, format!("/{root}/watch{collection}"), place, &lists);
        let single = [operation("get", "watch", &LIST)];
        add(all, format!("/{root}/watch{item}"), one, &single);
    }
}

fn collection_operations(kind: &Kind) -> Vec<Operation> {
    let all = [
        ("list", operation("get", "list", &LIST)),
        ("create", operation("post", "post", &WRITE)),
        (
            "deletecollection",
            operation("delete", "deletecollection", &parameters::DELETE_MANY),
        ),
    ];
    allowed(&all, |verb| kind.allows(verb))
}

fn item_operations(kind: &Kind) -> Vec<Operation> {
    let all = [
        ("get", operation("get", "get", &["pretty"])),
        ("update", operation("put", "put", &WRITE)),
        ("patch", operation("patch", "patch", &PATCH)),
        ("delete", operation("delete", "delete", &DELETE)),
    ];
    allowed(&all, |verb| kind.allows(verb))
}

fn subresource_operations(sub: &Subresource) -> Vec<Operation> {
    let query: &'static [&'static str] = match sub.name.as_ref() {
        "exec" => &parameters::EXEC,
        "attach" => &parameters::ATTACH,
        "portforward" => &["ports"],
        "proxy" => &["path"],
        "log" => &parameters::LOG,
        _ => &["pretty"],
    };
    if streams(sub) {
        let all = [
            ("get", operation("get", "connect", query)),
            ("create", operation("post", "connect", query)),
            ("update", operation("put", "connect", query)),
            ("patch", operation("patch", "connect", query)),
            ("delete", operation("delete", "connect", query)),
        ];
        return allowed(&all, |verb| sub.verbs.contains(&verb));
    }
    let all = [
        ("get", operation("get", "get", query)),
        ("update", operation("put", "put", &WRITE)),
        ("patch", operation("patch", "patch", &PATCH)),
        ("create", operation("post", "post", &WRITE)),
    ];
    allowed(&all, |verb| sub.verbs.contains(&verb))
}

fn streams(sub: &Subresource) -> bool {
    matches!(
        sub.name.as_ref(),
        "attach" | "exec" | "portforward" | "proxy"
    )
}

fn allowed(all: &[(&str, Operation)], allows: impl Fn(&str) -> bool) -> Vec<Operation> {
    let found = all.iter().filter(|(verb, _)| allows(verb));
    found.map(|(_, operation)| *operation).collect()
}

fn add(all: &mut Map<String, Value>, path: String, place: Place<'_>, operations: &[Operation]) {
    let mut out = Map::new();
    for operation in operations {
        out.insert(operation.method.into(), place.describe(*operation));
    }
    out.insert("parameters".into(), parameters::in_path(place.parameters));
    all.insert(path, Value::Object(out));
}

impl Place<'_> {
    fn describe(&self, operation: Operation) -> Value {
        let (group, version, kind) = match self.sub {
            Some(sub) => (&sub.response.0, &sub.response.1, &sub.response.2),
            None => (&self.kind.group, &self.kind.version, &self.kind.kind),
        };
        let mut out = Map::new();
        out.insert("tags".into(), json!([self.tag()]));
        out.insert("description".into(), self.sentence(operation).into());
        out.insert("operationId".into(), self.id(operation).into());
        if operation.action.starts_with("watch") {
            out.insert("deprecated".into(), true.into());
        }
        let query = operation.query.iter().map(|name| parameters::query(name));
        out.insert("parameters".into(), query.collect());
        if let Some(body) = self.request(operation) {
            out.insert("requestBody".into(), body);
        }
        out.insert("responses".into(), self.responses(operation));
        out.insert("x-kubernetes-action".into(), operation.action.into());
        out.insert(
            "x-kubernetes-group-version-kind".into(),
            json!({"group": group, "kind": kind, "version": version}),
        );
        Value::Object(out)
    }

    /// The type of the objects that are sent here; empty where nothing is known of them.
    fn body(&self) -> Cow<'static, str> {
        if let Some(sub) = self.sub {
            let (group, version, kind) = &sub.response;
            let known = schema::by_kind(group, version, kind);
            if let Some(id) = known {
                return schema::get(id).name.into();
            }
            if self.kind.custom.is_none() {
                return "".into();
            }
        }
        if self.kind.custom.is_some() {
            let [object, _] = publish::names(self.kind);
            return object.into();
        }
        schema::get(self.kind.schema).name.into()
    }

    /// The type of lists of them.
    fn list(&self) -> Cow<'static, str> {
        if self.kind.custom.is_some() {
            let [_, list] = publish::names(self.kind);
            return list.into();
        }
        let list = format!("{}List", self.kind.kind);
        let list = schema::by_kind(&self.kind.group, &self.kind.version, &list);
        list.map_or_else(|| self.body(), |id| schema::get(id).name.into())
    }

    fn request(&self, operation: Operation) -> Option<Value> {
        let patch = format!("{META}Patch");
        let body = self.body();
        // Custom kinds have no merge keys.
        let patches = if self.kind.custom.is_some() {
            PATCH_TYPES.get(..3).unwrap_or(&PATCH_TYPES)
        } else {
            &PATCH_TYPES
        };
        let (types, name): (&[&str], &str) = match (operation.action, operation.method) {
            ("connect", _) => return None,
            (_, "post" | "put") => (&["*/*"], &body),
            (_, "patch") => (patches, &patch),
            (_, "delete") => (
                &["*/*"],
                "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
            ),
            (_, _) => return None,
        };
        if name.is_empty() {
            return None;
        }
        // Only the options of a deletion may be left out.
        let required = operation.method != "delete";
        let content = content(types, name);
        Some(if required {
            json!({"content": content, "required": true})
        } else {
            json!({"content": content})
        })
    }

    fn responses(&self, operation: Operation) -> Value {
        let answer: Cow<'static, str> = match operation.action {
            "list" => self.list(),
            "watch" | "watchlist" => "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent".into(),
            "delete" if !deletes_to_object(self.kind) => {
                "io.k8s.apimachinery.pkg.apis.meta.v1.Status".into()
            }
            "deletecollection" => "io.k8s.apimachinery.pkg.apis.meta.v1.Status".into(),
            _ => self.body(),
        };
        let text = matches!(self.sub, Some(sub) if sub.name == "log");
        let named = |what: &str| {
            let mut types: Vec<&str> = JSON_TYPES.to_vec();
            if operation.action == "list" {
                types.extend(STREAM_TYPES);
            }
            if self.kind.custom.is_some() {
                types.retain(|media| !media.contains("protobuf"));
            }
            if operation.action == "connect" {
                json!({"description": what, "content": {"*/*": {"schema": {"type": "string"}}}})
            } else if text {
                json!({"description": what, "content": {"text/plain": {"schema": {"type": "string"}}}})
            } else if answer.is_empty() {
                json!({"description": what})
            } else {
                json!({"description": what, "content": content(&types, &answer)})
            }
        };
        let mut out = Map::new();
        out.insert("200".into(), named("OK"));
        match operation.action {
            "post" => {
                out.insert("201".into(), named("Created"));
                out.insert("202".into(), named("Accepted"));
            }
            "put" | "patch" => {
                out.insert("201".into(), named("Created"));
            }
            "delete" => {
                out.insert("202".into(), named("Accepted"));
            }
            _ => {}
        }
        out.insert("401".into(), json!({"description": "Unauthorized"}));
        Value::Object(out)
    }

    fn tag(&self) -> String {
        let mut words = group_words(&self.kind.group).into_iter();
        let first = words.next().unwrap_or_default();
        let rest: String = words.map(|word| capital(&word)).collect();
        format!("{first}{rest}_{}", self.kind.version)
    }

    /// An id that generated clients name their functions by, e.g. `readCoreV1NamespacedPodStatus`.
    fn id(&self, operation: Operation) -> String {
        let verb = match operation.action {
            "post" => "create",
            "get" => "read",
            "put" => "replace",
            "deletecollection" => "delete",
            "watchlist" => "watch",
            other => other,
        };
        let group: String = group_words(&self.kind.group)
            .iter()
            .map(|word| capital(word))
            .collect();
        let scope = if self.kind.namespaced && self.suffix.is_empty() {
            "Namespaced"
        } else {
            ""
        };
        let list = if operation.action == "watchlist" {
            "List"
        } else {
            ""
        };
        let method = match operation.action {
            "connect" => capital(operation.method),
            "deletecollection" => "Collection".to_owned(),
            _ => String::new(),
        };
        let version = capital(&self.kind.version);
        let sub = self.sub.map(|sub| capital(&sub.name)).unwrap_or_default();
        let (kind, suffix) = (&self.kind.kind, self.suffix);
        format!("{verb}{group}{version}{method}{scope}{kind}{sub}{list}{suffix}")
    }

    fn sentence(&self, operation: Operation) -> String {
        let kind = &self.kind.kind;
        let of = match self.sub {
            Some(sub) => format!("the {} of a {kind}", sub.name),
            None => format!("a {kind}"),
        };
        match operation.action {
            "list" => format!("Lists or watches objects of kind {kind}."),
            "post" => format!("Creates {of}."),
            "get" => format!("Reads {of}."),
            "put" => format!("Replaces {of}."),
            "patch" => format!("Changes parts of {of}."),
            "delete" => format!("Deletes {of}."),
            "deletecollection" => format!("Deletes the selected objects of kind {kind}."),
            "watchlist" => format!("Watches {kind} objects; list with watch=true instead."),
            "watch" => format!(
                "Watches one {kind}; list with watch=true and a field selector on its name instead."
            ),
            _ => format!("Connects to {of}."),
        }
    }
}

/// Kinds whose deletion answers with the object.
fn deletes_to_object(kind: &Kind) -> bool {
    matches!(
        kind.kind.as_ref(),
        "Pod" | "Service" | "ServiceAccount" | "PersistentVolumeClaim" | "PersistentVolume"
    )
}

/// The words of a group's name in tags and ids.
fn group_words(group: &str) -> Vec<String> {
    if group.is_empty() {
        return vec!["core".into()];
    }
    let short = group.strip_suffix(".k8s.io").unwrap_or(group);
    short.split(['.', '-']).map(str::to_owned).collect()
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn content(types: &[&str], body: &str) -> Value {
    let entries: Map<String, Value> = types
        .iter()
        .map(|name| ((*name).to_owned(), json!({"schema": reference(body)})))
        .collect();
    Value::Object(entries)
}
