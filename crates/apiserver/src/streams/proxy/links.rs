//! Links that lead back through the proxy.

/// How links of a proxied answer are rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Links {
    /// The path up to and including `proxy`.
    pub(super) prefix: String,
    /// The target's own host, with its port.
    pub(super) host: String,
}

impl Links {
    /// The link to use instead; `None` if it is fine as it is: relative, elsewhere, or no path.
    pub(super) fn rewrite(&self, link: &str) -> Option<String> {
        let (head, _) = link.split_at(link.find(['?', '#']).unwrap_or(link.len()));
        let path = match head.split_once("//") {
            Some((scheme, _)) if scheme.is_empty() || is_scheme(scheme) => {
                let after = link.get(scheme.len() + 2..)?;
                let end = after.find(['/', '?', '#']).unwrap_or(after.len());
                let (host, path) = after.split_at(end);
                if host != self.host {
                    return None;
                }
                path
            }
            _ => link,
        };
        if !path.starts_with('/') || path.starts_with(&self.prefix) {
            return None;
        }
        Some(format!("{}{path}", self.prefix))
    }
}

/// `http:` and the like.
fn is_scheme(text: &str) -> bool {
    let Some(name) = text.strip_suffix(':') else {
        return false;
    };
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::absolute("/a/b?c=/d", Some("/p/proxy/a/b?c=/d"))]
    #[case::root("/", Some("/p/proxy/"))]
    #[case::of_the_target("http://10.0.0.1:80/x#y", Some("/p/proxy/x#y"))]
    #[case::without_a_scheme("//10.0.0.1:80/x", Some("/p/proxy/x"))]
    #[case::elsewhere("http://example.org/x", None)]
    #[case::elsewhere_without_a_scheme("//example.org/x", None)]
    #[case::relative("a/b", None)]
    #[case::rewritten_already("/p/proxy/a", None)]
    #[case::opaque("mailto:a@b", None)]
    #[case::a_fragment("#top", None)]
    #[case::a_url_in_the_query("?to=http://x/", None)]
    #[case::empty("", None)]
    fn only_paths_on_the_target_are_rewritten(#[case] link: &str, #[case] want: Option<&str>) {
        let links = Links {
            prefix: "/p/proxy".into(),
            host: "10.0.0.1:80".into(),
        };
        assert_eq!(links.rewrite(link).as_deref(), want);
    }
}
