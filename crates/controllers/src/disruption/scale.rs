//! How many pods their controllers want.

use crate::horizontal::mapping::{Mapper, Mapping, MappingError, group_version};
use crate::pods::{Caches, PodView};
use crate::runtime::{Owner, WriteError, Writer};
use crate::supervisor::Context;
use futures::future::join_all;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What discovery says is believed for this time.
const BELIEVED: Duration = Duration::from_secs(60);
/// The longest wait for discovery.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why nobody knows how many pods there should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScaleError {
    /// The controller that a pod names is not there.
    #[error("found no controllers for pod {0:?}")]
    NoController(Arc<str>),
    /// The controller's kind has no `scale`.
    #[error("{0} does not implement the scale subresource")]
    NoScale(String),
    /// Nobody serves the controller's kind.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The `apiVersion` of an owner is none.
    #[error("{0}")]
    Version(String),
    /// The server did not say.
    #[error("{}", .0.message())]
    Asked(#[from] WriteError),
}

/// The wanted pods of one controller.
struct Wanted {
    /// Uid of the controller that decides: the Deployment of a ReplicaSet.
    decider: Arc<str>,
    replicas: i32,
}

/// Asks controllers for their scale.
pub(super) struct Scales {
    caches: Caches,
    writer: Writer,
    mapper: Mapper,
}

impl Scales {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            caches: context.caches.clone(),
            writer: context.writer.clone(),
            mapper: Mapper::new(context.client.clone(), BELIEVED, TIMEOUT),
        }
    }

    /// The sum of what the controllers of these pods want, each counted once. Pods without a
    /// controller add nothing.
    pub(super) async fn expected(&self, pods: &[Arc<PodView>]) -> Result<i32, ScaleError> {
        let mut owners: BTreeMap<&str, (&Owner, &PodView)> = BTreeMap::new();
        for pod in pods {
            if let Some(owner) = pod.meta.controller() {
                owners.entry(&owner.uid).or_insert((owner, pod));
            }
        }
        let asked = owners.into_values().map(|(owner, pod)| self.of(owner, pod));
        let mut wanted: BTreeMap<Arc<str>, i32> = BTreeMap::new();
        for answer in join_all(asked).await {
            let Wanted { decider, replicas } = answer?;
            wanted.insert(decider, replicas);
        }
        let sum = wanted.into_values();
        Ok(sum.fold(0, i32::saturating_add))
    }

    async fn of(&self, owner: &Owner, pod: &PodView) -> Result<Wanted, ScaleError> {
        let namespace = pod.meta.namespace();
        if let Some(wanted) = self.known(owner, namespace) {
            return Ok(wanted);
        }
        let (group, _) = group_version(&owner.api_version).map_err(ScaleError::Version)?;
        let mapping = self.mapper.find(group, &owner.kind).await?;
        let answer: Scale = match self
            .writer
            .get(&mapping.scale_path(namespace, &owner.name), "scale")
            .await
        {
            Err(error) if error.is_not_found() => {
                return Err(self.no_scale(&mapping, owner, pod).await);
            }
            answer => answer?,
        };
        if answer.metadata.uid != *owner.uid {
            return Err(ScaleError::NoController(Arc::clone(&pod.meta.key.name)));
        }
        Ok(Wanted {
            decider: Arc::clone(&owner.uid),
            replicas: answer.spec.replicas,
        })
    }

    /// ReplicaSets and their Deployments need not be asked.
    fn known(&self, owner: &Owner, namespace: &str) -> Option<Wanted> {
        if &*owner.kind != "ReplicaSet" || !owner.api_version.starts_with("apps/") {
            return None;
        }
        let set = self.caches.replica_sets.find(namespace, &owner.name)?;
        if set.meta.uid != owner.uid {
            return None;
        }
        let deployment = set
            .meta
            .controller()
            .filter(|above| &*above.kind == "Deployment")
            .and_then(|above| {
                let found = self.caches.deployments.find(namespace, &above.name)?;
                (found.meta.uid == above.uid).then_some(found)
            });
        Some(deployment.map_or_else(
            || Wanted {
                decider: Arc::clone(&set.meta.uid),
                replicas: set.replicas,
            },
            |deployment| Wanted {
                decider: Arc::clone(&deployment.meta.uid),
                replicas: deployment.replicas,
            },
        ))
    }

    /// Either the controller is not there or its kind cannot be scaled.
    async fn no_scale(&self, mapping: &Mapping, owner: &Owner, pod: &PodView) -> ScaleError {
        let path = mapping.scale_path(pod.meta.namespace(), &owner.name);
        let object = path.trim_end_matches("/scale");
        let found: Result<Scale, WriteError> = self.writer.get(object, "controller").await;
        match found {
            Ok(_) => ScaleError::NoScale(mapping.group_resource()),
            Err(error) if error.is_not_found() => {
                ScaleError::NoController(Arc::clone(&pod.meta.key.name))
            }
            Err(error) => error.into(),
        }
    }
}

/// What is read of a `Scale`, or of any object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Scale {
    metadata: ScaleMeta,
    spec: ScaleSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScaleMeta {
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScaleSpec {
    replicas: i32,
}
