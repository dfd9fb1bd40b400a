//! Which rules each built-in kind has.

use super::rows::Row;
use super::{gated, prepare};
use crate::gates::FeatureGates;
use crate::kind::Strategy;
use crate::{custom, defaults, validation};

/// The rules of a kind; kinds without special ones get metadata validation and status handling.
pub(super) fn of(row: &Row, gates: FeatureGates) -> Strategy {
    let mut strategy = generic(row);
    strategy.default = defaults::of(row.group, row.version, row.kind);
    if let Some(validate) = validation::of(row.group, row.version, row.kind) {
        strategy.validate = validate;
    }
    if let Some(warnings) = validation::warnings::of(row.group, row.kind) {
        strategy.warnings = warnings;
    }
    match (row.group, row.kind) {
        ("", "Pod") => strategy.prepare_create = prepare::pod,
        ("", "Namespace") => {
            strategy.prepare_create = prepare::namespace;
            strategy.prepare_update = prepare::namespace_update;
        }
        ("", "PersistentVolumeClaim" | "PersistentVolume") => {
            strategy.prepare_create = prepare::pending;
        }
        ("certificates.k8s.io", _) => strategy.prepare_update = prepare::certificate_update,
        ("", "Service") => {
            strategy.prepare_create = prepare::service;
            strategy.prepare_update = prepare::service_update;
        }
        // A node agent registers with a status; upstream keeps it.
        ("", "Node") => strategy.prepare_create = prepare::nothing,
        ("apiextensions.k8s.io", _) => {
            strategy.default = custom::strategy::default;
            strategy.prepare_create = custom::strategy::prepare_create;
            strategy.prepare_update = custom::strategy::prepare_update;
            strategy.validate = custom::validate::definition;
            strategy.warnings = custom::strategy::warnings;
        }
        ("autoscaling", _) => strategy.prepare_create = prepare::autoscaler,
        ("apps", "DaemonSet") => {
            strategy.prepare_create = prepare::daemon_set;
            strategy.prepare_update = prepare::daemon_set_update;
        }
        ("batch", "Job") => strategy.prepare_create = prepare::job,
        ("apps" | "batch" | "policy" | "networking.k8s.io", _) if !row.subresources.is_empty() => {
            strategy.prepare_create = prepare::empty_status;
        }
        _ => {}
    }
    gated::apply(&mut strategy, row, gates);
    strategy
}

fn generic(row: &Row) -> Strategy {
    let has_status = row.subresources.iter().any(|(name, ..)| *name == "status");
    Strategy {
        default: defaults::nothing,
        drop_disabled: gated::nothing,
        prepare_create: if has_status {
            prepare::drop_status
        } else {
            prepare::nothing
        },
        prepare_update: if has_status {
            prepare::keep_status
        } else {
            prepare::no_update
        },
        validate: if row.namespaced {
            validation::namespaced_object
        } else {
            validation::cluster_object
        },
        warnings: prepare::no_warnings,
    }
}
