//! Admission policies: denied, warned about, changed.

use crate::rig::{Answer, CONFIG_MAPS, DEPLOYMENTS, Rig, deployment};
use crate::webhook_server::WebhookServer;
use plimsoll_apiserver::auth::Identity;
use rstest::rstest;
use serde_json::{Value, json};

const BASE: &str = "/apis/admissionregistration.k8s.io/v1";

fn rules(group: &str, resource: &str) -> Value {
    json!({"resourceRules": [{
        "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"],
        "resources": [resource],
    }]})
}

/// Stores a policy and binds it, with changes to the policy's and the binding's spec.
async fn validating(rig: &Rig, policy: &Value, binding: &Value) {
    let mut spec =
        json!({"failurePolicy": "Fail", "matchConstraints": rules("apps", "deployments")});
    plimsoll_api::patch::merge(&mut spec, policy);
    let object = json!({"metadata": {"name": "vap"}, "spec": spec});
    let path = format!("{BASE}/validatingadmissionpolicies");
    rig.post(&path, &object).await.expect(201);
    let mut spec = json!({"policyName": "vap", "validationActions": ["Deny"]});
    plimsoll_api::patch::merge(&mut spec, binding);
    let object = json!({"metadata": {"name": "vapb"}, "spec": spec});
    let path = format!("{BASE}/validatingadmissionpolicybindings");
    rig.post(&path, &object).await.expect(201);
}

fn replicas(name: &str, count: i64) -> Value {
    let mut object = deployment(name);
    object["spec"]["replicas"] = json!(count);
    object
}

fn warnings(answer: &Answer) -> Vec<String> {
    let all = answer.headers.get_all("warning").iter();
    all.map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_violation_is_denied_in_upstreams_words() {
    let rig = Rig::new().await;
    let rule = json!({"validations": [{"expression": "object.spec.replicas <= 5", "message": "too many"}]});
    validating(&rig, &rule, &json!({})).await;
    let refused = rig.post(DEPLOYMENTS, &replicas("d", 6)).await;
    let status = refused.expect(422);
    assert_eq!(
        status["message"],
        "deployments.apps \"d\" is forbidden: ValidatingAdmissionPolicy 'vap' with binding 'vapb' denied request: too many"
    );
    assert_eq!(status["reason"], "Invalid");
    rig.post(DEPLOYMENTS, &replicas("d", 5)).await.expect(201);
    let grown = json!({"spec": {"replicas": 9}});
    let path = format!("{DEPLOYMENTS}/d");
    rig.patch(&path, "merge", &grown)
        .await
        .expect_failure(422, "Invalid", "too many");
    rig.config_map("not-a-deployment", &json!({})).await;
}

#[rstest]
#[case::without_message(json!({"expression": "object.spec.replicas < 1"}), 422, "denied request: failed expression: object.spec.replicas < 1")]
#[case::reason(json!({"expression": "false", "reason": "Forbidden"}), 403, "failed expression: false")]
#[case::unauthorized(json!({"expression": "false", "reason": "Unauthorized"}), 401, "failed expression: false")]
#[case::message_expression(json!({"expression": "false", "messageExpression": "'replicas: ' + string(object.spec.replicas)"}), 422, "denied request: replicas: 3")]
#[case::error(json!({"expression": "object.spec.nope == 1"}), 422, "expression 'object.spec.nope == 1' resulted in error: no such key: nope")]
#[case::request(json!({"expression": "request.operation != 'CREATE' || request.userInfo.username != 'admin'"}), 422, "failed expression")]
#[case::namespace(json!({"expression": "namespaceObject.metadata.name != 'default'"}), 422, "failed expression")]
#[case::old_object(json!({"expression": "oldObject != null"}), 422, "failed expression")]
#[case::authorizer(json!({"expression": "!authorizer.group('').resource('pods').namespace('default').check('delete').allowed()"}), 422, "failed expression")]
#[case::request_resource(json!({"expression": "!authorizer.requestResource.check('create').allowed()"}), 422, "failed expression")]
#[case::service_account(json!({"expression": "authorizer.serviceAccount('default', 'x').group('').resource('pods').check('delete').allowed()"}), 422, "failed expression")]
#[case::variables(json!({"expression": "variables.containers.all(c, c.image.startsWith('example.com/'))"}), 422, "failed expression")]
#[tokio::test(start_paused = true)]
async fn rules_see_everything_about_the_request(
    #[case] validation: Value,
    #[case] code: u16,
    #[case] message: &str,
) {
    let rig = Rig::new().await;
    let policy = json!({
        "variables": [
            {"name": "template", "expression": "object.spec.template"},
            {"name": "containers", "expression": "variables.template.spec.containers"},
        ],
        "validations": [validation],
    });
    validating(&rig, &policy, &json!({})).await;
    let status = rig.post(DEPLOYMENTS, &replicas("d", 3)).await.expect(code);
    let said = status["message"].as_str().unwrap();
    assert!(said.contains(message), "{said}");
}

#[tokio::test(start_paused = true)]
async fn actions_failure_policies_and_conditions_decide_what_happens() {
    let rig = Rig::new().await;
    let policy = json!({
        "failurePolicy": "Ignore",
        "matchConditions": [{"name": "not-exempt", "expression": "!object.metadata.name.startsWith('exempt')"}],
        "validations": [{"expression": "object.spec.nope == 1"}, {"expression": "object.spec.replicas <= 5"}],
    });
    validating(
        &rig,
        &policy,
        &json!({"validationActions": ["Warn", "Audit"]}),
    )
    .await;
    let warned = rig.post(DEPLOYMENTS, &replicas("d", 6)).await;
    warned.expect(201);
    assert_eq!(
        warnings(&warned),
        [
            "299 - \"Validation failed for ValidatingAdmissionPolicy 'vap' with binding 'vapb': failed expression: object.spec.replicas <= 5\""
        ]
    );
    let exempt = rig.post(DEPLOYMENTS, &replicas("exempt-d", 6)).await;
    exempt.expect(201);
    assert!(warnings(&exempt).is_empty());
}

#[tokio::test(start_paused = true)]
async fn parameters_come_from_the_objects_a_binding_names() {
    let rig = Rig::new().await;
    let policy = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{
            "expression": "object.spec.replicas <= int(params.data.max)",
            "messageExpression": "'at most ' + params.data.max",
        }],
    });
    let binding = json!({"paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}});
    validating(&rig, &policy, &binding).await;
    let refused = rig.post(DEPLOYMENTS, &replicas("d", 3)).await;
    refused.expect_failure(
        422,
        "Invalid",
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction",
    );
    let limits =
        json!({"metadata": {"name": "limits", "labels": {"kind": "limits"}}, "data": {"max": "2"}});
    rig.post(CONFIG_MAPS, &limits).await.expect(201);
    let refused = rig.post(DEPLOYMENTS, &replicas("d", 3)).await;
    refused.expect_failure(422, "Invalid", "at most 2");
    rig.post(DEPLOYMENTS, &replicas("d", 2)).await.expect(201);
    let path = format!("{BASE}/validatingadmissionpolicybindings/vapb");
    let by_label = json!({"spec": {"paramRef": {
        "name": null, "selector": {"matchLabels": {"kind": "nothing"}}, "parameterNotFoundAction": "Allow",
    }}});
    rig.patch(&path, "merge", &by_label).await.expect(200);
    rig.post(DEPLOYMENTS, &replicas("e", 9)).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn deletions_selectors_and_exclusions() {
    let mut rig = Rig::new().await;
    let policy = json!({
        "matchConstraints": {
            "resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["*"]}],
            "excludeResourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"], "resourceNames": ["free"]}],
            "objectSelector": {"matchLabels": {"keep": "yes"}},
        },
        "validations": [{"expression": "object == null && oldObject.metadata.labels.keep != 'yes'", "message": "kept"}],
    });
    validating(&rig, &policy, &json!({})).await;
    for name in ["kept", "free"] {
        rig.config_map(name, &json!({"keep": "yes"})).await;
    }
    rig.config_map("plain", &json!({})).await;
    let refused = rig.delete(&format!("{CONFIG_MAPS}/kept"), None).await;
    refused.expect_failure(422, "Invalid", "kept");
    for name in ["free", "plain"] {
        rig.delete(&format!("{CONFIG_MAPS}/{name}"), None)
            .await
            .expect(200);
    }
    rig.identity = Identity::new("other", &["system:masters"]);
    // A policy can always be removed.
    let path = format!("{BASE}/validatingadmissionpolicies/vap");
    rig.delete(&path, None).await.expect(200);
    rig.delete(&format!("{CONFIG_MAPS}/kept"), None)
        .await
        .expect(200);
}

#[tokio::test(start_paused = true)]
async fn expressions_are_checked_when_they_are_written() {
    let rig = Rig::new().await;
    let path = format!("{BASE}/validatingadmissionpolicies");
    let policy = |rule: &str| {
        json!({"metadata": {"name": "p"}, "spec": {
            "matchConstraints": rules("apps", "deployments"), "validations": [{"expression": rule}],
        }})
    };
    let refused = rig.post(&path, &policy("object.spec.replicas <")).await;
    refused.expect_failure(422, "Invalid", "spec.validations[0].expression: Invalid value: \"object.spec.replicas <\": compilation failed: ERROR: <input>:1:23: Syntax error: mismatched input '<EOF>'");
    let refused = rig.post(&path, &policy("1 + 1")).await;
    refused.expect_failure(422, "Invalid", "must evaluate to bool");
    rig.post(&path, &policy("object.spec.replica > 1"))
        .await
        .expect(201);
    let stored = rig.get(&format!("{path}/p")).await.expect(200);
    assert_eq!(stored["status"]["observedGeneration"], 1);
    let warning = &stored["status"]["typeChecking"]["expressionWarnings"][0];
    assert_eq!(warning["fieldRef"], "spec.validations[0].expression");
    let text = warning["warning"].as_str().unwrap();
    let expected = "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replica'";
    assert!(text.starts_with(expected), "{text}");
    let sound = json!({"spec": {"validations": [{"expression": "object.spec.replicas > 1"}]}});
    rig.patch(&format!("{path}/p"), "merge", &sound)
        .await
        .expect(200);
    let stored = rig.get(&format!("{path}/p")).await.expect(200);
    assert_eq!(
        stored["status"],
        json!({"observedGeneration": 2, "typeChecking": {}})
    );
}

#[tokio::test(start_paused = true)]
async fn what_costs_too_much_is_cut_off() {
    let rig = Rig::new().await;
    let range = "lists.range(300)";
    let rule = format!("{range}.all(a, {range}.all(b, {range}.all(c, a + b + c >= 0)))");
    validating(
        &rig,
        &json!({"validations": [{"expression": rule}]}),
        &json!({}),
    )
    .await;
    let refused = rig.post(DEPLOYMENTS, &replicas("d", 3)).await;
    refused.expect_failure(
        422,
        "Invalid",
        "operation cancelled: actual cost limit exceeded",
    );
}

/// Stores a mutating policy and binds it.
async fn mutating(rig: &Rig, name: &str, policy: &Value) {
    let mut spec = json!({
        "failurePolicy": "Fail", "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [{
            "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"],
        }]},
    });
    plimsoll_api::patch::merge(&mut spec, policy);
    let object = json!({"metadata": {"name": name}, "spec": spec});
    rig.post(&format!("{BASE}/mutatingadmissionpolicies"), &object)
        .await
        .expect(201);
    let object = json!({"metadata": {"name": name}, "spec": {"policyName": name}});
    rig.post(&format!("{BASE}/mutatingadmissionpolicybindings"), &object)
        .await
        .expect(201);
}

#[tokio::test(start_paused = true)]
async fn mutating_policies_apply_configurations_and_patches() {
    let rig = Rig::new().await;
    let apply = "Object{metadata: Object.metadata{labels: {'team': 'a'}}, spec: Object.spec{template: Object.spec.template{spec: \
                 Object.spec.template.spec{containers: [Object.spec.template.spec.containers.item{name: 'web', workingDir: '/srv'}, \
                 Object.spec.template.spec.containers.item{name: 'side', image: 'proxy:1'}]}}}}";
    mutating(
        &rig,
        "a",
        &json!({"mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": apply}},
        ]}),
    )
    .await;
    let patch = "[JSONPatch{op: 'test', path: '/spec/replicas', value: 3}, \
                 JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/n'), value: object.metadata.labels.team}]";
    mutating(
        &rig,
        "b",
        &json!({"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}]}),
    )
    .await;
    let made = rig.post(DEPLOYMENTS, &replicas("d", 3)).await.expect(201);
    assert_eq!(
        made["metadata"]["labels"],
        json!({"team": "a", "example.com/n": "a"})
    );
    let containers = &made["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["image"], "nginx:1", "{containers}");
    assert_eq!(containers[0]["workingDir"], "/srv");
    assert_eq!(containers[1]["name"], "side");
    assert_eq!(
        containers[1]["imagePullPolicy"], "IfNotPresent",
        "defaulted afterwards"
    );
    let refused = rig.post(DEPLOYMENTS, &replicas("e", 4)).await;
    refused.expect_failure(422, "Invalid", "policy 'b' with binding 'b' denied request");
}

#[tokio::test]
async fn webhooks_are_asked_only_when_their_conditions_hold() {
    let rig = Rig::new().await;
    let denying = WebhookServer::new(|_| json!({"allowed": false})).await;
    let conditions = json!({"matchConditions": [
        {"name": "asked", "expression": "has(object.metadata.labels) && object.metadata.labels.ask == 'yes'"},
        {"name": "by-people", "expression": "request.userInfo.username != 'robot'"},
    ]});
    denying.register(&rig, "validating", "v", conditions).await;
    let plain = json!({"metadata": {"name": "plain"}});
    rig.post(CONFIG_MAPS, &plain).await.expect(201);
    let asked = json!({"metadata": {"name": "asked", "labels": {"ask": "yes"}}});
    rig.post(CONFIG_MAPS, &asked).await.expect(403);
    assert_eq!(denying.asked().len(), 1);
    // What cannot be evaluated is refused, as the webhook's failure policy says.
    let unlabelled = json!({"metadata": {"name": "odd", "labels": {"other": "x"}}});
    let refused = rig.post(CONFIG_MAPS, &unlabelled).await;
    refused.expect_failure(403, "Forbidden", "no such key: ask");
    assert_eq!(denying.asked().len(), 1);
}
