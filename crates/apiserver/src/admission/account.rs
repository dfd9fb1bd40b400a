//! ServiceAccount: every pod runs as one, and finds its token in a projected volume.

use super::{Operation, Request};
use crate::resource::patch::Part;
use crate::resource::present::parse;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::time::Duration;

/// Where containers find the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Seconds a projected token is asked for: an hour and seven seconds, by which upstream recognises
/// tokens it injected.
const TOKEN_SECONDS: u32 = 3607;

/// How long a new namespace's account is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Limits an account's pods to the secrets it lists.
const LIMITED: &str = "kubernetes.io/enforce-mountable-secrets";

/// Waits a little for the account of a new pod: in a namespace just made, a controller is about to
/// create it.
pub(super) async fn wait(request: &Request<'_>, pod: &Value) {
    if !request.is_core("Pod")
        || request.operation != Operation::Create
        || request.part != Part::Main
    {
        return;
    }
    let fields =
        ["serviceAccountName", "serviceAccount"].map(|key| meta::text(pod, &["spec", key]));
    let chosen = fields.into_iter().find(|name| !name.is_empty());
    let place = (request.namespace, chosen.unwrap_or("default"));
    let server = request.writer.server;
    let exists = || server.find("", "serviceaccounts", place).is_some();
    let namespace = || server.find("", "namespaces", ("", request.namespace));
    if exists() || namespace().is_none_or(|found| found.index.deleting) {
        return;
    }
    let store = server.store();
    let Ok(mut accounts) = store.watch("serviceaccounts", store.revision()) else {
        return;
    };
    let appears = async { while !exists() && accounts.next().await.is_ok() {} };
    // Whether it came or not is for the look-up to say.
    tokio::time::timeout(PATIENCE, appears).await.ok();
}

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
            request.forbidden(&format!(
                "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
            ))
        })?;
    let account = parse(&account.json)?;
    if meta::text(&account, &["metadata", "annotations", LIMITED]) == "true" {
        mountable(pod, &account).map_err(|why| request.forbidden(&why))?;
    }
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

/// An account that limits its pods lists every secret they may use.
fn mountable(pod: &Value, account: &Value) -> Result<(), String> {
    let account_name = meta::name(account);
    let listed = |list: &str, secret: &str| {
        let mut entries = meta::list(account, &[list]).iter();
        entries.any(|entry| meta::text(entry, &["name"]) == secret)
    };
    let tail =
        format!("is not allowed because service account {account_name} does not reference that");
    for volume in meta::list(pod, &["spec", "volumes"]) {
        let secret = meta::text(volume, &["secret", "secretName"]);
        if !secret.is_empty() && !listed("secrets", secret) {
            return Err(format!(
                "volume with secret.secretName={secret:?} {tail} secret"
            ));
        }
    }
    for (list, what) in [
        ("initContainers", "init container"),
        ("containers", "container"),
    ] {
        for container in meta::list(pod, &["spec", list]) {
            let name = meta::text(container, &["name"]);
            for env in meta::list(container, &["env"]) {
                let secret = meta::text(env, &["valueFrom", "secretKeyRef", "name"]);
                if !secret.is_empty() && !listed("secrets", secret) {
                    let variable = meta::text(env, &["name"]);
                    return Err(format!(
                        "{what} {name} with envVar {variable} referencing secret.secretName={secret:?} {tail} secret"
                    ));
                }
            }
        }
    }
    for (index, entry) in meta::list(pod, &["spec", "imagePullSecrets"])
        .iter()
        .enumerate()
    {
        let secret = meta::text(entry, &["name"]);
        if !listed("imagePullSecrets", secret) {
            return Err(format!(
                "imagePullSecrets[{index}].name={secret:?} {tail} imagePullSecret"
            ));
        }
    }
    Ok(())
}
