//! How much of a node its pods ask for (reference §12.1).

use super::drain::{is_long_terminating, is_of_daemon_set, overdue_at};
use super::running::{ClusterNode, RunningPod};
use crate::placement::{PoolUse, Resources};
use jiff::Timestamp;
use std::sync::Arc;

/// Shares of requests in allocatable. All are 0–1 in a sound cluster.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Utilization {
    /// The share that decides.
    pub share: f64,
    /// Of what: `cpu`, `memory`, the GPU's name or `driver/pool`.
    pub resource: Arc<str>,
    /// CPU; 0 where a device decides.
    pub cpu: f64,
    /// Memory; 0 where a device decides.
    pub memory: f64,
    /// GPUs.
    pub gpu: f64,
    /// The fullest pool of devices.
    pub devices: f64,
}

/// Why there is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UtilizationError {
    /// The node does not say how much it has.
    #[error("failed to get {0} from {1}")]
    NotAllocatable(&'static str, Arc<str>),
    /// It has none.
    #[error("{0} is 0 at {1}")]
    Nothing(&'static str, Arc<str>),
    /// Not all slices of a pool are there.
    #[error("pool {0} of {1} is incomplete")]
    IncompletePool(Arc<str>, Arc<str>),
}

/// Devices of one driver's pool on the node (dynamic resource allocation).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePool {
    /// `driver/pool`.
    pub name: Arc<str>,
    /// How many devices it has.
    pub devices: usize,
    /// How many of them are allocated to pods of the node.
    pub allocated: usize,
    /// Whether all its slices have been published.
    pub complete: bool,
}

impl From<PoolUse> for DevicePool {
    fn from(pool: PoolUse) -> Self {
        Self {
            name: pool.name,
            devices: pool.devices,
            allocated: pool.held,
            complete: pool.complete,
        }
    }
}

/// Whose requests do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Pods of DaemonSets.
    pub daemon_sets: bool,
    /// Mirrors of static pods.
    pub mirrors: bool,
}

/// The utilization of a node.
///
/// # Errors
/// The node lacks what is needed to tell.
pub fn utilization<'a>(
    node: &ClusterNode,
    pods: impl IntoIterator<Item = &'a RunningPod>,
    ignored: Ignored,
    now: Timestamp,
) -> Result<Utilization, UtilizationError> {
    let (mut used, mut left_out) = (Resources::default(), Resources::default());
    for pod in pods {
        let requests = &pod.pod.spec.requests;
        let out = (ignored.daemon_sets && is_of_daemon_set(pod)) || (ignored.mirrors && pod.mirror);
        if out {
            left_out.add(requests);
        } else if !is_long_terminating(pod, now) {
            used.add(requests);
        }
    }
    if let Some(gpu) = node.gpu.as_ref().filter(|name| !name.is_empty()) {
        return Ok(of_gpu(node, gpu, (&used, &left_out)));
    }
    // Pools without devices say nothing of how busy the node is.
    let tells = |pool: &DevicePool| pool.devices > 0 || !pool.complete;
    if node.device_pools.iter().any(tells) {
        return of_devices(node);
    }
    of_core(node, (&used, &left_out))
}

/// When what [`utilization`] says changes though no pod does.
pub(super) fn valid_until<'a>(
    pods: impl IntoIterator<Item = &'a RunningPod>,
    now: Timestamp,
) -> Option<Timestamp> {
    let overdue = pods.into_iter().filter_map(overdue_at);
    overdue.filter(|then| *then >= now).min()
}

/// Parity: a GPU that is not there yet counts as unused, so that such a node can be removed.
fn of_gpu(node: &ClusterNode, gpu: &Arc<str>, of: (&Resources, &Resources)) -> Utilization {
    let has = node.allocatable.amount(gpu);
    let share = if has > 0 {
        ratio(of.0.amount(gpu), has.saturating_sub(of.1.amount(gpu)))
    } else {
        0.0
    };
    Utilization {
        share,
        resource: Arc::clone(gpu),
        gpu: share,
        ..Utilization::default()
    }
}

fn of_devices(node: &ClusterNode) -> Result<Utilization, UtilizationError> {
    let mut fullest: Option<(f64, &DevicePool)> = None;
    for pool in &node.device_pools {
        if !pool.complete {
            let (pool, node) = (Arc::clone(&pool.name), Arc::clone(&node.name));
            return Err(UtilizationError::IncompletePool(pool, node));
        }
        let amount = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let share = ratio(amount(pool.allocated), amount(pool.devices));
        if fullest.is_none_or(|(most, _)| share > most) {
            fullest = Some((share, pool));
        }
    }
    let (share, pool) = fullest.map_or((0.0, Arc::from("")), |(share, pool)| {
        (share, Arc::clone(&pool.name))
    });
    Ok(Utilization {
        share,
        resource: pool,
        devices: share,
        ..Utilization::default()
    })
}

fn of_core(
    node: &ClusterNode,
    of: (&Resources, &Resources),
) -> Result<Utilization, UtilizationError> {
    let share = |name: &'static str| {
        let has = node.allocatable.amount(name);
        if has <= 0 {
            let node_name = Arc::clone(&node.name);
            return Err(if node.allocatable_known {
                UtilizationError::Nothing(name, node_name)
            } else {
                UtilizationError::NotAllocatable(name, node_name)
            });
        }
        Ok(ratio(
            of.0.amount(name),
            has.saturating_sub(of.1.amount(name)),
        ))
    };
    let (cpu, memory) = (share("cpu")?, share("memory")?);
    let (share, resource) = if cpu > memory {
        (cpu, "cpu")
    } else {
        (memory, "memory")
    };
    Ok(Utilization {
        share,
        resource: resource.into(),
        cpu,
        memory,
        ..Utilization::default()
    })
}

/// A share; of nothing, nothing is unused and anything is all of it.
#[expect(
    clippy::cast_precision_loss,
    reason = "Parity: upstream divides floats"
)]
fn ratio(used: i64, has: i64) -> f64 {
    if has > 0 {
        used as f64 / has as f64
    } else if used > 0 {
        1.0
    } else {
        0.0
    }
}
