//! Image references: `[registry/]path[:tag][@digest]`.

use std::fmt;

/// A reference, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host (and port) of the registry, where one is written.
    pub registry: Option<String>,
    /// Path in the registry, e.g. `library/nginx`.
    pub path: String,
    /// Tag; `latest` where neither tag nor digest is written.
    pub tag: String,
    /// `ALGORITHM:HEX`, where one is written.
    pub digest: Option<String>,
}

/// Why a reference does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing is written.
    #[error("the reference is empty")]
    Empty,
    /// Upper case, spaces or other characters that no path may have.
    #[error("invalid reference format: {0:?} may have lower-case letters, digits and . _ - only")]
    Path(String),
    /// Not a tag.
    #[error("invalid reference format: {0:?} is no tag")]
    Tag(String),
    /// Not a digest.
    #[error("invalid reference format: {0:?} is no digest")]
    Digest(String),
    /// Not a registry's name.
    #[error("invalid reference format: {0:?} is no registry")]
    Registry(String),
}

impl Reference {
    /// Takes a reference apart.
    ///
    /// # Errors
    ///
    /// Names the part that is wrong.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(checked_digest(digest)?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // A colon before a slash belongs to the registry's port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(checked_tag(tag)?)),
            _ => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
                (Some(checked_registry(first)?), path)
            }
            _ => (None, name),
        };
        if path.is_empty() || !path.split('/').all(is_component) {
            return Err(ReferenceError::Path(path.to_owned()));
        }
        let tag = tag.unwrap_or_else(|| "latest".to_owned());
        Ok(Self {
            registry,
            path: path.to_owned(),
            tag,
            digest,
        })
    }

    /// The last component of the path.
    pub fn short_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        write!(f, "{}:{}", self.path, self.tag)?;
        self.digest
            .as_ref()
            .map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// Lower-case letters and digits, with single `.`, `_` (or `__`) or any number of `-` between.
fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || "._-".contains(c))
        && !text.contains("..")
        && !text.contains("___")
}

fn checked_tag(tag: &str) -> Result<String, ReferenceError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = tag.len() <= 128
        && tag.starts_with(word)
        && tag.chars().all(|c| word(c) || c == '.' || c == '-');
    if good {
        Ok(tag.to_owned())
    } else {
        Err(ReferenceError::Tag(tag.to_owned()))
    }
}

fn checked_digest(digest: &str) -> Result<String, ReferenceError> {
    let good = digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && algorithm
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+._-".contains(c))
            && hex.len() >= 32
            && hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    });
    if good {
        Ok(digest.to_owned())
    } else {
        Err(ReferenceError::Digest(digest.to_owned()))
    }
}

fn checked_registry(registry: &str) -> Result<String, ReferenceError> {
    let (host, port) = registry
        .split_once(':')
        .map_or((registry, None), |(h, p)| (h, Some(p)));
    let good = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
        && port.is_none_or(|port| port.parse::<u16>().is_ok());
    if good {
        Ok(registry.to_owned())
    } else {
        Err(ReferenceError::Registry(registry.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("nginx", None, "nginx", "latest")]
    #[case("busybox:1.28", None, "busybox", "1.28")]
    #[case("radial/busyboxplus:curl", None, "radial/busyboxplus", "curl")]
    #[case("k8s.gcr.io/hpa-example", Some("k8s.gcr.io"), "hpa-example", "latest")]
    #[case("localhost:5000/a/b:x", Some("localhost:5000"), "a/b", "x")]
    #[case("localhost/a", Some("localhost"), "a", "latest")]
    fn references_are_taken_apart(
        #[case] text: &str,
        #[case] registry: Option<&str>,
        #[case] path: &str,
        #[case] tag: &str,
    ) {
        let found = Reference::parse(text).unwrap();
        assert_eq!(found.registry.as_deref(), registry);
        assert_eq!((found.path.as_str(), found.tag.as_str()), (path, tag));
    }

    #[rstest]
    #[case("")]
    #[case("Nginx")]
    #[case("nginx:")]
    #[case("nginx:a b")]
    #[case("nginx@sha256:zz")]
    #[case("/nginx")]
    #[case("a//b")]
    #[case("example.com:port/a")]
    #[case("nginx latest")]
    #[case("a..b")]
    fn what_is_no_reference_is_refused(#[case] text: &str) {
        assert!(Reference::parse(text).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            if let Ok(found) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&found.to_string()), Ok(found));
            }
        }
    }
}
