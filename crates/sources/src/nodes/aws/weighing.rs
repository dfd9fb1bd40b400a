//! Asking what machines count for, where only their type would tell and nothing here knows it.

use super::model::{ScalingGroup, Units};
use super::provider::AwsProvider;

impl AwsProvider {
    /// Weighs the machines that are not weighed yet; where AWS does not tell either, the group's
    /// units are unknown.
    pub(super) async fn weigh(&self, group: &mut ScalingGroup) {
        let Units::Lacking {
            attribute,
            least,
            of,
        } = &mut group.units
        else {
            return;
        };
        let (attribute, least, mut of) = (*attribute, *least, std::mem::take(of));
        let mut all_told = true;
        for machine in group.machines.iter_mut().filter(|one| one.weight == 0) {
            let shape = match &machine.kind {
                Some(kind) => self.launches.asked_shape(kind).await,
                None => None,
            };
            let weight = shape.and_then(|shape| attribute.of(&shape));
            let weight = weight.filter(|weight| *weight > 0);
            of.extend(machine.kind.clone().zip(weight));
            machine.weight = weight.unwrap_or(1);
            all_told &= weight.is_some() || !machine.phase.is_active();
        }
        group.units = if all_told {
            Units::Weights {
                least,
                of,
                uneven: true,
            }
        } else {
            // Departs: a machine that counts for too little would seem to lack others, and would be
            // ended when they are given up.
            Units::Unknown
        };
    }
}
