//! Node autoscaling when things go wrong: the in-process API server and the scheduler on paused
//! time, and a provider whose machines fail in every way.
//!
//! Whatever happens: no pod beyond its budget is lost, no node stays tainted or cordoned, and no
//! more machines are asked for than pods need.

#[cfg(test)]
mod autoscaler;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod growing;
#[cfg(test)]
mod idle;
#[cfg(test)]
mod lives;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod provisioning;
#[cfg(test)]
mod replacing;
#[cfg(test)]
#[path = "../workloads/faults.rs"]
#[expect(dead_code, reason = "not all that it can do is needed here")]
mod requests;
#[cfg(test)]
#[path = "../workloads/rig.rs"]
#[expect(dead_code, reason = "the rig serves the other suite too")]
mod rig;
#[cfg(test)]
mod shrinking;
#[cfg(test)]
mod site;
#[cfg(test)]
mod yard;
