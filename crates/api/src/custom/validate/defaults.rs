//! Defaults must be values that their own schema accepts as they are.

use super::Errors;
use super::place::Place;
use crate::custom::prune::prune_part;
use crate::custom::schema::Schema;
use crate::custom::{check::check_at, fill};

/// Checks every default of a schema that is structural.
pub(super) fn check(place: &Place<'_>, errors: &mut Errors) {
    let default = place.at("default");
    if !default.is_absent() {
        let schema = Schema::parse(place.value);
        let mut pruned = default.value.clone();
        if prune_part(&schema, &mut pruned).is_empty() {
            // Defaults inside a default are filled in before it counts.
            fill(&schema, &mut pruned);
            errors.extend(check_at(&schema, &pruned, &default.path));
        } else {
            errors.push(default.invalid("must not have unknown fields"));
        }
    }
    for (_, property) in place.at("properties").entries() {
        check(&property, errors);
    }
    for below in [place.at("additionalProperties"), place.at("items")] {
        if below.value.is_object() {
            check(&below, errors);
        }
    }
}
