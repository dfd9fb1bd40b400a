//! Which metrics there are now, and which series and rule each comes from.

use super::mapper::Mapper;
use super::rule::{Rule, Rules};
use crate::custom::CustomInfo;
use crate::prometheus::Series;
use std::collections::{BTreeMap, BTreeSet};

/// A series and the number of the rule that made a metric of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) series: String,
    pub(super) rule: usize,
}

/// The metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Catalog {
    pub(super) custom: BTreeMap<CustomInfo, Origin>,
    pub(super) external: BTreeMap<String, Origin>,
    /// What is odd: two series for one metric, resources that do not exist.
    pub(super) remarks: Vec<String>,
}

/// The series that each selector found.
pub(super) type Listed = BTreeMap<String, BTreeSet<Series>>;

impl Catalog {
    /// Applies rules to what was found. Where several series make the same metric, the last one by
    /// rule and name counts.
    pub(super) fn of(rules: &Rules, listed: &Listed, mapper: &Mapper) -> Self {
        let mut catalog = Self::default();
        for (number, rule) in rules.custom.iter().enumerate() {
            for (label, resource) in rule.labels.unknown(mapper) {
                let place = &rule.place;
                catalog.remarks.push(format!(
                    "{place}: label {label} names {resource}, which the API server does not have"
                ));
            }
            catalog.take_custom(number, rule, listed, mapper);
        }
        for (number, rule) in rules.external.iter().enumerate() {
            for series in listed.get(&rule.series_query).into_iter().flatten() {
                let Some(name) = rule.metric(&series.name) else {
                    continue;
                };
                let origin = Origin {
                    series: series.name.clone(),
                    rule: number,
                };
                let before = catalog.external.insert(name.clone(), origin.clone());
                catalog.remark(&rule.place, &name, before.as_ref(), &origin);
            }
        }
        catalog
    }

    fn take_custom(&mut self, number: usize, rule: &Rule, listed: &Listed, mapper: &Mapper) {
        for series in listed.get(&rule.series_query).into_iter().flatten() {
            let Some(metric) = rule.metric(&series.name) else {
                continue;
            };
            let resources = rule.labels.resources(&series.labels, mapper);
            let is_namespace = |r: &&super::mapper::Mapped| {
                r.resource.group.is_empty() && r.resource.resource == "namespaces"
            };
            let namespaced = resources.iter().any(is_namespace);
            for mapped in resources {
                let info = CustomInfo {
                    resource: mapped.resource.clone(),
                    namespaced: namespaced && mapped.namespaced,
                    metric: metric.clone(),
                };
                let origin = Origin {
                    series: series.name.clone(),
                    rule: number,
                };
                let before = self.custom.insert(info, origin.clone());
                self.remark(&rule.place, &metric, before.as_ref(), &origin);
            }
        }
    }

    fn remark(&mut self, place: &str, metric: &str, before: Option<&Origin>, now: &Origin) {
        let Some(before) = before.filter(|before| *before != now) else {
            return;
        };
        let remark = format!(
            "{place}: series {} takes the place of series {} as metric {metric}",
            now.series, before.series
        );
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Catalog, Listed};
    use crate::prometheus::Series;
    use crate::rules::mapper::tests::mapper;
    use crate::rules::rule::Rules;

    fn series(name: &str, labels: &[&str]) -> Series {
        Series {
            name: name.to_owned(),
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
        }
    }

    fn rules() -> Rules {
        let text = r#"
rules:
- seriesQuery: '{__name__=~"^http_.*"}'
  resources: {template: '<<.Resource>>', overrides: {what: {resource: unicorn}}}
  name: {matches: '^(.*)_total$'}
  metricsQuery: 'x'
- seriesQuery: other
  resources: {template: '<<.Resource>>'}
  name: {as: http_requests}
  metricsQuery: 'y'
externalRules:
- seriesQuery: queue
  resources: {namespaced: false}
  metricsQuery: 'z'
"#;
        Rules::parse(text).unwrap()
    }

    #[test]
    fn series_become_metrics_of_what_their_labels_name() {
        let listed: Listed = [
            (
                r#"{__name__=~"^http_.*"}"#.to_owned(),
                [
                    series("http_requests_total", &["namespace", "pod", "job"]),
                    series("http_open", &["namespace", "pod"]),
                    series("http_errors_total", &["node"]),
                    series("http_x_total", &["pod"]),
                ]
                .into(),
            ),
            ("queue".to_owned(), [series("queue", &["a"])].into()),
        ]
        .into();
        let catalog = Catalog::of(&rules(), &listed, &mapper());
        let got: Vec<String> = catalog
            .custom
            .keys()
            .map(|info| format!("{}/{} {}", info.resource, info.metric, info.namespaced))
            .collect();
        let want = [
            "namespaces/http_requests false",
            "nodes/http_errors false",
            "pods/http_x false",
            "pods/http_requests true",
        ];
        assert_eq!(got, want);
        assert_eq!(catalog.external.keys().collect::<Vec<_>>(), ["queue"]);
        assert_eq!(
            catalog.remarks,
            ["rules[0]: label what names unicorn, which the API server does not have"]
        );
    }

    #[test]
    fn two_series_for_one_metric_are_remarked_and_the_later_rule_counts() {
        let listed: Listed = [
            (
                r#"{__name__=~"^http_.*"}"#.to_owned(),
                [series("http_requests_total", &["namespace", "pod"])].into(),
            ),
            (
                "other".to_owned(),
                [series("other", &["namespace", "pod"])].into(),
            ),
        ]
        .into();
        let catalog = Catalog::of(&rules(), &listed, &mapper());
        assert!(catalog.custom.values().all(|origin| origin.rule == 1));
        let want = "rules[1]: series other takes the place of series http_requests_total as \
                    metric http_requests";
        assert!(
            catalog.remarks.contains(&want.to_owned()),
            "{:?}",
            catalog.remarks
        );
    }
}
