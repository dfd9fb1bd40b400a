//! The two APIs as parts of an API server.

use super::render::{self, Dialect};
use super::router::Router;
use super::source::{CustomAsk, ExternalAsk, GroupResource, Objects};
use async_trait::async_trait;
use plimsoll_api::local::{LocalGroup, LocalRequest, LocalResource, OpenResource};
use plimsoll_api::selector::LabelSelector;
use plimsoll_api::status::ApiError;
use serde_json::Value;

/// One version of `custom.metrics.k8s.io`.
#[derive(Debug, Clone)]
pub struct CustomMetricsApi {
    router: Router,
    dialect: Dialect,
}

impl CustomMetricsApi {
    /// `v1beta1`.
    pub fn v1beta1(router: Router) -> Self {
        let dialect = Dialect::V1Beta1;
        Self { router, dialect }
    }

    /// `v1beta2`, which clients prefer.
    pub fn v1beta2(router: Router) -> Self {
        let dialect = Dialect::V1Beta2;
        Self { router, dialect }
    }
}

#[async_trait]
impl LocalGroup for CustomMetricsApi {
    fn group(&self) -> &'static str {
        "custom.metrics.k8s.io"
    }

    fn version(&self) -> &'static str {
        self.dialect.version()
    }

    fn resources(&self) -> Vec<LocalResource> {
        Vec::new()
    }

    fn is_open(&self) -> bool {
        true
    }

    fn open_resources(&self) -> Vec<OpenResource> {
        let metrics = self.router.custom_metrics().into_iter();
        let offered = metrics.map(|info| OpenResource {
            name: format!("{}/{}", info.resource, info.metric),
            namespaced: info.namespaced,
            kind: "MetricValueList",
        });
        offered.collect()
    }

    async fn read(&self, request: LocalRequest) -> Result<Value, ApiError> {
        let ask = custom_ask(request)?;
        let values = self.router.custom(&ask).await?;
        Ok(render::custom(self.dialect, &ask, &values))
    }
}

/// What a path asks for: `namespaces/NS/RESOURCE/NAME/METRIC`, `RESOURCE/NAME/METRIC` or, for the
/// namespace itself, `namespaces/NS/metrics/METRIC`; the name `*` stands for all selected objects.
fn custom_ask(request: LocalRequest) -> Result<CustomAsk, ApiError> {
    let LocalRequest {
        resource,
        namespace,
        name,
        subresource,
        label_selector,
        metric_label_selector,
        ..
    } = request;
    let selector = LabelSelector::parse(&metric_label_selector)?;
    let name = name.ok_or_else(ApiError::no_such_resource)?;
    if let ("metrics", Some(namespace), None) = (resource.as_str(), &namespace, &subresource) {
        return Ok(CustomAsk {
            resource: GroupResource::new("", "namespaces"),
            namespace: None,
            objects: Objects::Named(namespace.clone()),
            metric: name,
            selector,
        });
    }
    let metric = subresource.ok_or_else(ApiError::no_such_resource)?;
    let objects = if name == "*" {
        Objects::Selected(LabelSelector::parse(&label_selector)?)
    } else {
        Objects::Named(name)
    };
    Ok(CustomAsk {
        resource: GroupResource::parse(&resource),
        namespace,
        objects,
        metric,
        selector,
    })
}

/// `external.metrics.k8s.io/v1beta1`.
#[derive(Debug, Clone)]
pub struct ExternalMetricsApi {
    router: Router,
}

impl ExternalMetricsApi {
    /// The API over the router's external sources.
    pub fn new(router: Router) -> Self {
        Self { router }
    }
}

#[async_trait]
impl LocalGroup for ExternalMetricsApi {
    fn group(&self) -> &'static str {
        "external.metrics.k8s.io"
    }

    fn version(&self) -> &'static str {
        "v1beta1"
    }

    fn resources(&self) -> Vec<LocalResource> {
        Vec::new()
    }

    fn is_open(&self) -> bool {
        true
    }

    fn open_resources(&self) -> Vec<OpenResource> {
        let mut names = self.router.external_metrics();
        if names.is_empty() {
            // Clients take an empty group for a broken one.
            names.insert("externalmetrics".to_owned());
        }
        let offered = names.into_iter().map(|name| OpenResource {
            name,
            namespaced: true,
            kind: "ExternalMetricValueList",
        });
        offered.collect()
    }

    async fn read(&self, request: LocalRequest) -> Result<Value, ApiError> {
        let (Some(namespace), None) = (request.namespace, request.name) else {
            return Err(ApiError::no_such_resource());
        };
        let ask = ExternalAsk {
            namespace,
            metric: request.resource,
            selector: LabelSelector::parse(&request.label_selector)?,
        };
        let values = self.router.external(&ask).await?;
        Ok(render::external(&ask, &values))
    }
}

#[cfg(test)]
mod tests {
    use super::{GroupResource, LocalRequest, Objects, custom_ask};
    use plimsoll_api::selector::LabelSelector;
    use rstest::rstest;

    fn request(namespace: &str, rest: [&str; 3]) -> LocalRequest {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        LocalRequest {
            namespace: text(namespace),
            resource: rest[0].to_owned(),
            name: text(rest[1]),
            subresource: text(rest[2]),
            label_selector: "app=web".to_owned(),
            ..LocalRequest::default()
        }
    }

    #[rstest]
    #[case::one_pod("a", ["pods", "p", "m"], ("pods", Some("a"), "p"))]
    #[case::a_node("", ["nodes", "n", "m"], ("nodes", None, "n"))]
    #[case::a_namespace("a", ["metrics", "m", ""], ("namespaces", None, "a"))]
    #[case::of_a_group("a", ["deployments.apps", "d", "m"], ("deployments.apps", Some("a"), "d"))]
    #[case::a_deep_group("a", ["x.b.c", "d", "m"], ("x.b.c", Some("a"), "d"))]
    fn a_path_names_an_object(
        #[case] namespace: &str,
        #[case] rest: [&str; 3],
        #[case] want: (&str, Option<&str>, &str),
    ) {
        let ask = custom_ask(request(namespace, rest)).unwrap();
        assert_eq!(ask.resource, GroupResource::parse(want.0));
        assert_eq!(ask.namespace.as_deref(), want.1);
        assert_eq!(ask.objects, Objects::Named(want.2.to_owned()));
        assert_eq!(ask.metric, "m");
    }

    #[test]
    fn a_star_stands_for_the_selected_objects() {
        let ask = custom_ask(request("a", ["pods", "*", "m"])).unwrap();
        let selector = LabelSelector::parse("app=web").unwrap();
        assert_eq!(ask.objects, Objects::Selected(selector));
    }

    #[rstest]
    #[case(["pods", "p", ""])]
    #[case(["pods", "", ""])]
    fn a_path_without_a_metric_is_no_resource(#[case] rest: [&str; 3]) {
        assert_eq!(custom_ask(request("a", rest)).unwrap_err().code, 404);
    }
}
