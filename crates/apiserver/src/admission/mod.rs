//! What every write is asked after it has been understood and before it is validated.

pub(crate) mod account;
mod certificates;
mod classes;
pub(crate) mod follow;
mod ingress;
mod limits;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod pod;
mod pod_security;
pub(crate) mod policy;
pub(crate) mod quota;
mod restriction;
mod runtime;
pub(crate) mod service;
mod storage;
pub(crate) mod webhook;

use crate::auth::rbac::escalation;
use crate::resource::patch::Part;
use crate::resource::write::Writer;
use crate::store::Store;
use follow::Followed;
use limits::LimitRange;
use plimsoll_api::status::ApiError;
use policy::Changes;
use quota::{Books, Charge};
use serde_json::Value;
use webhook::{Rounds, Subject};

/// What is about to happen to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It comes into being.
    Create,
    /// It changes.
    Update,
    /// It goes, or is marked to go.
    Delete,
    /// Somebody opens a connection to it.
    Connect,
}

impl Operation {
    /// As rules and reviews spell it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }

    /// The kind of its options, if it has any.
    pub(crate) fn options(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("CreateOptions"),
            Self::Update => Some("UpdateOptions"),
            Self::Delete => Some("DeleteOptions"),
            Self::Connect => None,
        }
    }
}

/// A write, as admission sees it. Who asks is `writer.identity`, dry runs are `writer.run`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) writer: &'a Writer<'a>,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) part: Part,
    pub(crate) operation: Operation,
}

impl Request<'_> {
    /// Whether the object is this core kind.
    pub(crate) fn is_core(&self, kind: &str) -> bool {
        self.writer.kind.group.is_empty() && self.writer.kind.kind == kind
    }

    /// What webhooks are asked about; `None` for steps inside the server, and for subresources
    /// whose handler asks about an object of its own (Scale, Binding, Eviction).
    fn subject(&self) -> Option<Subject<'_>> {
        let writer = self.writer;
        let whole = ["ephemeralcontainers", "resize", "finalize"];
        let subresource = match self.part {
            Part::Main if writer.subresource.is_empty() => "",
            Part::Status => writer.subresource,
            Part::Other if whole.contains(&writer.subresource) => writer.subresource,
            Part::Main | Part::Other | Part::Placement => return None,
        };
        Some(Subject {
            server: writer.server,
            identity: writer.identity,
            run: writer.run,
            remarks: writer.remarks,
            kind: writer.kind,
            subresource,
            body: None,
            namespace: self.namespace,
            name: self.name,
            operation: self.operation,
        })
    }

    /// 403 about the object.
    pub(crate) fn forbidden(&self, why: &str) -> ApiError {
        let kind = &self.writer.kind;
        ApiError::forbidden(&kind.group, &kind.plural, self.name, why)
    }
}

/// What the built-in steps know about the cluster.
#[derive(Debug)]
pub(crate) struct Indexes {
    limit_ranges: Followed<LimitRange>,
    priority_classes: Followed<Value>,
    pod_policies: Followed<pod_security::Policy>,
    quotas: Books,
    runtime_classes: Followed<Value>,
    storage_classes: Followed<Value>,
    ingress_classes: Followed<Value>,
}

impl Indexes {
    /// Indexes over what the store holds.
    pub(crate) fn new(store: &Store) -> Self {
        let plain = |resource| Followed::new(store, resource, Value::clone);
        Self {
            limit_ranges: Followed::new(store, "limitranges", LimitRange::parse),
            priority_classes: plain("scheduling.k8s.io/priorityclasses"),
            runtime_classes: plain("node.k8s.io/runtimeclasses"),
            storage_classes: plain("storage.k8s.io/storageclasses"),
            ingress_classes: plain("networking.k8s.io/ingressclasses"),
            pod_policies: Followed::new(store, "namespaces", pod_security::Policy::parse),
            quotas: Books::new(store),
        }
    }
}

/// One step: may change the object, may refuse it. `old` is absent on create.
type Plugin = fn(&Request<'_>, &mut Value, Option<&Value>) -> Result<(), ApiError>;

/// The built-in steps that may change an object, in upstream's order.
const MUTATING: &[Plugin] = &[
    namespace::must_accept,
    limits::fill,
    account::inject,
    restriction::check,
    node::taint_unready,
    pod::set_priority,
    pod::tolerate_outages,
    storage::default_class,
    storage::protect,
    runtime::apply,
    certificates::sign_in,
    ingress::default_class,
    node::label_topology,
    crate::certificates::admit,
];

/// One step that only agrees or refuses.
type Judge = fn(&Request<'_>, &Value, Option<&Value>) -> Result<(), ApiError>;

/// The built-in steps that only agree or refuse, in upstream's order.
const VALIDATING: &[Judge] = &[
    escalation::check,
    limits::check,
    pod_security::check,
    pod::check_class,
    storage::check_growth,
    certificates::check,
];

/// Runs the steps that may change an object: the built-in ones, then policies and webhooks.
pub(crate) async fn mutate(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    account::wait(request, object).await;
    built_in(request, object, old)?;
    let Some(subject) = request.subject() else {
        return Ok(());
    };
    let (mut rounds, mut changes) = (Rounds::default(), Changes::default());
    if policy::mutate(&subject, object, old, &mut changes)? {
        built_in(request, object, old)?;
    }
    webhook::mutate(&subject, object, old, &mut rounds).await?;
    if rounds.another() {
        built_in(request, object, old)?;
        policy::mutate(&subject, object, old, &mut changes)?;
        webhook::mutate(&subject, object, old, &mut rounds).await?;
    }
    Ok(())
}

fn built_in(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let mut steps = MUTATING.iter();
    steps.try_for_each(|plugin| plugin(request, object, old))
}

/// Runs the steps that only agree or refuse, on an object that is valid: policies, webhooks, and
/// the quota last. The charge must be held until the write has happened or failed.
pub(crate) async fn validate(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<Charge, ApiError> {
    VALIDATING
        .iter()
        .try_for_each(|judge| judge(request, object, old))?;
    if let Some(subject) = request.subject() {
        policy::validate(&subject, object, old)?;
        webhook::validate(&subject, object, old).await?;
    }
    quota::charge(request, object)
}

/// Whether an object may be deleted at all.
pub(crate) async fn delete(request: &Request<'_>, old: &Value) -> Result<(), ApiError> {
    namespace::may_be_deleted(request.writer.kind, request.name)?;
    restriction::check_deletion(request, old)?;
    if let Some(subject) = request.subject() {
        subresource(&subject, &mut Value::Null, Some(old)).await?;
    }
    Ok(())
}

/// Asks about an object that is not stored as it is: a Scale, a Binding, the options of a
/// connection, or nothing (a deletion).
pub(crate) async fn subresource(
    subject: &Subject<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let (mut rounds, mut changes) = (Rounds::default(), Changes::default());
    let changes_it = subject.operation != Operation::Delete;
    if changes_it {
        policy::mutate(subject, object, old, &mut changes)?;
    }
    webhook::mutate(subject, object, old, &mut rounds).await?;
    if rounds.another() && changes_it {
        policy::mutate(subject, object, old, &mut changes)?;
    }
    if rounds.another() {
        webhook::mutate(subject, object, old, &mut rounds).await?;
    }
    policy::validate(subject, object, old)?;
    webhook::validate(subject, object, old).await
}
