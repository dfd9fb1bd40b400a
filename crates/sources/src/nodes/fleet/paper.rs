//! Machines that are Node objects and nothing else.

use super::{Machine, MachineError, Machines};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, Error};
use plimsoll_clock::Clock;
use serde_json::{Value, json};

/// Nodes on paper: each machine is a Node object that is Ready, on any API server. Nobody runs the
/// pods that are bound to them. For trying node autoscaling out, and for tests of it.
#[derive(Clone)]
pub struct PaperNodes {
    client: Client,
    clock: Clock,
}

impl std::fmt::Debug for PaperNodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaperNodes").finish_non_exhaustive()
    }
}

impl PaperNodes {
    /// Node objects of this API server.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    fn object(&self, machine: &Machine) -> Value {
        let mut node = machine.shape.node(&machine.name);
        let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        if let Some(spec) = node.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("providerID".into(), json!(*machine.provider_id));
        }
        if let Some(condition) = node.pointer_mut("/status/conditions/0") {
            *condition = json!({
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "the node exists on paper only",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            });
        }
        node
    }
}

#[async_trait]
impl Machines for PaperNodes {
    async fn add(&self, machine: &Machine) -> Result<(), MachineError> {
        let node: Node = serde_json::from_value(self.object(machine))
            .map_err(|error| MachineError::of(&error))?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        match nodes.create(&PostParams::default(), &node).await {
            Ok(_) => Ok(()),
            // From an earlier life.
            Err(Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(MachineError::of(&error)),
        }
    }

    async fn remove(&self, name: &str) -> Result<(), MachineError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        match nodes.delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(MachineError::of(&error)),
        }
    }
}
