//! The built-in images.

use super::reference::Reference;
use crate::runtime::RuntimeError;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// An image that is part of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: &'static str,
    /// References it stands in for: last components of a path, or `PATH:TAG` for one tag only.
    pub aliases: &'static [&'static str],
    /// Program and its first arguments; replaced by a container's `command`.
    pub entrypoint: &'static [&'static str],
    /// Further arguments; replaced by a container's `args`.
    pub args: &'static [&'static str],
    /// Environment.
    pub env: &'static [(&'static str, &'static str)],
    /// The port it serves on.
    pub port: Option<u16>,
    /// One line for people.
    pub about: &'static str,
}

const PATH: (&str, &str) = (
    "PATH",
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
);

const IMAGES: &[Image] = &[
    Image {
        name: "hpa-example",
        aliases: &["php-apache"],
        entrypoint: &["hpa-example"],
        args: &[],
        env: &[PATH],
        port: Some(80),
        about: "web server that burns CPU per request, as the HPA walkthrough's",
    },
    Image {
        name: "busybox",
        aliases: &["busyboxplus", "alpine", "curl"],
        entrypoint: &[],
        args: &["sh"],
        env: &[PATH],
        port: None,
        about: "shell, wget, curl, nslookup and other small tools",
    },
    Image {
        name: "nginx",
        aliases: &["nginx-unprivileged"],
        entrypoint: &["nginx"],
        args: &[],
        env: &[PATH],
        port: Some(80),
        about: "web server with a welcome page",
    },
    Image {
        name: "pause",
        aliases: &["pause-amd64"],
        entrypoint: &["pause"],
        args: &[],
        env: &[PATH],
        port: None,
        about: "does nothing",
    },
    Image {
        name: "kubetm-app",
        aliases: &["kubetm/app", "agnhost", "echoserver"],
        entrypoint: &["kubetm-app"],
        args: &[],
        env: &[PATH],
        port: Some(8080),
        about: "tells its host name and version over HTTP",
    },
    Image {
        name: "kubetm-init",
        aliases: &["kubetm/init"],
        entrypoint: &[],
        args: &["sh"],
        env: &[PATH],
        port: None,
        about: "shell for init containers",
    },
    Image {
        name: "hamster",
        aliases: &["ubuntu-slim", "stress"],
        entrypoint: &["burn"],
        args: &[],
        env: &[PATH],
        port: None,
        about: "burns CPU",
    },
];

/// Every built-in image.
pub fn all() -> &'static [Image] {
    IMAGES
}

/// The built-in image for a reference.
///
/// # Errors
///
/// [`RuntimeError::InvalidImageName`] when it does not parse, [`RuntimeError::ImagePull`] when
/// nothing built in stands in for it.
pub fn find(reference: &str) -> Result<&'static Image, RuntimeError> {
    let parsed = Reference::parse(reference).map_err(|error| RuntimeError::InvalidImageName {
        image: reference.to_owned(),
        why: error.to_string(),
    })?;
    IMAGES
        .iter()
        .find(|image| image.stands_in_for(&parsed))
        .ok_or_else(|| {
            let names: Vec<_> = IMAGES.iter().map(|image| image.name).collect();
            RuntimeError::ImagePull {
                image: reference.to_owned(),
                why: format!(
                    "no registry is configured, and it is not one of the built-in images: {}",
                    names.join(", ")
                ),
            }
        })
}

impl Image {
    /// `built-in/NAME@sha256:…`; the digest is that of name and program version.
    pub fn id(&self) -> String {
        let source = format!("{}\0{}", self.name, env!("CARGO_PKG_VERSION"));
        let digest = Sha256::digest(source.as_bytes());
        let mut id = format!("built-in/{}@sha256:", self.name);
        for byte in digest {
            let _infallible = write!(id, "{byte:02x}");
        }
        id
    }

    /// The command line for a container: its `command` and `args` where given, else the image's
    /// (a `command` alone also replaces the image's arguments).
    pub fn argv(&self, command: &[String], args: &[String]) -> Vec<String> {
        let own = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let mut line = if command.is_empty() {
            own(self.entrypoint)
        } else {
            command.to_vec()
        };
        if !args.is_empty() {
            line.extend_from_slice(args);
        } else if command.is_empty() {
            line.extend(own(self.args));
        }
        line
    }

    fn stands_in_for(&self, reference: &Reference) -> bool {
        std::iter::once(&self.name)
            .chain(self.aliases)
            .any(|alias| {
                if alias.contains('/') {
                    reference.path == *alias
                } else {
                    reference.short_name() == *alias
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("k8s.gcr.io/hpa-example", "hpa-example")]
    #[case("registry.k8s.io/hpa-example", "hpa-example")]
    #[case("registry.k8s.io/hpa-example:latest", "hpa-example")]
    #[case("php-apache", "hpa-example")]
    #[case("busybox", "busybox")]
    #[case("busybox:1.28", "busybox")]
    #[case("docker.io/library/busybox:1.36", "busybox")]
    #[case("radial/busyboxplus:curl", "busybox")]
    #[case("nginx", "nginx")]
    #[case("nginx:1.25-alpine", "nginx")]
    #[case("pause", "pause")]
    #[case("registry.k8s.io/pause:3.9", "pause")]
    #[case("kubetm/app", "kubetm-app")]
    #[case("kubetm/app:v1", "kubetm-app")]
    #[case("kubetm/init", "kubetm-init")]
    #[case("registry.k8s.io/e2e-test-images/agnhost:2.39", "kubetm-app")]
    #[case("registry.k8s.io/ubuntu-slim:0.14", "hamster")]
    fn the_labs_images_are_built_in(#[case] reference: &str, #[case] name: &str) {
        assert_eq!(find(reference).unwrap().name, name);
    }

    #[test]
    fn an_unknown_image_says_what_there_is() {
        let error = find("example.com/team/app:v1").unwrap_err();
        assert!(matches!(error, RuntimeError::ImagePull { .. }));
        let text = error.to_string();
        assert!(
            text.contains("no registry is configured") && text.contains("hpa-example"),
            "{text}"
        );
    }

    #[test]
    fn a_reference_that_does_not_parse_is_an_invalid_name() {
        assert!(matches!(
            find("NGINX"),
            Err(RuntimeError::InvalidImageName { .. })
        ));
    }

    #[test]
    fn other_repositories_called_app_are_not_kubetms() {
        assert!(find("someone/app").is_err());
    }

    #[test]
    fn every_image_has_its_own_stable_id() {
        let ids: std::collections::BTreeSet<_> = all().iter().map(Image::id).collect();
        assert_eq!(ids.len(), all().len());
        assert!(
            ids.iter()
                .all(|id| id.len() == id.find("sha256:").unwrap() + 7 + 64)
        );
    }

    #[rstest]
    #[case(&[], &[], &["sh"])]
    #[case(&[], &["ls", "/"], &["ls", "/"])]
    #[case(&["top"], &[], &["top"])]
    #[case(&["sh"], &["-c", "true"], &["sh", "-c", "true"])]
    fn command_and_args_replace_the_images(
        #[case] command: &[&str],
        #[case] args: &[&str],
        #[case] want: &[&str],
    ) {
        let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            find("busybox").unwrap().argv(&own(command), &own(args)),
            own(want)
        );
    }
}
