//! Answers to questions, by rules.

use super::catalog::Origin;
use super::mapper::Mapped;
use super::query::{Matchers, build};
use super::rule::Rule;
use super::source::{Inner, PrometheusRules, State};
use super::values::{About, ByName, Dated, by_name, series};
use crate::custom::{
    CustomAsk, CustomInfo, CustomSource, CustomValue, ExternalAsk, ExternalSource, ExternalValue,
    GroupResource, Objects, SourceError,
};
use crate::prometheus::{Sample, innermost};
use async_trait::async_trait;
use kube::Api;
use kube::api::ListParams;
use kube::core::DynamicObject;
use plimsoll_api::selector::LabelSelector;
use std::collections::BTreeMap;

#[async_trait]
impl CustomSource for PrometheusRules {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn list(&self) -> Vec<CustomInfo> {
        self.0.state().catalog.custom.keys().cloned().collect()
    }

    fn missed(&self, ask: &CustomAsk) {
        if self.0.state().custom(ask).is_none() {
            self.0.miss(&ask.metric);
        }
    }

    async fn read(&self, ask: &CustomAsk) -> Result<Vec<CustomValue>, SourceError> {
        let state = self.0.state();
        let subject = ask.resource.to_string();
        let about = About {
            metric: &ask.metric,
            subject: &subject,
        };
        let Some((mapped, origin)) = state.custom(ask) else {
            return Err(state.miss(about, &state.rules.custom));
        };
        let rule = state.rules.custom.get(origin.rule);
        let rule = rule.ok_or_else(|| about.unknown())?;
        let asked = Asked {
            ask,
            rule,
            origin,
            mapped,
        };
        match &ask.objects {
            Objects::Named(name) => {
                let names = std::slice::from_ref(name);
                let mut found = self.0.values(&state, &asked, names).await?;
                let subject = format!("{subject} {name}");
                let about = About {
                    subject: &subject,
                    ..about
                };
                match (found.values.remove(name), found.without.remove(name)) {
                    (Some(dated), _) => Ok(vec![asked.value(name, dated)]),
                    (None, Some(why)) => Err(about.no_value(why)),
                    (None, None) => Err(about.unknown()),
                }
            }
            Objects::Selected(selector) => {
                let names = self.0.names(&asked, selector).await?;
                if names.is_empty() {
                    return Ok(Vec::new());
                }
                let found = self.0.values(&state, &asked, &names).await?;
                let values = names.iter().filter_map(|name| {
                    let dated = found.values.get(name)?;
                    Some(asked.value(name, *dated))
                });
                let values: Vec<CustomValue> = values.collect();
                match found.without.first_key_value() {
                    Some((name, why)) if values.is_empty() => {
                        Err(about.no_value(format!("{name}: {why}")))
                    }
                    _ => Ok(values),
                }
            }
        }
    }
}

#[async_trait]
impl ExternalSource for PrometheusRules {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn list(&self) -> Vec<String> {
        self.0.state().catalog.external.keys().cloned().collect()
    }

    fn missed(&self, ask: &ExternalAsk) {
        if !self.0.state().catalog.external.contains_key(&ask.metric) {
            self.0.miss(&ask.metric);
        }
    }

    async fn read(&self, ask: &ExternalAsk) -> Result<Vec<ExternalValue>, SourceError> {
        let state = self.0.state();
        let about = About {
            metric: &ask.metric,
            subject: "namespaces",
        };
        let Some(origin) = state.catalog.external.get(&ask.metric) else {
            return Err(state.miss(about, &state.rules.external));
        };
        let rule = state.rules.external.get(origin.rule);
        let rule = rule.ok_or_else(|| about.unknown())?;
        let mut matchers = Matchers::of(&ask.selector)?;
        if rule.namespaced {
            matchers.add(&state.namespace_label(rule)?, "=", &ask.namespace);
        }
        matchers.replace(&rule.replacements);
        let expression = build(&rule.query, &origin.series, &matchers, &[])?;
        let mut samples = self.0.query(&expression).await?;
        if self.0.settings.asks_sample_age && !samples.is_empty() {
            // Values are added up, so the oldest of what they are made of counts.
            let ages = format!("min(timestamp({}{{{}}}))", origin.series, matchers.text());
            let oldest = self.0.query(&ages).await?;
            let scraped = oldest.first().and_then(|s| scraped(&s.finite()));
            let scraped = scraped.ok_or_else(|| about.no_value(UNDATED))?;
            for sample in &mut samples {
                sample.timestamp = scraped;
            }
        }
        series(about, &samples, self.0.freshness())
    }
}

/// A question for a custom metric and what is known about it.
struct Asked<'a> {
    ask: &'a CustomAsk,
    rule: &'a Rule,
    origin: &'a Origin,
    mapped: &'a Mapped,
}

impl Asked<'_> {
    fn value(&self, name: &str, (value, timestamp): Dated) -> CustomValue {
        let api = &self.mapped.api;
        CustomValue {
            kind: api.kind.clone(),
            api_version: format!("{}/{}", api.group, api.version),
            namespace: self.ask.namespace.clone(),
            name: name.to_owned(),
            timestamp,
            window_seconds: None,
            value,
        }
    }
}

impl State {
    /// Why there is no such metric. While series of a rule were never listed, that rule may be the one
    /// that makes it: another source must not be taken for its.
    fn miss(&self, about: About<'_>, rules: &[Rule]) -> SourceError {
        let unlisted = rules
            .iter()
            .find(|r| self.unlisted.contains(&r.series_query));
        unlisted.map_or_else(
            || about.unknown(),
            |rule| {
                let place = &rule.place;
                SourceError::Unavailable(format!("the series of {place} are not listed yet"))
            },
        )
    }

    fn custom(&self, ask: &CustomAsk) -> Option<(&Mapped, &Origin)> {
        let mapped = self.mapper.find(&ask.resource)?;
        let info = CustomInfo {
            resource: mapped.resource.clone(),
            namespaced: ask.namespace.is_some(),
            metric: ask.metric.clone(),
        };
        Some((mapped, self.catalog.custom.get(&info)?))
    }

    fn namespace_label(&self, rule: &Rule) -> Result<String, SourceError> {
        let namespaces = self.mapper.find(&GroupResource::new("", "namespaces"));
        let label = namespaces.and_then(|mapped| rule.labels.label_of(mapped, &self.mapper));
        label.ok_or_else(|| no_label(rule, "namespaces"))
    }
}

fn no_label(rule: &Rule, resource: &str) -> SourceError {
    let place = &rule.place;
    SourceError::Unanswerable(format!("{place} does not say which label names {resource}"))
}

/// The moment that `timestamp()` gives, in seconds since the epoch.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what does not fit is refused by Timestamp"
)]
fn scraped(seconds: &Result<f64, &'static str>) -> Option<jiff::Timestamp> {
    let seconds = seconds.as_ref().ok()?;
    jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64).ok()
}

impl Inner {
    async fn query(&self, expression: &str) -> Result<Vec<Sample>, SourceError> {
        tracing::debug!(expression, "asking prometheus");
        let samples = self.settings.prometheus.query(expression).await;
        samples.map_err(|error| {
            tracing::warn!(expression, %error, "a query failed");
            SourceError::Unavailable(error.to_string())
        })
    }

    /// The names of the objects that a selector selects; only their metadata is read.
    async fn names(
        &self,
        asked: &Asked<'_>,
        selector: &LabelSelector,
    ) -> Result<Vec<String>, SourceError> {
        let (client, api) = (self.settings.client.clone(), &asked.mapped.api);
        let api: Api<DynamicObject> = match &asked.ask.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, api),
            None => Api::all_with(client, api),
        };
        let params = ListParams::default().labels(&selector.to_string());
        let list = api.list_metadata(&params.match_any()).await;
        let list = list.map_err(|error| {
            let why = if let kube::Error::Api(status) = &error {
                status.message.clone()
            } else {
                innermost(&error)
            };
            let resource = &asked.mapped.resource;
            SourceError::Unavailable(format!("{resource} cannot be listed: {why}"))
        })?;
        let names = list.items.into_iter().filter_map(|o| o.metadata.name);
        Ok(names.collect())
    }

    /// The values of a metric by the names of its objects.
    async fn values(
        &self,
        state: &State,
        asked: &Asked<'_>,
        names: &[String],
    ) -> Result<ByName, SourceError> {
        let rule = asked.rule;
        let label = rule.labels.label_of(asked.mapped, &state.mapper);
        let resource = asked.mapped.resource.to_string();
        let label = label.ok_or_else(|| no_label(rule, &resource))?;
        let mut matchers = Matchers::of(&asked.ask.selector)?;
        if let Some(namespace) = &asked.ask.namespace {
            matchers.add(&state.namespace_label(rule)?, "=", namespace);
        }
        matchers.name(&label, names);
        let group_by = [label.clone()];
        let expression = build(&rule.query, &asked.origin.series, &matchers, &group_by)?;
        let mut samples = self.query(&expression).await?;
        let mut undated = Vec::new();
        if self.settings.asks_sample_age && !samples.is_empty() {
            let (series, text) = (&asked.origin.series, matchers.text());
            let ages = format!("max(timestamp({series}{{{text}}})) by ({label})");
            let ages = self.query(&ages).await?;
            undated = date(&mut samples, &ages, &label);
        }
        let mut found = by_name(&samples, &label, self.freshness());
        for name in undated {
            found.without.insert(name, UNDATED.to_owned());
        }
        if let Some(name) = found.repeated.first() {
            self.remark_repeated(&rule.place, &asked.ask.metric, name);
        }
        Ok(found)
    }
}

/// Why a value of unknown age is none: a query over a range still gives one when its series is gone.
const UNDATED: &str = "its series has no sample any more";

/// Gives samples the time at which they were scraped. Those without one are taken out; answers the
/// names of their objects.
fn date(samples: &mut Vec<Sample>, ages: &[Sample], label: &str) -> Vec<String> {
    let named = |sample: &Sample| sample.labels.as_ref()?.get(label).cloned();
    let newest: BTreeMap<String, jiff::Timestamp> = ages
        .iter()
        .filter_map(|age| Some((named(age)?, scraped(&age.finite())?)))
        .collect();
    let mut undated = Vec::new();
    samples.retain_mut(|sample| {
        let name = named(sample);
        if let Some(at) = name.as_ref().and_then(|name| newest.get(name)) {
            sample.timestamp = *at;
            return true;
        }
        undated.extend(name.filter(|name| !name.is_empty()));
        false
    });
    undated
}
