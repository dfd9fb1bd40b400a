//! Paths beside the API: health, version, metrics.

use crate::auth;
use crate::http::negotiate::Wanted;
use crate::http::query::Query;
use crate::http::respond::{self, Response, not_found_page};
use crate::server::ApiServer;
use serde_json::{Value, json};

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
        "" => respond::value(200, wanted, &json!({"paths": PATHS})),
        "/version" => respond::value(200, wanted, &version()),
        "/healthz" | "/livez" | "/readyz" => health(path, query),
        "/metrics" => {
            let text = server.0.metrics.render(&server.store().stats());
            respond::plain(200, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        other => match other.split_once('/').map(|(_, rest)| rest.split_once('/')) {
            Some(Some(("healthz" | "livez" | "readyz", check))) if CHECKS.contains(&check) => {
                respond::plain(200, "text/plain; charset=utf-8", "ok")
            }
            Some(_) | None => not_found_page(),
        },
    }
}

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

fn health(path: &str, query: &Query) -> Response {
    if query.get("verbose").is_none() {
        return respond::plain(200, "text/plain; charset=utf-8", "ok");
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut text = String::new();
    for check in CHECKS {
        let said = if excluded.contains(&check) {
            "excluded: ok"
        } else {
            "ok"
        };
        text.extend(["[+]", check, " ", said, "\n"]);
    }
    let name = path.trim_start_matches('/');
    text.extend([name, " check passed\n"]);
    respond::plain(200, "text/plain; charset=utf-8", text)
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": "linux/amd64",
    })
}
