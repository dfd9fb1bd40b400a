//! Which form of an answer the client asked for.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use plimsoll_api::status::ApiError;

/// How much of each object a table row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// `PartialObjectMetadata`.
    Metadata,
    /// The whole object.
    Object,
}

/// The form of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The object itself.
    Object,
    /// A `meta.k8s.io` Table of the given version.
    Table(&'static str, Include),
    /// `PartialObjectMetadata` (`…List` for lists).
    Metadata,
    /// Aggregated discovery, with its content type.
    Discovery(&'static str),
}

/// What a request wants back.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The form.
    pub(crate) shape: Shape,
    /// Content type of a plain answer.
    pub(crate) content_type: &'static str,
    /// Indented for people.
    pub(crate) pretty: bool,
    /// Whether the client can unpack gzip.
    pub(crate) gzip: bool,
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const DISCOVERY_V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Reads `Accept` and its companions. Nothing acceptable is an error 406.
pub(crate) fn wanted(headers: &HeaderMap, query: &super::query::Query) -> Result<Wanted, ApiError> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &http::HeaderValue| v.to_str().ok())
    };
    let accept: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    let joined = accept.join(",");
    let include = match query.text("includeObject") {
        "None" => Include::None,
        "Object" => Include::Object,
        _ => Include::Metadata,
    };
    let (shape, content_type) = if joined.trim().is_empty() {
        (Shape::Object, JSON)
    } else {
        joined
            .split(',')
            .find_map(|item| accepted(item, include))
            .ok_or_else(not_acceptable)?
    };
    let agent = text(USER_AGENT).unwrap_or_default();
    let for_people = ["curl", "Wget", "wget", "Mozilla"]
        .iter()
        .any(|a| agent.starts_with(a));
    Ok(Wanted {
        shape,
        content_type,
        pretty: query
            .get("pretty")
            .map_or(for_people, |_| query.flag("pretty")),
        gzip: text(ACCEPT_ENCODING).is_some_and(|e| e.contains("gzip")),
    })
}

/// Compact JSON objects, for answers that do not negotiate.
pub(crate) fn plain_json() -> Wanted {
    Wanted {
        shape: Shape::Object,
        content_type: JSON,
        pretty: false,
        gzip: false,
    }
}

fn accepted(item: &str, include: Include) -> Option<(Shape, &'static str)> {
    let mut parts = item.split(';').map(str::trim);
    let content_type = match parts.next()? {
        "application/json" | "*/*" | "application/*" => JSON,
        "application/yaml" => YAML,
        _ => return None,
    };
    let (mut form, mut group, mut version) = ("", "", "");
    for (key, value) in parts.filter_map(|p| p.split_once('=')) {
        match key.trim() {
            "as" => form = value.trim(),
            "g" => group = value.trim(),
            "v" => version = value.trim(),
            _ => {}
        }
    }
    match (form, group, version) {
        ("", _, _) => Some((Shape::Object, content_type)),
        ("Table", "meta.k8s.io", "v1") => Some((Shape::Table("v1", include), content_type)),
        ("Table", "meta.k8s.io", "v1beta1") => {
            Some((Shape::Table("v1beta1", include), content_type))
        }
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
            Some((Shape::Metadata, content_type))
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => {
            Some((Shape::Discovery(DISCOVERY_V2), DISCOVERY_V2))
        }
        (_, _, _) => None,
    }
}

fn not_acceptable() -> ApiError {
    let message = "only the following media types are accepted: application/json, application/yaml";
    ApiError::new(406, "NotAcceptable", message)
}

#[cfg(test)]
mod tests {
    use super::super::query::Query;
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::kubectl_get(
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        Some(Shape::Table("v1", Include::Metadata))
    )]
    #[case::protobuf_first(
        "application/vnd.kubernetes.protobuf,application/json",
        Some(Shape::Object)
    )]
    #[case::protobuf_or_anything("application/vnd.kubernetes.protobuf, */*", Some(Shape::Object))]
    #[case::only_protobuf("application/vnd.kubernetes.protobuf", None)]
    #[case::metadata(
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        Some(Shape::Metadata)
    )]
    #[case::nothing("", Some(Shape::Object))]
    fn the_first_form_that_can_be_served_wins(#[case] accept: &str, #[case] shape: Option<Shape>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let got = wanted(&headers, &Query::default());
        assert_eq!(got.as_ref().ok().map(|w| w.shape.clone()), shape);
        assert_eq!(got.err().map(|e| e.code), shape.is_none().then_some(406));
    }
}
