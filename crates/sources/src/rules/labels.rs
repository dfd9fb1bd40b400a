//! Between a series' labels and Kubernetes resources.

use super::config::ResourceMapping;
use super::mapper::{Mapped, Mapper, sanitise};
use super::template::{Template, Value, parse};
use crate::custom::GroupResource;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

/// Which labels name which resources.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels {
    /// Writes a label, and reads it.
    form: Option<(Template, Regex)>,
    /// Label to resource, as the rule spells it.
    overrides: BTreeMap<String, GroupResource>,
}

impl Labels {
    /// Compiles a mapping. Whether the resources exist shows only when the API server is asked.
    ///
    /// # Errors
    /// The field (`template`, `overrides.NAME`) and what is wrong with it, for each.
    pub(super) fn compile(mapping: &ResourceMapping) -> Result<Self, Vec<(String, String)>> {
        let mut faults = Vec::new();
        let form = if mapping.template.is_empty() {
            None
        } else {
            let compiled = form(&mapping.template);
            compiled
                .map_err(|why| faults.push(("template".to_owned(), why)))
                .ok()
        };
        for (label, resource) in &mapping.overrides {
            if resource.resource.is_empty() {
                faults.push((
                    format!("overrides.{label}"),
                    "a resource must be named".to_owned(),
                ));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let overrides = mapping.overrides.iter().map(|(label, named)| {
            let resource = GroupResource::new(&named.group, &named.resource);
            (label.clone(), resource)
        });
        Ok(Self {
            form,
            overrides: overrides.collect(),
        })
    }

    /// The resources that a series with these labels describes.
    pub(super) fn resources<'a>(
        &self,
        labels: &BTreeSet<String>,
        mapper: &'a Mapper,
    ) -> Vec<&'a Mapped> {
        let named = labels.iter().filter_map(|label| {
            let wanted = match self.overrides.get(label) {
                Some(resource) => resource.clone(),
                None => read(&self.form.as_ref()?.1, label)?,
            };
            mapper.find(&wanted)
        });
        named.collect()
    }

    /// The label that names objects of a resource; `None` if there is none.
    pub(super) fn label_of(&self, resource: &Mapped, mapper: &Mapper) -> Option<String> {
        let is_it = |wanted: &GroupResource| {
            let found = mapper.find(wanted);
            found.is_some_and(|found| found.resource == resource.resource)
        };
        if let Some((label, _)) = self.overrides.iter().find(|(_, wanted)| is_it(wanted)) {
            return Some(label.clone());
        }
        let values = Value::map([
            ("Group", sanitise(&resource.resource.group).as_str().into()),
            ("Resource", resource.singular.as_str().into()),
        ]);
        let label = self.form.as_ref()?.0.render(&values).ok()?;
        (!label.is_empty()).then_some(label)
    }

    /// The overrides whose resource the API server does not have.
    pub(super) fn unknown<'a>(
        &'a self,
        mapper: &'a Mapper,
    ) -> impl Iterator<Item = (&'a String, &'a GroupResource)> {
        let all = self.overrides.iter();
        all.filter(|(_, resource)| mapper.find(resource).is_none())
    }
}

fn form(text: &str) -> Result<(Template, Regex), String> {
    let template = parse(text).map_err(|error| error.to_string())?;
    let patterns = Value::map([
        ("Group", "(?P<group>.+?)".into()),
        ("Resource", "(?P<resource>.+?)".into()),
    ]);
    let pattern = template
        .render(&patterns)
        .map_err(|error| error.to_string())?;
    let pattern = Regex::new(&format!("^{pattern}$")).map_err(|error| error.to_string())?;
    if !pattern.capture_names().flatten().any(|n| n == "resource") {
        return Err("must include at least `<<.Resource>>`".to_owned());
    }
    Ok((template, pattern))
}

fn read(form: &Regex, label: &str) -> Option<GroupResource> {
    let found = form.captures(label)?;
    let part = |name| found.name(name).map_or("", |part| part.as_str());
    Some(GroupResource::new(part("group"), part("resource")))
}

#[cfg(test)]
mod tests {
    use super::Labels;
    use crate::custom::GroupResource;
    use crate::rules::config::{OverriddenResource, ResourceMapping};
    use crate::rules::mapper::tests::mapper;
    use rstest::rstest;

    fn labels(template: &str, overrides: &[(&str, &str)]) -> Labels {
        let overrides = overrides.iter().map(|(label, resource)| {
            let named = GroupResource::parse(resource);
            let named = OverriddenResource {
                group: named.group,
                resource: named.resource,
            };
            ((*label).to_owned(), named)
        });
        let mapping = ResourceMapping {
            template: template.to_owned(),
            overrides: overrides.collect(),
            namespaced: None,
        };
        Labels::compile(&mapping).unwrap()
    }

    #[rstest]
    #[case("kube_<<.Resource>>", &[], &["kube_pod", "kube_namespace", "job"], &["namespaces", "pods"])]
    #[case("kube_<<.Group>>_<<.Resource>>", &[], &["kube_apps_deployment"], &["deployments.apps"])]
    #[case("<<.Resource>>", &[], &["pod", "instance"], &["pods"])]
    #[case("", &[("ns", "namespace"), ("who", "pod")], &["ns", "who", "pod"], &["namespaces", "pods"])]
    #[case("<<.Resource>>", &[("backend", "service")], &["backend", "pod"], &["services", "pods"])]
    fn labels_name_resources(
        #[case] template: &str,
        #[case] overrides: &[(&str, &str)],
        #[case] of_series: &[&str],
        #[case] want: &[&str],
    ) {
        let of_series = of_series.iter().map(|l| (*l).to_owned()).collect();
        let mapper = mapper();
        let got = labels(template, overrides);
        let got = got.resources(&of_series, &mapper);
        let got: Vec<String> = got.iter().map(|m| m.resource.to_string()).collect();
        assert_eq!(got, want);
    }

    #[rstest]
    #[case("kube_<<.Resource>>", &[], "pods", Some("kube_pod"))]
    #[case("<<.Group>>_<<.Resource>>", &[], "ingresses.networking.k8s.io",
        Some("networking_k8s_io_ingress"))]
    #[case("x_<<.Resource>>", &[("who", "pod")], "pods", Some("who"))]
    #[case("", &[("who", "pod")], "nodes", None)]
    fn resources_name_labels(
        #[case] template: &str,
        #[case] overrides: &[(&str, &str)],
        #[case] resource: &str,
        #[case] want: Option<&str>,
    ) {
        let mapper = mapper();
        let resource = mapper.find(&GroupResource::parse(resource)).unwrap();
        let got = labels(template, overrides).label_of(resource, &mapper);
        assert_eq!(got.as_deref(), want);
    }

    #[rstest]
    #[case("<<.Group>>", "must include at least `<<.Resource>>`")]
    #[case("<<.Kind>>", "position 3: there is no field Kind")]
    #[case("(<<.Resource>>", "unclosed group")]
    fn a_template_that_cannot_be_read_back_is_refused(#[case] template: &str, #[case] why: &str) {
        let mapping = ResourceMapping {
            template: template.to_owned(),
            ..ResourceMapping::default()
        };
        let faults = Labels::compile(&mapping).unwrap_err();
        assert!(faults[0].1.contains(why), "{}", faults[0].1);
    }
}
