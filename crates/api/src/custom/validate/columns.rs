//! Printer columns, selectable fields and the scale subresource.

use super::Errors;
use super::place::Place;
use crate::custom::jsonpath::JsonPath;
use crate::custom::schema::{Schema, Type};
use crate::status::{CauseReason, FieldError};

const TYPES: [&str; 5] = ["integer", "number", "string", "boolean", "date"];
const FORMATS: [&str; 8] = [
    "int32",
    "int64",
    "float",
    "double",
    "byte",
    "date",
    "date-time",
    "password",
];
const MAX_SELECTABLE: usize = 8;

pub(super) fn printed(version: &Place<'_>, errors: &mut Errors) {
    for column in version.items("additionalPrinterColumns") {
        if column.at("name").text().is_empty() {
            errors.push(column.at("name").required(""));
        }
        if column.at("type").text().is_empty() {
            let all = "must be one of boolean,date,integer,number,string";
            errors.push(column.at("type").required(all));
        } else {
            column.at("type").one_of(&TYPES, errors);
        }
        if !column.at("format").text().is_empty() {
            column.at("format").one_of(&FORMATS, errors);
        }
        let path = column.at("jsonPath");
        if path.text().is_empty() {
            errors.push(path.required(""));
        } else if let Err(why) = JsonPath::parse(path.text()) {
            errors.push(path.invalid(format!("is not a valid JSONPath expression: {why}")));
        }
    }
}

pub(super) fn selectable(version: &Place<'_>, written: &Place<'_>, errors: &mut Errors) {
    let fields = version.items("selectableFields");
    if fields.is_empty() {
        return;
    }
    if fields.len() > MAX_SELECTABLE {
        let count = fields.len();
        errors.push(FieldError {
            field: version.at("selectableFields").path,
            reason: CauseReason::FieldValueTooMany,
            detail: format!("Too many: {count}: must have at most {MAX_SELECTABLE} items"),
        });
    }
    let schema = Schema::parse(written.value);
    let mut seen = std::collections::BTreeSet::new();
    for field in &fields {
        let path = field.at("jsonPath");
        if path.text().is_empty() {
            errors.push(path.required(""));
        } else if let Some(why) = not_selectable(&schema, path.text()) {
            errors.push(path.invalid(why));
        } else if !seen.insert(path.text()) {
            errors.push(FieldError::duplicate(path.path.clone(), path.value));
        }
    }
}

fn not_selectable(schema: &Schema, path: &str) -> Option<String> {
    let fields = path
        .starts_with('.')
        .then(|| JsonPath::parse(path).ok()?.fields())
        .flatten();
    let Some(fields) = fields else {
        return Some("is an invalid path: must be a simple JSON path of fields".to_owned());
    };
    if fields.first().is_some_and(|first| first == "metadata") {
        return Some("must not point to fields in metadata".to_owned());
    }
    match schema.at(&fields).map(|found| found.ty) {
        None => Some("is an invalid path: does not refer to a valid field".to_owned()),
        Some(Some(Type::String | Type::Integer | Type::Boolean)) => None,
        Some(_) => Some(
            "must point to a field of type string, boolean or integer. Enum string fields and \
             strings with formats are allowed."
                .to_owned(),
        ),
    }
}

pub(super) fn scale(scale: &Place<'_>, errors: &mut Errors) {
    if scale.is_absent() {
        return;
    }
    let rules: [(&str, bool, &[&str], &str); 3] = [
        (
            "specReplicasPath",
            true,
            &["spec"],
            "should be a json path under .spec",
        ),
        (
            "statusReplicasPath",
            true,
            &["status"],
            "should be a json path under .status",
        ),
        (
            "labelSelectorPath",
            false,
            &["spec", "status"],
            "should be a json path under either .spec or .status",
        ),
    ];
    for (key, required, roots, why) in rules {
        let path = scale.at(key);
        if path.text().is_empty() {
            if required {
                errors.push(path.required(""));
            }
            continue;
        }
        let fields = JsonPath::parse(path.text()).ok().and_then(|p| p.fields());
        let fits = path.text().starts_with('.')
            && fields.is_some_and(|f| {
                f.len() > 1 && f.first().is_some_and(|f| roots.contains(&f.as_str()))
            });
        if !fits {
            errors.push(path.invalid(why));
        }
    }
}
