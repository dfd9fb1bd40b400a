//! What columns mean, in our own words, and what rows say beside their cells.

use crate::meta;
use serde_json::{Value, json};

/// Sorted by heading.
#[rustfmt::skip]
const COLUMNS: &[(&str, &str)] = &[
    ("Access Modes", "How the volume may be mounted: RWO, ROX, RWX or RWOP."),
    ("Active", "How many jobs run now."),
    ("Address", "Where the load balancer answers."),
    ("AddressType", "The family of the addresses: IPv4, IPv6 or FQDN."),
    ("Age", "How long ago the object was created."),
    ("AllowVolumeExpansion", "Whether volumes of the class can grow."),
    ("Allowed Disruptions", "How many pods may be evicted now."),
    ("AttachRequired", "Whether volumes are attached before they are mounted."),
    ("Attached", "Whether the volume is attached."),
    ("Attacher", "The driver that attaches the volume."),
    ("Available", "How many pods have been ready long enough; for an API service, whether it answers."),
    ("CIDRs", "The ranges that Services get their addresses from."),
    ("Capacity", "How much the volume holds."),
    ("Claim", "The claim that the volume is bound to."),
    ("Class", "The ingress class that handles the rules."),
    ("Cluster-IP", "The address inside the cluster."),
    ("Completions", "How many pods have succeeded, of how many."),
    ("Condition", "How far the request has come."),
    ("Container-Runtime", "What runs the node's containers."),
    ("Containers", "Names of the containers."),
    ("Controller", "Who controls the objects."),
    ("Count", "How often it has happened."),
    ("Created At", "When the object was created."),
    ("Current", "How many pods there are."),
    ("Data", "How many entries there are."),
    ("Desired", "How many pods are wanted."),
    ("DistinguisherMethod", "What tells the flows of one schema apart."),
    ("Driver", "The driver that offers the devices."),
    ("DriverName", "The driver that knows the attributes."),
    ("Drivers", "How many drivers run on the node."),
    ("Duration", "How long the job ran, or has run."),
    ("Endpoints", "Addresses behind the Service."),
    ("Error", "What went wrong."),
    ("External-IP", "Addresses outside the cluster."),
    ("First Seen", "How long ago it happened first."),
    ("Global-Default", "Whether pods without a class get this one."),
    ("Groups", "Groups that get the role."),
    ("HandSize", "How many queues a flow may use."),
    ("Handler", "The runtime configuration on the nodes."),
    ("Holder", "Who holds the lease."),
    ("Hosts", "Host names of the rules."),
    ("IP", "The pod's address."),
    ("Images", "Images of the containers."),
    ("Internal-IP", "The node's address inside the cluster."),
    ("Kernel-Version", "The node's kernel."),
    ("Last Schedule", "How long ago the last job was started."),
    ("Last Seen", "How long ago it happened last."),
    ("Limit", "Limits used, of how much."),
    ("MatchingPrecedence", "Lower numbers are tried first."),
    ("Max Unavailable", "How many pods may be missing."),
    ("MaxPods", "The most replicas."),
    ("Message", "What happened, in a sentence."),
    ("Min Available", "How many pods must stay."),
    ("MinPods", "The fewest replicas."),
    ("MissingPL", "Whether the priority level does not exist."),
    ("Modes", "The kinds of volumes that the driver has."),
    ("Mutations", "How many changes the policy makes."),
    ("Name", "The object's name, unique within its namespace and kind."),
    ("Node", "The node's name."),
    ("Node Selector", "Labels of the nodes that get a pod."),
    ("NominalConcurrencyShares", "The share of the server that the level gets."),
    ("Nominated Node", "The node where pods make room for this one."),
    ("OS-Image", "The node's operating system."),
    ("Object", "What it happened to."),
    ("PV", "The volume's name."),
    ("ParamKind", "The kind of the policy's parameters."),
    ("ParamRef", "The parameters that the binding chooses."),
    ("Parameters", "What configures the controller."),
    ("ParentRef", "What the address belongs to."),
    ("Pod Labels", "Labels of pods made from the template."),
    ("Pod-Selector", "The pods that the policy is about."),
    ("PodInfoOnMount", "Whether the driver is told which pod mounts."),
    ("PolicyName", "The policy that the binding puts into force."),
    ("Pool", "The pool that the devices belong to."),
    ("Port(s)", "Ports and protocols; after a colon, the port on the nodes."),
    ("Ports", "Port numbers."),
    ("PreemptionPolicy", "Whether pods of the class may push others out."),
    ("PriorityLevel", "The level that matching requests get."),
    ("Provisioner", "What makes the volumes."),
    ("QueueLengthLimit", "The most requests in one queue."),
    ("Queues", "How many queues the level has."),
    ("Readiness Gates", "How many extra conditions of readiness are met."),
    ("Ready", "How many are ready."),
    ("Reason", "Why, in a word."),
    ("Reclaim Policy", "What becomes of the volume after its claim."),
    ("ReclaimPolicy", "What becomes of volumes after their claims."),
    ("Reference", "What is scaled."),
    ("Replicas", "How many replicas there are."),
    ("Request", "Requests used, of how much."),
    ("RequestedDuration", "How long the certificate is to be good for."),
    ("Requestor", "Who asked for the certificate."),
    ("RequiresRepublish", "Whether the driver is called again and again."),
    ("Restarts", "How often containers have restarted, and how long ago the last time."),
    ("Revision", "The number of the revision."),
    ("Role", "The role that is granted."),
    ("Roles", "Roles of the node, from its labels."),
    ("Schedule", "When jobs start, in cron form."),
    ("Selector", "Labels of the pods that belong to it."),
    ("Service", "What serves the API."),
    ("ServiceAccounts", "Service accounts that get the role."),
    ("SignerName", "Who is to sign."),
    ("Source", "Who says so."),
    ("State", "What the claim has got."),
    ("Status", "What the case is."),
    ("StorageCapacity", "Whether the driver says how much room there is."),
    ("StorageClass", "The class of the volume."),
    ("StorageClassName", "The class that the room is for."),
    ("Subobject", "The part it happened to."),
    ("Suspend", "Whether no jobs are started."),
    ("Targets", "Current and wanted value of each metric."),
    ("Timezone", "The time zone of the schedule."),
    ("TokenRequests", "Audiences of the tokens that the driver gets."),
    ("Type", "Which sort it is."),
    ("Up-to-date", "How many pods have the newest template."),
    ("Users", "Users that get the role."),
    ("Validations", "How many checks the policy makes."),
    ("Value", "The priority that pods get."),
    ("Version", "The node agent's version."),
    ("Volume", "The volume that the claim is bound to."),
    ("VolumeAttributesClass", "The class of the volume's attributes."),
    ("VolumeBindingMode", "When claims get their volumes."),
    ("VolumeMode", "Whether the volume is a file system or a block device."),
    ("Webhooks", "How many webhooks there are."),
];

/// What a column of a built-in kind means; empty for a heading that no built-in kind has.
pub fn column(heading: &str) -> &'static str {
    let found = COLUMNS
        .binary_search_by(|(name, _)| (*name).cmp(heading))
        .ok();
    found
        .and_then(|index| COLUMNS.get(index))
        .map_or("", |(_, text)| *text)
}

/// The conditions of a row: a pod that has ended is marked, so that clients can leave it out.
pub fn row_conditions(kind: &str, object: &Value) -> Option<Value> {
    if kind != "Pod" {
        return None;
    }
    let phase = meta::text(object, &["status", "phase"]);
    let message = match phase {
        "Succeeded" => "The pod has ended and all its containers succeeded.",
        "Failed" => "The pod has ended and a container failed.",
        _ => return None,
    };
    Some(json!([{
        "type": "Completed", "status": "True", "reason": phase, "message": message,
    }]))
}
