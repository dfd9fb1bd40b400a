//! Environment variables of containers.

use super::Site;
use super::view::{Container, Pod};
use crate::proxy::table::{Service, Table};
use k8s_openapi::api::core::v1 as core;
use plimsoll_quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Replaces `$(NAME)` by the value of a variable; `$$` is a dollar sign; unknown names stay.
pub fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        rest = after;
        let name = after.strip_prefix('(').and_then(|a| a.split_once(')'));
        let Some((name, tail)) = name else {
            out.push('$');
            continue;
        };
        rest = tail;
        // The last one of a name wins.
        if let Some((_, value)) = variables.iter().rev().find(|(n, _)| n == name) {
            out.push_str(value);
        } else {
            out.extend(["$(", name, ")"]);
        }
    }
    out.push_str(rest);
    out
}

/// The variables that name Services: those of the pod's namespace, and always the API's.
pub fn services(pod: &Pod, table: &Table) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let api = ("default".to_owned(), "kubernetes".to_owned());
    if let Some(service) = table.service(&api) {
        of_service(service, &mut variables);
    }
    if pod.spec.enable_service_links.unwrap_or(true) {
        for service in table.services_in(&pod.metadata.namespace) {
            if service.key() != api {
                of_service(service, &mut variables);
            }
        }
    }
    variables
}

fn of_service(service: &Service, variables: &mut Vec<(String, String)>) {
    let Some(ip) = service.cluster_ip() else {
        return;
    };
    let Some(first) = service.spec.ports.first() else {
        return;
    };
    let name = service.metadata.name.to_uppercase().replace('-', "_");
    let mut put =
        |suffix: String, value: String| variables.push((format!("{name}_{suffix}"), value));
    put("SERVICE_HOST".to_owned(), ip.to_string());
    put("SERVICE_PORT".to_owned(), first.port.to_string());
    for port in service.spec.ports.iter().filter(|p| !p.name.is_empty()) {
        let port_name = port.name.to_uppercase().replace('-', "_");
        put(format!("SERVICE_PORT_{port_name}"), port.port.to_string());
    }
    let url = |protocol: &str, port: u16| format!("{}://{ip}:{port}", protocol.to_lowercase());
    let protocol = |p: &str| {
        if p.is_empty() {
            "TCP".to_owned()
        } else {
            p.to_owned()
        }
    };
    put(
        "PORT".to_owned(),
        url(&protocol(&first.protocol), first.port),
    );
    for port in &service.spec.ports {
        let protocol = protocol(&port.protocol);
        let base = format!("PORT_{}_{protocol}", port.port);
        put(base.clone(), url(&protocol, port.port));
        put(format!("{base}_PROTO"), protocol.to_lowercase());
        put(format!("{base}_PORT"), port.port.to_string());
        put(format!("{base}_ADDR"), ip.to_string());
    }
}

/// Every variable of a container, in order. An error names what is missing.
pub(crate) async fn resolve(
    site: &Site,
    container: &Container,
    ip: Option<IpAddr>,
) -> Result<Vec<(String, String)>, String> {
    let pod = &site.pod;
    let mut variables = site.shared.services.read(|table| services(pod, table));
    for source in &container.env_from {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let data = if let Some(map) = &source.config_map_ref {
            keys(site, "configmap", &map.name, map.optional).await?
        } else if let Some(secret) = &source.secret_ref {
            keys(site, "secret", &secret.name, secret.optional).await?
        } else {
            BTreeMap::new()
        };
        for (key, value) in data {
            variables.push((format!("{prefix}{key}"), text(&value)));
        }
    }
    for variable in &container.env {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => Some(expand(value, &variables)),
            (None, Some(source)) => from_source(site, container, source, ip).await?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            variables.push((variable.name.clone(), value));
        }
    }
    Ok(variables)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn from_source(
    site: &Site,
    container: &Container,
    source: &core::EnvVarSource,
    ip: Option<IpAddr>,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        let value = field_value(&site.pod, &field.field_path, ip, site.node.address);
        let path = &field.field_path;
        return value
            .map(Some)
            .ok_or_else(|| format!("unsupported field path {path:?}"));
    }
    if let Some(field) = &source.resource_field_ref {
        let node = (site.node.spec.cpu_milli, site.node.spec.memory_bytes);
        return resource_value(&site.pod, container, field, node).map(Some);
    }
    let (kind, name, key, optional) = if let Some(map) = &source.config_map_key_ref {
        ("configmap", &map.name, &map.key, map.optional)
    } else if let Some(secret) = &source.secret_key_ref {
        ("secret", &secret.name, &secret.key, secret.optional)
    } else {
        return Err("unsupported source of an environment variable".to_owned());
    };
    let mut data = keys(site, kind, name, optional).await?;
    match data.remove(key) {
        Some(value) => Ok(Some(text(&value))),
        None if optional == Some(true) => Ok(None),
        None => {
            let namespace = &site.pod.metadata.namespace;
            let kind = if kind == "secret" {
                "Secret"
            } else {
                "ConfigMap"
            };
            Err(format!(
                "couldn't find key {key} in {kind} {namespace}/{name}"
            ))
        }
    }
}

/// The data of a ConfigMap or Secret (decoded); empty if it is optional and absent.
pub(crate) async fn keys(
    site: &Site,
    kind: &'static str,
    name: &str,
    optional: Option<bool>,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let path = format!(
        "/api/v1/namespaces/{}/{kind}s/{name}",
        site.pod.metadata.namespace
    );
    let object: Value = match site.shared.cluster.get(&path).await {
        Ok(object) => object,
        Err(error) if error.code() == Some(404) => {
            let absent = || format!("{kind} {name:?} not found");
            return optional
                .filter(|o| *o)
                .map(|_| BTreeMap::new())
                .ok_or_else(absent);
        }
        Err(error) => return Err(format!("cannot read {kind} {name:?}: {error}")),
    };
    let mut data = BTreeMap::new();
    let section = |name: &str| {
        object
            .get(name)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    };
    for (key, value) in section("data") {
        let text = value.as_str().unwrap_or_default();
        let bytes = if kind == "secret" {
            decode(text)?
        } else {
            text.as_bytes().to_vec()
        };
        data.insert(key.clone(), bytes);
    }
    for (key, value) in section("binaryData") {
        data.insert(key.clone(), decode(value.as_str().unwrap_or_default())?);
    }
    Ok(data)
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(Value::String(text.to_owned()))
        .map_err(|e| format!("bad base64: {e}"))?;
    Ok(bytes.0)
}

/// A field of the pod for `fieldRef` and downward API files.
pub fn field_value(pod: &Pod, path: &str, ip: Option<IpAddr>, host: IpAddr) -> Option<String> {
    let meta = &pod.metadata;
    let subscript = |map: &BTreeMap<String, String>, rest: &str| {
        let key = rest.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    if let Some(rest) = path.strip_prefix("metadata.labels") {
        return if rest.is_empty() {
            Some(lines(&meta.labels))
        } else {
            subscript(&meta.labels, rest)
        };
    }
    if let Some(rest) = path.strip_prefix("metadata.annotations") {
        let map = &meta.annotations;
        return if rest.is_empty() {
            Some(lines(map))
        } else {
            subscript(map, rest)
        };
    }
    Some(match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "spec.nodeName" => pod.spec.node_name.clone(),
        "spec.serviceAccountName" => pod
            .spec
            .service_account_name
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
        "status.hostIP" | "status.hostIPs" => host.to_string(),
        "status.podIP" | "status.podIPs" => ip.map(|i| i.to_string()).unwrap_or_default(),
        _ => return None,
    })
}

fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<String> = map.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
    lines.join("\n")
}

/// A request or limit for `resourceFieldRef`; limits default to the node's (cpu milli, memory bytes).
pub(crate) fn resource_value(
    pod: &Pod,
    own: &Container,
    field: &core::ResourceFieldSelector,
    (node_cpu_milli, node_memory_bytes): (u64, u64),
) -> Result<String, String> {
    let container = match field.container_name.as_deref().filter(|n| !n.is_empty()) {
        Some(name) => pod.containers().map(|(_, c)| c).find(|c| c.name == name),
        None => Some(own),
    };
    let container =
        container.ok_or_else(|| format!("no such container in {:?}", field.resource))?;
    let (section, resource) = field
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported resource {:?}", field.resource))?;
    let map = match section {
        "limits" => &container.resources.limits,
        "requests" => &container.resources.requests,
        _ => return Err(format!("unsupported resource {:?}", field.resource)),
    };
    let parse = |text: &str| text.parse::<Quantity>().map_err(|e| e.to_string());
    let nano = |q: Quantity| i128::from(q.milli()) * 1_000_000;
    let amount = match (map.get(resource), section, resource) {
        (Some(text), _, "cpu") => nano(parse(text)?),
        (Some(text), _, _) => i128::from(parse(text)?.value()) * 1_000_000_000,
        (None, "limits", "cpu") => i128::from(node_cpu_milli) * 1_000_000,
        (None, "limits", "memory") => i128::from(node_memory_bytes) * 1_000_000_000,
        (None, _, _) => 0,
    };
    let divisor = match &field.divisor {
        Some(q) if resource == "cpu" => nano(parse(&q.0)?),
        Some(q) => i128::from(parse(&q.0)?.value()) * 1_000_000_000,
        None => 1_000_000_000,
    };
    let divisor = if divisor <= 0 { 1_000_000_000 } else { divisor };
    // Rounded up, as upstream.
    Ok(((amount + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::a_known_name("a $(X) b", "a 1 b")]
    #[case::an_unknown_name("$(Y)", "$(Y)")]
    #[case::an_escaped_dollar("$$(X)", "$(X)")]
    #[case::a_lone_dollar("cost $5 $", "cost $5 $")]
    #[case::an_open_bracket("$(X", "$(X")]
    fn dollars_expand(#[case] text: &str, #[case] want: &str) {
        assert_eq!(expand(text, &[("X".into(), "1".into())]), want);
    }

    #[test]
    fn a_service_shows_as_host_and_port_variables() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "redis-master", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.11", "ports": [{"port": 6379, "protocol": "TCP"}]},
        }))
        .unwrap();
        let mut table = Table::default();
        table.put_service(service);
        let mut pod = Pod::default();
        pod.metadata.namespace = "default".to_owned();
        let seen = services(&pod, &table);
        let get = |name: &str| {
            seen.iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        assert_eq!(get("REDIS_MASTER_SERVICE_HOST"), Some("10.96.0.11"));
        assert_eq!(
            get("REDIS_MASTER_PORT_6379_TCP"),
            Some("tcp://10.96.0.11:6379")
        );
    }
}
