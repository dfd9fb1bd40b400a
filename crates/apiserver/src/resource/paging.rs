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
    /// When the token was made, in seconds since 1970.
    pub(crate) issued: i64,
}

/// How long a token shows the moment it was made at, in seconds.
///
/// Departs: upstream's tokens end with the next compaction, after five to ten minutes. Nothing is
/// compacted by the clock here, but clients count on an answer 410 in that time.
const LIFE_SECONDS: i64 = 8 * 60;

impl Position {
    /// Whether the moment the list is read at has been too long ago. Tokens for the newest state
    /// do not age.
    pub(crate) fn is_over(&self, now: jiff::Timestamp) -> bool {
        self.revision.is_some() && now.as_second().saturating_sub(self.issued) > LIFE_SECONDS
    }

    /// The opaque token.
    pub(crate) fn encode(&self) -> String {
        let revision = self.revision.map_or(json!(-1), |r| json!(r));
        let start = format!("{}/{}\0", self.after.0, self.after.1);
        let token = json!({
            "v": "meta.k8s.io/v1", "rv": revision, "start": start, "t": self.issued,
        });
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
                issued: value.get("t").and_then(Value::as_i64).unwrap_or(0),
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
    use proptest::prelude::*;

    #[test]
    fn only_tokens_of_a_moment_age() {
        let mut position = Position {
            revision: Some(7),
            after: ("ns".into(), "a".into()),
            issued: 1_000,
        };
        let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
        assert!(!position.is_over(at(1_480)));
        assert!(position.is_over(at(1_481)));
        position.revision = None;
        assert!(!position.is_over(at(9_999)));
    }

    proptest! {
        #[test]
        fn tokens_round_trip(
            revision in prop::option::of(1..i64::MAX.unsigned_abs()),
            namespace in "[a-z0-9-]{0,8}", name in "[a-z0-9.:-]{1,12}", issued in any::<i64>(),
        ) {
            let after = (namespace.as_str().into(), name.as_str().into());
            let position = Position { revision, after, issued };
            prop_assert_eq!(Position::decode(&position.encode()).unwrap(), position);
        }

        #[test]
        fn garbage_is_refused(token in "\\PC{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let encoded = URL_SAFE_NO_PAD.encode(bytes);
            for token in [token, encoded] {
                if let Err(error) = Position::decode(&token) {
                    prop_assert_eq!(error.code, 400);
                }
            }
        }

        #[test]
        fn a_changed_letter_is_another_token_or_none(at in 0..60_usize, letter in "[A-Za-z0-9_-]") {
            let after = ("default".into(), "web".into());
            let token = Position { revision: Some(7), after, issued: 5 }.encode();
            let mut changed = token.clone();
            let at = at % changed.len();
            changed.replace_range(at..=at, &letter);
            if let Err(error) = Position::decode(&changed) {
                prop_assert_eq!(error.code, 400);
            }
        }
    }
}
