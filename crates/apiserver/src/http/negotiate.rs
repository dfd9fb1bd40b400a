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
    /// `PartialObjectMetadata` (`…List` for lists) of the given version.
    Metadata(&'static str),
    /// Aggregated discovery of the given version.
    Discovery(&'static str),
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

impl Encoding {
    /// The media type of a whole answer.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// The media type of a watch.
    pub(crate) fn stream_type(self) -> &'static str {
        match self {
            Self::Json | Self::Yaml => "application/json",
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }
}

/// What can be offered to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Objects of built-in kinds: every encoding.
    BuiltIn,
    /// Custom and local kinds: protobuf only for their metadata.
    Custom,
    /// A watch of a built-in kind: no YAML, which has no frames.
    BuiltInWatch,
    /// A watch of a custom kind.
    CustomWatch,
}

impl Offer {
    fn encodings(self) -> &'static [Encoding] {
        match self {
            Self::BuiltIn => &[Encoding::Json, Encoding::Yaml, Encoding::Protobuf],
            Self::Custom => &[Encoding::Json, Encoding::Yaml],
            Self::BuiltInWatch => &[Encoding::Json, Encoding::Protobuf],
            Self::CustomWatch => &[Encoding::Json],
        }
    }

    fn watches(self) -> bool {
        matches!(self, Self::BuiltInWatch | Self::CustomWatch)
    }

    /// Whether a form can be written in an encoding of this offer.
    fn has(self, encoding: Encoding, shape: &Shape) -> bool {
        match (encoding, shape) {
            // Cells have any type, which protobuf does not have.
            (Encoding::Protobuf, Shape::Table(..) | Shape::Discovery(_)) => false,
            // Metadata looks the same whatever the kind.
            (Encoding::Protobuf, Shape::Metadata(_)) => true,
            (Encoding::Yaml, _) if self.watches() => false,
            (_, _) => self.encodings().contains(&encoding),
        }
    }
}

/// What a request wants back.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The form.
    pub(crate) shape: Shape,
    /// How it is written.
    pub(crate) encoding: Encoding,
    /// Indented for people.
    pub(crate) pretty: bool,
    /// Whether the client can unpack gzip.
    pub(crate) gzip: bool,
}

/// Reads `Accept` and its companions. Nothing acceptable is an error 406.
pub(crate) fn wanted(
    headers: &HeaderMap,
    query: &super::query::Query,
    offer: Offer,
) -> Result<Wanted, ApiError> {
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
    let (shape, encoding) = if joined.trim().is_empty() {
        (Shape::Object, Encoding::Json)
    } else {
        let ranges = ranges(&joined);
        let mut served = ranges.iter().filter_map(|r| r.served(include, offer));
        served.next().ok_or_else(|| not_acceptable(offer))?
    };
    let mut plain = plain_json();
    (plain.shape, plain.encoding) = (shape, encoding);
    plain.gzip = gzip(headers);
    plain.pretty = query
        .get("pretty")
        .map_or_else(|| for_people(headers), |_| query.flag("pretty"));
    Ok(plain)
}

/// Compact JSON objects, for answers that do not negotiate.
pub(crate) fn plain_json() -> Wanted {
    Wanted {
        shape: Shape::Object,
        encoding: Encoding::Json,
        pretty: false,
        gzip: false,
    }
}

/// How to write a failure to this client: in an encoding it accepts, or else in JSON.
pub(crate) fn for_failure(headers: &HeaderMap, query: &super::query::Query) -> Wanted {
    let mut wanted = wanted(headers, query, Offer::BuiltIn).unwrap_or_else(|_| plain_json());
    wanted.shape = Shape::Object;
    wanted
}

/// Whether the client can unpack gzip.
pub(crate) fn gzip(headers: &HeaderMap) -> bool {
    let refused = |part: &str| part.split_once("q=").is_some_and(|(_, q)| quality(q) == 0);
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim_start().starts_with("gzip") && !refused(part))
}

fn for_people(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|v| v.to_str().ok());
    let people = ["curl", "Wget", "wget", "Mozilla"];
    agent.is_some_and(|agent| people.iter().any(|person| agent.starts_with(person)))
}

/// One entry of `Accept`.
#[derive(Debug, Default)]
struct Range<'a> {
    kind: &'a str,
    sub: &'a str,
    form: &'a str,
    group: &'a str,
    version: &'a str,
    /// In thousandths.
    quality: u16,
}

/// The entries of `Accept`, the most wanted first; among equals, wildcards last.
fn ranges(accept: &str) -> Vec<Range<'_>> {
    let mut ranges: Vec<Range<'_>> = accept.split(',').filter_map(range).collect();
    ranges.sort_by_key(|r| (std::cmp::Reverse(r.quality), r.kind == "*", r.sub == "*"));
    ranges
}

fn range(item: &str) -> Option<Range<'_>> {
    let mut parts = item.split(';').map(str::trim);
    let (kind, sub) = parts.next()?.split_once('/')?;
    let quality = 1000;
    let mut range = Range {
        kind,
        sub,
        quality,
        ..Range::default()
    };
    for (key, value) in parts.filter_map(|p| p.split_once('=')) {
        let value = value.trim();
        match key.trim() {
            "as" => range.form = value,
            "g" => range.group = value,
            "v" => range.version = value,
            "q" => range.quality = self::quality(value),
            _ => {}
        }
    }
    Some(range)
}

/// A `q` value in thousandths.
fn quality(text: &str) -> u16 {
    let value: f32 = text.trim().parse().unwrap_or(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=1000"
    )]
    let thousandths = (value.clamp(0.0, 1.0) * 1000.0) as u16;
    thousandths
}

impl Range<'_> {
    /// What this entry gets; `None` if it cannot be served.
    fn served(&self, include: Include, offer: Offer) -> Option<(Shape, Encoding)> {
        let shape = self.shape(include)?;
        let all = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf];
        let matches = |encoding: &Encoding| {
            let wild = self.sub == "*" && matches!(self.kind, "*" | "application");
            let same = encoding.media_type().split_once('/') == Some((self.kind, self.sub));
            (wild || same) && offer.has(*encoding, &shape)
        };
        let encoding = all.into_iter().find(matches)?;
        Some((shape, encoding))
    }

    fn shape(&self, include: Include) -> Option<Shape> {
        let version = |known: &[&'static str]| known.iter().copied().find(|v| *v == self.version);
        match (self.form, self.group) {
            ("", _) => Some(Shape::Object),
            ("Table", "meta.k8s.io") => {
                version(&["v1", "v1beta1"]).map(|version| Shape::Table(version, include))
            }
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io") => {
                version(&["v1", "v1beta1"]).map(Shape::Metadata)
            }
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io") => {
                version(&["v2", "v2beta1"]).map(Shape::Discovery)
            }
            (_, _) => None,
        }
    }
}

/// 406, naming what there is.
pub(crate) fn not_acceptable(offer: Offer) -> ApiError {
    let types: Vec<&str> = offer.encodings().iter().map(|e| e.media_type()).collect();
    let types = types.join(", ");
    let message = format!("only the following media types are accepted: {types}");
    ApiError::new(406, "NotAcceptable", message)
}

#[cfg(test)]
mod tests {
    use super::super::query::Query;
    use super::*;
    use rstest::rstest;

    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    const TABLE: Shape = Shape::Table("v1", Include::Metadata);
    const OBJECT: Shape = Shape::Object;

    fn asked(accept: &str, offer: Offer) -> Result<(Shape, Encoding), ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        wanted(&headers, &Query::default(), offer).map(|w| (w.shape, w.encoding))
    }

    #[rstest]
    #[case::kubectl_get(
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        TABLE,
        Encoding::Json
    )]
    #[case::protobuf_first(
        "application/vnd.kubernetes.protobuf,application/json",
        OBJECT,
        Encoding::Protobuf
    )]
    #[case::protobuf_or_anything(
        "application/vnd.kubernetes.protobuf, */*",
        OBJECT,
        Encoding::Protobuf
    )]
    #[case::only_protobuf(PROTOBUF, OBJECT, Encoding::Protobuf)]
    #[case::anything("*/*", OBJECT, Encoding::Json)]
    #[case::any_application("application/*", OBJECT, Encoding::Json)]
    #[case::yaml("application/yaml", OBJECT, Encoding::Yaml)]
    #[case::quality("application/json;q=0.5,application/yaml", OBJECT, Encoding::Yaml)]
    #[case::wildcards_last("*/*,application/yaml", OBJECT, Encoding::Yaml)]
    #[case::no_protobuf_tables(
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json",
        OBJECT,
        Encoding::Json
    )]
    #[case::metadata_as_protobuf(
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        Shape::Metadata("v1"),
        Encoding::Protobuf
    )]
    #[case::nothing("", OBJECT, Encoding::Json)]
    #[case::unknown_then_known("text/html,application/json", OBJECT, Encoding::Json)]
    #[case::discovery(
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
        Shape::Discovery("v2"),
        Encoding::Json
    )]
    #[case::old_discovery(
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        Shape::Discovery("v2beta1"),
        Encoding::Json
    )]
    fn the_most_wanted_form_that_can_be_served_wins(
        #[case] accept: &str,
        #[case] shape: Shape,
        #[case] encoding: Encoding,
    ) {
        assert_eq!(asked(accept, Offer::BuiltIn).unwrap(), (shape, encoding));
    }

    #[rstest]
    #[case::custom_kinds(
        PROTOBUF,
        Offer::Custom,
        "accepted: application/json, application/yaml"
    )]
    #[case::yaml_watches(
        "application/yaml",
        Offer::BuiltInWatch,
        "accepted: application/json, application/vnd.kubernetes.protobuf"
    )]
    #[case::unknown_types("text/html", Offer::BuiltIn, "application/vnd.kubernetes.protobuf")]
    #[case::unknown_forms(
        "application/json;as=Chart;v=v1;g=meta.k8s.io",
        Offer::BuiltIn,
        "application/json"
    )]
    fn what_cannot_be_served_is_refused(
        #[case] accept: &str,
        #[case] offer: Offer,
        #[case] said: &str,
    ) {
        let error = asked(accept, offer).unwrap_err();
        assert_eq!((error.code, error.reason), (406, "NotAcceptable"));
        assert!(error.message.contains(said), "{}", error.message);
    }

    #[test]
    fn the_metadata_of_custom_kinds_may_be_protobuf() {
        let accept =
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let got = asked(accept, Offer::CustomWatch).unwrap();
        assert_eq!(got, (Shape::Metadata("v1"), Encoding::Protobuf));
    }

    #[rstest]
    #[case("gzip", true)]
    #[case("deflate, gzip;q=0.5", true)]
    #[case("gzip;q=0", false)]
    #[case("br", false)]
    fn gzip_is_used_where_it_is_understood(#[case] accept: &str, #[case] understood: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
        assert_eq!(gzip(&headers), understood);
    }
}
