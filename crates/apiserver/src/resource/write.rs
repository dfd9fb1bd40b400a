//! Creating and replacing stored objects: the steps every write of every kind goes through.

use super::encode;
use super::managers::{self, Door, Tracking};
use super::metadata::{
    SYSTEM, body_differs, carry_over, is_finished, new_finalizers, whole_seconds,
};
use super::patch::Part;
use super::present::parse;
use crate::admission::{self, Operation, Request};
use crate::auth::Identity;
use crate::call::{Call, Run, not_found, refused};
use crate::custom::{self, convert};
use crate::remarks::Remarks;
use crate::server::{ApiServer, key};
use crate::store::{Draft, Entry, Expect, Key, StoreError};
use bytes::Bytes;
use plimsoll_api::kind::{Generation, Kind};
use plimsoll_api::status::{ApiError, FieldError};
use plimsoll_api::{kinds, meta};
use serde_json::{Value, json};
use std::sync::Arc;

/// Names are tried this often before a collision is reported.
const NAME_ATTEMPTS: usize = 8;
/// Writes are tried this often against concurrent ones.
const WRITE_ATTEMPTS: usize = 5;
/// What generated names leave of their base, in characters.
const GENERATED_BASE: usize = 58;

/// Writes objects of one kind for one caller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) server: &'a ApiServer,
    /// Who asks.
    pub(crate) identity: &'a Identity,
    /// The kind in the version the caller speaks.
    pub(crate) kind: &'a Arc<Kind>,
    /// The subresource that the caller writes to, or empty.
    pub(crate) subresource: &'a str,
    pub(crate) run: Run,
    /// How the write is entered in managedFields.
    pub(crate) tracking: Tracking<'a>,
    /// Collects what becomes `Warning` headers.
    pub(crate) remarks: &'a Remarks,
}

/// Computes the new object from the stored one.
pub(crate) type Step<'a> = dyn Fn(&Value) -> Result<Value, ApiError> + Sync + 'a;

/// A write that was refused, and whether trying again could help.
enum Refusal {
    Raced(ApiError),
    Final(ApiError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Final(error)
    }
}

impl<'a> Writer<'a> {
    /// A writer for a request.
    pub(crate) fn of(call: &'a Call, run: Run) -> Self {
        Self {
            server: &call.server,
            identity: &call.identity,
            kind: &call.kind,
            subresource: call.path.subresource.as_deref().unwrap_or_default(),
            run,
            tracking: Tracking::Update(Door::of(call)),
            remarks: &call.remarks,
        }
    }

    /// An object the caller sent, in the stored version.
    pub(crate) fn stored_form(&self, served: Value) -> Value {
        match &self.kind.conversion {
            Some(conversion) => (conversion.to_stored)(served),
            None => served,
        }
    }

    /// A stored object in the version that writes work in: the stored one, or for custom kinds the
    /// caller's, by whose schema it is defaulted and validated.
    async fn working_form(&self, stored: Value) -> Result<Value, ApiError> {
        if self.kind.custom.is_none() {
            return Ok(stored);
        }
        let version = self.kind.api_version();
        let served = convert::object(self.server, self.kind, stored, &version).await?;
        Ok(self.kind.to_served(served))
    }

    /// The draft of an object in its working form.
    async fn draft(&self, key: Key, object: &Value) -> Result<Draft, ApiError> {
        let kind = self.stored_kind();
        if !convert::by_webhook(&kind) {
            return Ok(encode::draft(&kind, key, object));
        }
        let (object, version) = (object.clone(), &kind.stored_api_version);
        let stored = convert::object(self.server, &kind, object, version).await?;
        Ok(encode::draft(&kind, key, &stored))
    }

    /// What was written: the stored JSON, or the working form where showing the stored one would
    /// need a conversion.
    fn answer(&self, entry: &Entry, object: &Value) -> Bytes {
        if !convert::by_webhook(self.kind) {
            return entry.json.clone();
        }
        let mut object = object.clone();
        meta::object_mut(&mut object, &["metadata"])
            .insert("resourceVersion".into(), entry.revision.to_string().into());
        super::present::bytes_of(&object)
    }

    /// Creates an object (served version); answers its JSON in the stored version.
    pub(crate) async fn create(&self, namespace: &str, served: Value) -> Result<Bytes, ApiError> {
        self.create_stored(namespace, self.stored_form(served))
            .await
    }

    /// Creates an object in the stored version.
    pub(crate) async fn create_stored(
        &self,
        namespace: &str,
        mut object: Value,
    ) -> Result<Bytes, ApiError> {
        custom::accepts_new(self.kind)?;
        let sent = managers::take(&mut object);
        let generated = self.accept_new(&mut object, namespace)?;
        if !generated {
            return self.store_new(object, namespace, sent).await;
        }
        let mut attempt = 1;
        loop {
            self.generate_name(&mut object);
            let again = (object.clone(), sent.clone());
            match self.store_new(again.0, namespace, again.1).await {
                Err(error) if error.reason == "AlreadyExists" && attempt < NAME_ATTEMPTS => {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// `sent` is the managedFields the object came with.
    async fn store_new(
        &self,
        mut object: Value,
        namespace: &str,
        sent: Option<Value>,
    ) -> Result<Bytes, ApiError> {
        let object = &mut object;
        let name = meta::name(object).to_owned();
        self.kind.default(object);
        // Before admission: what it adds belongs to nobody.
        self.track_creation(object, sent);
        let request = Request {
            writer: self,
            namespace,
            name: &name,
            part: Part::Main,
            operation: Operation::Create,
        };
        admission::mutate(&request, object, None).await?;
        self.kind.prepare_create(object);
        self.kind.default(object);
        self.validate(object, None, Part::Main)?;
        let _charge = admission::validate(&request, object, None).await?;
        let key = key(self.kind, namespace, &name);
        if self.server.store().get(&key).is_some() {
            return Err(ApiError::already_exists(
                &self.kind.group,
                &self.kind.plural,
                &name,
            ));
        }
        let claim = self.server.0.allocator.claim(self, object, None)?;
        if self.run == Run::Dry {
            return Ok(encode::unstored(object));
        }
        let draft = self.draft(key, object).await?;
        let entry = self.server.store().put(draft, Expect::Absent).await;
        let entry = entry.map_err(|error| refused(self.kind, &name, &error))?;
        claim.keep();
        custom::written(self.server, self.kind, &name).await;
        admission::policy::settle(self.server, self.kind, &name).await;
        Ok(self.answer(&entry, object))
    }

    /// Checks and stamps the metadata of a new object; whether its name is to be generated.
    fn accept_new(&self, object: &mut Value, namespace: &str) -> Result<bool, ApiError> {
        if !meta::text(object, &["metadata", "resourceVersion"]).is_empty() {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(ApiError::new(500, "", message));
        }
        let sent = meta::namespace(object);
        if self.kind.namespaced && !sent.is_empty() && sent != namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let generated = meta::name(object).is_empty()
            && !meta::text(object, &["metadata", "generateName"]).is_empty();
        let now = whole_seconds(self.server.now());
        let uid = self.server.0.random.uid();
        let metadata = meta::object_mut(object, &["metadata"]);
        for key in SYSTEM {
            metadata.shift_remove(*key);
        }
        if self.kind.namespaced {
            metadata.insert("namespace".into(), namespace.into());
        } else {
            metadata.shift_remove("namespace");
        }
        metadata.insert("uid".into(), uid.into());
        metadata.insert("creationTimestamp".into(), now.into());
        if self.kind.generation != Generation::Absent {
            metadata.insert("generation".into(), 1.into());
        }
        Ok(generated)
    }

    fn generate_name(&self, object: &mut Value) {
        let base = meta::text(object, &["metadata", "generateName"]);
        let base: String = base.chars().take(GENERATED_BASE).collect();
        let name = format!("{base}{}", self.server.0.random.suffix());
        meta::object_mut(object, &["metadata"]).insert("name".into(), name.into());
    }

    /// Replaces the object at `key` by what `step` makes of it, again if a concurrent write came
    /// first; answers its JSON in the stored version.
    pub(crate) async fn update(
        &self,
        key: &Key,
        part: Part,
        step: &Step<'_>,
    ) -> Result<Bytes, ApiError> {
        let mut attempt = 1;
        loop {
            let entry = self.server.store().get(key);
            let entry = entry.ok_or_else(|| not_found(self.kind, &key.name))?;
            let old = self.working_form(parse(&entry.json)?).await?;
            let new = step(&old)?;
            match self.replace(&entry, &old, new, part).await {
                Ok(json) => return Ok(json),
                Err(Refusal::Raced(_)) if attempt < WRITE_ATTEMPTS => attempt += 1,
                Err(Refusal::Raced(error) | Refusal::Final(error)) => return Err(error),
            }
        }
    }

    async fn replace(
        &self,
        entry: &Arc<Entry>,
        old: &Value,
        mut new: Value,
        part: Part,
    ) -> Result<Bytes, Refusal> {
        self.check_preconditions(entry, &new, part)?;
        let name = entry.key.name.to_string();
        let sent = managers::take(&mut new);
        carry_over(&mut new, old);
        let request = Request {
            writer: self,
            namespace: &entry.key.namespace,
            name: &name,
            part,
            operation: Operation::Update,
        };
        self.prepare(&request, (&mut new, old), sent).await?;
        if matches!(part, Part::Main | Part::Other) {
            self.move_generation(&mut new, old);
        }
        self.validate(&new, Some(old), part)?;
        let _charge = admission::validate(&request, &new, Some(old)).await?;
        let claim = self.server.0.allocator.claim(self, &mut new, Some(old))?;
        meta::object_mut(&mut new, &["metadata"])
            .insert("resourceVersion".into(), entry.revision.to_string().into());
        let unchanged = managers::is_unchanged(&mut new, old);
        // A custom object may read as it is written and still be stored in an older form.
        if unchanged && self.kind.custom.is_none() {
            return Ok(entry.json.clone());
        }
        if self.run == Run::Dry {
            return Ok(super::present::bytes_of(&new));
        }
        let draft = self.draft(entry.key.clone(), &new).await?;
        if unchanged && encode::is_same(&draft, entry) {
            return Ok(self.answer(entry, &new));
        }
        let expect = Expect::Revision(entry.revision);
        let store = self.server.store();
        let stored = if is_finished(self.kind, &new) {
            let gone = store.delete(draft, expect).await;
            if gone.is_ok() {
                self.server.0.allocator.release(self.kind, old);
            }
            gone
        } else {
            store.put(draft, expect).await
        };
        match stored {
            Ok(stored) => {
                claim.keep();
                custom::written(self.server, self.kind, &name).await;
                admission::policy::settle(self.server, self.kind, &name).await;
                Ok(self.answer(&stored, &new))
            }
            Err(error @ StoreError::Conflict(_)) => {
                Err(Refusal::Raced(refused(self.kind, &name, &error)))
            }
            Err(error) => Err(Refusal::Final(refused(self.kind, &name, &error))),
        }
    }

    /// Defaults, field owners, admission and the strategy's own adjustments. `sent` is the
    /// managedFields the caller's object came with.
    async fn prepare(
        &self,
        request: &Request<'_>,
        (new, old): (&mut Value, &Value),
        sent: Option<Value>,
    ) -> Result<(), ApiError> {
        let part = request.part;
        if part == Part::Status {
            kinds::prepare_status(self.kind, new, old);
        }
        self.kind.default(new);
        self.track_update((&mut *new, old), sent, part);
        admission::mutate(request, new, Some(old)).await?;
        if part == Part::Main {
            self.kind.prepare_update(new, old);
            self.kind.default(new);
        }
        Ok(())
    }

    fn check_preconditions(&self, entry: &Entry, new: &Value, part: Part) -> Result<(), ApiError> {
        let (group, name) = (&self.kind.group, &*entry.key.name);
        let version = meta::text(new, &["metadata", "resourceVersion"]);
        if version.is_empty() && self.kind.requires_resource_version && part == Part::Main {
            let why = "must be specified for an update";
            let errors = [FieldError::invalid(
                "metadata.resourceVersion",
                &json!(0),
                why,
            )];
            return Err(ApiError::invalid(group, &self.kind.kind, name, &errors));
        }
        let uid = meta::uid(new);
        if !uid.is_empty() && uid != &*entry.uid {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                entry.uid
            );
            return Err(ApiError::conflict(group, &self.kind.plural, name, &why));
        }
        if !version.is_empty() && version != entry.revision.to_string() {
            return Err(ApiError::modified(group, &self.kind.plural, name));
        }
        Ok(())
    }

    fn validate(&self, new: &Value, old: Option<&Value>, part: Part) -> Result<(), ApiError> {
        let mut errors = old.map(|old| new_finalizers(new, old)).unwrap_or_default();
        // Subresource writes start from a stored, valid object; only what they change is checked
        // by their own handlers.
        if !matches!(part, Part::Other | Part::Placement) || self.kind.custom.is_some() {
            errors.extend(self.kind.validate(new, old));
            let rules = &self.server.0.rules;
            rules.check(self.kind, (new, old), &mut errors);
            errors.extend(admission::policy::problems(self.kind, new, old));
            if custom::is_definition(self.kind) {
                errors.extend(custom::rules::problems(new, old));
            }
        }
        if meta::name(new).is_empty() && !errors.iter().any(|e| e.field == "metadata.name") {
            errors.insert(
                0,
                FieldError::required("metadata.name", "name or generateName is required"),
            );
        }
        if errors.is_empty() {
            let changes = old.is_none_or(|old| body_differs(new, old));
            if part == Part::Main && changes {
                self.remarks.warn(self.kind.warnings(new));
            }
            return Ok(());
        }
        Err(ApiError::invalid(
            &self.kind.group,
            &self.kind.kind,
            meta::name(new),
            &errors,
        ))
    }

    fn move_generation(&self, new: &mut Value, old: &Value) {
        let Some(generation) = meta::integer(old, &["metadata", "generation"]) else {
            return;
        };
        let moved = match self.kind.generation {
            Generation::Absent => false,
            Generation::Spec => body_differs(new, old),
            Generation::Everything => {
                body_differs(new, old) || new.get("status") != old.get("status")
            }
            Generation::SpecAndAnnotations => {
                let path = ["metadata", "annotations"];
                body_differs(new, old) || meta::at(new, &path) != meta::at(old, &path)
            }
        };
        let metadata = meta::object_mut(new, &["metadata"]);
        metadata.insert("generation".into(), (generation + i64::from(moved)).into());
    }

    /// The kind in its stored version: what the index follows.
    pub(crate) fn stored_kind(&self) -> Arc<Kind> {
        stored_kind(self.server, self.kind)
    }
}

/// The kind in its stored version.
pub(crate) fn stored_kind(server: &ApiServer, kind: &Arc<Kind>) -> Arc<Kind> {
    if kind.conversion.is_none() || kind.custom.is_some() {
        return Arc::clone(kind);
    }
    let kinds = server.kinds();
    let mut same = kinds.iter().filter(|k| k.storage == kind.storage);
    same.find(|k| k.conversion.is_none())
        .map_or_else(|| Arc::clone(kind), Arc::clone)
}
