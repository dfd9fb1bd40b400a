//! Looking after the store of a running cluster: `/plimsoll/backup` and
//! `/plimsoll/rotate-encryption-key`. No resource, so only an administrator (or who is given the
//! path by a ClusterRole's `nonResourceURLs`) may use them.

use crate::http::respond::{self, Response};
use crate::server::ApiServer;
use http::Method;
use plimsoll_api::status::ApiError;
use serde_json::json;

/// Everything the cluster holds, as a file.
const BACKUP: &str = "/plimsoll/backup";
/// A new key for what is encrypted on disk.
const ROTATE: &str = "/plimsoll/rotate-encryption-key";

/// Whether a path is one of these.
pub(crate) fn owns(path: &str) -> bool {
    [BACKUP, ROTATE].contains(&path)
}

/// Answers one of these paths.
pub(crate) async fn answer(
    server: &ApiServer,
    method: &Method,
    path: &str,
) -> Result<Response, ApiError> {
    match (path, method) {
        (BACKUP, &Method::GET) => {
            let mut file = Vec::new();
            let backup = server.store().backup();
            backup.write(&mut file, &[]).map_err(ApiError::internal)?;
            Ok(respond::plain(200, "application/octet-stream", file))
        }
        (ROTATE, &Method::POST) => {
            let rotated = server.store().rotate_key().await;
            let key = rotated.map_err(ApiError::internal)?.ok_or_else(|| {
                let why = "nothing is encrypted: this cluster keeps its objects in memory";
                ApiError::bad_request(why)
            })?;
            let body = json!({"key": key}).to_string();
            Ok(respond::plain(200, "application/json", body))
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}
