//! ServiceAccount: every pod runs as one, and finds its token in a projected volume.

use super::Request;
use crate::resource::patch::Part;
use crate::resource::present::parse;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};

/// Where containers find the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Seconds a projected token is asked for: an hour and seven seconds, by which upstream recognises
/// tokens it injected.
const TOKEN_SECONDS: u32 = 3607;

/// Sets the account of a new pod and mounts its token.
pub(super) fn inject(
    request: &Request<'_>,
    pod: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let mirror = meta::at(
        pod,
        &["metadata", "annotations", "kubernetes.io/config.mirror"],
    );
    if !request.is_core("Pod") || old.is_some() || request.part != Part::Main || mirror.is_some() {
        return Ok(());
    }
    let spec = meta::object_mut(pod, &["spec"]);
    let named = |key: &str| {
        spec.get(key)
            .and_then(Value::as_str)
            .filter(|n| !n.is_empty())
    };
    let name = named("serviceAccountName")
        .or_else(|| named("serviceAccount"))
        .unwrap_or("default");
    let name = name.to_owned();
    spec.insert("serviceAccountName".into(), name.as_str().into());
    spec.insert("serviceAccount".into(), name.as_str().into());
    let place = (request.namespace, name.as_str());
    let account = request
        .writer
        .server
        .find("", "serviceaccounts", place)
        .ok_or_else(|| {
            let namespace = request.namespace;
            let missing = ApiError::not_found("", "serviceaccounts", &name).message;
            request.forbidden(&format!(
                "error looking up service account {namespace}/{name}: {missing}"
            ))
        })?;
    let account = parse(&account.json)?;
    let said = |object: &Value, path: &[&str]| meta::at(object, path).and_then(Value::as_bool);
    let mounts = said(pod, &["spec", "automountServiceAccountToken"])
        .or_else(|| said(&account, &["automountServiceAccountToken"]))
        .unwrap_or(true);
    if mounts {
        mount(request, pod);
    }
    pull_secrets(pod, &account);
    Ok(())
}

fn mount(request: &Request<'_>, pod: &mut Value) {
    let existing = meta::list(pod, &["spec", "volumes"])
        .iter()
        .map(|v| meta::text(v, &["name"]))
        .find(|name| name.starts_with("kube-api-access-"))
        .map(str::to_owned);
    let is_new = existing.is_none();
    let volume = existing.unwrap_or_else(|| {
        format!(
            "kube-api-access-{}",
            request.writer.server.0.random.suffix()
        )
    });
    let spec = meta::object_mut(pod, &["spec"]);
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            mounted |= mount_into(container, &volume);
        }
    }
    if mounted && is_new {
        push(spec, "volumes", token_volume(&volume));
    }
}

fn mount_into(container: &mut Value, volume: &str) -> bool {
    let mounts = meta::list(container, &["volumeMounts"]);
    if mounts
        .iter()
        .any(|m| meta::text(m, &["mountPath"]) == MOUNT_PATH)
    {
        return false;
    }
    let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
    push(meta::as_object(container), "volumeMounts", mount);
    true
}

fn push(map: &mut serde_json::Map<String, Value>, key: &str, item: Value) {
    match map.get_mut(key).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => drop(map.insert(key.into(), json!([item]))),
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
            "defaultMode": 420,
        },
    })
}

fn pull_secrets(pod: &mut Value, account: &Value) {
    let secrets = meta::list(account, &["imagePullSecrets"]);
    if !secrets.is_empty() && meta::list(pod, &["spec", "imagePullSecrets"]).is_empty() {
        meta::object_mut(pod, &["spec"]).insert("imagePullSecrets".into(), json!(secrets));
    }
}
