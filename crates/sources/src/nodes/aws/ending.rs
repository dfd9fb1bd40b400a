//! Ending machines and giving up places for some.

use super::model::{Machine, Phase, ScalingGroup};
use super::provider::{AT_ONCE, AwsProvider};
use super::shortage::{instance_id, is_placeholder};
use futures::stream::{self, StreamExt};
use plimsoll_api::nodegroup::{ErrorClass, NodeRef, ProviderError};

/// What nodes to delete come down to.
struct Going {
    /// Machines that run or come.
    machines: Vec<Machine>,
    /// Places that no machine fills.
    places: usize,
}

/// What went.
#[derive(Debug, Clone, Copy, Default)]
struct Gone {
    machines: usize,
    /// Units they counted for.
    units: usize,
}

impl AwsProvider {
    /// Ends machines, and lowers the size by them and by the places that are given up.
    pub(super) async fn end(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        let _turn = self.turn(group).await;
        let held = self.held(group)?;
        let mut fresh = self.fresh(group).await?;
        let going = self.sort(&fresh, nodes)?;
        let places = fresh.units_of(going.places.min(fresh.missing()));
        let of_machines = going.machines.iter().map(|machine| machine.weight);
        let leaving = of_machines.fold(places, usize::saturating_add);
        let (floor, _) = held.bounds(&fresh);
        if leaving > 0 && fresh.asked().saturating_sub(leaving) < floor {
            let message = format!(
                "min size reached, nodes will not be deleted: {group} has {} of at least {floor}",
                fresh.asked()
            );
            return Err(ProviderError::new(ErrorClass::Invalid, message));
        }
        if fresh.suspends("Terminate") && !going.machines.is_empty() {
            let message = format!("process Terminate of Auto Scaling group {group} is suspended");
            return Err(ProviderError::new(ErrorClass::Invalid, message));
        }
        if !going.machines.is_empty() {
            fresh = self.level(fresh).await?;
        }
        let (gone, outcome) = self.terminate(going.machines).await;
        self.state.lock().forget();
        if gone.machines != gone.units {
            self.settle(&fresh, gone).await?;
        }
        if places > 0 {
            let after = fresh.desired.saturating_sub(gone.units);
            let there = fresh.there().saturating_sub(gone.units);
            let desired = after.saturating_sub(places).max(there);
            if desired < after {
                self.resize(fresh, desired).await?;
                self.state.lock().forget();
            }
        }
        outcome
    }

    /// Lowers the size by machines that are not there.
    pub(super) async fn give_up(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let _turn = self.turn(group).await;
        self.held(group)?;
        let fresh = self.fresh(group).await?;
        if delta > 0 && delta <= fresh.missing() {
            let desired = fresh.desired.saturating_sub(fresh.units_of(delta));
            if desired >= fresh.min {
                return self.resize(fresh, desired).await;
            }
        }
        let message = format!(
            "attempt to delete existing nodes targetSize:{} delta:-{delta} existingNodes: {} min: {}",
            fresh.target(),
            fresh.active(),
            fresh.min
        );
        Err(ProviderError::new(ErrorClass::Invalid, message))
    }

    /// Machines with weights may add up to more than was asked for. Before one goes, as much is
    /// asked for as is there: otherwise its end lowers the desired capacity below the rest, at the
    /// worst below the minimum, which AWS refuses.
    async fn level(&self, mut group: ScalingGroup) -> Result<ScalingGroup, ProviderError> {
        let desired = group.asked().min(group.max);
        if desired > group.desired {
            self.api.set_desired(&group.name, desired).await?;
            group.desired = desired;
        }
        Ok(group)
    }

    /// Ends machines, each by a call of its own, and says which of them went.
    async fn terminate(&self, machines: Vec<Machine>) -> (Gone, Result<(), ProviderError>) {
        let asked = stream::iter(machines).map(|machine| async move {
            let answer = self.api.terminate(&machine.id).await;
            (machine, answer)
        });
        let mut asked = asked.buffered(AT_ONCE);
        let (mut gone, mut outcome) = (Gone::default(), Ok(()));
        while let Some((machine, answer)) = asked.next().await {
            match answer {
                Ok(()) => {
                    tracing::info!("Terminating EC2 instance {}", machine.id);
                    gone.machines += 1;
                    gone.units += machine.weight;
                }
                Err(error) if error.class == ErrorClass::NotFound => {}
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        (gone, outcome)
    }

    /// Nothing written says whether the end of a machine lowers the desired capacity by its weight
    /// or by one. Where it was one each, the rest follows: otherwise AWS would replace them.
    async fn settle(&self, before: &ScalingGroup, gone: Gone) -> Result<(), ProviderError> {
        let now = self.fresh(&before.name).await?;
        if now.desired != before.desired.saturating_sub(gone.machines) {
            return Ok(());
        }
        let desired = before.desired.saturating_sub(gone.units);
        let desired = desired.max(before.min);
        if desired < now.desired {
            self.api.set_desired(&before.name, desired).await?;
        }
        Ok(())
    }

    /// Tells machines from places; what is gone or going is left out.
    fn sort(&self, fresh: &ScalingGroup, nodes: &[NodeRef]) -> Result<Going, ProviderError> {
        let mut going = Going {
            machines: Vec::new(),
            places: 0,
        };
        for node in nodes {
            let foreign = || {
                let message = format!(
                    "{} ({}) does not belong to Auto Scaling group {}",
                    node.name, node.provider_id, fresh.name
                );
                ProviderError::new(ErrorClass::Invalid, message)
            };
            let id = instance_id(&node.provider_id).ok_or_else(foreign)?;
            let owner = self.state.lock().owner(id);
            if owner.is_some_and(|owner| owner != fresh.name) {
                return Err(foreign());
            }
            if is_placeholder(id) {
                going.places += 1;
                continue;
            }
            let machine = fresh.machines.iter().find(|machine| &*machine.id == id);
            match machine {
                Some(machine) if machine.phase != Phase::Leaving => {
                    going.machines.push(machine.clone());
                }
                _ => tracing::debug!("instance {id} is gone or going already"),
            }
        }
        Ok(going)
    }
}
