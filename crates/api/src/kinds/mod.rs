//! The built-in kinds: one table of rows, plus strategies, conversions and printing per kind.

mod gated;
mod prepare;
mod rows;
mod scale;
mod strategy;

pub(crate) use prepare::fold_string_data;
pub use prepare::prepare_status;
pub use scale::{apply_scale, scale};

use crate::gates::FeatureGates;
use crate::kind::{Generation, Kind, Kinds, Propagation, Subresource, Text};
use crate::schema::{self, TypeId};
use crate::{convert, print};
use rows::{ROWS, Row};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Every built-in resource of a stable version (no alpha, no beta), with the features that are on
/// by default.
pub fn built_in() -> Kinds {
    gated(FeatureGates::default())
}

/// Every built-in resource of a stable version, with these features.
pub fn gated(gates: FeatureGates) -> Kinds {
    let mut kinds = Kinds::with_features(gates);
    for row in ROWS {
        kinds.insert(kind_of(row, gates));
    }
    kinds
}

/// The text at a selectable field's path; numbers and booleans as text, absent as `""`.
/// Absent booleans that upstream prints as `false` (`spec.unschedulable`, `spec.hostNetwork`) and
/// counters that upstream prints as `0` do so here too.
pub fn field_value<'a>(object: &'a Value, path: &[Text]) -> Cow<'a, str> {
    let found = path
        .iter()
        .try_fold(object, |value, key| value.get(key.as_ref()));
    match found {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(Value::Bool(flag)) => Cow::Borrowed(if *flag { "true" } else { "false" }),
        Some(Value::Number(number)) => Cow::Owned(number.to_string()),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => match path {
            [spec, name]
                if spec == "spec" && (name == "unschedulable" || name == "hostNetwork") =>
            {
                Cow::Borrowed("false")
            }
            [status, name] if status == "status" && (name == "succeeded" || name == "replicas") => {
                Cow::Borrowed("0")
            }
            _ => Cow::Borrowed(""),
        },
    }
}

fn kind_of(row: &Row, gates: FeatureGates) -> Kind {
    let is_new_event = row.group == "events.k8s.io";
    let is_old_hpa = row.group == "autoscaling" && row.version == "v1";
    let storage_group = if is_new_event { "" } else { row.group };
    let storage: Arc<str> = if storage_group.is_empty() {
        row.plural.into()
    } else {
        format!("{storage_group}/{}", row.plural).into()
    };
    let stored_version = if is_old_hpa { "v2" } else { row.version };
    let stored_api_version = if storage_group.is_empty() {
        stored_version.to_owned()
    } else {
        format!("{storage_group}/{stored_version}")
    };
    let conversion = match (is_new_event, is_old_hpa) {
        (true, _) => Some(convert::EVENT),
        (_, true) => Some(convert::AUTOSCALER),
        (false, false) => None,
    };
    Kind {
        group: row.group.into(),
        version: row.version.into(),
        kind: row.kind.into(),
        plural: row.plural.into(),
        singular: row.kind.to_lowercase().into(),
        short_names: texts(row.short),
        categories: if row.category.is_empty() {
            Vec::new()
        } else {
            vec![row.category.into()]
        },
        namespaced: row.namespaced,
        verbs: texts(row.verbs),
        subresources: row
            .subresources
            .iter()
            .map(|sub| subresource(row, sub))
            .collect(),
        schema: schema::by_kind(row.group, row.version, row.kind).unwrap_or(TypeId(u16::MAX)),
        storage,
        stored_api_version: stored_api_version.into(),
        conversion,
        generation: generation(row),
        propagation: if row.orphans {
            Propagation::Orphan
        } else {
            Propagation::Background
        },
        create_on_update: row.create_on_update,
        requires_resource_version: row.requires_resource_version,
        selectable: row
            .selectable
            .iter()
            .map(|(label, path)| ((*label).into(), texts(path)))
            .collect(),
        strategy: strategy::of(row, gates),
        table: print::table(row.group, row.kind),
        custom: None,
    }
}

fn texts(names: &'static [&'static str]) -> Vec<Text> {
    names.iter().map(|name| Text::Borrowed(name)).collect()
}

fn generation(row: &Row) -> Generation {
    match (row.generation, row.kind) {
        (false, _) => Generation::Absent,
        (true, "Deployment") => Generation::SpecAndAnnotations,
        (true, _) => Generation::Spec,
    }
}

fn subresource(row: &Row, (name, [group, version, kind], verbs): &rows::Sub) -> Subresource {
    let response = if kind.is_empty() {
        (row.group.into(), row.version.into(), row.kind.into())
    } else {
        ((*group).into(), (*version).into(), (*kind).into())
    };
    Subresource {
        name: (*name).into(),
        response,
        verbs,
    }
}
