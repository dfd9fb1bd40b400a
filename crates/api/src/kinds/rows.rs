//! The one table of built-in resources. A row says what differs; everything else is derived.

/// Every verb of an ordinary resource, in discovery order.
pub(super) const CRUD: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const NO_COLLECTION: &[&str] = &[
    "create", "delete", "get", "list", "patch", "update", "watch",
];
const CREATE: &[&str] = &["create"];
const READ: &[&str] = &["get", "list"];
const STATUS: &[&str] = &["get", "patch", "update"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const STREAM: &[&str] = &["create", "get"];

/// One subresource: name, response (group, version, kind; all empty = the parent's), verbs.
pub(super) type Sub = (&'static str, [&'static str; 3], &'static [&'static str]);

const STATUS_SUB: Sub = ("status", ["", "", ""], STATUS);
const SCALE_SUB: Sub = ("scale", ["autoscaling", "v1", "Scale"], STATUS);
const STATUS_ONLY: &[Sub] = &[STATUS_SUB];
const SCALED: &[Sub] = &[SCALE_SUB, STATUS_SUB];
const POD: &[Sub] = &[
    ("attach", ["", "v1", "PodAttachOptions"], STREAM),
    ("binding", ["", "v1", "Binding"], CREATE),
    ("ephemeralcontainers", ["", "", ""], STATUS),
    ("eviction", ["policy", "v1", "Eviction"], CREATE),
    ("exec", ["", "v1", "PodExecOptions"], STREAM),
    ("log", ["", "", ""], &["get"]),
    ("portforward", ["", "v1", "PodPortForwardOptions"], STREAM),
    ("proxy", ["", "v1", "PodProxyOptions"], PROXY),
    ("resize", ["", "", ""], STATUS),
    STATUS_SUB,
];
const NAMESPACE: &[Sub] = &[("finalize", ["", "", ""], &["update"]), STATUS_SUB];
const NODE: &[Sub] = &[("proxy", ["", "v1", "NodeProxyOptions"], PROXY), STATUS_SUB];
const SERVICE: &[Sub] = &[
    ("proxy", ["", "v1", "ServiceProxyOptions"], PROXY),
    STATUS_SUB,
];
const ACCOUNT: &[Sub] = &[(
    "token",
    ["authentication.k8s.io", "v1", "TokenRequest"],
    CREATE,
)];
const CSR: &[Sub] = &[("approval", ["", "", ""], STATUS), STATUS_SUB];

/// A selectable field: label and path.
pub(super) type Field = (&'static str, &'static [&'static str]);

const POD_FIELDS: &[Field] = &[
    ("spec.nodeName", &["spec", "nodeName"]),
    ("spec.host", &["spec", "nodeName"]),
    ("spec.restartPolicy", &["spec", "restartPolicy"]),
    ("spec.schedulerName", &["spec", "schedulerName"]),
    ("spec.serviceAccountName", &["spec", "serviceAccountName"]),
    ("spec.hostNetwork", &["spec", "hostNetwork"]),
    ("status.phase", &["status", "phase"]),
    ("status.podIP", &["status", "podIP"]),
    ("status.podIPs", &["status", "podIP"]),
    ("status.nominatedNodeName", &["status", "nominatedNodeName"]),
];
const EVENT_FIELDS: &[Field] = &[
    ("involvedObject.kind", &["involvedObject", "kind"]),
    ("involvedObject.namespace", &["involvedObject", "namespace"]),
    ("involvedObject.name", &["involvedObject", "name"]),
    ("involvedObject.uid", &["involvedObject", "uid"]),
    (
        "involvedObject.apiVersion",
        &["involvedObject", "apiVersion"],
    ),
    (
        "involvedObject.resourceVersion",
        &["involvedObject", "resourceVersion"],
    ),
    ("involvedObject.fieldPath", &["involvedObject", "fieldPath"]),
    ("reason", &["reason"]),
    ("reportingComponent", &["reportingComponent"]),
    ("type", &["type"]),
    ("source", &["source", "component"]),
];
/// Paths are those of the stored (core) form, which selectors are matched against; the order is
/// that of [`EVENT_FIELDS`], because both index the same stored objects.
const NEW_EVENT_FIELDS: &[Field] = &[
    ("regarding.kind", &["involvedObject", "kind"]),
    ("regarding.namespace", &["involvedObject", "namespace"]),
    ("regarding.name", &["involvedObject", "name"]),
    ("regarding.uid", &["involvedObject", "uid"]),
    ("regarding.apiVersion", &["involvedObject", "apiVersion"]),
    (
        "regarding.resourceVersion",
        &["involvedObject", "resourceVersion"],
    ),
    ("regarding.fieldPath", &["involvedObject", "fieldPath"]),
    ("reason", &["reason"]),
    ("reportingController", &["reportingComponent"]),
    ("type", &["type"]),
];

/// What one resource has beyond the ordinary.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of one table row"
)]
pub(super) struct Row {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    pub(super) short: &'static [&'static str],
    pub(super) category: &'static str,
    pub(super) namespaced: bool,
    pub(super) verbs: &'static [&'static str],
    pub(super) subresources: &'static [Sub],
    pub(super) generation: bool,
    pub(super) orphans: bool,
    pub(super) create_on_update: bool,
    pub(super) requires_resource_version: bool,
    pub(super) selectable: &'static [Field],
}

impl Row {
    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short = names;
        self
    }
    const fn category(mut self, name: &'static str) -> Self {
        self.category = name;
        self
    }
    const fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }
    const fn subs(mut self, subresources: &'static [Sub]) -> Self {
        self.subresources = subresources;
        self
    }
    const fn generation(mut self) -> Self {
        self.generation = true;
        self
    }
    const fn orphans(mut self) -> Self {
        self.orphans = true;
        self
    }
    const fn put_creates(mut self) -> Self {
        self.create_on_update = true;
        self
    }
    const fn strict_updates(mut self) -> Self {
        self.requires_resource_version = true;
        self
    }
    const fn fields(mut self, fields: &'static [Field]) -> Self {
        self.selectable = fields;
        self
    }
}

const fn row(group: &'static str, kind: &'static str, plural: &'static str) -> Row {
    Row {
        group,
        version: "v1",
        kind,
        plural,
        short: &[],
        category: "",
        namespaced: true,
        verbs: CRUD,
        subresources: &[],
        generation: false,
        orphans: false,
        create_on_update: false,
        requires_resource_version: false,
        selectable: &[],
    }
}

const fn cluster(group: &'static str, kind: &'static str, plural: &'static str) -> Row {
    let mut row = row(group, kind, plural);
    row.namespaced = false;
    row
}

const fn v2(mut row: Row) -> Row {
    row.version = "v2";
    row
}

const REGISTRATION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const NET: &str = "networking.k8s.io";
const RESOURCE: &str = "resource.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const AUTHZ: &str = "authorization.k8s.io";
const AUTHN: &str = "authentication.k8s.io";
const EXT: &str = "api-extensions";

/// Every resource of a stable version.
pub(super) const ROWS: &[Row] = &[
    row("", "Binding", "bindings").verbs(CREATE),
    cluster("", "ComponentStatus", "componentstatuses")
        .short(&["cs"])
        .verbs(READ),
    row("", "ConfigMap", "configmaps").short(&["cm"]),
    row("", "Endpoints", "endpoints")
        .short(&["ep"])
        .put_creates(),
    row("", "Event", "events")
        .short(&["ev"])
        .put_creates()
        .fields(EVENT_FIELDS),
    row("", "LimitRange", "limitranges")
        .short(&["limits"])
        .put_creates(),
    cluster("", "Namespace", "namespaces")
        .short(&["ns"])
        .verbs(NO_COLLECTION)
        .subs(NAMESPACE)
        .fields(&[("status.phase", &["status", "phase"])]),
    cluster("", "Node", "nodes")
        .short(&["no"])
        .subs(NODE)
        .fields(&[("spec.unschedulable", &["spec", "unschedulable"])]),
    row("", "PersistentVolumeClaim", "persistentvolumeclaims")
        .short(&["pvc"])
        .subs(STATUS_ONLY),
    cluster("", "PersistentVolume", "persistentvolumes")
        .short(&["pv"])
        .subs(STATUS_ONLY),
    row("", "Pod", "pods")
        .short(&["po"])
        .category("all")
        .subs(POD)
        .generation()
        .fields(POD_FIELDS),
    row("", "PodTemplate", "podtemplates").generation(),
    row("", "ReplicationController", "replicationcontrollers")
        .short(&["rc"])
        .category("all")
        .subs(SCALED)
        .generation()
        .orphans()
        .fields(&[("status.replicas", &["status", "replicas"])]),
    row("", "ResourceQuota", "resourcequotas")
        .short(&["quota"])
        .subs(STATUS_ONLY),
    row("", "Secret", "secrets").fields(&[("type", &["type"])]),
    row("", "ServiceAccount", "serviceaccounts")
        .short(&["sa"])
        .subs(ACCOUNT),
    row("", "Service", "services")
        .short(&["svc"])
        .category("all")
        .subs(SERVICE)
        .put_creates()
        .fields(&[
            ("spec.clusterIP", &["spec", "clusterIP"]),
            ("spec.type", &["spec", "type"]),
        ]),
    cluster("apiregistration.k8s.io", "APIService", "apiservices")
        .category(EXT)
        .subs(STATUS_ONLY),
    cluster(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    )
    .short(&["crd", "crds"])
    .category(EXT)
    .subs(STATUS_ONLY)
    .generation(),
    row("apps", "ControllerRevision", "controllerrevisions"),
    row("apps", "DaemonSet", "daemonsets")
        .short(&["ds"])
        .category("all")
        .subs(STATUS_ONLY)
        .generation(),
    row("apps", "Deployment", "deployments")
        .short(&["deploy"])
        .category("all")
        .subs(SCALED)
        .generation(),
    row("apps", "ReplicaSet", "replicasets")
        .short(&["rs"])
        .category("all")
        .subs(SCALED)
        .generation(),
    row("apps", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .category("all")
        .subs(SCALED)
        .generation(),
    row("events.k8s.io", "Event", "events")
        .short(&["ev"])
        .put_creates()
        .fields(NEW_EVENT_FIELDS),
    cluster(AUTHN, "SelfSubjectReview", "selfsubjectreviews").verbs(CREATE),
    cluster(AUTHN, "TokenReview", "tokenreviews").verbs(CREATE),
    row(
        AUTHZ,
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
    )
    .verbs(CREATE),
    cluster(AUTHZ, "SelfSubjectAccessReview", "selfsubjectaccessreviews").verbs(CREATE),
    cluster(AUTHZ, "SelfSubjectRulesReview", "selfsubjectrulesreviews").verbs(CREATE),
    cluster(AUTHZ, "SubjectAccessReview", "subjectaccessreviews").verbs(CREATE),
    row(
        "autoscaling",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    )
    .short(&["hpa"])
    .category("all")
    .subs(STATUS_ONLY),
    v2(row(
        "autoscaling",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    )
    .short(&["hpa"])
    .category("all")
    .subs(STATUS_ONLY)),
    row("batch", "CronJob", "cronjobs")
        .short(&["cj"])
        .category("all")
        .subs(STATUS_ONLY)
        .generation(),
    row("batch", "Job", "jobs")
        .category("all")
        .subs(STATUS_ONLY)
        .generation()
        .orphans()
        .fields(&[("status.successful", &["status", "succeeded"])]),
    cluster(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        "certificatesigningrequests",
    )
    .short(&["csr"])
    .subs(CSR)
    .fields(&[("spec.signerName", &["spec", "signerName"])]),
    cluster(NET, "IngressClass", "ingressclasses").generation(),
    row(NET, "Ingress", "ingresses")
        .short(&["ing"])
        .subs(STATUS_ONLY)
        .generation(),
    cluster(NET, "IPAddress", "ipaddresses").short(&["ip"]),
    row(NET, "NetworkPolicy", "networkpolicies")
        .short(&["netpol"])
        .generation(),
    cluster(NET, "ServiceCIDR", "servicecidrs").subs(STATUS_ONLY),
    row("policy", "PodDisruptionBudget", "poddisruptionbudgets")
        .short(&["pdb"])
        .subs(STATUS_ONLY)
        .generation()
        .strict_updates(),
    cluster(RBAC, "ClusterRoleBinding", "clusterrolebindings").put_creates(),
    cluster(RBAC, "ClusterRole", "clusterroles").put_creates(),
    row(RBAC, "RoleBinding", "rolebindings").put_creates(),
    row(RBAC, "Role", "roles").put_creates(),
    cluster(STORAGE, "CSIDriver", "csidrivers").strict_updates(),
    cluster(STORAGE, "CSINode", "csinodes").strict_updates(),
    row(STORAGE, "CSIStorageCapacity", "csistoragecapacities").strict_updates(),
    cluster(STORAGE, "StorageClass", "storageclasses").short(&["sc"]),
    cluster(STORAGE, "VolumeAttachment", "volumeattachments")
        .subs(STATUS_ONLY)
        .strict_updates(),
    cluster(STORAGE, "VolumeAttributesClass", "volumeattributesclasses").short(&["vac"]),
    cluster(
        REGISTRATION,
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
    )
    .category(EXT)
    .generation()
    .strict_updates(),
    cluster(
        REGISTRATION,
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
    )
    .category(EXT)
    .generation()
    .strict_updates(),
    cluster(
        REGISTRATION,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    )
    .category(EXT)
    .generation()
    .strict_updates(),
    cluster(
        REGISTRATION,
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
    )
    .category(EXT)
    .subs(STATUS_ONLY)
    .generation()
    .strict_updates(),
    cluster(
        REGISTRATION,
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    )
    .category(EXT)
    .generation()
    .strict_updates(),
    cluster(
        REGISTRATION,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    )
    .category(EXT)
    .generation()
    .strict_updates(),
    cluster("scheduling.k8s.io", "PriorityClass", "priorityclasses")
        .short(&["pc"])
        .generation(),
    row("coordination.k8s.io", "Lease", "leases")
        .put_creates()
        .strict_updates(),
    cluster("node.k8s.io", "RuntimeClass", "runtimeclasses")
        .put_creates()
        .strict_updates(),
    row("discovery.k8s.io", "EndpointSlice", "endpointslices").generation(),
    cluster(RESOURCE, "DeviceClass", "deviceclasses").generation(),
    row(RESOURCE, "ResourceClaim", "resourceclaims")
        .subs(STATUS_ONLY)
        .generation(),
    row(RESOURCE, "ResourceClaimTemplate", "resourceclaimtemplates").generation(),
    cluster(RESOURCE, "ResourceSlice", "resourceslices")
        .generation()
        .fields(&[
            ("spec.nodeName", &["spec", "nodeName"]),
            ("spec.driver", &["spec", "driver"]),
        ]),
    cluster(FLOW, "FlowSchema", "flowschemas")
        .subs(STATUS_ONLY)
        .generation(),
    cluster(
        FLOW,
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
    )
    .subs(STATUS_ONLY)
    .generation(),
];
