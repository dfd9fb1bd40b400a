//! The controllers, the scheduler and the horizontal autoscaler against the in-process API server,
//! on paused time.

#[cfg(test)]
mod actuating;
#[cfg(test)]
mod autoscaling;
#[cfg(test)]
mod cronjobs;
#[cfg(test)]
mod custom;
#[cfg(test)]
mod daemons;
mod deletion;
#[cfg(test)]
mod deployments;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod disruption;
#[cfg(test)]
mod election;
#[cfg(test)]
mod explaining;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod node_autoscaling;
#[cfg(test)]
mod node_headroom;
#[cfg(test)]
mod node_quotas;
#[cfg(test)]
mod node_wishes;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod pod_autoscaling;
#[cfg(test)]
mod preemption;
#[cfg(test)]
mod replication;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod rollouts;
#[cfg(test)]
mod scheduling;
#[cfg(test)]
mod scheduling_random;
#[cfg(test)]
mod scope;
#[cfg(test)]
mod services;
#[cfg(test)]
mod stateful;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod volumes;
