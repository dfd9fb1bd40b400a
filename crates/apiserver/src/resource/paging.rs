//! Continue tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;

/// Where the next page of a list starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The revision the list is read at; `None` for the newest.
    pub(crate) revision: Option<u64>,
    /// Namespace and name of the last object sent.
    pub(crate) after: (Arc<str>, Arc<str>),
}

impl Position {
    /// The opaque token.
    pub(crate) fn encode(&self) -> String {
        let revision = self.revision.map_or(json!(-1), |r| json!(r));
        let start = format!("{}/{}\0", self.after.0, self.after.1);
        let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    /// Reads a token back.
    pub(crate) fn decode(token: &str) -> Result<Self, ApiError> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok()?;
            let value: Value = serde_json::from_slice(&bytes).ok()?;
            if value.get("v")?.as_str()? != "meta.k8s.io/v1" {
                return None;
            }
            let revision = match value.get("rv")?.as_i64()? {
                -1 => None,
                revision => Some(u64::try_from(revision).ok().filter(|r| *r > 0)?),
            };
            let start = value
                .get("start")?
                .as_str()?
                .trim_end_matches('\0')
                .to_owned();
            let (namespace, name) = start.split_once('/')?;
            Some(Self {
                revision,
                after: (namespace.into(), name.into()),
            })
        };
        read().ok_or_else(|| {
            ApiError::bad_request("continue key is not valid: it was not issued by this server")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_garbage_is_refused() {
        let position = Position {
            revision: Some(7),
            after: ("ns".into(), "a.b".into()),
        };
        assert_eq!(Position::decode(&position.encode()).unwrap(), position);
        let newest = Position {
            revision: None,
            after: ("".into(), "node".into()),
        };
        assert_eq!(Position::decode(&newest.encode()).unwrap(), newest);
        for garbage in ["", "x", "e30", "eyJ2IjoiIn0"] {
            assert_eq!(Position::decode(garbage).unwrap_err().code, 400);
        }
    }
}
