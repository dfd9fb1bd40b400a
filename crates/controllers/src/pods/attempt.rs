//! What only Jobs look at in their pods: how containers ended and in which conditions.

use super::pod::{ConditionWire, ContainerStatusWire};
use jiff::Timestamp;
use std::sync::Arc;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Name.
    pub container: Arc<str>,
    /// `state.terminated.exitCode`.
    pub code: i32,
}

/// One attempt of a Job to get its work done. Kept for pods that a Job controls, and for no others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Restarts of all containers together, init containers included.
    pub restarts: i64,
    /// Containers that have ended: main ones first, then init ones, in status order.
    pub exits: Box<[Exit]>,
    /// When the last main container ended, if all have.
    pub ended: Option<Timestamp>,
    /// When the pod ceased to be ready, if it has.
    pub unready: Option<Timestamp>,
    /// `status.conditions`: type and status as written.
    pub conditions: Box<[(Arc<str>, Box<str>)]>,
}

impl Attempt {
    pub(super) fn of(
        main: &[ContainerStatusWire],
        init: &[ContainerStatusWire],
        conditions: &[ConditionWire],
    ) -> Self {
        let every = || main.iter().chain(init);
        let exits = every().filter_map(|status| {
            Some(Exit {
                container: status.name.as_str().into(),
                code: status.state.terminated.as_ref()?.exit_code,
            })
        });
        let ends: Option<Vec<Timestamp>> = main
            .iter()
            .map(|status| status.state.terminated.as_ref()?.finished_at)
            .collect();
        let unready = conditions.iter().find(|c| c.kind == "Ready");
        Self {
            restarts: every().map(|status| i64::from(status.restart_count)).sum(),
            exits: exits.collect(),
            ended: ends.and_then(|ends| ends.into_iter().max()),
            unready: unready
                .filter(|c| c.status == "False")
                .and_then(|c| c.last_transition_time),
            conditions: conditions
                .iter()
                .map(|c| (c.kind.as_str().into(), c.status.as_str().into()))
                .collect(),
        }
    }
}
