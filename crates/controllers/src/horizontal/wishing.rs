//! Tells what an autoscaler wants beyond what it may write now.

use super::key::{ScalerKey, ScalerKind};
use super::mapping::group_version;
use super::shell::Shell;
use super::view::Scaler;
use crate::runtime::ObjectKey;
use crate::wishes::{Author, Target, Wish};
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::spec::{Select, TargetRef};
use plimsoll_engine::horizontal::{Decision, Spec, held_back};
use std::sync::Arc;

impl Shell {
    /// Puts up what rates and windows hold back after a pass, or takes down what was. A target that
    /// cannot be written, or may not grow, gets no pods, whatever is wanted.
    pub(super) fn wish(&self, key: &ScalerKey, scaler: &Scaler, decision: &Decision, wrote: bool) {
        if !self.wishes.are_read() {
            return;
        }
        let goes_on = !self.options.observe_only && (wrote || decision.write.is_none());
        let wanted = held_back(&decision.trace).filter(|_| goes_on);
        let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok());
        let spec = scaler.spec.as_ref().ok().filter(|spec| may_grow(spec));
        let target = spec.and_then(|spec| target(key, &spec.scale_target_ref));
        let Some((replicas, target)) = wanted.zip(target) else {
            return self.wish_no_more(key);
        };
        let now = self.clock.now();
        // The next look comes after this rest, and may take as long as its requests.
        let patience = self.rest(scaler, None) + self.options.request_timeout;
        let patience = SignedDuration::try_from(patience).unwrap_or(SignedDuration::MAX);
        let until = now.checked_add(patience).unwrap_or(Timestamp::MAX);
        let wish = Wish {
            target,
            replicas,
            until,
        };
        self.wishes.put_up(author(key), wish, now);
    }

    /// Takes down what an autoscaler wanted that is gone, left to others, or cannot be read.
    pub(super) fn wish_no_more(&self, key: &ScalerKey) {
        if self.wishes.are_read() {
            self.wishes.take_down(&author(key));
        }
    }
}

/// Whether the target will have what is wanted one day.
fn may_grow(spec: &Spec) -> bool {
    let behavior = spec.behavior.as_ref();
    behavior.is_none_or(|behavior| behavior.scale_up.select_policy != Some(Select::Disabled))
}

fn author(key: &ScalerKey) -> Author {
    let kind = match key.kind {
        ScalerKind::Horizontal => "hpa",
        ScalerKind::Pod => "pa",
    };
    Author {
        kind,
        object: key.object.clone(),
    }
}

fn target(scaler: &ScalerKey, target: &TargetRef) -> Option<Target> {
    let (group, _) = group_version(&target.api_version).ok()?;
    Some(Target {
        group: group.into(),
        kind: target.kind.as_str().into(),
        object: ObjectKey {
            namespace: Arc::clone(&scaler.object.namespace),
            name: target.name.as_str().into(),
        },
    })
}
