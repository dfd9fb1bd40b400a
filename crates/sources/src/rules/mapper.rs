//! What the API server calls its resources.

use crate::custom::GroupResource;
use kube::core::ApiResource;
use kube::discovery::{Discovery, Scope};
use kube::{Client, Error};

/// A resource as the API server serves it.
#[derive(Debug, Clone)]
pub(super) struct Mapped {
    /// Group and plural.
    pub(super) resource: GroupResource,
    /// Singular, as labels have it.
    pub(super) singular: String,
    /// Whether its objects are in namespaces.
    pub(super) namespaced: bool,
    /// For requests.
    pub(super) api: ApiResource,
}

/// All resources: core first, then by group.
#[derive(Debug, Clone, Default)]
pub(super) struct Mapper(Vec<Mapped>);

/// Groups of metrics: they describe resources of others under the same names.
const METRICS: [&str; 3] = [
    "custom.metrics.k8s.io",
    "external.metrics.k8s.io",
    "metrics.k8s.io",
];

impl Mapper {
    /// Asks the API server.
    ///
    /// # Errors
    /// What the API server answers, also to servers older than aggregated discovery.
    pub(super) async fn discover(client: &Client) -> Result<Self, Error> {
        let discovery = || Discovery::new(client.clone()).exclude(&METRICS);
        let found = match discovery().run_aggregated().await {
            Ok(found) => found,
            Err(_) => discovery().run().await?,
        };
        let mut groups = found.groups_alphabetical();
        groups.sort_by_key(|group| !group.name().is_empty());
        let resources = groups
            .into_iter()
            .flat_map(kube::discovery::ApiGroup::recommended_resources);
        Ok(Self::of(resources.map(|(api, capabilities)| {
            (api, capabilities.scope == Scope::Namespaced)
        })))
    }

    /// A mapper of the given resources and whether they are in namespaces.
    pub(super) fn of(resources: impl Iterator<Item = (ApiResource, bool)>) -> Self {
        let mapped = resources.map(|(api, namespaced)| Mapped {
            resource: GroupResource::new(&api.group, &api.plural),
            singular: api.kind.to_lowercase(),
            namespaced,
            api,
        });
        Self(mapped.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds a resource by plural or singular. A group may be left out, be written as labels write
    /// it (`networking_k8s_io`), or only be begun (`networking`), in this order of preference.
    pub(super) fn find(&self, wanted: &GroupResource) -> Option<&Mapped> {
        let named: Vec<&Mapped> = self
            .0
            .iter()
            .filter(|m| m.resource.resource == wanted.resource || m.singular == wanted.resource)
            .collect();
        let group = wanted.group.as_str();
        let exactly = |m: &&&Mapped| m.resource.group == group;
        let sanitised = |m: &&&Mapped| sanitise(&m.resource.group) == group;
        let begun = |m: &&&Mapped| m.resource.group.starts_with(group);
        let mut found = named.iter().find(exactly);
        found = found.or_else(|| named.iter().find(sanitised));
        found.or_else(|| named.iter().find(begun)).copied()
    }
}

/// A group as a part of a label's name.
pub(super) fn sanitise(group: &str) -> String {
    group.replace(['.', '-'], "_")
}

#[cfg(test)]
pub(super) mod tests {
    use super::{GroupResource, Mapper};
    use kube::core::{ApiResource, GroupVersionKind};
    use rstest::rstest;

    /// A few well-known resources.
    pub(crate) fn mapper() -> Mapper {
        let rows = [
            ("", "v1", "Namespace", "namespaces", false),
            ("", "v1", "Node", "nodes", false),
            ("", "v1", "Pod", "pods", true),
            ("", "v1", "Service", "services", true),
            ("apps", "v1", "Deployment", "deployments", true),
            ("networking.k8s.io", "v1", "Ingress", "ingresses", true),
        ];
        Mapper::of(
            rows.into_iter()
                .map(|(group, version, kind, plural, namespaced)| {
                    let gvk = GroupVersionKind::gvk(group, version, kind);
                    (ApiResource::from_gvk_with_plural(&gvk, plural), namespaced)
                }),
        )
    }

    #[rstest]
    #[case("pod", Some("pods"))]
    #[case("pods", Some("pods"))]
    #[case("deployment", Some("deployments.apps"))]
    #[case("ingress.networking.k8s.io", Some("ingresses.networking.k8s.io"))]
    #[case("ingress.networking_k8s_io", Some("ingresses.networking.k8s.io"))]
    #[case("ingresses.networking", Some("ingresses.networking.k8s.io"))]
    #[case("pods.apps", None)]
    #[case("instance", None)]
    fn a_resource_is_found_by_any_of_its_names(#[case] name: &str, #[case] want: Option<&str>) {
        let mapper = mapper();
        let got = mapper.find(&GroupResource::parse(name));
        let got = got.map(|m| m.resource.to_string());
        assert_eq!(got.as_deref(), want);
    }
}
