//! Paths beside the API: health, version, metrics.

use crate::auth;
use crate::http::negotiate::Wanted;
use crate::http::query::Query;
use crate::http::respond::{self, Response, not_found_page};
use crate::server::ApiServer;
use plimsoll_api::exposition::{Exposition, Page};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The Kubernetes release whose API is served.
const GIT_VERSION: &str = "v1.36.2";
/// What readiness consists of.
const CHECKS: [&str; 3] = ["ping", "store", "bootstrap"];

/// Answers a path that is no resource.
pub(crate) fn answer(server: &ApiServer, path: &str, query: &Query, wanted: &Wanted) -> Response {
    let path = path.trim_end_matches('/');
    if let Some(response) = auth::discovery::answer(server, path) {
        return response;
    }
    match path {
        "" => respond::value(200, wanted, &json!({"paths": paths(server)})),
        "/version" => respond::value(200, wanted, &version()),
        "/healthz" | "/livez" | "/readyz" => health(path, query),
        "/metrics" => {
            let store = server.store();
            let mut text = server.0.metrics.render(&store.stats(), &store.counts());
            text.push_str(&server.0.webhooks.render());
            let mut page = Page::default();
            server.kinds().features().expose(&mut page);
            for part in server.0.expositions.read().iter() {
                part.expose(&mut page);
            }
            text.push_str(&page.into_text());
            respond::plain(200, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        other => match other.split_once('/').map(|(_, rest)| rest.split_once('/')) {
            Some(Some(("healthz" | "livez" | "readyz", check))) if CHECKS.contains(&check) => {
                respond::plain(200, TEXT, "ok")
            }
            Some(_) | None => not_found_page(),
        },
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Paths beside those of API groups.
const PATHS: [&str; 11] = [
    "/.well-known/openid-configuration",
    "/api",
    "/apis",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/version",
];

/// Everything that can be asked for, sorted.
fn paths(server: &ApiServer) -> Vec<String> {
    let mut all: BTreeSet<String> = PATHS.iter().map(|path| (*path).to_owned()).collect();
    for probe in ["healthz", "livez", "readyz"] {
        all.extend(CHECKS.iter().map(|check| format!("/{probe}/{check}")));
    }
    let mut add = |group: &str, version: &str| {
        if group.is_empty() {
            all.insert(format!("/api/{version}"));
        } else {
            all.insert(format!("/apis/{group}"));
            all.insert(format!("/apis/{group}/{version}"));
        }
    };
    for kind in server.kinds().iter() {
        add(&kind.group, &kind.version);
    }
    for local in server.0.locals.read().iter() {
        add(local.group(), local.version());
    }
    all.into_iter().collect()
}

fn health(path: &str, query: &Query) -> Response {
    if query.get("verbose").is_none() {
        return respond::plain(200, TEXT, "ok");
    }
    let excluded: Vec<&str> = query
        .all("exclude")
        .filter(|name| !name.is_empty())
        .collect();
    let mut text = String::new();
    for check in CHECKS {
        let said = if excluded.contains(&check) {
            "excluded: ok"
        } else {
            "ok"
        };
        text.extend(["[+]", check, " ", said, "\n"]);
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|name| !CHECKS.contains(name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !unknown.is_empty() {
        let names = unknown.join(",");
        text.push_str("warn: some health checks cannot be excluded: no matches for ");
        text.extend([names.as_str(), "\n"]);
    }
    let name = path.trim_start_matches('/');
    text.extend([name, " check passed\n"]);
    respond::plain(200, TEXT, text)
}

/// `OS/ARCH` in Go's words, which clients compare.
fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}/{arch}", std::env::consts::OS)
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": platform(),
    })
}
