//! Requests to the API server, and what it answers and stores.

use crate::differ::Outcome;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use plimsoll_api::gates::{Feature, FeatureGates};
use plimsoll_api::kinds;
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Metadata that differs from server to server.
const OWN: [&str; 4] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
];
const JSON: &str = "application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// Annotations under this hold JSON, which may be written in any order.
const NESTED: &str = "autoscaling.alpha.kubernetes.io/";

struct Answer {
    code: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// Sends a vector's one or two requests and compares the answers and what is stored then.
pub(crate) async fn run(vector: &Value) -> Result<Outcome> {
    let server = server(gates(vector)?).await?;
    let request = vector.get("request").context("no request")?;
    let expected = vector.get("expected").context("no expected")?;
    let mut outcome = Outcome::default();
    let path = compare(&mut outcome, &server, request, expected).await?;
    if let Some(next) = vector.get("then") {
        let expected = vector.get("expectedThen").context("no expectedThen")?;
        compare(&mut outcome, &server, next, expected).await?;
    }
    let name = request.pointer("/body/metadata/name");
    let name = name.and_then(Value::as_str).unwrap_or_default();
    compare_stored(&mut outcome, &server, expected, &format!("{path}/{name}")).await?;
    Ok(outcome)
}

fn gates(vector: &Value) -> Result<FeatureGates> {
    let mut gates = FeatureGates::default();
    for (name, on) in vector
        .get("gates")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let feature = Feature::ALL.into_iter().find(|f| f.name() == name);
        let feature = feature.with_context(|| format!("nobody knows the gate {name}"))?;
        gates = gates.with(feature, on.as_bool().unwrap_or_default());
    }
    Ok(gates)
}

async fn server(gates: FeatureGates) -> Result<ApiServer> {
    let server = ApiServer::new(Config {
        store: Store::open(Options::ephemeral())?,
        clock: Clock::starting_at("2026-01-01T00:00:00Z".parse()?),
        kinds: kinds::gated(gates),
        seed: 1,
        cluster: ClusterSettings::default(),
        nodes: None,
        locals: Vec::new(),
        token_key: Pki::ephemeral(&[])?.token_key(),
    });
    if let Err(error) = server.bootstrap().await {
        bail!("the server does not start: {}", error.message);
    }
    Ok(server)
}

/// Sends one request and compares the answer; the request's path.
async fn compare<'a>(
    outcome: &mut Outcome,
    server: &ApiServer,
    request: &'a Value,
    expected: &Value,
) -> Result<&'a str> {
    let text = |key: &str| request.get(key).and_then(Value::as_str);
    let (verb, path) = (
        text("verb").context("no verb")?,
        text("path").context("no path")?,
    );
    let body = request.get("body").cloned().unwrap_or_default();
    let answer = send(server, verb, (path, JSON), Some(&body)).await?;
    outcome.check_given("code", answer.code.as_u16(), expected);
    outcome.check_given("reason", answer.body.get("reason").cloned(), expected);
    outcome.check_given("causes", causes(&answer.body), expected);
    let warnings = answer.headers.get_all("warning").iter().count();
    outcome.check_given("warnings", warnings, expected);
    if !outcome.differences.is_empty() {
        let message = answer.body.get("message").and_then(Value::as_str);
        outcome.trace.push(format!(
            "{verb} {path}: {} {}",
            answer.code,
            message.unwrap_or("")
        ));
    }
    Ok(path)
}

/// Field and reason of every cause, in order.
fn causes(status: &Value) -> Value {
    let causes = status.pointer("/details/causes").and_then(Value::as_array);
    let mut shown: Vec<(&str, &str)> = Vec::new();
    for cause in causes.into_iter().flatten() {
        let text = |key| cause.get(key).and_then(Value::as_str).unwrap_or_default();
        shown.push((text("field"), text("reason")));
    }
    shown.sort_unstable();
    json!(shown)
}

/// What is stored, as v2, as v1 and as people see it.
async fn compare_stored(
    outcome: &mut Outcome,
    server: &ApiServer,
    expected: &Value,
    path: &str,
) -> Result<()> {
    for version in ["v2", "v1"] {
        let Some(wanted) = expected.get(version) else {
            continue;
        };
        let path = versioned(path, version)?;
        let answer = send(server, "GET", (&path, JSON), None).await?;
        if version == "v2" {
            let generation = answer.body.pointer("/metadata/generation");
            outcome.check_given("generation", generation.cloned(), expected);
        }
        outcome.check_tree(version, &comparable(answer.body), wanted);
    }
    if let Some(wanted) = expected.get("table") {
        let path = versioned(path, "v2")?;
        let answer = send(server, "GET", (&path, TABLE), None).await?;
        outcome.check_tree("table", &table(&answer.body), wanted);
    }
    Ok(())
}

/// The path of an object in another version of its group.
fn versioned(path: &str, version: &str) -> Result<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    *parts.get_mut(3).context("a path without a version")? = version;
    Ok(parts.join("/"))
}

/// Without what differs from server to server; nested JSON as JSON.
fn comparable(mut object: Value) -> Value {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    let Some(metadata) = metadata else {
        return object;
    };
    metadata.retain(|key, _| !OWN.contains(&key.as_str()));
    let annotations = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut);
    for (key, value) in annotations.into_iter().flatten() {
        let text = value.as_str().filter(|_| key.starts_with(NESTED));
        let nested = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let Some(nested) = nested {
            *value = json!({ "json": nested });
        }
    }
    object
}

/// Columns and cells without the age, which is a matter of the clock.
fn table(answer: &Value) -> Value {
    let columns = answer.get("columnDefinitions").and_then(Value::as_array);
    let column = |column: &Value| {
        let of = |key| column.get(key).cloned().unwrap_or_default();
        json!([of("name"), of("type"), of("priority")])
    };
    let columns: Vec<Value> = columns.into_iter().flatten().map(column).collect();
    let cells = answer.pointer("/rows/0/cells").and_then(Value::as_array);
    let mut cells = cells.cloned().unwrap_or_default();
    cells.truncate(columns.len().saturating_sub(1));
    json!({ "columns": columns, "cells": cells })
}

async fn send(
    server: &ApiServer,
    verb: &str,
    (path, accept): (&str, &str),
    body: Option<&Value>,
) -> Result<Answer> {
    let mut request = Request::builder()
        .method(verb)
        .uri(path)
        .header("accept", accept);
    let bytes = match body {
        None => Bytes::new(),
        Some(body) => {
            request = request.header("content-type", JSON);
            Bytes::from(body.to_string())
        }
    };
    let service = server.service(Identity::new("admin", &["system:masters"]));
    let request = request.body(Full::new(bytes))?;
    let response = match service.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (parts, body) = response.into_parts();
    let collected = body.collect().await;
    let bytes = collected
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .to_bytes();
    Ok(Answer {
        code: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).context("the answer is no JSON")?,
    })
}
