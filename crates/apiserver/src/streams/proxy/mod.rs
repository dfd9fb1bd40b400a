//! `pods/proxy`, `services/proxy` and `nodes/proxy`: HTTP requests passed on to what runs in the
//! cluster.

mod forward;
mod html;
mod links;
mod target;
mod tls;

use crate::call::Call;
use crate::http::respond::{self, Response};
use http::Method;
use http::header::{HeaderValue, LOCATION};
use links::Links;
use plimsoll_api::status::ApiError;

/// Passes a request on.
pub(crate) async fn serve(call: &Call) -> Result<Response, ApiError> {
    let path = call.uri.path();
    let rest = rest(path, if call.kind.namespaced { 7 } else { 5 });
    let query = call.uri.query();
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    if rest.is_empty() && matches!(call.method, Method::GET | Method::HEAD) {
        // Without the slash, relative links on the page would lead elsewhere.
        return moved(&format!("{path}/{query}"));
    }
    let target = target::find(call)?;
    let links = Links {
        prefix: path.strip_suffix(rest).unwrap_or(path).to_owned(),
        host: target.host.clone(),
    };
    let rest = if rest.is_empty() { "/" } else { rest };
    forward::forward(call, target, format!("{rest}{query}"), links).await
}

/// What follows the first `count` parts of a path.
fn rest(path: &str, count: usize) -> &str {
    let mut rest = path;
    for _ in 0..count {
        rest = rest.trim_start_matches('/');
        let end = rest.find('/').unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default();
    }
    rest
}

fn moved(to: &str) -> Result<Response, ApiError> {
    let to = HeaderValue::from_str(to).map_err(|e| ApiError::bad_request(e.to_string()))?;
    let mut response = respond::plain(301, "text/html; charset=utf-8", "");
    response.headers_mut().insert(LOCATION, to);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/api/v1/namespaces/a/pods/p/proxy", 7, "")]
    #[case("/api/v1/namespaces/a/pods/p/proxy/", 7, "/")]
    #[case(
        "/api/v1/namespaces/a/services/https:s:web/proxy/x//y%2Fz/",
        7,
        "/x//y%2Fz/"
    )]
    #[case("/api/v1/nodes/n/proxy/metrics", 5, "/metrics")]
    #[case("/api/v1//nodes/n/proxy/metrics", 5, "/metrics")]
    fn the_rest_of_a_path_stays_as_it_is(
        #[case] path: &str,
        #[case] count: usize,
        #[case] want: &str,
    ) {
        assert_eq!(rest(path, count), want);
    }
}
