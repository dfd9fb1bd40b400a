//! From a path to what it names.

use super::query::{Plus, decode};

/// The resource part of a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    /// API group; empty for core.
    pub(crate) group: String,
    /// Version.
    pub(crate) version: String,
    /// Namespace in the path.
    pub(crate) namespace: Option<String>,
    /// Resource.
    pub(crate) plural: String,
    /// Object.
    pub(crate) name: Option<String>,
    /// Subresource.
    pub(crate) subresource: Option<String>,
    /// The deprecated `/watch/` prefix.
    pub(crate) watch: bool,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` (empty group) or `/apis/GROUP/VERSION`.
    GroupVersion(String, String),
    /// A resource, an object or a subresource.
    Resource(ResourcePath),
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/PATH`.
    OpenApi(String),
    /// Anything else, e.g. `/version`.
    Other(String),
}

/// Takes a path apart.
pub(crate) fn route(path: &str) -> Route {
    let parts: Vec<String> = path
        .split('/')
        .filter(|p| !p.is_empty())
        .map(|p| decode(p, Plus::IsPlus))
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["api"] => Route::CoreVersions,
        ["apis"] => Route::Groups,
        ["api", version] => Route::GroupVersion(String::new(), (*version).into()),
        ["api", version, rest @ ..] => resource("", version, rest),
        ["apis", group] => Route::Group((*group).into()),
        ["apis", group, version] => Route::GroupVersion((*group).into(), (*version).into()),
        ["apis", group, version, rest @ ..] => resource(group, version, rest),
        ["openapi", "v3"] => Route::OpenApiIndex,
        ["openapi", "v3", rest @ ..] => Route::OpenApi(rest.join("/")),
        _ => Route::Other(path.to_owned()),
    }
}

fn resource(group: &str, version: &str, rest: &[&str]) -> Route {
    let mut target = ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        ..ResourcePath::default()
    };
    let rest = match rest {
        ["watch", more @ ..] if !more.is_empty() => {
            target.watch = true;
            more
        }
        other => other,
    };
    let rest = match rest {
        ["namespaces", namespace, plural, more @ ..]
            if !(more.is_empty() && matches!(*plural, "status" | "finalize")) =>
        {
            target.namespace = Some((*namespace).into());
            target.plural = (*plural).into();
            more
        }
        [plural, more @ ..] => {
            target.plural = (*plural).into();
            more
        }
        [] => rest,
    };
    target.name = rest.first().map(|n| (*n).to_owned());
    target.subresource = rest.get(1).map(|s| (*s).to_owned());
    Route::Resource(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/api/v1/pods", (None, "pods", None, None))]
    #[case("/api/v1/namespaces", (None, "namespaces", None, None))]
    #[case("/api/v1/namespaces/a", (None, "namespaces", Some("a"), None))]
    #[case("/api/v1/namespaces/a/finalize", (None, "namespaces", Some("a"), Some("finalize")))]
    #[case("/api/v1/namespaces/a/pods", (Some("a"), "pods", None, None))]
    #[case("/api/v1/namespaces/a/pods/p/log", (Some("a"), "pods", Some("p"), Some("log")))]
    #[case("/apis/apps/v1/namespaces/a/deployments/d/", (Some("a"), "deployments", Some("d"), None))]
    #[case("/api/v1/nodes/n%2Fx", (None, "nodes", Some("n/x"), None))]
    fn paths_name_resources(
        #[case] path: &str,
        #[case] want: (Option<&str>, &str, Option<&str>, Option<&str>),
    ) {
        let Route::Resource(got) = route(path) else {
            panic!("not a resource: {path}")
        };
        let got = (
            got.namespace.as_deref(),
            got.plural.as_str(),
            got.name.as_deref(),
            got.subresource.as_deref(),
        );
        assert_eq!(got, want);
    }

    #[test]
    fn other_paths_keep_their_kind() {
        assert_eq!(
            route("/apis/apps/v1"),
            Route::GroupVersion("apps".into(), "v1".into())
        );
        assert_eq!(
            route("/openapi/v3/apis/apps/v1"),
            Route::OpenApi("apis/apps/v1".into())
        );
        assert_eq!(route("/readyz/etcd"), Route::Other("/readyz/etcd".into()));
    }
}
