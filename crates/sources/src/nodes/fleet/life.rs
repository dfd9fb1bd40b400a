//! The life of one machine, as a task.

use super::{Fate, Inner, Machine};
use plimsoll_api::nodegroup::{ErrorClass, InstanceProblem, InstanceState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// Pauses between attempts to remove a machine.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Where a machine's life begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// It was asked for.
    Ordered,
    /// It has joined already.
    Joined,
}

/// What a machine's task works with.
#[derive(Debug)]
pub(super) struct Life {
    inner: Arc<Inner>,
    beginning: Beginning,
}

impl Life {
    /// From the order on.
    pub(super) fn ordered(inner: Arc<Inner>) -> Self {
        let beginning = Beginning::Ordered;
        Self { inner, beginning }
    }

    /// Of a machine that has joined.
    pub(super) fn running(inner: Arc<Inner>) -> Self {
        let beginning = Beginning::Joined;
        Self { inner, beginning }
    }

    /// Whether the machine has joined from the beginning.
    pub(super) fn has_joined(&self) -> bool {
        self.beginning == Beginning::Joined
    }

    /// Lives until the machine is gone.
    pub(super) async fn live(self, machine: Machine, doomed: Arc<Notify>) {
        let joined = match self.beginning {
            Beginning::Joined => true,
            Beginning::Ordered => {
                tokio::select! {
                    biased;
                    () = doomed.notified() => return self.forget(&machine),
                    fate = self.boot(&machine) => self.join(&machine, fate).await,
                }
            }
        };
        doomed.notified().await;
        self.inner.changed();
        sleep(self.inner.conduct.shutdown()).await;
        if joined {
            self.leave(&machine).await;
        }
        self.forget(&machine);
    }

    /// Waits for the machine; says how the boot went.
    async fn boot(&self, machine: &Machine) -> Fate {
        let config = {
            let groups = self.inner.groups.lock();
            groups.get(&machine.group).map(|g| Arc::clone(&g.config))
        };
        let Some(config) = config else {
            return Fate::NeverJoins(Duration::ZERO);
        };
        let fate = self.inner.conduct.fate(&config);
        let (Fate::Boots(after) | Fate::NeverJoins(after) | Fate::Fails(after, _)) = &fate;
        sleep(*after).await;
        fate
    }

    /// Whether the machine has to be removed at its end.
    async fn join(&self, machine: &Machine, fate: Fate) -> bool {
        match fate {
            Fate::Boots(_) => match self.inner.machines.add(machine).await {
                Ok(()) => {
                    tracing::info!(node = %machine.name, group = %machine.group, "machine joined");
                    self.set(machine, InstanceState::Running, None);
                    true
                }
                Err(error) => {
                    self.fail(machine, "MachineNotMade", error.message);
                    false
                }
            },
            Fate::NeverJoins(_) => {
                self.set(machine, InstanceState::Running, None);
                false
            }
            Fate::Fails(_, problem) => {
                self.set(machine, InstanceState::Creating, Some(problem));
                false
            }
        }
    }

    fn fail(&self, machine: &Machine, code: &str, message: String) {
        tracing::warn!(node = %machine.name, group = %machine.group, %message, "no machine");
        let problem = InstanceProblem {
            class: ErrorClass::Other,
            code: code.to_owned(),
            message,
        };
        self.set(machine, InstanceState::Creating, Some(problem));
    }

    async fn leave(&self, machine: &Machine) {
        let (mut pause, longest) = PAUSES;
        while let Err(error) = self.inner.machines.remove(&machine.name).await {
            tracing::warn!(node = %machine.name, %error, "machine not removed yet");
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        tracing::info!(node = %machine.name, group = %machine.group, "machine removed");
    }

    /// Notes what the machine is doing, unless it has been dismissed meanwhile.
    fn set(&self, machine: &Machine, state: InstanceState, problem: Option<InstanceProblem>) {
        let mut groups = self.inner.groups.lock();
        let entry = groups
            .get_mut(&machine.group)
            .and_then(|group| group.entry(&machine.name))
            .filter(|entry| entry.state != InstanceState::Deleting);
        if let Some(entry) = entry {
            (entry.state, entry.problem) = (state, problem);
        }
        drop(groups);
        self.inner.changed();
    }

    fn forget(&self, machine: &Machine) {
        let mut groups = self.inner.groups.lock();
        if let Some(group) = groups.get_mut(&machine.group) {
            group.forget(&machine.name);
        }
        drop(groups);
        self.inner.changed();
    }
}
