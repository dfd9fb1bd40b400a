//! What the server refuses of the kinds around workloads, with the exact messages.

#![expect(
    clippy::needless_pass_by_value,
    reason = "builders read best with literals"
)]
#![expect(clippy::indexing_slicing, reason = "setting a member makes it")]

use plimsoll_api::kinds;
use rstest::rstest;
use serde_json::{Value, json};

/// All messages about a new object of `group/plural` named `x`, or of its update.
fn told(resource: &str, body: Value, old: Option<Value>) -> String {
    let (group, plural) = resource.rsplit_once('/').unwrap_or(("", resource));
    let kinds = kinds::built_in();
    let kind = kinds.find(group, "v1", plural).expect("a built-in kind");
    let complete = |body: Value| {
        let mut object = json!({"metadata": {"name": "x"}});
        if kind.namespaced {
            object["metadata"]["namespace"] = "n".into();
        }
        json_patch::merge(&mut object, &body);
        (kind.strategy.default)(&mut object);
        object
    };
    let (new, old) = (complete(body), old.map(complete));
    let errors = (kind.strategy.validate)(&new, old.as_ref());
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("|")
}

fn hook(change: Value) -> Value {
    let mut hook = json!({
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://x/y"},
    });
    json_patch::merge(&mut hook, &change);
    json!({"webhooks": [hook]})
}

const HOOKS: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";

#[rstest]
#[case::fine(hook(json!({})), "")]
#[case::name(hook(json!({"name": "a.b"})),
    "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots")]
#[case::side_effects(hook(json!({"sideEffects": "Some"})),
    "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"")]
#[case::no_side_effects(hook(json!({"sideEffects": null})),
    "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun")]
#[case::versions(hook(json!({"admissionReviewVersions": ["v2"]})),
    "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1")]
#[case::timeout(hook(json!({"timeoutSeconds": 31})),
    "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds")]
#[case::both(hook(json!({"clientConfig": {"service": {"name": "s", "namespace": "n"}}})),
    "webhooks[0].clientConfig: Required value: exactly one of url or service is required")]
#[case::scheme(hook(json!({"clientConfig": {"url": "http://x"}})),
    "webhooks[0].clientConfig.url: Invalid value: \"http://x\": 'https' is the only allowed URL scheme; desired format: https://host[/path]")]
#[case::service(hook(json!({"clientConfig": {"url": null, "service": {"name": "s", "namespace": ""}}})),
    "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required")]
#[case::operations(hook(json!({"rules": [{"operations": ["*", "CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]})),
    "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations")]
#[case::resources(hook(json!({"rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["*", "pods"]}]})),
    "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources")]
fn webhooks(#[case] body: Value, #[case] want: &str) {
    assert_eq!(told(HOOKS, body, None), want);
}

#[test]
fn names_of_webhooks_are_unique() {
    let mut two = hook(json!({}));
    let again = two["webhooks"][0].clone();
    two["webhooks"].as_array_mut().unwrap().push(again);
    assert_eq!(
        told(HOOKS, two, None),
        "webhooks[1].name: Duplicate value: \"a.b.c\""
    );
}

#[rstest]
#[case::peer("networking.k8s.io/networkpolicies", json!({"spec": {"podSelector": {}, "ingress": [{"from": [{}]}]}}),
    "spec.ingress[0].from[0]: Required value: must specify a peer")]
#[case::block("networking.k8s.io/networkpolicies", json!({"spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}}),
    "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`")]
#[case::end_port("networking.k8s.io/networkpolicies", json!({"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80, "endPort": 79}]}]}}),
    "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`")]
#[case::controller("networking.k8s.io/ingressclasses", json!({"spec": {"controller": "nginx"}}),
    "spec.controller: Invalid value: \"nginx\": must be a domain-prefixed path (such as \"acme.io/foo\")")]
#[case::cidr("networking.k8s.io/servicecidrs", json!({"spec": {"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}}),
    "spec.cidrs: Invalid value: [\"10.0.0.0/8\",\"11.0.0.0/8\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96")]
#[case::address("networking.k8s.io/ipaddresses", json!({"metadata": {"name": "10.0.0.01"}, "spec": {"parentRef": {"resource": "services", "name": "s"}}}),
    "metadata.name: Invalid value: \"10.0.0.01\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]
#[case::handler("node.k8s.io/runtimeclasses", json!({"handler": "A"}),
    "handler: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')")]
#[case::driver("storage.k8s.io/csidrivers", json!({"spec": {"fsGroupPolicy": "Often"}}),
    "spec.fsGroupPolicy: Unsupported value: \"Often\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"")]
#[case::attachment("storage.k8s.io/volumeattachments", json!({"spec": {"attacher": "a", "nodeName": "n", "source": {}}}),
    "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName")]
#[case::volume("persistentvolumes", json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}}),
    "spec: Required value: must specify a volume type")]
#[case::revision("apps/controllerrevisions", json!({"revision": -1, "data": {}}),
    "revision: Invalid value: -1: must be greater than or equal to 0")]
#[case::api_service("apiregistration.k8s.io/apiservices", json!({"spec": {"group": "g.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}}),
    "metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.g.io\"")]
#[case::flow("flowcontrol.apiserver.k8s.io/flowschemas", json!({"spec": {"priorityLevelConfiguration": {"name": ""}}}),
    "spec.priorityLevelConfiguration.name: Required value: must reference a priority level")]
#[case::level("flowcontrol.apiserver.k8s.io/prioritylevelconfigurations", json!({"spec": {"type": "Limited"}}),
    "spec.limited: Required value: must not be empty when type is Limited")]
#[case::claim("resource.k8s.io/resourceclaims", json!({"spec": {"devices": {"requests": [{"name": "r"}]}}}),
    "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required")]
#[case::priority("scheduling.k8s.io/priorityclasses", json!({"metadata": {"name": "system-x"}, "value": 1}),
    "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class")]
#[case::basic_auth("secrets", json!({"type": "kubernetes.io/basic-auth"}),
    "data[username]: Required value|data[password]: Required value")]
#[case::docker("secrets", json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{"}}),
    "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character in the document")]
#[case::finalizer("configmaps", json!({"metadata": {"finalizers": ["mine"]}}),
    "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified")]
#[case::owner("configmaps", json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}]}}),
    "metadata.ownerReferences: Invalid value: [{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"name\":\"e\",\"uid\":\"u\"}]: /v1, Kind=Event is disallowed from being an owner")]
#[case::binding("admissionregistration.k8s.io/validatingadmissionpolicybindings", json!({"spec": {"policyName": "p"}}),
    "spec.validationActions: Required value: at least one validation action is required")]
fn new_objects(#[case] resource: &str, #[case] body: Value, #[case] want: &str) {
    assert_eq!(told(resource, body, None), want);
}

#[rstest]
#[case::class("storage.k8s.io/volumeattributesclasses",
    json!({"driverName": "a", "parameters": {"k": "1"}}), json!({"driverName": "b", "parameters": {"k": "1"}}),
    "driverName: Forbidden: updates to driverName are forbidden.")]
#[case::revision("apps/controllerrevisions", json!({"revision": 1, "data": {"a": 1}}), json!({"revision": 2, "data": {"a": 2}}),
    "data: Invalid value: {\"a\":2}: field is immutable")]
#[case::priority("scheduling.k8s.io/priorityclasses", json!({"value": 1}), json!({"value": 2}),
    "value: Forbidden: may not be changed in an update.")]
#[case::handler("node.k8s.io/runtimeclasses", json!({"handler": "a"}), json!({"handler": "b"}),
    "handler: Invalid value: \"b\": field is immutable")]
#[case::quota("resourcequotas", json!({"spec": {"hard": {"pods": "1"}}}), json!({"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}}),
    "spec.scopes: Invalid value: [\"BestEffort\"]: field is immutable")]
#[case::quota_grows("resourcequotas", json!({"spec": {"hard": {"pods": "1"}}}), json!({"spec": {"hard": {"pods": "2"}}}), "")]
fn updates(#[case] resource: &str, #[case] old: Value, #[case] new: Value, #[case] want: &str) {
    assert_eq!(told(resource, new, Some(old)), want);
}

fn pod(spec: Value) -> Value {
    let mut whole = json!({"containers": [{"name": "c", "image": "i"}]});
    json_patch::merge(&mut whole, &spec);
    json!({"spec": whole})
}

fn affinity(kind: &str, term: Value) -> Value {
    pod(json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": term}}}))
}

#[rstest]
#[case::ephemeral(pod(json!({"ephemeralContainers": [{"name": "e", "image": "i"}]})),
    "spec.ephemeralContainers: Forbidden: cannot be set on create")]
#[case::gated(pod(json!({"nodeName": "n", "schedulingGates": [{"name": "g"}]})),
    "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared")]
#[case::terms(affinity("nodeAffinity", json!({"nodeSelectorTerms": []})),
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term")]
#[case::operator(affinity("nodeAffinity", json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Gt"}]}]})),
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'")]
#[case::topology(affinity("podAffinity", json!([{"labelSelector": {}}])),
    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty")]
#[case::user(pod(json!({"securityContext": {"runAsUser": -1}})),
    "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive")]
#[case::seccomp(pod(json!({"securityContext": {"seccompProfile": {"type": "Localhost"}}})),
    "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost")]
#[case::resolution(pod(json!({"dnsPolicy": "None"})),
    "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None")]
#[case::device(pod(json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"a.b/c": "1"}, "limits": {"a.b/c": "2"}}}]})),
    "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to a.b/c limit of 2")]
fn pods(#[case] body: Value, #[case] want: &str) {
    assert_eq!(told("pods", body, None), want);
}

fn job(spec: Value) -> Value {
    let mut whole = json!({
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
        },
    });
    json_patch::merge(&mut whole, &spec);
    json!({"spec": whole})
}

#[rstest]
#[case::fine(json!({"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}}), "")]
#[case::index(json!({"backoffLimitPerIndex": 1}),
    "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode")]
#[case::both(json!({"podFailurePolicy": {"rules": [{"action": "Ignore"}]}}),
    "spec.podFailurePolicy.rules[0]: Invalid value: {\"action\":\"Ignore\"}: specifying one of OnExitCodes and OnPodConditions is required")]
#[case::codes(json!({"podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 1]}}]}}),
    "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered")]
#[case::replacement(json!({"podReplacementPolicy": "Never"}),
    "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\"")]
fn jobs(#[case] spec: Value, #[case] want: &str) {
    assert_eq!(told("batch/jobs", job(spec), None), want);
}

#[rstest]
#[case::indexes(json!([{"succeededIndexes": "0,2-4", "succeededCount": 4}]), "")]
#[case::none(json!([]),
    "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified")]
#[case::empty(json!([{}]),
    "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified")]
#[case::order(json!([{"succeededIndexes": "3,2"}]),
    "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"3,2\": error parsing succeededIndexes: non-increasing order, previous: 3, current: 2")]
#[case::large(json!([{"succeededIndexes": "0-5"}]),
    "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-5\": error parsing succeededIndexes: too large index: \"5\"")]
#[case::rubbish(json!([{"succeededIndexes": "x"}]),
    "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"x\": error parsing succeededIndexes: cannot convert string to integer for index: \"x\"")]
#[case::more_than_named(json!([{"succeededIndexes": "0,2-4", "succeededCount": 5}]),
    "spec.successPolicy.rules[0].succeededCount: Invalid value: 5: must be less than or equal to 4 (the number of indexes in the specified succeededIndexes field)")]
#[case::more_than_all(json!([{"succeededCount": 6}]),
    "spec.successPolicy.rules[0].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)")]
fn partial_success(#[case] rules: Value, #[case] want: &str) {
    let spec = json!({
        "completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": rules},
    });
    assert_eq!(told("batch/jobs", job(spec), None), want);
}

#[rstest]
#[case::parallelism(json!({}), json!({"parallelism": 3}), "")]
#[case::completions(json!({}), json!({"completions": 3}),
    "spec.completions: Invalid value: 3: field is immutable")]
#[case::in_tandem(json!({"completionMode": "Indexed"}), json!({"completions": 3, "parallelism": 3}), "")]
#[case::not_in_tandem(json!({"completionMode": "Indexed"}), json!({"completions": 3}),
    "spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism")]
#[case::mode(json!({}), json!({"completionMode": "Indexed"}),
    "spec.completionMode: Invalid value: \"Indexed\": field is immutable")]
#[case::where_pods_run(json!({"suspend": true}), json!({"template": {"spec": {
    "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}}}}}), "")]
fn job_updates(#[case] base: Value, #[case] change: Value, #[case] want: &str) {
    let whole = |change: &Value| {
        let mut spec = json!({"completions": 1, "parallelism": 1});
        json_patch::merge(&mut spec, &base);
        json_patch::merge(&mut spec, change);
        job(spec)
    };
    assert_eq!(
        told("batch/jobs", whole(&change), Some(whole(&json!({})))),
        want
    );
}

#[rstest]
#[case::runs(json!({}), json!({"nodeSelector": {"a": "b"}}), false)]
#[case::suspended(json!({"suspend": true}), json!({"nodeSelector": {"a": "b"}}), true)]
#[case::resources(json!({"suspend": true}),
    json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}), true)]
#[case::image(json!({"suspend": true}), json!({"containers": [{"name": "c", "image": "j"}]}), false)]
#[case::pod_affinity(json!({"suspend": true}), json!({"affinity": {"podAntiAffinity": {
    "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k"}]}}}), false)]
fn templates_of_jobs_at_rest_may_change(
    #[case] base: Value,
    #[case] change: Value,
    #[case] allowed: bool,
) {
    let mut changed = base.clone();
    json_patch::merge(&mut changed, &json!({"template": {"spec": change}}));
    let told = told("batch/jobs", job(changed), Some(job(base)));
    let refused =
        told.starts_with("spec.template: Invalid value: ") && told.ends_with("field is immutable");
    assert_eq!((told.is_empty(), refused), (allowed, !allowed), "{told}");
}

fn cron_job(spec: Value) -> Value {
    let mut whole = json!({
        "schedule": "* * * * *",
        "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
        }}}},
    });
    json_patch::merge(&mut whole, &spec);
    json!({"spec": whole})
}

#[rstest]
#[case::fine(json!({"schedule": "*/5 8-18 * * MON-FRI", "timeZone": "Europe/Berlin"}), "")]
#[case::daily(json!({"schedule": "@daily"}), "")]
#[case::every(json!({"schedule": "@every 1h30m"}), "")]
#[case::never(json!({"schedule": "0 0 31 2 *"}), "")]
#[case::empty(json!({"schedule": ""}), "spec.schedule: Required value")]
#[case::fields(json!({"schedule": "* * *"}),
    "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]")]
#[case::above(json!({"schedule": "70 * * * *"}),
    "spec.schedule: Invalid value: \"70 * * * *\": end of range (70) above maximum (59): 70")]
#[case::below(json!({"schedule": "* * 0 * *"}),
    "spec.schedule: Invalid value: \"* * 0 * *\": beginning of range (0) below minimum (1): 0")]
#[case::backwards(json!({"schedule": "* 5-1 * * *"}),
    "spec.schedule: Invalid value: \"* 5-1 * * *\": beginning of range (5) beyond end of range (1): 5-1")]
#[case::step(json!({"schedule": "*/0 * * * *"}),
    "spec.schedule: Invalid value: \"*/0 * * * *\": step of range should be a positive number: */0")]
#[case::slashes(json!({"schedule": "*/1/2 * * * *"}),
    "spec.schedule: Invalid value: \"*/1/2 * * * *\": too many slashes: */1/2")]
#[case::hyphens(json!({"schedule": "1-2-3 * * * *"}),
    "spec.schedule: Invalid value: \"1-2-3 * * * *\": too many hyphens: 1-2-3")]
#[case::word(json!({"schedule": "x * * * *"}),
    "spec.schedule: Invalid value: \"x * * * *\": failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax")]
#[case::descriptor(json!({"schedule": "@often"}),
    "spec.schedule: Invalid value: \"@often\": unrecognized descriptor: @often")]
#[case::length(json!({"schedule": "@every x"}),
    "spec.schedule: Invalid value: \"@every x\": failed to parse duration @every x: time: invalid duration \"x\"")]
#[case::zone_in_schedule(json!({"schedule": "TZ=UTC * * * * *"}),
    "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead")]
#[case::no_zone(json!({"timeZone": ""}),
    "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string")]
#[case::local_zone(json!({"timeZone": "Local"}),
    "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")]
#[case::unknown_zone(json!({"timeZone": "Mars"}),
    "spec.timeZone: Invalid value: \"Mars\": unknown time zone Mars")]
#[case::policy(json!({"concurrencyPolicy": "Queue"}),
    "spec.concurrencyPolicy: Unsupported value: \"Queue\": supported values: \"Allow\", \"Forbid\", \"Replace\"")]
#[case::selector(json!({"jobTemplate": {"spec": {"selector": {"matchLabels": {"a": "b"}}}}}),
    "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated")]
#[case::manual(json!({"jobTemplate": {"spec": {"manualSelector": true}}}),
    "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"false\", \"nil\"")]
fn cron_jobs(#[case] spec: Value, #[case] want: &str) {
    assert_eq!(told("batch/cronjobs", cron_job(spec), None), want);
}

#[rstest]
#[case::kept(json!({"schedule": "TZ=UTC 0 * * * *"}), "")]
#[case::with_the_field(json!({"schedule": "TZ=UTC 0 * * * *", "timeZone": "UTC"}),
    "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use both timeZone field and TZ or CRON_TZ in schedule")]
fn a_zone_in_an_old_schedule_may_stay(#[case] change: Value, #[case] want: &str) {
    let old = cron_job(json!({"schedule": "TZ=UTC * * * * *"}));
    assert_eq!(told("batch/cronjobs", cron_job(change), Some(old)), want);
}

fn spread(constraint: Value) -> Value {
    let mut whole = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}});
    json_patch::merge(&mut whole, &constraint);
    pod(json!({"topologySpreadConstraints": [whole]}))
}

#[rstest]
#[case::fine(json!({"minDomains": 2, "matchLabelKeys": ["pod-template-hash"], "nodeTaintsPolicy": "Honor"}), "")]
#[case::skew(json!({"maxSkew": 0}), ".maxSkew: Invalid value: 0: must be greater than zero")]
#[case::key(json!({"topologyKey": ""}), ".topologyKey: Required value: can not be empty")]
#[case::when(json!({"whenUnsatisfiable": "Never"}),
    ".whenUnsatisfiable: Unsupported value: \"Never\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"")]
#[case::domains(json!({"minDomains": 2, "whenUnsatisfiable": "ScheduleAnyway"}),
    ".minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway")]
#[case::no_domains(json!({"minDomains": 0}), ".minDomains: Invalid value: 0: must be greater than zero")]
#[case::policy(json!({"nodeAffinityPolicy": "Maybe"}),
    ".nodeAffinityPolicy: Unsupported value: \"Maybe\": supported values: \"Honor\", \"Ignore\"")]
#[case::no_selector(json!({"labelSelector": null, "matchLabelKeys": ["a"]}),
    ".matchLabelKeys: Forbidden: must not be specified when labelSelector is not set")]
#[case::twice(json!({"matchLabelKeys": ["app"]}),
    ".matchLabelKeys[0]: Invalid value: \"app\": exists in both matchLabelKeys and labelSelector")]
fn spread_constraints(#[case] constraint: Value, #[case] want: &str) {
    let want = if want.is_empty() {
        String::new()
    } else {
        format!("spec.topologySpreadConstraints[0]{want}")
    };
    assert_eq!(told("pods", spread(constraint), None), want);
}

#[test]
fn a_pair_of_topology_and_action_is_constrained_once() {
    let one = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
    let body = pod(json!({"topologySpreadConstraints": [one, one]}));
    assert_eq!(
        told("pods", body, None),
        "spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: \
         \"{zone, DoNotSchedule}\""
    );
}

fn gated(spec: Value) -> Value {
    let mut whole = json!({"schedulingGates": [{"name": "g"}]});
    json_patch::merge(&mut whole, &spec);
    pod(whole)
}

fn node_terms(terms: Value) -> Value {
    json!({"affinity": {"nodeAffinity":
        {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
}

fn exists(keys: &[&str]) -> Value {
    let one = |key: &&str| json!({"key": key, "operator": "Exists"});
    json!([{"matchExpressions": keys.iter().map(one).collect::<Vec<_>>()}])
}

const TERMS: &str =
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";

#[rstest]
#[case::selector_grows(json!({"nodeSelector": {"a": "b"}}), json!({"nodeSelector": {"a": "b", "c": "d"}}), "")]
#[case::selector_changes(json!({"nodeSelector": {"a": "b"}}), json!({"nodeSelector": {"a": "z"}}),
    "spec.nodeSelector: Invalid value: {\"a\":\"z\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)")]
#[case::affinity_appears(json!({}), node_terms(exists(&["a"])), "")]
#[case::affinity_grows(node_terms(exists(&["a"])), node_terms(exists(&["a", "b"])), "")]
#[case::affinity_changes(node_terms(exists(&["a"])), node_terms(exists(&["b"])),
    "TERMS[0]: Invalid value: {\"matchExpressions\":[{\"key\":\"b\",\"operator\":\"Exists\"}]}: only additions are allowed (no mutations or deletions)")]
#[case::terms_go(node_terms(exists(&["a"])), json!({}),
    "TERMS: Invalid value: null: no additions/deletions to non-empty NodeSelectorTerms list are allowed")]
#[case::gate_goes(json!({}), json!({"schedulingGates": []}), "")]
#[case::gate_comes(json!({}), json!({"schedulingGates": [{"name": "g"}, {"name": "h"}]}),
    "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'")]
fn gated_pods_narrow(#[case] old: Value, #[case] new: Value, #[case] want: &str) {
    let want = want.replace("TERMS", TERMS);
    assert_eq!(told("pods", gated(new), Some(gated(old))), want);
}

#[test]
fn affinity_to_pods_stays_even_behind_a_gate() {
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        [{"labelSelector": {}, "topologyKey": "zone"}]}}});
    let told = told("pods", gated(near), Some(gated(json!({}))));
    assert!(told.contains("changed: spec.affinity"), "{told}");
}
