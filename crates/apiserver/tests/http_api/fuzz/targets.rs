//! What is thrown at the server: each target turns any bytes into requests. Nothing may panic, and
//! no answer may be an internal error. The fuzzer (`fuzz/`) and the test beside this share them.

use crate::rig::{CONFIG_MAPS, DEPLOYMENTS, Rig, deployment};
use http::Method;
use serde_json::json;
use std::fmt::Write;
use tokio::runtime::Runtime;

/// One target.
pub(crate) type Target = fn(&World, &[u8]);

/// All targets: name, function, inputs to begin with.
pub(crate) const TARGETS: &[(&str, Target, &[&[u8]])] = &[
    ("body", body, BODIES),
    ("selector", selector, SELECTORS),
    ("patch", patch, PATCHES),
    ("apply", apply, APPLIES),
    ("cel", cel, RULES),
    ("token", token, TOKENS),
];

const BODIES: &[&[u8]] = &[
    br#"00{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1"}}"#,
    br#"01{"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i","resources":{"requests":{"cpu":"1"}}}]}}"#,
    br#"02{"metadata":{"name":"d"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
    br#"03{"metadata":{"name":"h"},"spec":{"maxReplicas":3,"scaleTargetRef":{"kind":"Deployment","name":"d"},"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}]}}"#,
    br#"04{"metadata":{"name":"things.example.com"},"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}"#,
    b"10apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata: {a: \"1\"}\n",
    b"20k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x0b\n\x05\n\x01a\x12\0\x12\x02\x0a\0",
];
const SELECTORS: &[&[u8]] = &[
    b"a=b,c!=d,e in (f,g),!h",
    b"app notin (a),b==c",
    b"metadata.name=a,status.phase!=Running",
    b"x>1,y<2",
];
const PATCHES: &[&[u8]] = &[
    br#"0[{"op":"replace","path":"/spec/replicas","value":2},{"op":"test","path":"/metadata/name","value":"web"}]"#,
    br#"1{"spec":{"template":{"spec":{"containers":null}}}}"#,
    br#"2{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"x"},{"$patch":"delete","name":"web"}],"$setElementOrder/containers":[{"name":"web"}]}}}}"#,
    br#"2{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}},"metadata":{"$deleteFromPrimitiveList/finalizers":["a/b"]}}"#,
];
const APPLIES: &[&[u8]] = &[
    br#"0{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":3}}"#,
    br#"1{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"template":{"spec":{"containers":[{"name":"web","ports":[{"containerPort":80,"protocol":"UDP"}],"env":[{"name":"A","value":"b"}]}]}}}}"#,
    b"0apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  finalizers: [a/b]\n",
];
const RULES: &[&[u8]] = &[
    b"self.a == self.b",
    b"self.list.all(x, x > 1) && self.map['k'].startsWith('v')",
    b"has(self.a) ? size(self.list) < 3 : oldSelf.a == 'x'",
    b"[1,2,3].map(x, [4,5,6].filter(y, y > x)).size() > quantity('1Ki').asInteger()",
    b"duration('1h') > timestamp('2026-01-01T00:00:00Z') - timestamp('2025-01-01T00:00:00Z')",
];
const TOKENS: &[&[u8]] = &[
    b"eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Mywic3RhcnQiOiJkZWZhdWx0L2FcdTAwMDAifQ",
    b"eyJydiI6MX0=",
];

/// Where request bodies go.
const KINDS: [&str; 5] = [
    CONFIG_MAPS,
    "/api/v1/namespaces/default/pods",
    DEPLOYMENTS,
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
];

/// A server with something in it.
pub(crate) struct World {
    rig: Rig,
    runtime: Runtime,
}

impl World {
    /// A fresh one.
    pub(crate) fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().build().unwrap();
        let rig = runtime.block_on(async {
            let rig = Rig::new().await;
            rig.default_account().await;
            rig.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
            for name in ["a", "b", "c"] {
                rig.config_map(name, &json!({"app": "web"})).await;
            }
            rig
        });
        Self { rig, runtime }
    }

    fn send(&self, method: Method, path: &str, body: Option<(&str, &[u8])>) -> u16 {
        let body = body.map(|(kind, bytes)| (kind, bytes.to_vec()));
        let answer = self
            .runtime
            .block_on(self.rig.call_with_bytes(method, path, body));
        let code = answer.code.as_u16();
        // Upstream answers 500 to these as well.
        let excused = [
            "resourceVersion should not be set",
            "failed to create typed patch object",
        ];
        let excused = excused.iter().any(|text| answer.text.contains(text));
        assert!(code != 500 || excused, "{path}: {}", answer.text);
        code
    }
}

/// A choice from the first byte; the rest.
fn choose<'a>(input: &'a [u8], from: &[&'static str]) -> (&'static str, &'a [u8]) {
    let (first, rest) = input.split_first().unwrap_or((&b'0', &[]));
    let at = usize::from(first.wrapping_sub(b'0')) % from.len();
    (from[at], rest)
}

fn escaped(text: &[u8]) -> String {
    text.iter().fold(String::new(), |mut out, byte| {
        write!(out, "%{byte:02X}").unwrap();
        out
    })
}

/// Bodies in every encoding, for several kinds.
pub(crate) fn body(world: &World, input: &[u8]) {
    let encodings = [
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
    ];
    let (encoding, rest) = choose(input, &encodings);
    let (path, rest) = choose(rest, &KINDS);
    let path = format!("{path}?dryRun=All&fieldValidation=Strict");
    world.send(Method::POST, &path, Some((encoding, rest)));
}

/// Label and field selectors.
pub(crate) fn selector(world: &World, input: &[u8]) {
    let text = escaped(input);
    for name in ["labelSelector", "fieldSelector"] {
        let path = format!("/api/v1/namespaces/default/configmaps?{name}={text}");
        world.send(Method::GET, &path, None);
    }
}

/// The three patch types of a stored object.
pub(crate) fn patch(world: &World, input: &[u8]) {
    let types = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ];
    let (kind, rest) = choose(input, &types);
    for subresource in ["", "/status", "/scale"] {
        let path = format!("{DEPLOYMENTS}/web{subresource}?dryRun=All");
        world.send(Method::PATCH, &path, Some((kind, rest)));
    }
}

/// Server-side apply by one of two managers, kept, so that ownership builds up.
pub(crate) fn apply(world: &World, input: &[u8]) {
    let managers = ["one&force=true", "two&force=false"];
    let (manager, rest) = choose(input, &managers);
    let path = format!("{DEPLOYMENTS}/web?fieldManager={manager}");
    let kind = "application/apply-patch+yaml";
    world.send(Method::PATCH, &path, Some((kind, rest)));
}

/// A definition with this rule, and an object under it.
pub(crate) fn cel(world: &World, input: &[u8]) {
    let rule = String::from_utf8_lossy(input);
    let definition = json!({
        "metadata": {"name": "ruled.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "ruled", "kind": "Ruled"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {
                    "type": "object",
                    "x-kubernetes-validations": [{"rule": rule}],
                    "properties": {
                        "a": {"type": "string", "maxLength": 10},
                        "b": {"type": "string", "maxLength": 10},
                        "list": {"type": "array", "maxItems": 5, "items": {"type": "integer"}},
                        "map": {"type": "object", "maxProperties": 5,
                            "additionalProperties": {"type": "string", "maxLength": 10}},
                    },
                }}}},
            }],
        },
    });
    let definitions = KINDS[4];
    let text = definition.to_string();
    let body = Some(("application/json", text.as_bytes()));
    if world.send(Method::POST, definitions, body) != 201 {
        return;
    }
    let object = br#"{"apiVersion":"example.com/v1","kind":"Ruled","metadata":{"name":"x"},
        "spec":{"a":"1","b":"2","list":[1,2,3],"map":{"k":"v"}}}"#;
    let path = "/apis/example.com/v1/namespaces/default/ruled";
    world.send(Method::POST, path, Some(("application/json", object)));
    world.send(Method::DELETE, &format!("{path}/x"), None);
    world.send(
        Method::DELETE,
        &format!("{definitions}/ruled.example.com"),
        None,
    );
}

/// Continue tokens.
pub(crate) fn token(world: &World, input: &[u8]) {
    let path = format!("{CONFIG_MAPS}?limit=1&continue={}", escaped(input));
    world.send(Method::GET, &path, None);
}
