//! How others check this cluster's service-account tokens: the OpenID discovery document and the
//! keys it leads to.

use crate::http::respond::{self, Response};
use crate::server::ApiServer;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde_json::{Value, json};

const CONFIGURATION: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/openid/v1/jwks";

/// Answers the two paths of issuer discovery; `None` for other paths.
pub(crate) fn answer(server: &ApiServer, path: &str) -> Option<Response> {
    let (content_type, body) = match path {
        CONFIGURATION => ("application/json", configuration()),
        KEYS => {
            let keys = json!({"keys": [server.tokens().key().jwk()]});
            ("application/jwk-set+json", keys)
        }
        _ => return None,
    };
    let mut response = respond::plain(200, content_type, body.to_string());
    let lasting = HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(CACHE_CONTROL, lasting);
    Some(response)
}

fn configuration() -> Value {
    let issuer = crate::auth::Tokens::ISSUER;
    json!({
        "issuer": issuer,
        // Reachable by every pod, whatever address the cluster is reached by from outside.
        "jwks_uri": format!("{issuer}{KEYS}"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}
